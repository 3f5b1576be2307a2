/* SPDX-License-Identifier: Apache-2.0
 * What one holdfastd does for the whole cluster. The DC's: projection into the CIB, the end of deletions and
 * hand-overs, powering fenced nodes on; on a change of DC the new one simply goes on, since everything is in the store.
 * Judging operations is for the present holdfastd with the smallest node id. Both only in a quorate partition. */
#include "node-agent/reconcile.h"

#include "cluster/cluster_config.h"
#include "cluster/projection.h"
#include "common/error.h"
#include "common/log.h"
#include "fencing/device.h"
#include "fencing/power_budget.h"
#include "node-agent/fence_secrets.h"
#include "node-agent/guest_document.h"
#include "node-agent/operation.h"
#include "node-agent/verify.h"
#include "storage/record.h"

#define FULL_ROUND_US (60 * G_USEC_PER_SEC)
#define LOOK_US (15 * G_USEC_PER_SEC)

/* The figures of the nodes' memory may come from the cache: old ones do no harm. So may each node's word which secrets
 * it has: it counts only for the very secrets (by their digest) that the device has in this input. */
static ProjectionInput *projection_read(gpointer user_data, GError **error)
{
    Daemon *daemon = user_data;
    g_autofree char *damaged = NULL;
    ProjectionInput *input = projection_input_read(daemon->store, &damaged, error);
    if (damaged) {
        log_line(LOG_LEVEL_ERROR, "projection: nothing is taken out of Pacemaker until this is repaired: %s", damaged);
    }
    if (input) {
        input->node_statuses = g_ptr_array_new_with_free_func((GDestroyNotify) node_status_free);
    }
    for (guint i = 0; input && i < input->nodes->len; i++) {
        g_autofree char *key = g_strdup_printf("status/%s/node", ((const Node *) input->nodes->pdata[i])->name);
        NodeStatus *status = cache_object(daemon->cache, &node_status_type, key, NULL);
        if (status) {
            g_ptr_array_add(input->node_statuses, status);
        }
    }
    g_autoptr(ClusterConfig) config = cache_object(daemon->cache, &cluster_config_type, "cluster/config", NULL);
    if (input) {
        input->token_ms = config ? config->corosync.token_ms : 0;
        input->secrets_stored = fence_secrets_stored(daemon, input->nodes, input->fence_devices);
    }
    return input;
}

/* FALSE: not written, to be tried again. */
static gboolean project(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    gboolean changed = FALSE;
    if (!projection_apply(daemon->runner, projection_read, daemon, &changed, &error)) {
        log_line(LOG_LEVEL_WARNING, "projection into the CIB: %s", error->message);
        return FALSE;
    }
    return TRUE;
}

/* A node that was removed for good has nothing to say any more. */
static gboolean gone_on(Daemon *daemon, const char *node, const char *guest)
{
    g_autofree char *node_key = g_strconcat(STORE_ROOT "node/", node, NULL);
    g_autoptr(StoreEntry) member = cache_get(daemon->cache, node_key);
    if (!member) {
        return TRUE;
    }
    g_autofree char *key = g_strdup_printf("status/%s/guest/%s", node, guest);
    g_autoptr(GuestStatus) status = cache_object(daemon->cache, &guest_status_type, key, NULL);
    return status && status->gone;
}

/* All replicas are gone: one transaction takes the guest's keys out of the store. */
static void finish_deletion(Daemon *daemon, const Guest *guest, gint64 revision)
{
    g_autoptr(StoreTxn) txn = store_txn_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *guest_key = g_strconcat(STORE_ROOT "guest/", guest->name, NULL);
    g_autofree char *record = record_key(guest->name);
    g_autofree char *slot = g_strdup_printf(STORE_ROOT "slot/%" G_GINT64_FORMAT, guest->slot);
    g_autofree char *verified = g_strconcat(STORE_ROOT VERIFIED_PREFIX, guest->name, NULL);
    for (char **node = guest->nodes; *node; node++) {
        if (!gone_on(daemon, *node, guest->name)) {
            return;
        }
    }
    /* Only the very document that was looked at: a namesake created meanwhile is another guest. */
    store_txn_if_revision(txn, guest_key, revision);
    store_txn_delete(txn, guest_key);
    store_txn_delete(txn, record);
    store_txn_delete(txn, slot);
    store_txn_delete(txn, verified);
    for (guint i = 0; i < guest->spec.volumes->len; i++) {
        g_autofree char *volume = g_strdup_printf(STORE_ROOT "volume/%s-%u", guest->name, i);
        store_txn_delete(txn, volume);
    }
    for (char **node = guest->nodes; *node; node++) {
        g_autofree char *status = g_strdup_printf(STORE_ROOT "status/%s/guest/%s", *node, guest->name);
        store_txn_delete(txn, status);
    }
    if (!store_txn_commit(daemon->store, txn, NULL, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': deletion not finished: %s", guest->name, error->message);
    }
}

/* Whether the guest has arrived where it was wanted: stickiness keeps it there, and the preference may go. */
static gboolean has_arrived(const Guest *guest, const PacemakerStatus *pacemaker)
{
    const PacemakerResource *resource = pacemaker_status_resource(pacemaker, guest->name);
    return guest->preferred_node && resource && g_strcmp0(resource->node, guest->preferred_node) == 0 &&
           !resource->pending && resource->n_running_on == 1;
}

static void follow_guests(Daemon *daemon, const PacemakerStatus *pacemaker)
{
    g_autoptr(GPtrArray) entries = cache_list(daemon->cache, STORE_ROOT "guest/");
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        g_autoptr(Guest) guest = object_from_text(&guest_type, entry->value, entry->key, NULL);
        if (guest && guest->deleting) {
            finish_deletion(daemon, guest, entry->mod_revision);
        } else if (guest && has_arrived(guest, pacemaker)) {
            guest_unprefer(daemon->store, guest->name, guest->preferred_node, NULL); /* else in the next round */
        }
    }
}

