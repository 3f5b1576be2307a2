/* SPDX-License-Identifier: Apache-2.0
 * Verbs on guests and volumes. A change is one transaction of the new document and its operation, conditioned on what
 * it was planned from. */
#include "node-agent/verbs.h"

#include "cluster/admission.h"
#include "cluster/projection.h"
#include "common/error.h"
#include "common/ident.h"
#include "node-agent/operation.h"
#include "node-agent/plan_snapshot.h"
#include "node-agent/verify.h"
#include "node-agent/views.h"
#include "storage/pool.h"
#include "storage/record.h"

#include <stdlib.h>
#include <string.h>

#define MIB ((gint64) 1024 * 1024)

#define PLAN_TRIES 5

static void record_add_to(StoreTxn *txn, const char *guest)
{
    Record record = {.generation = 1, .state = RECORD_NEW};
    g_autofree char *key = record_key(guest);
    char *text = record_encode(&record);
    store_txn_if_revision(txn, key, 0);
    store_txn_put(txn, key, text, 0);
    free(text);
}

/* Guest, volumes, slot, record and operation appear together or not at all. */
static gboolean guest_store(Daemon *daemon, const Guest *guest, const GPtrArray *volumes, const Operation *operation,
                            GError **error)
{
    g_autoptr(StoreTxn) txn = store_txn_new();
    g_autofree char *guest_key = g_strconcat(STORE_ROOT "guest/", guest->name, NULL);
    g_autofree char *guest_text = object_to_text(&guest_type, guest);
    g_autofree char *slot_key = g_strdup_printf(STORE_ROOT "slot/%" G_GINT64_FORMAT, guest->slot);
    g_autoptr(json_t) slot = json_pack("{s:i,s:s}", "version", 1, "guest", guest->name);
    g_autofree char *slot_text = json_text_from(slot);
    store_txn_if_revision(txn, guest_key, 0);
    store_txn_if_revision(txn, slot_key, 0);
    store_txn_put(txn, guest_key, guest_text, 0);
    store_txn_put(txn, slot_key, slot_text, 0);
    for (guint i = 0; i < volumes->len; i++) {
        g_autofree char *key = g_strdup_printf(STORE_ROOT "volume/%s-%u", guest->name, i);
        g_autofree char *text = object_to_text(&volume_type, volumes->pdata[i]);
        store_txn_if_revision(txn, key, 0);
        store_txn_put(txn, key, text, 0);
    }
    record_add_to(txn, guest->name);
    operation_add_to(txn, operation);
    return store_txn_commit(daemon->store, txn, NULL, error);
}

static gboolean guest_plan_and_store(Daemon *daemon, const char *name, const GuestSpec *spec, Operation *operation,
                                     GError **error)
{
    g_auto(PlanSnapshot) snapshot = {0};
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(daemon, NULL);
    g_autoptr(Guest) guest = NULL;
    GPtrArray *volumes = NULL;
    g_autofree char *reasons = NULL;
    plan_snapshot_take(daemon, pacemaker, &snapshot);
    gboolean ok = plan_guest(&snapshot, name, spec, &guest, &volumes, &reasons, error);
    if (ok) {
        g_free(operation->stage);
        operation->stage = g_strdup_printf("placed: %s", reasons ? reasons : "");
        ok = guest_store(daemon, guest, volumes, operation, error);
    }
    if (volumes) {
        g_ptr_array_unref(volumes);
    }
    return ok;
}

static json_t *guest_create(const VerbCall *call, GError **error)
{
    const char *name = verb_string(call, "name", error);
    GuestSpec spec = {0};
    if (!name || !ident_check_name(name, "name", error) || !projection_check_guest_name(name, error) ||
        !guest_spec_from_json(json_object_get(call->arguments, "spec"), &spec, error)) {
        json_struct_clear(&guest_spec_type, &spec);
        return NULL;
    }
    g_autofree char *target = g_strconcat("guest/", name, NULL);
    g_autoptr(Operation) operation = operation_new("guest.create", target, NULL, NULL);
    g_autoptr(GError) problem = NULL;
    gboolean ok = FALSE;
    /* Another create may take the same slot between our plan and our transaction: plan again. */
    for (int tries = 0; tries < PLAN_TRIES && !ok; tries++) {
        g_clear_error(&problem);
        ok = guest_plan_and_store(call->daemon, name, &spec, operation, &problem);
        if (!ok && !g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT)) {
            break;
        }
        if (!ok) {
            g_usleep(100 * 1000); /* let the cache see what we collided with */
        }
    }
    json_struct_clear(&guest_spec_type, &spec);
    if (!ok) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    return operation_view(operation);
}

