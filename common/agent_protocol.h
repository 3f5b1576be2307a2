/* SPDX-License-Identifier: Apache-2.0
 * The lines of holdfastd's socket, as its clients write and read them: one JSON object a line,
 * {"v":1,"id":..,"verb":..,"args":{..},"user":..} there and {"v":1,"id":..,"ok":true,"result":..} or
 * {..,"ok":false,"error":{"code":..,"message":..}} back. A request is at most JSON_TEXT_MAX_BYTES long, an answer
 * JSON_ANSWER_MAX_BYTES. */
#pragma once

#include "common/json.h"

/* With its newline. `arguments` and `user` may be NULL. Caller frees. */
char *agent_request_line(const char *id, const char *verb, json_t *arguments, const char *user);
/* The result in an answer (any JSON value; caller owns it). Errors: the daemon's own with its code; FAILED when the
 * line makes no sense as an answer to `verb`. */
json_t *agent_answer_result(const char *line, const char *verb, GError **error);