static void follow_operations(Daemon *daemon, const PacemakerStatus *pacemaker)
{
    g_autoptr(GPtrArray) operations = cache_objects(daemon->cache, &operation_type, "op/");
    for (guint i = 0; i < operations->len; i++) {
        Operation *operation = operations->pdata[i];
        if (operation->state == OPERATION_RUNNING) {
            operation_judge(daemon, operation, pacemaker);
        }
    }
    operation_judge_proofs(daemon);
}

/* Since when each node is seen off; only the one "cluster" task comes here. */
static gint64 *off_since_ms(const char *node)
{
    static GHashTable *times = NULL;
    if (!times) {
        times = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    }
    gint64 *since_ms = g_hash_table_lookup(times, node);
    if (!since_ms) {
        since_ms = g_new0(gint64, 1);
        g_hash_table_insert(times, g_strdup(node), since_ms);
    }
    return since_ms;
}

static void power_on(Daemon *daemon, const FenceDevice *device)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *object = g_strconcat("node/", device->node, NULL);
    if (power_budget_spend(daemon->store, device->node, &error) &&
        fence_device_power_on(daemon->runner, device, &error)) {
        daemon_event(daemon, "node.powered_on", object, "was off after fencing, powered on again");
    } else {
        daemon_event(daemon, "node.power_on_failed", object, "%s", error->message);
    }
}

static gboolean node_is_clean_down(const PacemakerStatus *pacemaker, const char *name)
{
    for (guint i = 0; i < pacemaker->nodes->len; i++) {
        const PacemakerNode *node = pacemaker->nodes->pdata[i];
        if (g_str_equal(node->name, name)) {
            return !node->online && node->clean;
        }
    }
    return FALSE;
}

/* Somebody switched it on, or it came back: its budget counts again. */
static void power_allow(Daemon *daemon, const char *node)
{
    g_autofree char *key = power_budget_left_off_key(node);
    g_autoptr(StoreEntry) left_off = cache_get(daemon->cache, key);
    *off_since_ms(node) = 0;
    if (left_off) {
        power_budget_leave_off(daemon->store, node, FALSE, NULL); /* tried again in the next round */
    }
}

static void power_follow(Daemon *daemon, const PacemakerStatus *pacemaker, const FenceDevice *device)
{
    FencePower power = FENCE_POWER_UNKNOWN;
    PowerBudget budget = {0};
    g_autoptr(GError) error = NULL;
    if (!node_is_clean_down(pacemaker, device->node) || !fence_device_status(daemon->runner, device, &power, NULL)) {
        *off_since_ms(device->node) = 0;
        return;
    }
    if (power != FENCE_POWER_OFF) {
        power_allow(daemon, device->node);
        return;
    }
    if (!power_budget_read(daemon->store, device->node, &budget, &error)) {
        log_line(LOG_LEVEL_WARNING, "power-on of %s waits for the store: %s", device->node, error->message);
        return;
    }
    gint64 now_ms = g_get_monotonic_time() / 1000;
    PowerDecision decision = power_decide(off_since_ms(device->node), &budget, TRUE, now_ms);
    if (decision == POWER_TURN_ON) {
        *off_since_ms(device->node) = 0;
        power_on(daemon, device);
    } else if (decision == POWER_LEAVE_OFF && !budget.left_off &&
               power_budget_leave_off(daemon->store, device->node, TRUE, NULL)) {
        g_autofree char *object = g_strconcat("node/", device->node, NULL);
        daemon_event(daemon, "node.left_off", object,
                     "was powered on %d times within an hour and is off again: it stays off until somebody switches it "
                     "on; find out why it dies",
                     POWER_ON_BUDGET_PER_HOUR);
    }
}

