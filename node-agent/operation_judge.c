/* SPDX-License-Identifier: Apache-2.0
 * Judging operations: gathering the facts, and doing what judge() decides. */
#include "node-agent/operation.h"

#include "cluster/object_update.h"
#include "common/error.h"
#include "common/log.h"
#include "node-agent/judge.h"
#include "storage/record.h"

#include <string.h>

static gboolean record_look(Daemon *daemon, const char *guest, Record *ret)
{
    char reason[200];
    g_autofree char *key = record_key(guest);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    return entry && record_decode(entry->value, ret, reason, sizeof(reason));
}

static gboolean record_is_ready(Daemon *daemon, const char *guest)
{
    Record record;
    return record_look(daemon, guest, &record) && record.state != RECORD_NEW;
}

/* What the replicas' nodes say, as one line. */
static char *replica_conditions(Daemon *daemon, const Guest *guest)
{
    GString *text = g_string_new(NULL);
    for (char **node = guest->nodes; *node; node++) {
        g_autofree char *key = g_strdup_printf("status/%s/guest/%s", *node, guest->name);
        g_autoptr(GuestStatus) status = cache_object(daemon->cache, &guest_status_type, key, NULL);
        gboolean says = status && status->condition && *status->condition;
        const char *what = !status ? "no word yet" : says ? status->condition : status->ready ? "ready" : "working";
        g_string_append_printf(text, "%s%s: %s", text->len ? "; " : "", *node, what);
    }
    return g_string_free(text, FALSE);
}

typedef struct {
    FenceState from, to;
    const char *detail;
} DeviceChange;

static gboolean change_device(gpointer object, gpointer user_data, GError **error G_GNUC_UNUSED)
{
    FenceDevice *device = object;
    const DeviceChange *change = user_data;
    if (device->state != (int) change->from) {
        return FALSE;
    }
    device->state = (int) change->to;
    g_free(device->detail);
    device->detail = g_strdup(change->detail);
    return TRUE;
}

