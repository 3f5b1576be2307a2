/* SPDX-License-Identifier: Apache-2.0
 * Answers: JSON, problems, and the headers all of them carry. */
#pragma once

#include "webui-api/server/request.h"

/* Headers an answer may have besides the common ones; NULL: none. */
typedef struct {
    const char *location, *etag, *allow;
} ResponseHeaders;

/* Queue `body` (borrowed) with `status`. */
enum MHD_Result response_json(const Request *request, guint status, const json_t *body, const ResponseHeaders *headers);
/* Queue a problem; status 0 takes the error code's own. */
enum MHD_Result response_problem(const Request *request, guint status, const GError *error, const char *allow);
/* 304 without a body. */
enum MHD_Result response_not_modified(const Request *request, const char *etag);
/* Queue a prepared response after adding the common headers; takes `response` over. */
enum MHD_Result response_queue(const Request *request, guint status, struct MHD_Response *response);
