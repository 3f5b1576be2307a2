/* SPDX-License-Identifier: Apache-2.0
 * The command's HTTP client: libcurl over the unix socket or TCP, interruptible by Ctrl-C. */
#pragma once

#include "common/json.h"

typedef struct CliHttp CliHttp;

/* `address` is unix:/path, http://host:port or https://host; `token` NULL: none. From here on SIGINT and SIGTERM end
 * requests instead of the process. INVALID for another kind of address. */
CliHttp *cli_http_new(const char *address, const char *token, GError **error);
void cli_http_free(CliHttp *http);
/* Whether the API runs on this machine, so that both see the same files. */
gboolean cli_http_is_local(const CliHttp *http);

/* One request; body NULL: none. A problem answer becomes an error with its code and detail, no answer UNAVAILABLE,
 * Ctrl-C CANCELLED. Caller owns the result. */
json_t *cli_http_request(CliHttp *http, const char *method, const char *path, const json_t *body, GError **error);

/* PUT a file raw. `progress` (NULL: none) is told now and then. */
typedef void (*CliHttpProgress)(gint64 sent_bytes, gint64 total_bytes, gpointer user_data);
json_t *cli_http_upload(CliHttp *http, const char *path, const char *file_path, CliHttpProgress progress,
                        gpointer user_data, GError **error);

/* GET an event stream; `line` gets each line without its end and returns FALSE to stop. TRUE when stopped so or by
 * Ctrl-C. */
typedef gboolean (*CliHttpLine)(const char *line, gpointer user_data);
gboolean cli_http_stream(CliHttp *http, const char *path, CliHttpLine line, gpointer user_data, GError **error);

/* Whether Ctrl-C was pressed. cli_http_pause() sleeps until then at most: FALSE when it was. */
gboolean cli_http_interrupted(const CliHttp *http);
gboolean cli_http_pause(CliHttp *http, int timeout_ms);
