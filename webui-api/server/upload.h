/* SPDX-License-Identifier: Apache-2.0
 * Image uploads: a raw body becomes a spool file, holdfastd imports it, the file goes when the import has ended. */
#pragma once

#include "webui-api/server/request.h"

/* Before the body comes: check name, type, room and that few enough are under way; sets request->upload. */
gboolean upload_begin(Request *request, GError **error);
gboolean upload_write(Upload *upload, const char *data, gsize size, GError **error);
/* The body is complete: start the import. Answers the operation; the spool file then belongs to a sweeper. */
json_t *upload_finish(Request *request, GError **error);
/* Free, with the file when no import took it. NULL-safe. */
void upload_free(Upload *upload);

/* Threads that remove spool files whose import has ended. Also removes what an earlier life left behind for more than a
 * day. */
GThreadPool *upload_sweepers_new(Server *server);