static json_t *guest_list(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(call->daemon, NULL);
    g_autoptr(GPtrArray) entries = cache_list(call->daemon->cache, STORE_ROOT "guest/");
    json_t *list = json_array();
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        g_autoptr(Guest) guest = object_from_text(&guest_type, entry->value, entry->key, NULL);
        if (guest) {
            json_array_append_new(list, view_guest(call->daemon, guest, entry->mod_revision, pacemaker));
        }
    }
    return list;
}

static json_t *guest_show(const VerbCall *call, GError **error)
{
    gint64 revision = 0;
    g_autoptr(Guest) guest = verb_object(call, &guest_type, "guest", &revision, error);
    if (!guest) {
        return NULL;
    }
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(call->daemon, NULL);
    return view_guest(call->daemon, guest, revision, pacemaker);
}

/* Change the guest document and start an operation in one transaction. */
static json_t *guest_change(const VerbCall *call, const Guest *guest, gint64 revision, Operation *operation,
                            GError **error)
{
    g_autoptr(Operation) owned = operation;
    g_autoptr(StoreTxn) txn = store_txn_new();
    g_autofree char *key = g_strconcat(STORE_ROOT "guest/", guest->name, NULL);
    g_autofree char *text = object_to_text(&guest_type, guest);
    store_txn_if_revision(txn, key, revision);
    store_txn_put(txn, key, text, 0);
    operation_add_to(txn, owned);
    return store_txn_commit(call->daemon->store, txn, NULL, error) ? operation_view(owned) : NULL;
}

Guest *verb_guest_for_change(const VerbCall *call, gint64 *ret_revision, char **ret_target, GError **error)
{
    g_autoptr(Guest) guest = verb_object(call, &guest_type, "guest", ret_revision, error);
    if (!guest) {
        return NULL;
    }
    *ret_target = g_strconcat("guest/", guest->name, NULL);
    if (guest->deleting) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY, "guest '%s' is being deleted", guest->name);
        return NULL;
    }
    return verb_target_free(call, *ret_target, error) ? g_steal_pointer(&guest) : NULL;
}

/* A guest that is to run already was admitted once; asked for again it is helped up, whatever room there is now. */
static gboolean start_is_admitted(const VerbCall *call, const Guest *guest, GError **error)
{
    if (guest->spec.desired == GUEST_DESIRED_RUNNING || json_is_true(json_object_get(call->arguments, "force"))) {
        return TRUE;
    }
    g_auto(PlanSnapshot) snapshot = {0};
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(call->daemon, NULL);
    plan_snapshot_take(call->daemon, pacemaker, &snapshot);
    if (!admission_check(&snapshot, guest, error)) {
        g_prefix_error(error, "not started (--force starts it without the reserve): ");
        return FALSE;
    }
    return TRUE;
}

static json_t *guest_start(const VerbCall *call, GError **error)
{
    gint64 revision = 0;
    g_autofree char *target = NULL;
    g_autoptr(Guest) guest = verb_guest_for_change(call, &revision, &target, error);
    if (!guest || !start_is_admitted(call, guest, error)) {
        return NULL;
    }
    /* Forget earlier failures, or Pacemaker would keep to the restart limit until they are restart_window_s old. */
    pacemaker_cleanup(call->daemon->runner, guest->name, NULL);
    guest->spec.desired = GUEST_DESIRED_RUNNING;
    return guest_change(call, guest, revision, operation_new("guest.start", target, NULL, NULL), error);
}

/* The spec with what is to change: null is the default. */
static json_t *spec_merged(const Guest *guest, json_t *changes, GError **error)
{
    static const char *const changeable[] = {
        "description",   "keep_apart",       "keep_apart_strict", "keep_together", "memory_mib", "priority",
        "restart_limit", "restart_window_s", "start_after",       "vcpus",         NULL};
    g_autoptr(json_t) spec = json_struct_encode(&guest_spec_type, &guest->spec);
    const char *key;
    json_t *value;
    if (!json_is_object(changes) || json_object_size(changes) == 0) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                            "spec: must be an object of the fields to change");
        return NULL;
    }
    json_object_foreach (changes, key, value) {
        if (!g_strv_contains(changeable, key)) {
            g_autofree char *known = g_strjoinv(", ", (char **) changeable);
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                        "spec.%s: cannot be changed like this, only %s can; for the rest there are 'holdfast guest "
                        "start', 'stop' and 'migrate' and 'holdfast volume grow'",
                        key, known);
            return NULL;
        }
        if (json_is_null(value)) {
            json_object_del(spec, key);
        } else {
            json_object_set(spec, key, value);
        }
    }
    return g_steal_pointer(&spec);
}

