/* SPDX-License-Identifier: Apache-2.0
 * What every part of holdfastd shares. */
#include "node-agent/daemon.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "node-agent/disk_care.h"
#include "node-agent/judge.h"
#include "node-agent/pool_care.h"
#include "node-agent/reconcile.h"
#include "node-agent/witness.h"

#include <string.h>

#define LEASE_TTL_S 20
/* A holdfastd that crashed is back within seconds; one that is upgraded or stopped by hand within this. */
#define AGENT_GRACE_MS 30000
#define EVENT_TTL_S 86400
#define PACEMAKER_AGE_MS 700
#define CRM_MON_TIMEOUT_MS 15000

MembershipView daemon_view(Daemon *daemon)
{
    g_mutex_lock(&daemon->lock);
    MembershipView view = daemon->view;
    g_mutex_unlock(&daemon->lock);
    return view;
}

static guint32 node_id(Daemon *daemon, const char *name)
{
    g_autofree char *key = g_strconcat("node/", name, NULL);
    g_autoptr(Node) node = cache_object(daemon->cache, &node_type, key, NULL);
    return node ? (guint32) node->id : 0;
}

gboolean daemon_node_online(Daemon *daemon, const char *node)
{
    guint32 id = node_id(daemon, node);
    MembershipView view = daemon_view(daemon);
    return id != 0 && view.connected && membership_view_has(&view, id);
}

gboolean daemon_agent_present(Daemon *daemon, guint32 id)
{
    return id != 0 && daemon->peer && peer_is_present(daemon->peer, id);
}

gboolean daemon_agent_gone(Daemon *daemon, const char *node)
{
    gboolean here = daemon_agent_present(daemon, (guint32) daemon->config->node_id);
    gint64 *since_ms = g_hash_table_lookup(daemon->agents_absent, node);
    if (!since_ms) {
        since_ms = g_new0(gint64, 1);
        g_hash_table_insert(daemon->agents_absent, g_strdup(node), since_ms);
    }
    return judge_absence_outlasts(since_ms, !here || daemon_agent_present(daemon, node_id(daemon, node)),
                                  g_get_monotonic_time() / 1000, AGENT_GRACE_MS);
}

PacemakerStatus *daemon_pacemaker(Daemon *daemon, GError **error)
{
    g_mutex_lock(&daemon->pacemaker_lock);
    gboolean fresh =
        daemon->pacemaker_xml && g_get_monotonic_time() - daemon->pacemaker_at_us < PACEMAKER_AGE_MS * 1000;
    if (!fresh) {
        g_clear_pointer(&daemon->pacemaker_xml, g_free);
        process_call(daemon->runner, CRM_MON_TIMEOUT_MS, &daemon->pacemaker_xml, error, "/usr/sbin/crm_mon",
                     "--one-shot", "--inactive", "--output-as=xml", NULL);
        daemon->pacemaker_at_us = g_get_monotonic_time();
    }
    g_autofree char *xml = g_strdup(daemon->pacemaker_xml);
    g_mutex_unlock(&daemon->pacemaker_lock);
    if (!xml) {
        g_prefix_error(error, "Pacemaker is not answering on this node: ");
        return NULL;
    }
    return pacemaker_status_parse(xml, error);
}

gboolean daemon_is_dc(Daemon *daemon, const PacemakerStatus *status)
{
    return status && status->quorate && g_strcmp0(status->dc, daemon->config->node) == 0;
}

gboolean daemon_is_judge(Daemon *daemon, const PacemakerStatus *status)
{
    if (!status || !status->quorate || !status->dc || daemon_is_dc(daemon, status)) {
        return daemon_is_dc(daemon, status);
    }
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        gboolean before_us = node->id < daemon->config->node_id || g_str_equal(node->name, status->dc);
        if (before_us && daemon_agent_present(daemon, (guint32) node->id)) {
            return FALSE;
        }
    }
    return daemon_agent_present(daemon, (guint32) daemon->config->node_id);
}

