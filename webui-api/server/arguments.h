/* SPDX-License-Identifier: Apache-2.0
 * From the parts of a request to a verb's arguments: path variables, query parameters, JSON body. Pure. */
#pragma once

#include "common/json.h"
#include "webui-api/server/route.h"

/* Build the "args" object. `variables` as route_find() gave them, `query` name -> still escaped value (NULL: none),
 * `body` the raw body (empty: none). INVALID names the parameter or member. Caller owns the result. */
json_t *arguments_build(const Route *route, GHashTable *variables, GHashTable *query, const GString *body,
                        GError **error);