/* No operation: it is done when it is written, and the projection follows. */
static gboolean guest_store_spec(const VerbCall *call, const Guest *guest, gint64 *revision, GError **error)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "guest/", guest->name, NULL);
    g_autofree char *text = object_to_text(&guest_type, guest);
    if (!store_put(call->daemon->store, key, text, *revision, 0, revision, error)) {
        return FALSE;
    }
    daemon_event(call->daemon, "guest.changed", key + strlen(STORE_ROOT), "its spec was changed by %s", call->user);
    return TRUE;
}

static json_t *guest_update(const VerbCall *call, GError **error)
{
    gint64 revision = 0;
    g_autoptr(Guest) guest = verb_object(call, &guest_type, "guest", &revision, error);
    if (guest && guest->deleting) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY, "guest '%s' is being deleted", guest->name);
        return NULL;
    }
    g_autoptr(json_t) merged = guest ? spec_merged(guest, json_object_get(call->arguments, "spec"), error) : NULL;
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(call->daemon, NULL);
    g_auto(PlanSnapshot) snapshot = {0};
    GuestSpec changed = {0};
    if (!merged || !guest_spec_from_json(merged, &changed, error)) {
        return NULL;
    }
    plan_snapshot_take(call->daemon, pacemaker, &snapshot);
    gboolean ok = plan_update(&snapshot, guest, &changed, error);
    /* Failures of before must not count against the new limit: a guest that runs would be taken from its node. */
    if (ok && pacemaker && pacemaker_status_resource(pacemaker, guest->name) &&
        (changed.restart_limit != guest->spec.restart_limit ||
         changed.restart_window_s != guest->spec.restart_window_s)) {
        ok = pacemaker_cleanup(call->daemon->runner, guest->name, error);
    }
    if (ok) {
        json_struct_clear(&guest_spec_type, &guest->spec);
        guest->spec = changed;
        ok = guest_store_spec(call, guest, &revision, error);
    } else {
        json_struct_clear(&guest_spec_type, &changed);
    }
    return ok ? view_guest(call->daemon, guest, revision, pacemaker) : NULL;
}

static const char *guest_node_now(Daemon *daemon, const Guest *guest, char **ret_storage)
{
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(daemon, NULL);
    const PacemakerResource *resource = pacemaker ? pacemaker_status_resource(pacemaker, guest->name) : NULL;
    *ret_storage = g_strdup(resource ? resource->node : NULL);
    return *ret_storage;
}

static json_t *guest_stop(const VerbCall *call, GError **error)
{
    gint64 revision = 0;
    g_autofree char *target = NULL, *storage = NULL;
    g_autoptr(Guest) guest = verb_guest_for_change(call, &revision, &target, error);
    if (!guest) {
        return NULL;
    }
    const char *node = guest_node_now(call->daemon, guest, &storage);
    gboolean force = json_is_true(json_object_get(call->arguments, "force"));
    /* Driven where it runs, since a graceful stop talks to the guest. */
    return verb_operation(
        call, operation_new("guest.stop", target, force ? "force" : NULL, node ? node : call->daemon->config->node),
        error);
}

