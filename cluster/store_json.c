/* SPDX-License-Identifier: Apache-2.0
 * Codec of etcd's JSON gateway, and the judgement of its errors.
 *
 * The judgement decides whether a write may be repeated elsewhere. etcd says "Unavailable" both for requests it never
 * proposed and for proposals whose fate it does not know ("request timed out", "server stopped"), so only messages
 * known to be produced before the proposal count as not done. */
#include "cluster/store_internal.h"

#include "common/error.h"

#include <string.h>

/* gRPC status codes the gateway passes on. */
enum {
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAUTHENTICATED = 16,
};

json_t *store_json_int(gint64 number)
{
    return json_sprintf("%" G_GINT64_FORMAT, number);
}

static json_t *base64_from(const char *bytes, gsize length)
{
    g_autofree char *encoded = g_base64_encode((const guchar *) bytes, length);
    return json_string(encoded);
}

json_t *store_json_text(const char *text)
{
    return base64_from(text, strlen(text));
}

gint64 store_json_get_int(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (json_is_integer(value)) {
        return json_integer_value(value);
    }
    /* Member and lease ids are uint64; they wrap into gint64 and are only compared and printed back. */
    return json_is_string(value) ? (gint64) g_ascii_strtoull(json_string_value(value), NULL, 10) : 0;
}

gint64 store_json_revision(const json_t *answer)
{
    return store_json_get_int(json_object_get(answer, "header"), "revision");
}

json_t *store_json_prefix_end(const char *prefix)
{
    g_autofree char *end = g_strdup(prefix);
    gsize length = strlen(end);
    while (length > 0 && (guchar) end[length - 1] == 0xff) {
        length--;
    }
    if (length == 0) {
        return base64_from("", 1); /* etcd: a range end of one NUL means all keys */
    }
    end[length - 1] = (char) ((guchar) end[length - 1] + 1);
    return base64_from(end, length);
}

json_t *store_json_range(const char *key, gboolean prefix)
{
    json_t *range = json_object();
    json_object_set_new(range, "key", *key ? store_json_text(key) : base64_from("", 1));
    if (prefix) {
        json_object_set_new(range, "range_end", store_json_prefix_end(key));
    }
    return range;
}

static char *text_decode(const json_t *object, const char *name)
{
    const char *encoded = json_string_value(json_object_get(object, name));
    if (!encoded || !*encoded) {
        return g_strdup(""); /* the gateway leaves empty fields out */
    }
    gsize length = 0;
    g_autofree guchar *bytes = g_base64_decode(encoded, &length);
    return memchr(bytes, 0, length) ? NULL : g_strndup((const char *) bytes, length);
}

StoreEntry *store_json_entry(const json_t *kv, GError **error)
{
    g_autoptr(StoreEntry) entry = g_new0(StoreEntry, 1);
    entry->key = text_decode(kv, "key");
    entry->value = text_decode(kv, "value");
    entry->create_revision = store_json_get_int(kv, "create_revision");
    entry->mod_revision = store_json_get_int(kv, "mod_revision");
    entry->lease = store_json_get_int(kv, "lease");
    if (!entry->key || !entry->value || entry->mod_revision <= 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                    "store: key '%s' holds no text: somebody else wrote it; look with etcdctl get and delete it",
                    entry->key ? entry->key : "?");
        return NULL;
    }
    return g_steal_pointer(&entry);
}

static gboolean message_has(const char *message, const char *const *parts)
{
    for (; *parts; parts++) {
        if (strstr(message, *parts)) {
            return TRUE;
        }
    }
    return FALSE;
}

static StoreAnswer exhausted(const char *message, int *ret_code)
{
    if (strstr(message, "database space exceeded")) {
        *ret_code = HOLDFAST_ERROR_NO_SPACE;
        return STORE_ANSWER_FINAL;
    }
    *ret_code = HOLDFAST_ERROR_UNAVAILABLE;
    return strstr(message, "too many requests") ? STORE_ANSWER_NOT_DONE : STORE_ANSWER_UNKNOWN;
}

static StoreAnswer message_judge(gint64 grpc_code, const char *message, int *ret_code)
{
    /* Said by etcd before it proposes anything, or by its gateway when it cannot reach its own server. */
    static const char *const before_proposal[] = {"etcdserver: no leader", "Error while dialing",
                                                  "SubConns are in TransientFailure", "etcdserver: unhealthy cluster",
                                                  NULL};
    switch (grpc_code) {
    case GRPC_INVALID_ARGUMENT:
        *ret_code = HOLDFAST_ERROR_INVALID;
        return STORE_ANSWER_FINAL;
    case GRPC_NOT_FOUND:
        *ret_code = HOLDFAST_ERROR_NOT_FOUND;
        return STORE_ANSWER_FINAL;
    case GRPC_ALREADY_EXISTS:
        *ret_code = HOLDFAST_ERROR_EXISTS;
        return STORE_ANSWER_FINAL;
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED:
        *ret_code = HOLDFAST_ERROR_DENIED;
        return STORE_ANSWER_FINAL;
    case GRPC_RESOURCE_EXHAUSTED:
        return exhausted(message, ret_code);
    case GRPC_FAILED_PRECONDITION:
        *ret_code = strstr(message, "already exist") ? HOLDFAST_ERROR_EXISTS : HOLDFAST_ERROR_REFUSED;
        return STORE_ANSWER_FINAL;
    case GRPC_OUT_OF_RANGE: /* compacted, or a future revision */
        *ret_code = HOLDFAST_ERROR_CONFLICT;
        return STORE_ANSWER_FINAL;
    case GRPC_UNIMPLEMENTED:
        *ret_code = HOLDFAST_ERROR_UNSUPPORTED;
        return STORE_ANSWER_FINAL;
    default:
        *ret_code = HOLDFAST_ERROR_UNAVAILABLE;
        return message_has(message, before_proposal) ? STORE_ANSWER_NOT_DONE : STORE_ANSWER_UNKNOWN;
    }
}

/* {"error":"text","message":"text","code":14}, and for streams {"error":{"grpc_code":14,"message":"text",...}}. */
static StoreAnswer error_judge(const json_t *document, GError **error)
{
    const json_t *said = json_object_get(document, "error");
    gboolean stream = json_is_object(said);
    const char *message = json_string_value(stream ? json_object_get(said, "message") : said);
    gint64 grpc_code = stream ? store_json_get_int(said, "grpc_code") : store_json_get_int(document, "code");
    int code = HOLDFAST_ERROR_FAILED;
    StoreAnswer answer = message_judge(grpc_code, message ? message : "", &code);
    g_set_error(error, HOLDFAST_ERROR, code, "%s", message ? message : "an error without text");
    return answer;
}

StoreAnswer store_json_answer(const char *text, gsize length, long http_status, json_t **ret_document, GError **error)
{
    json_error_t problem;
    g_autoptr(json_t) document = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
    if (json_object_get(document, "error")) {
        return error_judge(document, error);
    }
    if (!json_is_object(document) || http_status != 200) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "answered HTTP %ld and not as etcd does",
                    http_status);
        return STORE_ANSWER_UNKNOWN;
    }
    json_t *result = json_object_get(document, "result");
    *ret_document = json_incref(result ? result : document);
    return STORE_ANSWER_OK;
}
