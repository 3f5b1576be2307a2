/* SPDX-License-Identifier: Apache-2.0
 * What the DC's holdfastd does for the whole cluster: projection into the CIB, the end of deletions and hand-overs,
 * judging operations, powering fenced nodes on. Only where Pacemaker's DC is and the partition is quorate; on a change
 * of DC the new one simply goes on, since everything is in the store. */
#include "node-agent/reconcile.h"

#include "cluster/projection.h"
#include "cluster/witness.h"
#include "common/error.h"
#include "common/log.h"
#include "fencing/device.h"
#include "fencing/power.h"
#include "node-agent/operation.h"
#include "storage/record.h"

#define FULL_ROUND_US (60 * G_USEC_PER_SEC)

static ProjectionGuest *projection_guest(Daemon *daemon, Guest *guest)
{
    ProjectionGuest *projected = g_new0(ProjectionGuest, 1);
    char reason[200];
    g_autofree char *key = record_key(guest->name);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    projected->guest = guest;
    projected->have_record = entry && record_decode(entry->value, &projected->record, reason, sizeof(reason));
    /* Sticky on purpose: once initialised, a guest stays in the CIB whatever its replicas' nodes are doing. */
    projected->ready = projected->have_record && projected->record.state != RECORD_NEW;
    return projected;
}

/* FALSE: not written, to be tried again. */
static gboolean project(Daemon *daemon)
{
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    g_autoptr(GPtrArray) devices = cache_objects(daemon->cache, &fence_device_type, "fence/");
    g_autoptr(GPtrArray) guests = cache_objects(daemon->cache, &guest_type, "guest/");
    g_autoptr(GPtrArray) projected = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    gboolean changed = FALSE;
    for (guint i = 0; i < guests->len; i++) {
        g_ptr_array_add(projected, projection_guest(daemon, guests->pdata[i]));
    }
    g_autoptr(GPtrArray) statuses = g_ptr_array_new_with_free_func((GDestroyNotify) node_status_free);
    for (guint i = 0; i < nodes->len; i++) {
        g_autofree char *key = g_strdup_printf("status/%s/node", ((const Node *) nodes->pdata[i])->name);
        NodeStatus *status = cache_object(daemon->cache, &node_status_type, key, NULL);
        if (status) {
            g_ptr_array_add(statuses, status);
        }
    }
    g_autoptr(Witness) witness = cache_object(daemon->cache, &witness_type, "cluster/witness", NULL);
    ProjectionInput input = {.nodes = nodes,
                             .fence_devices = devices,
                             .guests = projected,
                             .node_statuses = statuses,
                             .quorum_device = witness_votes(witness, nodes->len)};
    if (nodes->len == 0) {
        return TRUE; /* never project an empty store over a live cluster */
    }
    if (!projection_apply(daemon->runner, &input, &changed, &error)) {
        log_line(LOG_LEVEL_WARNING, "projection into the CIB: %s", error->message);
        return FALSE;
    }
    return TRUE;
}

