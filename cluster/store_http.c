/* SPDX-License-Identifier: Apache-2.0
 * Transport of the store client: one POST over several endpoints within one deadline.
 *
 * A write must never be executed twice without the caller knowing: its conditions would fail the second time and
 * "conflict" would be reported for something that did happen. libcurl by itself repeats a POST when a kept connection
 * dies before the first byte of the answer, so the body is given through a read callback and rewinding it is refused
 * for such calls. */
#include "cluster/store_internal.h"

#include "common/error.h"

#include <string.h>

#define ANSWER_MAX_BYTES (64u * 1024 * 1024)
#define SLICE_PERCENT 40 /* of the time left that an endpoint gets while others are still to be asked */
#define SLICE_MIN_MS 50
#define ELECTION_PAUSE_MS 100 /* between rounds while etcd elects a leader */

static GPrivate thread_handle = G_PRIVATE_INIT((GDestroyNotify) curl_easy_cleanup);

typedef struct {
    const char *text;
    gsize length, sent;
    gboolean may_rewind;
} Body;

static CURL *handle_for_thread(void)
{
    CURL *handle = g_private_get(&thread_handle);
    if (handle) {
        curl_easy_reset(handle); /* keeps the connections */
        return handle;
    }
    handle = curl_easy_init();
    if (!handle) {
        g_error("curl_easy_init failed: out of memory");
    }
    g_private_set(&thread_handle, handle);
    return handle;
}

static size_t body_read(char *buffer, size_t size, size_t count, void *user_data)
{
    Body *body = user_data;
    gsize part = MIN(size * count, body->length - body->sent);
    memcpy(buffer, body->text + body->sent, part);
    body->sent += part;
    return part;
}

static int body_seek(void *user_data, curl_off_t offset, int origin)
{
    Body *body = user_data;
    if (!body->may_rewind || origin != SEEK_SET || offset < 0 || (gsize) offset > body->length) {
        return CURL_SEEKFUNC_FAIL;
    }
    body->sent = (gsize) offset;
    return CURL_SEEKFUNC_OK;
}

static size_t answer_append(char *data, size_t size, size_t count, void *user_data)
{
    GString *answer = user_data;
    if (answer->len + size * count > ANSWER_MAX_BYTES) {
        return 0;
    }
    g_string_append_len(answer, data, (gssize) (size * count));
    return size * count;
}

struct curl_slist *store_http_prepare(CURL *handle, const Store *store, guint endpoint, const char *path)
{
    const char *address = store->endpoints[endpoint];
    gboolean local = g_str_has_prefix(address, "unix:");
    g_autofree char *url = g_strconcat(local ? "http://localhost" : address, path, NULL);
    curl_easy_setopt(handle, CURLOPT_URL, url);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(handle, CURLOPT_TCP_KEEPIDLE, 10L);
    curl_easy_setopt(handle, CURLOPT_TCP_KEEPINTVL, 3L);
    if (local) {
        curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, address + strlen("unix:"));
    } else {
        curl_easy_setopt(handle, CURLOPT_CAINFO, store->ca_file);
        curl_easy_setopt(handle, CURLOPT_SSLCERT, store->cert_file);
        curl_easy_setopt(handle, CURLOPT_SSLKEY, store->key_file);
    }
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    /* etcd then refuses at once, and ends watches, while it has no leader, instead of letting us wait. */
    headers = curl_slist_append(headers, "Grpc-Metadata-hasleader: true");
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    return headers;
}

static StoreAnswer transfer_failed(const CURL *handle G_GNUC_UNUSED, CURLcode code, const char *detail,
                                   const Body *body, GError **error)
{
    const char *text = code == CURLE_OPERATION_TIMEDOUT ? "no answer in time"
                       : *detail                        ? detail
                                                        : curl_easy_strerror(code);
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "%s", text);
    return body->sent == 0 ? STORE_ANSWER_NOT_DONE : STORE_ANSWER_UNKNOWN;
}

/* One POST to one endpoint. connect_ms bounds the connecting, total_ms all of it. */
static StoreAnswer post(Store *store, guint endpoint, const char *path, Body *body, gint64 connect_ms, gint64 total_ms,
                        json_t **ret_document, GError **error)
{
    CURL *handle = handle_for_thread();
    g_autoptr(GString) answer = g_string_new(NULL);
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = store_http_prepare(handle, store, endpoint, path);
    curl_easy_setopt(handle, CURLOPT_POST, 1L);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) body->length);
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, body_read);
    curl_easy_setopt(handle, CURLOPT_READDATA, body);
    curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, body_seek);
    curl_easy_setopt(handle, CURLOPT_SEEKDATA, body);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, answer_append);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long) connect_ms);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long) total_ms);
    CURLcode code = curl_easy_perform(handle);
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
        return transfer_failed(handle, code, detail, body, error);
    }
    return store_json_answer(answer->str, answer->len, status, ret_document, error);
}

