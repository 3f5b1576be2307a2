/* SPDX-License-Identifier: Apache-2.0
 * The calls of the store client. */
#include "cluster/store_internal.h"

#include "cluster/node_config.h"
#include "common/error.h"
#include "common/file.h"

#include <string.h>

#define TIMEOUT_DEFAULT_MS 5000
#define VOTERS_MAX_BYTES 65536
/* Keys per page of a list: gRPC answers above 4 MiB are refused by etcd's own gateway. */
#define LIST_PAGE_KEYS 256

struct StoreTxn {
    json_t *compare, *success;
};

void store_entry_free(StoreEntry *entry)
{
    if (entry) {
        g_free(entry->key);
        g_free(entry->value);
        g_free(entry);
    }
}

Store *store_new(const StoreConfig *config)
{
    static gsize once = 0;
    if (g_once_init_enter(&once)) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        g_once_init_leave(&once, 1);
    }
    Store *store = g_new0(Store, 1);
    store->references = 1;
    store->endpoints = g_strdupv(config->endpoints);
    store->n_endpoints = g_strv_length(store->endpoints);
    store->ca_file = g_strdup(config->ca_file);
    store->cert_file = g_strdup(config->cert_file);
    store->key_file = g_strdup(config->key_file);
    store->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_DEFAULT_MS;
    return store;
}

Store *store_new_for_node(GError **error)
{
    g_autoptr(NodeConfig) node = node_config_read(error);
    if (!node) {
        return NULL;
    }
    g_autofree char *voters = file_read(NODE_VOTERS_PATH, VOTERS_MAX_BYTES, error);
    if (!voters) {
        return NULL;
    }
    g_autoptr(GStrvBuilder) endpoints = g_strv_builder_new();
    g_strv_builder_add(endpoints, "unix:" STORE_LOCAL_SOCKET);
    g_auto(GStrv) lines = g_strsplit(voters, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_strstrip(*line);
        if (g_str_has_prefix(*line, "https://")) {
            g_strv_builder_add(endpoints, *line);
        }
    }
    g_auto(GStrv) list = g_strv_builder_end(endpoints);
    StoreConfig config = {
        .endpoints = list, .ca_file = NODE_CA_FILE, .cert_file = NODE_CERT_FILE, .key_file = NODE_KEY_FILE};
    return store_new(&config);
}

Store *store_ref(Store *store)
{
    g_atomic_int_inc(&store->references);
    return store;
}

void store_free(Store *store)
{
    if (store && g_atomic_int_dec_and_test(&store->references)) {
        g_strfreev(store->endpoints);
        g_free(store->ca_file);
        g_free(store->cert_file);
        g_free(store->key_file);
        g_free(store);
    }
}

static json_t *call(Store *store, const char *path, const json_t *request, StoreCallKind kind, GError **error)
{
    return store_http_call(store, path, request, kind, store_http_deadline_us(store), error);
}

static void return_revision(const json_t *answer, gint64 *ret_revision)
{
    if (ret_revision) {
        *ret_revision = store_json_revision(answer);
    }
}

StoreEntry *store_get(Store *store, const char *key, gint64 *ret_revision, GError **error)
{
    g_autoptr(json_t) request = store_json_range(key, FALSE);
    g_autoptr(json_t) answer = call(store, "/v3/kv/range", request, STORE_CALL_REPEATABLE, error);
    if (!answer) {
        return NULL;
    }
    return_revision(answer, ret_revision);
    json_t *kv = json_array_get(json_object_get(answer, "kvs"), 0);
    if (!kv) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "store: there is no key %s", key);
        return NULL;
    }
    return store_json_entry(kv, error);
}

/* One page into `entries`, whose elements from `first` on are of this prefix. *revision 0: read the newest and pin it.
 * *ret_more: another page follows. */
static gboolean list_page(Store *store, const char *prefix, gint64 deadline_us, GPtrArray *entries, guint first,
                          gint64 *revision, gboolean *ret_more, GError **error)
{
    g_autoptr(json_t) request = store_json_range(prefix, TRUE);
    if (entries->len > first) {
        const StoreEntry *last = entries->pdata[entries->len - 1];
        g_autofree guchar *next = (guchar *) g_strdup(last->key); /* its NUL included: the next possible key */
        g_autofree char *encoded = g_base64_encode(next, strlen(last->key) + 1);
        json_object_set_new(request, "key", json_string(encoded));
    }
    json_object_set_new(request, "limit", store_json_int(LIST_PAGE_KEYS));
    json_object_set_new(request, "revision", store_json_int(*revision));
    g_autoptr(json_t) answer =
        store_http_call(store, "/v3/kv/range", request, STORE_CALL_REPEATABLE, deadline_us, error);
    if (!answer) {
        return FALSE;
    }
    if (*revision == 0) {
        *revision = store_json_revision(answer);
    }
    gsize index;
    json_t *kv;
    json_array_foreach (json_object_get(answer, "kvs"), index, kv) {
        StoreEntry *entry = store_json_entry(kv, error);
        if (!entry) {
            return FALSE;
        }
        g_ptr_array_add(entries, entry);
    }
    *ret_more = json_is_true(json_object_get(answer, "more")) && index > 0;
    return TRUE;
}