static gboolean gone_on(Daemon *daemon, const char *node, const char *guest)
{
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

/* The guest arrived where it was wanted: stickiness keeps it there, the preference goes. */
static void drop_preference(Daemon *daemon, Guest *guest, gint64 revision, const PacemakerStatus *pacemaker)
{
    const PacemakerResource *resource = pacemaker_status_resource(pacemaker, guest->name);
    if (!guest->preferred_node || !resource || g_strcmp0(resource->node, guest->preferred_node) != 0 ||
        resource->pending || resource->n_running_on != 1) {
        return;
    }
    g_clear_pointer(&guest->preferred_node, g_free);
    g_autofree char *key = g_strconcat(STORE_ROOT "guest/", guest->name, NULL);
    g_autofree char *text = object_to_text(&guest_type, guest);
    store_put(daemon->store, key, text, revision, 0, NULL, NULL);
}

static void follow_guests(Daemon *daemon, const PacemakerStatus *pacemaker)
{
    g_autoptr(GPtrArray) entries = cache_list(daemon->cache, STORE_ROOT "guest/");
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        g_autoptr(Guest) guest = object_from_text(&guest_type, entry->value, entry->key, NULL);
        if (guest && guest->deleting) {
            finish_deletion(daemon, guest, entry->mod_revision);
        } else if (guest && guest->preferred_node) {
            drop_preference(daemon, guest, entry->mod_revision, pacemaker);
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
}

/* Power-on history lives in memory of the DC's daemon: a new DC starts with an empty budget, which errs towards
 * powering on. */
static PowerHistory *power_history(const char *node)
{
    static GHashTable *histories = NULL; /* only the one "cluster" task comes here */
    if (!histories) {
        histories = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    }
    PowerHistory *history = g_hash_table_lookup(histories, node);
    if (!history) {
        history = g_new0(PowerHistory, 1);
        g_hash_table_insert(histories, g_strdup(node), history);
    }
    return history;
}

static void power_follow(Daemon *daemon, const PacemakerStatus *pacemaker, const FenceDevice *device)
{
    const PacemakerNode *found = NULL;
    for (guint i = 0; i < pacemaker->nodes->len; i++) {
        const PacemakerNode *node = pacemaker->nodes->pdata[i];
        if (g_str_equal(node->name, device->node)) {
            found = node;
        }
    }
    FencePower power = FENCE_POWER_UNKNOWN;
    gboolean absent = found && !found->online && found->clean && !daemon_node_online(daemon, device->node);
    gboolean is_off = absent && fence_device_status(daemon->runner, device, &power, NULL) && power == FENCE_POWER_OFF;
    PowerHistory *history = power_history(device->node);
    gint64 now_ms = g_get_monotonic_time() / 1000;
    if (power_decide(history, is_off, now_ms) != POWER_TURN_ON) {
        return;
    }
    g_autoptr(GError) error = NULL;
    g_autofree char *object = g_strconcat("node/", device->node, NULL);
    power_record_attempt(history, now_ms);
    if (fence_device_power_on(daemon->runner, device, &error)) {
        daemon_event(daemon, "node.powered_on", object, "was off after fencing, powered on again");
    } else {
        daemon_event(daemon, "node.power_on_failed", object, "%s", error->message);
    }
}

/* A node that was shut down in order said so in its boot document (reconcile_mark_left) and is never powered on. */
static gboolean left_in_order(Daemon *daemon, const char *node)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "boot/", node, NULL);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    g_autoptr(json_t) document = entry ? json_text_parse(entry->value, -1, key, NULL) : NULL;
    return !document || json_is_true(json_object_get(document, "left"));
}

static void follow_power(Daemon *daemon, const PacemakerStatus *pacemaker)
{
    g_autoptr(GPtrArray) devices = cache_objects(daemon->cache, &fence_device_type, "fence/");
    for (guint i = 0; i < devices->len; i++) {
        const FenceDevice *device = devices->pdata[i];
        if (device->state == FENCE_PROVEN && !g_str_equal(device->node, daemon->config->node) &&
            !daemon_node_online(daemon, device->node) && !left_in_order(daemon, device->node)) {
            power_follow(daemon, pacemaker, device);
        }
    }
}

/* Everything the projection is made from, as one text. */
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
    return g_string_free(text, FALSE);
}

/* Somebody waits for something that only shows in Pacemaker's status, or a node is away. */
static gboolean something_is_pending(Daemon *daemon)
{
    g_autoptr(GPtrArray) operations = cache_objects(daemon->cache, &operation_type, "op/");
    g_autoptr(GPtrArray) guests = cache_objects(daemon->cache, &guest_type, "guest/");
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    gboolean pending = FALSE;
    for (guint i = 0; i < operations->len; i++) {
        pending |= ((const Operation *) operations->pdata[i])->state == OPERATION_RUNNING;
    }
    for (guint i = 0; i < guests->len; i++) {
        const Guest *guest = guests->pdata[i];
        pending |= guest->deleting || guest->preferred_node;
    }
    for (guint i = 0; i < nodes->len; i++) {
        pending |= !daemon_node_online(daemon, ((const Node *) nodes->pdata[i])->name);
    }
    return pending;
}

/* Programs are run only when the store's part changed, something is pending, or a minute has passed (others may have
 * edited the CIB). */
static gboolean round_is_due(Daemon *daemon, const char *basis)
{
    gint64 now_us = g_get_monotonic_time();
    return g_strcmp0(daemon->projected_basis, basis) != 0 || now_us - daemon->projected_at_us > FULL_ROUND_US ||
           something_is_pending(daemon);
}

void reconcile_cluster(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    Daemon *daemon = user_data;
    g_autofree char *basis = projection_basis(daemon);
    if (!round_is_due(daemon, basis)) {
        return;
    }
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(daemon, NULL);
    if (!daemon_is_dc(daemon, pacemaker)) {
        /* Not ours to do; a change of DC is noticed within the full round, or at once through the membership. */
        return;
    }
    gboolean same = g_strcmp0(daemon->projected_basis, basis) == 0 &&
                    g_get_monotonic_time() - daemon->projected_at_us < FULL_ROUND_US;
    if (!same && project(daemon)) {
        g_free(daemon->projected_basis);
        daemon->projected_basis = g_steal_pointer(&basis);
        daemon->projected_at_us = g_get_monotonic_time();
    }
    follow_guests(daemon, pacemaker);
    follow_operations(daemon, pacemaker);
    follow_power(daemon, pacemaker);
}
