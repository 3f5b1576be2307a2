/* SPDX-License-Identifier: Apache-2.0
 * What the files of the store client share: transport (store_http.c), codec (store_json.c). */
#pragma once

#include "cluster/store.h"
#include "common/json.h"

#include <curl/curl.h>

struct Store {
    gint references; /* atomic; a watch holds one */
    char **endpoints;
    guint n_endpoints;
    char *ca_file, *cert_file, *key_file;
    int timeout_ms;
    gint preferred; /* atomic; index of the endpoint that worked last */
};

Store *store_ref(Store *store);

/* What an answer (or its absence) says about the request. */
typedef enum {
    STORE_ANSWER_OK,
    STORE_ANSWER_FINAL,    /* etcd refused it: no other endpoint would answer differently */
    STORE_ANSWER_NOT_DONE, /* it surely did not happen, another endpoint may do it */
    STORE_ANSWER_UNKNOWN,  /* it may have happened */
} StoreAnswer;

/* Judge one HTTP answer. OK: *ret_document is the JSON object, with the gateway's "result" wrapper of streams taken
 * off. Otherwise *error says why. */
StoreAnswer store_json_answer(const char *text, gsize length, long http_status, json_t **ret_document, GError **error);

/* Whether a call may be sent again after an unknown outcome. */
typedef enum { STORE_CALL_REPEATABLE, STORE_CALL_ONCE } StoreCallKind;

/* POST `request` to `path` over the endpoints until one answers. Caller owns the answer. A REPEATABLE call fails as
 * UNAVAILABLE, a ONCE call as TIMEOUT when it may have happened. Blocks until deadline_us (monotonic) at most. */
json_t *store_http_call(Store *store, const char *path, const json_t *request, StoreCallKind kind, gint64 deadline_us,
                        GError **error);
gint64 store_http_deadline_us(const Store *store);
/* Address, TLS and headers of one request on `handle`. The returned header list must outlive the transfer. */
struct curl_slist *store_http_prepare(CURL *handle, const Store *store, guint endpoint, const char *path);

/* Codec. int64 travel as strings, keys and values as base64. */
json_t *store_json_int(gint64 number);
json_t *store_json_text(const char *text);
gint64 store_json_get_int(const json_t *object, const char *name);
gint64 store_json_revision(const json_t *answer); /* of its header */
/* First key after every key that begins with `prefix`, base64 in JSON. */
json_t *store_json_prefix_end(const char *prefix);
/* {"key":...} with range_end when `prefix`. */
json_t *store_json_range(const char *key, gboolean prefix);
/* NULL with an error when a field is damaged. */
StoreEntry *store_json_entry(const json_t *kv, GError **error);
