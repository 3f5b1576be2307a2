/* SPDX-License-Identifier: Apache-2.0
 * One call of holdfastd over its unix socket: a JSON object per line each way. */
#pragma once

#include "common/json.h"

#define LOCAL_CALL_SOCKET "/run/holdfast/agent.sock"

/* Call `verb` and wait at most timeout_ms. `arguments` is borrowed, may be NULL. Caller owns the result. Errors: the
 * daemon's own with its code; UNAVAILABLE when it is not there; TIMEOUT. */
json_t *local_call(const char *socket_path, const char *verb, json_t *arguments, int timeout_ms, GError **error);