GPtrArray *store_list_all(Store *store, const char *const *prefixes, gint64 *ret_revision, GError **error)
{
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify) store_entry_free);
    gint64 deadline_us = store_http_deadline_us(store);
    gint64 revision = 0;
    for (const char *const *prefix = prefixes; *prefix; prefix++) {
        guint first = entries->len;
        gboolean more = TRUE;
        while (more) {
            if (!list_page(store, *prefix, deadline_us, entries, first, &revision, &more, error)) {
                return NULL;
            }
        }
    }
    if (ret_revision) {
        *ret_revision = revision;
    }
    return g_steal_pointer(&entries);
}

GPtrArray *store_list(Store *store, const char *prefix, gint64 *ret_revision, GError **error)
{
    const char *const prefixes[] = {prefix, NULL};
    return store_list_all(store, prefixes, ret_revision, error);
}

StoreTxn *store_txn_new(void)
{
    StoreTxn *txn = g_new0(StoreTxn, 1);
    txn->compare = json_array();
    txn->success = json_array();
    return txn;
}

void store_txn_free(StoreTxn *txn)
{
    if (txn) {
        json_decref(txn->compare);
        json_decref(txn->success);
        g_free(txn);
    }
}

void store_txn_if_revision(StoreTxn *txn, const char *key, gint64 mod_revision)
{
    json_t *compare = store_json_range(key, FALSE);
    json_object_set_new(compare, "target", json_string("MOD"));
    json_object_set_new(compare, "result", json_string("EQUAL"));
    json_object_set_new(compare, "mod_revision", store_json_int(mod_revision));
    json_array_append_new(txn->compare, compare);
}

static void txn_add(StoreTxn *txn, const char *kind, json_t *operation)
{
    json_t *wrapper = json_object();
    json_object_set_new(wrapper, kind, operation);
    json_array_append_new(txn->success, wrapper);
}

void store_txn_put(StoreTxn *txn, const char *key, const char *value, gint64 lease)
{
    json_t *put = store_json_range(key, FALSE);
    json_object_set_new(put, "value", store_json_text(value));
    json_object_set_new(put, "lease", store_json_int(lease));
    txn_add(txn, "request_put", put);
}

void store_txn_delete(StoreTxn *txn, const char *key)
{
    txn_add(txn, "request_delete_range", store_json_range(key, FALSE));
}

void store_txn_delete_prefix(StoreTxn *txn, const char *prefix)
{
    txn_add(txn, "request_delete_range", store_json_range(prefix, TRUE));
}

/* The keys of the conditions, for the text of a conflict. */
static char *txn_condition_keys(const StoreTxn *txn)
{
    g_autoptr(GString) keys = g_string_new(NULL);
    gsize index;
    json_t *compare;
    json_array_foreach (txn->compare, index, compare) {
        gsize length = 0;
        g_autofree guchar *key = g_base64_decode(json_string_value(json_object_get(compare, "key")), &length);
        g_string_append_printf(keys, "%s%.*s", index ? ", " : "", (int) length, (const char *) key);
    }
    return g_string_free(g_steal_pointer(&keys), FALSE);
}

gboolean store_txn_commit(Store *store, StoreTxn *txn, gint64 *ret_revision, GError **error)
{
    g_autoptr(json_t) request = json_object();
    json_object_set(request, "compare", txn->compare);
    json_object_set(request, "success", txn->success);
    g_autoptr(json_t) answer = call(store, "/v3/kv/txn", request, STORE_CALL_ONCE, error);
    if (!answer) {
        return FALSE;
    }
    if (!json_is_true(json_object_get(answer, "succeeded"))) {
        g_autofree char *keys = txn_condition_keys(txn);
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT,
                    "store: %s changed meanwhile, nothing was written: read again and retry", keys);
        return FALSE;
    }
    return_revision(answer, ret_revision);
    return TRUE;
}

gboolean store_put(Store *store, const char *key, const char *value, gint64 expected_revision, gint64 lease,
                   gint64 *ret_revision, GError **error)
{
    g_autoptr(StoreTxn) txn = store_txn_new();
    if (expected_revision >= 0) {
        store_txn_if_revision(txn, key, expected_revision);
    }
    store_txn_put(txn, key, value, lease);
    return store_txn_commit(store, txn, ret_revision, error);
}

gboolean store_delete(Store *store, const char *key, gint64 expected_revision, GError **error)
{
    g_autoptr(StoreTxn) txn = store_txn_new();
    if (expected_revision >= 0) {
        store_txn_if_revision(txn, key, expected_revision);
    }
    store_txn_delete(txn, key);
    return store_txn_commit(store, txn, NULL, error);
}