gboolean daemon_lease_keep(Daemon *daemon, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_mutex_lock(&daemon->lock);
    gint64 lease = daemon->lease;
    g_mutex_unlock(&daemon->lock);
    if (lease && store_lease_keepalive(daemon->store, lease, &problem)) {
        return TRUE;
    }
    if (lease && !g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    if (!store_lease_grant(daemon->store, LEASE_TTL_S, &lease, error)) {
        return FALSE;
    }
    g_mutex_lock(&daemon->lock);
    daemon->lease = lease;
    g_hash_table_remove_all(daemon->published);
    g_hash_table_remove_all(daemon->settled);
    g_mutex_unlock(&daemon->lock);
    return TRUE;
}

gboolean daemon_publish(Daemon *daemon, const char *key, const char *text, GError **error)
{
    g_mutex_lock(&daemon->lock);
    gint64 lease = daemon->lease;
    gboolean same = g_strcmp0(g_hash_table_lookup(daemon->published, key), text) == 0;
    g_mutex_unlock(&daemon->lock);
    if (same) {
        return TRUE;
    }
    if (lease == 0) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "no lease in the store yet");
        return FALSE;
    }
    if (!store_put(daemon->store, key, text, -1, lease, NULL, error)) {
        return FALSE;
    }
    g_mutex_lock(&daemon->lock);
    if (daemon->lease == lease) {
        g_hash_table_insert(daemon->published, g_strdup(key), g_strdup(text));
    }
    g_mutex_unlock(&daemon->lock);
    return TRUE;
}

void daemon_status_due(Daemon *daemon)
{
    g_mutex_lock(&daemon->lock);
    daemon->status_due = TRUE;
    g_mutex_unlock(&daemon->lock);
    worker_kick(daemon->worker, "node", reconcile_node);
}

void daemon_unpublish(Daemon *daemon, const char *guest)
{
    g_autofree char *key = g_strdup_printf(STORE_ROOT "status/%s/guest/%s", daemon->config->node, guest);
    g_mutex_lock(&daemon->lock);
    g_hash_table_remove(daemon->published, key);
    g_mutex_unlock(&daemon->lock);
    store_delete(daemon->store, key, -1, NULL);
}

gboolean daemon_published(Daemon *daemon, const char *name)
{
    g_autofree char *key = g_strdup_printf(STORE_ROOT "status/%s/%s", daemon->config->node, name);
    g_mutex_lock(&daemon->lock);
    gboolean stands = g_hash_table_contains(daemon->published, key);
    g_mutex_unlock(&daemon->lock);
    return stands;
}

void daemon_kick_guest(Daemon *daemon, const char *guest)
{
    g_autofree char *key = g_strconcat("guest/", guest, NULL);
    worker_kick(daemon->worker, key, reconcile_guest);
}

void daemon_kick_cluster(Daemon *daemon)
{
    worker_kick(daemon->worker, "cluster", reconcile_cluster);
}

void daemon_kick_node(Daemon *daemon)
{
    worker_kick(daemon->worker, "node", reconcile_node);
    worker_kick(daemon->worker, "witness", witness_look);
    worker_kick(daemon->worker, "disks", disk_care_look);
    worker_kick(daemon->worker, "pool", pool_care_look);
}

void daemon_kick_operation(Daemon *daemon, const char *id)
{
    g_autofree char *key = g_strconcat("op/", id, NULL);
    worker_kick(daemon->drivers, key, operation_drive);
}

json_t *daemon_peer_call(Daemon *daemon, const char *node, const char *verb, json_t *arguments, int timeout_ms,
                         GError **error)
{
    guint32 id = node_id(daemon, node);
    if (id == 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "node '%s' is not in this cluster", node);
        return NULL;
    }
    json_t *result = peer_call(daemon->peer, id, verb, arguments, timeout_ms, error);
    if (!result && error && *error) {
        g_prefix_error(error, "%s on %s: ", verb, node);
    }
    return result;
}

void daemon_event(Daemon *daemon, const char *kind, const char *object, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    log_line(LOG_LEVEL_NOTICE, "%s %s: %s", kind, object, text);
    g_autofree char *id = ident_new_uuid();
    g_autofree char *key = g_strconcat(STORE_ROOT "event/", id, NULL);
    g_autofree char *time = ident_timestamp();
    g_autoptr(json_t) event = json_pack("{s:i,s:s,s:s,s:s,s:s,s:s}", "version", 1, "time", time, "kind", kind, "object",
                                        object, "text", text, "node", daemon->config->node);
    g_autofree char *document = json_text_from(event);
    g_autoptr(GError) error = NULL;
    gint64 lease = 0;
    if (!store_lease_grant(daemon->store, EVENT_TTL_S, &lease, &error) ||
        !store_put(daemon->store, key, document, 0, lease, NULL, &error)) {
        log_line(LOG_LEVEL_WARNING, "event could not be stored: %s", error->message);
    }
}
