/* SPDX-License-Identifier: Apache-2.0
 * Leases and members: the calls of the store client that are not about keys. */
#include "cluster/store_internal.h"

#include "common/error.h"

static json_t *call(Store *store, const char *path, const json_t *request, StoreCallKind kind, GError **error)
{
    return store_http_call(store, path, request, kind, store_http_deadline_us(store), error);
}

gboolean store_lease_grant(Store *store, int ttl_s, gint64 *ret_lease, GError **error)
{
    g_autoptr(json_t) request = json_object();
    json_object_set_new(request, "TTL", store_json_int(ttl_s));
    /* Repeatable: a lease nobody heard of holds no key and ends by itself. */
    g_autoptr(json_t) answer = call(store, "/v3/lease/grant", request, STORE_CALL_REPEATABLE, error);
    if (!answer) {
        return FALSE;
    }
    *ret_lease = store_json_get_int(answer, "ID");
    return TRUE;
}

gboolean store_lease_keepalive(Store *store, gint64 lease, GError **error)
{
    g_autoptr(json_t) request = json_object();
    json_object_set_new(request, "ID", store_json_int(lease));
    g_autoptr(json_t) answer = call(store, "/v3/lease/keepalive", request, STORE_CALL_REPEATABLE, error);
    if (!answer) {
        return FALSE;
    }
    if (store_json_get_int(answer, "TTL") <= 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND,
                    "store: lease %" G_GINT64_FORMAT " has expired, and its keys with it: take a new one", lease);
        return FALSE;
    }
    return TRUE;
}

gboolean store_lease_revoke(Store *store, gint64 lease, GError **error)
{
    g_autoptr(json_t) request = json_object();
    json_object_set_new(request, "ID", store_json_int(lease));
    g_autoptr(json_t) answer = call(store, "/v3/lease/revoke", request, STORE_CALL_REPEATABLE, error);
    return answer != NULL;
}

void store_member_free(StoreMember *member)
{
    if (member) {
        g_free(member->id);
        g_free(member->name);
        g_strfreev(member->peer_urls);
        g_strfreev(member->client_urls);
        g_free(member);
    }
}

static char **strv_from(const json_t *array)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    gsize index;
    json_t *item;
    json_array_foreach ((json_t *) array, index, item) {
        if (json_is_string(item)) {
            g_strv_builder_add(builder, json_string_value(item));
        }
    }
    return g_strv_builder_end(builder);
}

GPtrArray *store_members(Store *store, GError **error)
{
    g_autoptr(json_t) request = json_object();
    g_autoptr(json_t) answer = call(store, "/v3/cluster/member/list", request, STORE_CALL_REPEATABLE, error);
    if (!answer) {
        return NULL;
    }
    GPtrArray *members = g_ptr_array_new_with_free_func((GDestroyNotify) store_member_free);
    gsize index;
    json_t *item;
    json_array_foreach (json_object_get(answer, "members"), index, item) {
        StoreMember *member = g_new0(StoreMember, 1);
        member->id = g_strdup_printf("%" G_GUINT64_FORMAT, (guint64) store_json_get_int(item, "ID"));
        const char *name = json_string_value(json_object_get(item, "name"));
        member->name = g_strdup(name ? name : ""); /* absent until the member has started once */
        member->peer_urls = strv_from(json_object_get(item, "peerURLs"));
        member->client_urls = strv_from(json_object_get(item, "clientURLs"));
        member->learner = json_is_true(json_object_get(item, "isLearner"));
        g_ptr_array_add(members, member);
    }
    return members;
}

const StoreMember *store_member_find(const GPtrArray *members, const char *peer_url)
{
    for (guint i = 0; i < members->len; i++) {
        const StoreMember *member = members->pdata[i];
        if (g_strv_contains((const char *const *) member->peer_urls, peer_url)) {
            return member;
        }
    }
    return NULL;
}

gboolean store_member_add(Store *store, const char *peer_url, GError **error)
{
    g_autoptr(json_t) request = json_object();
    json_t *urls = json_array();
    json_array_append_new(urls, json_string(peer_url));
    json_object_set_new(request, "peerURLs", urls);
    g_autoptr(json_t) answer = call(store, "/v3/cluster/member/add", request, STORE_CALL_ONCE, error);
    return answer != NULL;
}

gboolean store_member_remove(Store *store, const char *id, GError **error)
{
    g_autoptr(json_t) request = json_object();
    json_object_set_new(request, "ID", json_string(id));
    g_autoptr(json_t) answer = call(store, "/v3/cluster/member/remove", request, STORE_CALL_ONCE, error);
    return answer != NULL;
}
