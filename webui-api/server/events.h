/* SPDX-License-Identifier: Apache-2.0
 * Events as a server-sent stream. */
#pragma once

#include "webui-api/server/request.h"

/* Whether the client asks for a stream. */
gboolean events_wanted(const Request *request);
/* Start the stream, or answer with a problem. `arguments` may hold "since"; the header Last-Event-ID wins. */
enum MHD_Result events_stream(const Request *request, json_t *arguments);
/* One event in SSE framing. Caller frees. */
char *events_format(const json_t *event);