/* A node that was shut down in order said so in its boot document (reconcile_mark_left) and is never powered on. */
static gboolean left_in_order(Daemon *daemon, const char *node)
{
    g_autofree char *key = g_strconcat("boot/", node, NULL);
    g_autoptr(NodeBoot) boot = cache_object(daemon->cache, &node_boot_type, key, NULL);
    return !boot || boot->left;
}

static void follow_power(Daemon *daemon, const PacemakerStatus *pacemaker)
{
    g_autoptr(GPtrArray) devices = cache_objects(daemon->cache, &fence_device_type, "fence/");
    for (guint i = 0; i < devices->len; i++) {
        const FenceDevice *device = devices->pdata[i];
        if (daemon_node_online(daemon, device->node)) {
            power_allow(daemon, device->node);
        } else if (device->state == FENCE_PROVEN && !g_str_equal(device->node, daemon->config->node) &&
                   !left_in_order(daemon, device->node)) {
            power_follow(daemon, pacemaker, device);
        }
    }
}

/* What the cache knows of the things the projection is made from, as one text: it only says when to project again. */
static char *projection_basis(Daemon *daemon)
{
    static const char *const prefixes[] = {"node/", "fence/", "guest/", "record/", "cluster/witness"};
    GString *text = g_string_new(NULL);
    for (gsize p = 0; p < G_N_ELEMENTS(prefixes); p++) {
        g_autofree char *prefix = g_strconcat(STORE_ROOT, prefixes[p], NULL);
        g_autoptr(GPtrArray) entries = cache_list(daemon->cache, prefix);
        for (guint i = 0; i < entries->len; i++) {
            const StoreEntry *entry = entries->pdata[i];
            g_string_append_printf(text, "%s@%" G_GINT64_FORMAT " ", entry->key, entry->mod_revision);
        }
    }
    fence_secrets_basis(daemon, text);
    return g_string_free(text, FALSE);
}

static gboolean node_is_away(Daemon *daemon)
{
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    for (guint i = 0; i < nodes->len; i++) {
        if (!daemon_node_online(daemon, ((const Node *) nodes->pdata[i])->name)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Somebody waits for something that only shows in Pacemaker's status. */
static gboolean something_is_pending(Daemon *daemon)
{
    g_autoptr(GPtrArray) operations = cache_objects(daemon->cache, &operation_type, "op/");
    g_autoptr(GPtrArray) guests = cache_objects(daemon->cache, &guest_type, "guest/");
    gboolean pending = FALSE;
    for (guint i = 0; i < operations->len; i++) {
        pending |= ((const Operation *) operations->pdata[i])->state == OPERATION_RUNNING;
    }
    for (guint i = 0; i < guests->len; i++) {
        const Guest *guest = guests->pdata[i];
        pending |= guest->deleting || guest->preferred_node;
    }
    return pending;
}

/* Asking Pacemaker costs it and us a good part of a second of computing: so only when the store's part changed, when
 * this node acts on the answer and something is pending, while a node is away (the DC may have been on it), or after a
 * while, since another node may have become the DC. */
static gboolean round_is_due(Daemon *daemon, const char *basis)
{
    return g_strcmp0(daemon->looked_basis, basis) != 0 || g_get_monotonic_time() - daemon->looked_at_us > LOOK_US ||
           node_is_away(daemon) || (daemon->looked_in_charge && something_is_pending(daemon));
}

void reconcile_cluster(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    Daemon *daemon = user_data;
    g_autofree char *basis = projection_basis(daemon);
    if (!round_is_due(daemon, basis)) {
        return;
    }
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(daemon, NULL);
    if (pacemaker && pacemaker->dc) {
        /* While there is no DC, or no answer, every round asks again. */
        g_free(daemon->looked_basis);
        daemon->looked_basis = g_strdup(basis);
        daemon->looked_at_us = g_get_monotonic_time();
    } else {
        g_clear_pointer(&daemon->looked_basis, g_free);
    }
    gboolean judge = daemon_is_judge(daemon, pacemaker), dc = daemon_is_dc(daemon, pacemaker);
    daemon->looked_in_charge = judge || dc;
    if (judge) {
        follow_operations(daemon, pacemaker);
        verify_when_due(daemon);
    }
    if (!dc) {
        /* Not ours to do. When it becomes ours, the first round projects: in between others may have. */
        g_clear_pointer(&daemon->projected_basis, g_free);
        return;
    }
    /* After a minute again: others may have edited the CIB. */
    gboolean same = g_strcmp0(daemon->projected_basis, basis) == 0 &&
                    g_get_monotonic_time() - daemon->projected_at_us < FULL_ROUND_US;
    if (!same && project(daemon)) {
        g_free(daemon->projected_basis);
        daemon->projected_basis = g_steal_pointer(&basis);
        daemon->projected_at_us = g_get_monotonic_time();
    } else if (!same) {
        g_clear_pointer(&daemon->looked_basis, g_free); /* the next round tries again */
    }
    follow_guests(daemon, pacemaker);
    follow_power(daemon, pacemaker);
}
