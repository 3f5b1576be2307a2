/* SPDX-License-Identifier: Apache-2.0
 * application/problem+json (RFC 9457) bodies: one shape for every refusal of the API. Pure. */
#pragma once

#include "common/json.h"

#define PROBLEM_CONTENT_TYPE "application/problem+json"

/* {type, title, status, detail, code, retryable, request_id, fields[]}. `code` is a HoldfastErrorCode; `status` 0 takes
 * the code's own. fields[] holds the name an INVALID detail begins with. Caller owns the result. */
json_t *problem_encode(int code, guint status, const char *detail, const char *request_id);

/* The field an error text begins with ("spec.nics[0].vlan: must be ..."), NULL when it begins with prose. Caller frees.
 */
char *problem_field_of(const char *detail);