gboolean fence_proof_abandon(Daemon *daemon, const char *node, const char *why, GError **error)
{
    g_autofree char *name = g_strconcat("fence/", node, NULL);
    g_autoptr(GError) problem = NULL;
    DeviceChange change = {.from = FENCE_PROVING, .to = FENCE_UNPROVEN, .detail = why};
    if (object_update(daemon->store, &fence_device_type, name, 0, change_device, &change, NULL, &problem) ||
        g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

void operation_judge_proofs(Daemon *daemon)
{
    g_autoptr(GPtrArray) devices = cache_objects(daemon->cache, &fence_device_type, "fence/");
    g_autoptr(GPtrArray) operations = cache_objects(daemon->cache, &operation_type, "op/");
    for (guint i = 0; i < devices->len; i++) {
        const FenceDevice *device = devices->pdata[i];
        g_autoptr(GError) error = NULL;
        if (judge_proof_is_abandoned(device, operations) &&
            !fence_proof_abandon(daemon, device->node, "the proof was interrupted; prove it again", &error)) {
            log_line(LOG_LEVEL_WARNING, "fencing of %s: %s", device->node, error->message);
        }
    }
}

/* The device first: should we die in between, the operation is still there to be judged again. */
static void end_failed(Daemon *daemon, Operation *operation, const GError *why)
{
    g_autoptr(GError) error = NULL;
    if (operation->node && g_str_equal(operation->kind, "fence.prove") &&
        !fence_proof_abandon(daemon, strchr(operation->target, '/') + 1, why->message, &error)) {
        log_line(LOG_LEVEL_WARNING, "operation %s: %s", operation->id, error->message);
        return;
    }
    operation_end(daemon, operation, why);
}

static void take_over(Daemon *daemon, const Operation *operation)
{
    g_autoptr(GError) error = NULL;
    if (operation_take_over(daemon, operation, &error)) {
        log_line(LOG_LEVEL_NOTICE, "operation %s (%s of %s): taken over from %s", operation->id, operation->kind,
                 operation->target, operation->node);
        daemon_kick_operation(daemon, operation->id);
    } else {
        log_line(LOG_LEVEL_WARNING, "operation %s: not taken over: %s", operation->id, error->message);
    }
}

/* FALSE: the volume or its guest is gone. */
static gboolean growth_look(Daemon *daemon, const Operation *operation, GrowProgress *ret)
{
    GuestStatus *statuses[GUEST_REPLICAS_MAX] = {NULL};
    g_autoptr(Volume) volume = cache_object(daemon->cache, &volume_type, operation->target, NULL);
    g_autofree char *key = g_strconcat("guest/", volume ? volume->guest : "", NULL);
    g_autoptr(Guest) guest = volume ? cache_object(daemon->cache, &guest_type, key, NULL) : NULL;
    if (!guest || guest->deleting) {
        return FALSE;
    }
    for (guint i = 0; guest->nodes[i]; i++) {
        g_autofree char *status_key = g_strdup_printf("status/%s/guest/%s", guest->nodes[i], guest->name);
        statuses[i] = cache_object(daemon->cache, &guest_status_type, status_key, NULL);
    }
    *ret = volume_grow_judge(guest, volume, statuses);
    for (guint i = 0; i < G_N_ELEMENTS(statuses); i++) {
        guest_status_free(statuses[i]);
    }
    return TRUE;
}

static GuestStatus *status_of(Daemon *daemon, const char *node, const char *guest)
{
    g_autofree char *key = g_strdup_printf("status/%s/guest/%s", node ? node : "", guest);
    return cache_object(daemon->cache, &guest_status_type, key, NULL);
}

/* FALSE: the guest is gone. */
static gboolean replacement_look(Daemon *daemon, const Operation *operation, const Guest *guest, ReplaceProgress *ret)
{
    Record record = {0};
    const char *to = operation->argument ? operation->argument : "";
    if (!guest || guest->deleting) {
        return FALSE;
    }
    record_look(daemon, guest->name, &record);
    g_autoptr(GuestStatus) keeper = status_of(daemon, guest_peer_node(guest, to), guest->name);
    g_autoptr(GuestStatus) joining = status_of(daemon, to, guest->name);
    *ret = replica_replace_progress(guest, &record, to, keeper, joining);
    return TRUE;
}

static void progress_follow(Daemon *daemon, Operation *operation, gint64 done, gint64 total, const char *unit)
{
    if (operation->done != done || operation->total != total) {
        operation_progress(daemon, operation, done, total, unit);
    }
}

void operation_judge(Daemon *daemon, Operation *operation, const PacemakerStatus *pacemaker)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *stage = NULL, *condition = NULL;
    gboolean guest_kind = g_str_has_prefix(operation->target, "guest/");
    g_autoptr(Guest) guest = guest_kind ? cache_object(daemon->cache, &guest_type, operation->target, NULL) : NULL;
    JudgeFacts facts = {.operation = operation, .pacemaker = pacemaker, .guest = guest};
    facts.driver_gone = operation->node && daemon_agent_gone(daemon, operation->node);
    if (guest && !operation->node) {
        facts.record_ready = record_is_ready(daemon, guest->name);
        facts.condition = condition = replica_conditions(daemon, guest);
    }
    GrowProgress growth = {0};
    if (g_str_equal(operation->kind, "volume.grow") && growth_look(daemon, operation, &growth)) {
        facts.growth = &growth;
        progress_follow(daemon, operation, growth.done, growth.total, "steps");
    }
    g_autofree char *growth_stage = growth.stage;
    ReplaceProgress replacement = {0};
    if (g_str_equal(operation->kind, "guest.replace_replica") &&
        replacement_look(daemon, operation, guest, &replacement)) {
        facts.replacement = &replacement;
        progress_follow(daemon, operation, replacement.done, replacement.total, "bytes");
    }
    g_autofree char *replacement_stage = replacement.stage;
    switch (judge(&facts, &stage, &error)) {
    case JUDGE_WAIT:
        if (stage) {
            operation_stage(daemon, operation, "%s", stage);
        }
        break;
    case JUDGE_DONE:
        operation_end(daemon, operation, NULL);
        break;
    case JUDGE_FAILED:
        end_failed(daemon, operation, error);
        break;
    case JUDGE_TAKE_OVER:
        take_over(daemon, operation);
        break;
    }
}
