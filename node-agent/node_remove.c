/* SPDX-License-Identifier: Apache-2.0
 * Removal of a node. It is first marked as leaving, so the planner gives it nothing new; then it stops counting (etcd);
 * then it is forgotten. A node that comes back later finds nobody who talks to it: etcd refuses a removed member and
 * corosync does not know its address. */
#include "node-agent/node_remove.h"

#include "cluster/corosync_conf.h"
#include "cluster/etcd_conf.h"
#include "common/error.h"
#include "fencing/power_budget.h"
#include "node-agent/join.h"
#include "node-agent/join_admit.h"

#include <string.h>

#define CRM_NODE_TIMEOUT_MS 20000

typedef struct {
    const SetupContext *context;
    Store *store;
    const char *name;
    Node *node;
    gint64 node_revision;
    gint64 lock_lease, lock_revision;
    gboolean gone; /* for good: what is being deleted waits for it no more */
} Removal;

static void removal_clear(Removal *removal)
{
    if (removal->lock_lease) {
        store_lease_revoke(removal->store, removal->lock_lease, NULL);
    }
    g_clear_pointer(&removal->node, node_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Removal, removal_clear)

static gboolean refuse(GError **error, int code, const char *format, ...) G_GNUC_PRINTF(3, 4);
static gboolean refuse(GError **error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error_literal(error, HOLDFAST_ERROR, code, text);
    return FALSE;
}

static gboolean load(Removal *removal, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *key = g_strconcat(STORE_ROOT "node/", removal->name, NULL);
    g_autoptr(StoreEntry) entry = store_get(removal->store, key, NULL, &problem);
    if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        return refuse(error, HOLDFAST_ERROR_NOT_FOUND, "name: there is no node '%s'", removal->name);
    }
    if (!entry) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    removal->node_revision = entry->mod_revision;
    removal->node = object_from_text(&node_type, entry->value, entry->key, error);
    return removal->node != NULL;
}

static gboolean check_guests(const Removal *removal, GError **error)
{
    g_autoptr(GPtrArray) entries = store_list(removal->store, STORE_ROOT "guest/", NULL, error);
    g_autoptr(GString) names = g_string_new(NULL);
    for (guint i = 0; entries && i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        g_autoptr(Guest) guest = object_from_text(&guest_type, entry->value, entry->key, error);
        if (!guest) {
            return FALSE;
        }
        if (guest_on_node(guest, removal->name) && !(removal->gone && guest->deleting)) {
            g_string_append_printf(names, "%s%s", names->len ? ", " : "", guest->name);
        }
    }
    if (entries && names->len) {
        return refuse(error, HOLDFAST_ERROR_REFUSED,
                      "name: node '%s' holds replicas of %s: delete these guests or move their replicas first; if the "
                      "node is off for good, 'holdfast node remove %s --gone' builds them anew elsewhere",
                      removal->name, names->str, removal->name);
    }
    return entries != NULL;
}

/* Drop `name` from the holders. NULL when it is none of them. */
static char **holders_without(char *const *nodes, const char *name)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    gboolean found = FALSE;
    for (; nodes && *nodes; nodes++) {
        if (strcmp(*nodes, name) == 0) {
            found = TRUE;
        } else {
            g_strv_builder_add(builder, *nodes);
        }
    }
    return found ? g_strv_builder_end(builder) : NULL;
}

static gboolean txn_image(StoreTxn *txn, const StoreEntry *entry, const char *name, GError **error)
{
    g_autoptr(Image) image = object_from_text(&image_type, entry->value, entry->key, error);
    if (!image) {
        return FALSE;
    }
    char **holders = holders_without(image->nodes, name);
    if (!holders) {
        return TRUE;
    }
    g_strfreev(image->nodes);
    image->nodes = holders;
    if (!holders[0]) {
        return refuse(error, HOLDFAST_ERROR_REFUSED,
                      "name: node '%s' has the only copy of image '%s': delete the image first", name, image->name);
    }
    g_autofree char *text = object_to_text(&image_type, image);
    store_txn_if_revision(txn, entry->key, entry->mod_revision);
    store_txn_put(txn, entry->key, text, 0);
    return TRUE;
}

static gboolean txn_images(const Removal *removal, StoreTxn *txn, GError **error)
{
    g_autoptr(GPtrArray) entries = store_list(removal->store, STORE_ROOT "image/", NULL, error);
    gboolean ok = entries != NULL;
    for (guint i = 0; ok && i < entries->len; i++) {
        ok = txn_image(txn, entries->pdata[i], removal->name, error);
    }
    return ok;
}