gint64 store_http_deadline_us(const Store *store)
{
    return g_get_monotonic_time() + (gint64) store->timeout_ms * 1000;
}

/* One call while it goes round the endpoints. */
typedef struct {
    Store *store;
    const char *path;
    const char *text;
    StoreCallKind kind;
    gint64 deadline_us;
    GString *tried;      /* for people: what every endpoint of this round said */
    gboolean leaderless; /* somebody is there, and etcd has no leader just now */
} Call;

static gint64 call_left_ms(const Call *call)
{
    return (call->deadline_us - g_get_monotonic_time()) / 1000;
}

/* What became of the call at one endpoint: TRUE when it is over, with *ret_document or *error set. */
static gboolean attempt_over(StoreAnswer answer, StoreCallKind kind, const char *endpoint, GError **problem,
                             GError **error)
{
    if (answer == STORE_ANSWER_OK) {
        return TRUE;
    }
    if (answer == STORE_ANSWER_FINAL) {
        g_propagate_prefixed_error(error, g_steal_pointer(problem), "store: ");
        return TRUE;
    }
    if (answer == STORE_ANSWER_UNKNOWN && kind == STORE_CALL_ONCE) {
        g_set_error(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
            "store: %s took the change and did not confirm it (%s): it may or may not have happened, read it back",
            endpoint, (*problem)->message);
        return TRUE;
    }
    return FALSE;
}

/* Ask one endpoint. TRUE: the call is over, with *ret_document or *error set. */
static gboolean call_endpoint(Call *call, guint endpoint, gint64 left_ms, gboolean last, json_t **ret_document,
                              GError **error)
{
    Store *store = call->store;
    gint64 slice_ms = last ? left_ms : MIN(left_ms, MAX(left_ms * SLICE_PERCENT / 100, SLICE_MIN_MS));
    /* A sent write is not repeated, so giving up early on its answer would win nothing. */
    gint64 total_ms = call->kind == STORE_CALL_ONCE ? left_ms : slice_ms;
    Body body = {.text = call->text, .length = strlen(call->text), .may_rewind = call->kind == STORE_CALL_REPEATABLE};
    g_autoptr(GError) problem = NULL;
    StoreAnswer answer = post(store, endpoint, call->path, &body, slice_ms, total_ms, ret_document, &problem);
    gboolean works = answer == STORE_ANSWER_OK || answer == STORE_ANSWER_FINAL;
    g_atomic_int_set(&store->preferred, (gint) (works ? endpoint : (endpoint + 1) % store->n_endpoints));
    if (attempt_over(answer, call->kind, store->endpoints[endpoint], &problem, error)) {
        return TRUE;
    }
    call->leaderless = call->leaderless || (answer == STORE_ANSWER_NOT_DONE && body.sent > 0);
    g_string_append_printf(call->tried, "%s%s: %s", call->tried->len ? "; " : "", store->endpoints[endpoint],
                           problem->message);
    return FALSE;
}

static gboolean call_round(Call *call, json_t **ret_document, GError **error)
{
    Store *store = call->store;
    guint first = (guint) g_atomic_int_get(&store->preferred);
    call->leaderless = FALSE;
    for (guint i = 0; i < store->n_endpoints; i++) {
        gint64 left_ms = call_left_ms(call);
        if (left_ms <= 0) {
            return FALSE;
        }
        if (i == 0) {
            g_string_truncate(call->tried, 0);
        }
        if (call_endpoint(call, (first + i) % store->n_endpoints, left_ms, i + 1 == store->n_endpoints, ret_document,
                          error)) {
            return TRUE;
        }
    }
    return FALSE;
}

json_t *store_http_call(Store *store, const char *path, const json_t *request, StoreCallKind kind, gint64 deadline_us,
                        GError **error)
{
    g_autofree char *text = json_text_from(request);
    g_autoptr(GString) tried = g_string_new(NULL);
    Call call = {.store = store, .path = path, .text = text, .kind = kind, .deadline_us = deadline_us, .tried = tried};
    json_t *document = NULL;
    /* An election passes; nobody listening may last. */
    while (!call_round(&call, &document, error)) {
        if (!call.leaderless || call_left_ms(&call) <= ELECTION_PAUSE_MS) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                        "store: no endpoint answered (%s): check holdfast-etcd.service on the voters and the cluster "
                        "network, then retry",
                        tried->len ? tried->str : "the time was up before the first was asked");
            return NULL;
        }
        g_usleep(ELECTION_PAUSE_MS * 1000);
    }
    return document;
}