gboolean verb_volumes_free(const VerbCall *call, const Guest *guest, GError **error)
{
    for (guint i = 0; i < guest->spec.volumes->len; i++) {
        g_autofree char *target = g_strdup_printf("volume/%s-%u", guest->name, i);
        if (!verb_target_free(call, target, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static json_t *guest_migrate(const VerbCall *call, GError **error)
{
    gint64 revision = 0;
    g_autofree char *target = NULL, *storage = NULL;
    const char *to = verb_string(call, "node", error);
    g_autoptr(Guest) guest = to ? verb_guest_for_change(call, &revision, &target, error) : NULL;
    if (!guest || !verb_volumes_free(call, guest, error)) {
        return NULL;
    }
    g_autofree char *node_key = g_strconcat("node/", to, NULL);
    g_autoptr(Node) node = cache_object(call->daemon->cache, &node_type, node_key, NULL);
    const char *from = guest_node_now(call->daemon, guest, &storage);
    if (!node) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND,
                    "node: there is no node '%s'; 'holdfast node list' shows them", to);
        return NULL;
    }
    if (!from) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "guest '%s' does not run; start it with 'holdfast guest start %s'", guest->name, guest->name);
        return NULL;
    }
    if (g_str_equal(from, to)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "node: guest '%s' runs on %s already", guest->name,
                    to);
        return NULL;
    }
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(call->daemon, NULL);
    g_auto(PlanSnapshot) snapshot = {0};
    plan_snapshot_take(call->daemon, pacemaker, &snapshot);
    return plan_move(&snapshot, guest, to, error)
               ? verb_operation(call, operation_new("guest.migrate", target, to, from), error)
               : NULL;
}

static json_t *guest_verify(const VerbCall *call, GError **error)
{
    g_autofree char *storage = NULL;
    gboolean repair = json_is_true(json_object_get(call->arguments, "repair"));
    g_autoptr(Guest) guest = verb_object(call, &guest_type, "guest", NULL, error);
    const char *node = guest ? guest_node_now(call->daemon, guest, &storage) : NULL;
    if (!guest) {
        return NULL;
    }
    if (guest->spec.replicas < 2 || !node) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s' %s: there is nothing to compare now",
                    guest->name, node ? "has one replica" : "does not run");
        return NULL;
    }
    /* A repair parts the copies for a moment: nothing else may be done with the guest meanwhile. */
    g_autofree char *target = g_strconcat(repair ? "guest/" : VERIFY_TARGET_PREFIX, guest->name, NULL);
    return verb_target_free(call, target, error)
               ? verb_operation(call, operation_new("guest.verify", target, repair ? VERIFY_REPAIR : NULL, node), error)
               : NULL;
}

static json_t *guest_delete(const VerbCall *call, GError **error)
{
    gint64 revision = 0;
    g_autofree char *target = NULL, *storage = NULL;
    g_autoptr(Guest) guest = verb_guest_for_change(call, &revision, &target, error);
    if (!guest) {
        return NULL;
    }
    const char *node = guest_node_now(call->daemon, guest, &storage);
    if (node && !json_is_true(json_object_get(call->arguments, "force"))) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "guest '%s' runs on %s; stop it first with 'holdfast guest stop %s'", guest->name, node,
                    guest->name);
        return NULL;
    }
    guest->deleting = TRUE;
    return guest_change(call, guest, revision, operation_new("guest.delete", target, NULL, NULL), error);
}

static json_t *volume_view(Daemon *daemon, const Volume *volume)
{
    g_autofree char *key = g_strconcat("guest/", volume->guest, NULL);
    g_autoptr(Guest) guest = cache_object(daemon->cache, &guest_type, key, NULL);
    return guest ? view_volume(daemon, guest, volume) : NULL;
}

static json_t *volume_list(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) volumes = cache_objects(call->daemon->cache, &volume_type, "volume/");
    json_t *list = json_array();
    for (guint i = 0; i < volumes->len; i++) {
        json_t *view = volume_view(call->daemon, volumes->pdata[i]);
        if (view) {
            json_array_append_new(list, view);
        }
    }
    return list;
}

static json_t *volume_show(const VerbCall *call, GError **error)
{
    g_autoptr(Volume) volume = verb_object(call, &volume_type, "volume", NULL, error);
    json_t *view = volume ? volume_view(call->daemon, volume) : NULL;
    if (volume && !view) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "the guest of volume '%s' is gone", volume->guest);
    }
    return view;
}

/* The guest of `volume`, if it can be grown now. */
static Guest *guest_for_growth(const VerbCall *call, const Volume *volume, gint64 *ret_revision, GError **error)
{
    Record record = {0};
    char reason[200];
    g_autofree char *key = g_strconcat("guest/", volume->guest, NULL);
    g_autofree char *record_at = record_key(volume->guest);
    g_autoptr(Guest) guest = cache_object(call->daemon->cache, &guest_type, key, ret_revision);
    g_autoptr(StoreEntry) entry = cache_get(call->daemon->cache, record_at);
    if (!guest || guest->deleting) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND,
                    "the guest of volume '%s' is gone or being deleted", volume->guest);
        return NULL;
    }
    if (!entry || !record_decode(entry->value, &record, reason, sizeof(reason)) || record.state == RECORD_NEW) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                    "guest '%s' is still being created; grow its volume when it is ready", guest->name);
        return NULL;
    }
    return verb_target_free(call, key, error) ? g_steal_pointer(&guest) : NULL;
}