static gboolean mark_leaving(Removal *removal, GError **error)
{
    if (removal->node->leaving) {
        return TRUE;
    }
    removal->node->leaving = TRUE;
    g_autofree char *key = g_strconcat(STORE_ROOT "node/", removal->name, NULL);
    g_autofree char *text = object_to_text(&node_type, removal->node);
    return store_put(removal->store, key, text, removal->node_revision, 0, &removal->node_revision, error);
}

static gboolean remove_member(const Removal *removal, GError **error)
{
    g_autofree char *peer_url = etcd_conf_peer_url(removal->node->ring0, removal->context->etcd_peer_port);
    g_autoptr(GPtrArray) members = store_members(removal->store, error);
    for (guint i = 0; members && i < members->len; i++) {
        const StoreMember *member = members->pdata[i];
        if (g_strv_contains((const char *const *) member->peer_urls, peer_url)) {
            return store_member_remove(removal->store, member->id, error);
        }
    }
    return members != NULL;
}

static gboolean forget(const Removal *removal, StoreTxn *txn, GError **error)
{
    g_autofree char *node_key = g_strconcat(STORE_ROOT "node/", removal->name, NULL);
    g_autofree char *fence_key = g_strconcat(STORE_ROOT "fence/", removal->name, NULL);
    g_autofree char *status_prefix = g_strconcat(STORE_ROOT "status/", removal->name, "/", NULL);
    g_autofree char *power_prefix = power_budget_prefix(removal->name);
    store_txn_if_revision(txn, JOIN_LOCK_KEY, removal->lock_revision);
    store_txn_if_revision(txn, node_key, removal->node_revision);
    store_txn_delete(txn, node_key);
    store_txn_delete(txn, fence_key);
    store_txn_delete_prefix(txn, status_prefix);
    store_txn_delete_prefix(txn, power_prefix);
    return store_txn_commit(removal->store, txn, NULL, error);
}

static gboolean follow(const Removal *removal, GError **error)
{
    const SetupContext *context = removal->context;
    g_autoptr(GPtrArray) nodes = join_nodes_load(removal->store, error);
    g_autoptr(ClusterConfig) config = nodes ? cluster_config_load(removal->store, error) : NULL;
    g_autoptr(Witness) witness = NULL;
    if (!config || !witness_load(removal->store, &witness, NULL, error) ||
        !corosync_conf_reconcile(context->prefix, context->runner, config, nodes, witness, context->etcd_client_port,
                                 NULL, error)) {
        return FALSE;
    }
    g_autoptr(GError) problem = NULL;
    if (!process_call(context->runner, CRM_NODE_TIMEOUT_MS, NULL, &problem, "/usr/sbin/crm_node", "--force", "-R",
                      removal->name, NULL)) {
        setup_progress(context, "Pacemaker still remembers node '%s' (%s): `crm_node -R %s` later", removal->name,
                       problem->message, removal->name);
    }
    return TRUE;
}

gboolean node_remove(const SetupContext *context, Store *store, const char *self, const char *node, gboolean online,
                     gboolean gone, GError **error)
{
    g_auto(Removal) removal = {.context = context, .store = store, .name = node, .gone = gone};
    g_autofree char *holder = g_strconcat("removal of ", node, NULL);
    g_autoptr(StoreTxn) txn = store_txn_new();
    if (strcmp(self, node) == 0) {
        return refuse(error, HOLDFAST_ERROR_REFUSED,
                      "name: a node cannot remove itself: run this on another node, with '%s' shut down", node);
    }
    /* Guests first: nobody shall shut a node down only to hear then that it cannot be removed. */
    if (!load(&removal, error) || !check_guests(&removal, error)) {
        return FALSE;
    }
    if (online) {
        return refuse(error, HOLDFAST_ERROR_REFUSED, "name: node '%s' is online: shut it down first", node);
    }
    if (!join_lock_take(store, holder, &removal.lock_lease, &removal.lock_revision, error) ||
        !check_guests(&removal, error) || !txn_images(&removal, txn, error) || !mark_leaving(&removal, error) ||
        !remove_member(&removal, error) || !forget(&removal, txn, error)) {
        return FALSE;
    }
    setup_progress(context, "node '%s' was removed", node);
    return follow(&removal, error);
}
