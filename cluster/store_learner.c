/* SPDX-License-Identifier: Apache-2.0
 * The two member calls of etcd that the plain store client lacks. */
#include "cluster/store_learner.h"

#include "cluster/store_internal.h"

static gboolean call(Store *store, const char *path, json_t *request, GError **error)
{
    g_autoptr(json_t) owned = request;
    g_autoptr(json_t) answer =
        store_http_call(store, path, owned, STORE_CALL_ONCE, store_http_deadline_us(store), error);
    return answer != NULL;
}

gboolean store_learner_add(Store *store, const char *peer_url, GError **error)
{
    return call(store, "/v3/cluster/member/add", json_pack("{s:[s],s:b}", "peerURLs", peer_url, "isLearner", 1), error);
}

gboolean store_learner_promote(Store *store, const char *id, GError **error)
{
    return call(store, "/v3/cluster/member/promote", json_pack("{s:s}", "ID", id), error);
}