/* The new size in the volume, in the guest's spec, and the operation: together. The replicas' nodes do the rest
 * (volume_grow.h). */
static json_t *growth_store(const VerbCall *call, const Guest *guest, gint64 guest_revision, const Volume *volume,
                            gint64 volume_revision, GError **error)
{
    g_autoptr(StoreTxn) txn = store_txn_new();
    g_autofree char *guest_key = g_strconcat(STORE_ROOT "guest/", guest->name, NULL);
    g_autofree char *guest_text = object_to_text(&guest_type, guest);
    g_autofree char *target = g_strdup_printf("volume/%s-%" G_GINT64_FORMAT, volume->guest, volume->index);
    g_autofree char *volume_key = g_strconcat(STORE_ROOT, target, NULL);
    g_autofree char *volume_text = object_to_text(&volume_type, volume);
    g_autoptr(Operation) operation = operation_new("volume.grow", target, NULL, NULL);
    if (!verb_target_free(call, target, error)) {
        return NULL;
    }
    store_txn_if_revision(txn, guest_key, guest_revision);
    store_txn_if_revision(txn, volume_key, volume_revision);
    store_txn_put(txn, guest_key, guest_text, 0);
    store_txn_put(txn, volume_key, volume_text, 0);
    operation_add_to(txn, operation);
    return store_txn_commit(call->daemon->store, txn, NULL, error) ? operation_view(operation) : NULL;
}

/* A replica has that size already: it is the store that has to learn it (storage/volume.c), and nothing is in the way.
 */
static gboolean growth_is_there(Daemon *daemon, const Guest *guest, const Volume *volume, gint64 size_mib)
{
    if (size_mib <= 0 || size_mib > G_MAXINT64 / MIB / 2) {
        return FALSE;
    }
    for (char **node = guest->nodes; *node; node++) {
        g_autofree char *key = g_strdup_printf("status/%s/guest/%s", *node, guest->name);
        g_autoptr(GuestStatus) status = cache_object(daemon->cache, &guest_status_type, key, NULL);
        for (guint i = 0; status && i < status->volumes->len; i++) {
            const VolumeStatus *seen = status->volumes->pdata[i];
            if (seen->index == volume->index && seen->backing_bytes >= pool_lv_size_bytes(size_mib * MIB)) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

static json_t *volume_grow(const VerbCall *call, GError **error)
{
    gint64 volume_revision = 0, guest_revision = 0;
    const json_t *size = json_object_get(call->arguments, "size_mib");
    g_autoptr(Volume) volume = verb_object(call, &volume_type, "volume", &volume_revision, error);
    g_autoptr(Guest) guest = volume ? guest_for_growth(call, volume, &guest_revision, error) : NULL;
    if (!guest) {
        return NULL;
    }
    if (!json_is_integer(size)) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                            "size_mib: must be the new size as a whole number of MiB");
        return NULL;
    }
    g_auto(PlanSnapshot) snapshot = {0};
    plan_snapshot_take(call->daemon, NULL, &snapshot);
    gint64 size_mib = json_integer_value(size);
    if (growth_is_there(call->daemon, guest, volume, size_mib)
            ? !plan_grow_size(volume, size_mib, error)
            : !plan_grow(&snapshot, guest, volume, size_mib, error)) {
        return NULL;
    }
    GuestVolumeSpec *spec = g_ptr_array_index(guest->spec.volumes, volume->index);
    spec->size_mib = size_mib;
    volume->size_bytes = spec->size_mib * 1024 * 1024;
    return growth_store(call, guest, guest_revision, volume, volume_revision, error);
}

const Verb verbs_guest[] = {
    {"guest.create", guest_create},
    {"guest.list", guest_list},
    {"guest.show", guest_show},
    {"guest.update", guest_update},
    {"guest.start", guest_start},
    {"guest.stop", guest_stop},
    {"guest.migrate", guest_migrate},
    {"guest.verify", guest_verify},
    {"guest.delete", guest_delete},
    {"volume.list", volume_list},
    {"volume.show", volume_show},
    {"volume.grow", volume_grow},
    {NULL, NULL},
};
