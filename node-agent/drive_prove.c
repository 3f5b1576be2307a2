/* SPDX-License-Identifier: Apache-2.0
 * Proof of fencing by a real shot: the node is emptied beforehand by the operator, its real device goes into the CIB,
 * Pacemaker shoots it, the device must report no power, the membership must lose it, and after power-on it must come
 * back with another boot id. Only then its guests may fail over. */
#include "node-agent/operation.h"

#include "cluster/object_update.h"
#include "cluster/projection.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "fencing/device.h"
#include "node-agent/fence_secrets.h"

#include <string.h>

#define POLL_MS 500
#define SHOT_TRIES 4
#define SHOT_TIMEOUT_S 60
#define SECRETS_LIMIT_MS 10000
#define PROJECTED_LIMIT_MS 30000
#define STARTED_LIMIT_MS 180000
#define LEFT_LIMIT_MS 60000
#define RETURN_LIMIT_MS 420000

typedef struct {
    Daemon *daemon;
    Operation *operation;
    const char *node;
    FenceDevice *device;
    char *boot_id;   /* before the shot */
    gint64 revision; /* of the device as last saved */
} Proof;

static char *boot_id_of(Daemon *daemon, const char *node)
{
    g_autofree char *key = g_strconcat("boot/", node, NULL);
    g_autoptr(NodeBoot) boot = cache_object(daemon->cache, &node_boot_type, key, NULL);
    return boot ? g_steal_pointer(&boot->boot_id) : NULL;
}

typedef struct {
    const FenceDevice *device; /* as it shall be */
    FenceState from;
} DeviceChange;

/* Only the very device that is being proven, in the state this proof left it in: another one set meanwhile was not
 * shot with, and a proof given up for dead counts no more. */
static gboolean change_device(gpointer object, gpointer user_data, GError **error)
{
    FenceDevice *stored = object;
    const DeviceChange *change = user_data;
    const FenceDevice *device = change->device;
    gboolean same = g_strcmp0(stored->agent, device->agent) == 0 && stored->parameters && device->parameters &&
                    g_strv_equal((const char *const *) stored->parameters, (const char *const *) device->parameters);
    if (!same || (stored->state != (int) change->from && stored->state != device->state)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "the fence device of %s was changed while it was being proven; prove it again", device->node);
        return FALSE;
    }
    stored->state = device->state;
    stored->proven_ms = device->proven_ms;
    g_free(stored->proven_at);
    stored->proven_at = g_strdup(device->proven_at);
    g_free(stored->detail);
    stored->detail = g_strdup(device->detail);
    return TRUE;
}

static gboolean device_save(Proof *proof, FenceState state, const char *detail, GError **error)
{
    g_autofree char *name = g_strconcat("fence/", proof->node, NULL);
    DeviceChange change = {.device = proof->device, .from = (FenceState) proof->device->state};
    proof->device->state = (int) state;
    g_free(proof->device->detail);
    proof->device->detail = g_strdup(detail);
    return object_update(proof->daemon->store, &fence_device_type, name, 0, change_device, &change, &proof->revision,
                         error);
}

/* Wait until test() holds; FALSE with TIMEOUT and `what` when it does not in time. */
static gboolean wait_until(Proof *proof, gboolean (*test)(Proof *proof), int limit_ms, const char *what, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) limit_ms * 1000;
    while (!test(proof)) {
        if (g_get_monotonic_time() > deadline_us) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "%s: not within %d s", what, limit_ms / 1000);
            return FALSE;
        }
        g_usleep(POLL_MS * 1000);
    }
    return TRUE;
}

/* The device is in the CIB, and alone: the second level of a device that was proven before has gone. */
static gboolean is_projected(Proof *proof)
{
    g_autofree char *xml = NULL;
    g_autofree char *query =
        g_strdup_printf("//primitive[@id='fence-%s']|//fencing-level[@target='%s']", proof->node, proof->node);
    g_autofree char *type = g_strdup_printf("type=\"%s\"", proof->device->agent);
    g_autofree char *revision = g_strdup_printf("value=\"%" G_GINT64_FORMAT "\"", proof->revision);
    daemon_kick_cluster(proof->daemon);
    /* A DC of an older version writes no revision. */
    return process_call(proof->daemon->runner, 15000, &xml, NULL, "/usr/sbin/cibadmin", "--query", "--xpath", query,
                        NULL) &&
           strstr(xml, type) && !strstr(xml, PROJECTION_LEVEL_PREFIX) &&
           (!strstr(xml, PROJECTION_REVISION) || strstr(xml, revision));
}

/* Some node runs it: its start, with which the agent talks to the device, was good. */
static gboolean is_started(Proof *proof)
{
    g_autofree char *xml = NULL;
    g_autofree char *query =
        g_strdup_printf("//lrm_resource[@id='fence-%s' and @type='%s']/lrm_rsc_op[@operation='start' "
                        "and @rc-code='0']",
                        proof->node, proof->device->agent);
    return process_call(proof->daemon->runner, 15000, &xml, NULL, "/usr/sbin/cibadmin", "--query", "--xpath", query,
                        NULL);
}

static gboolean secrets_are_stored(Proof *proof)
{
    g_autoptr(GPtrArray) nodes = cache_objects(proof->daemon->cache, &node_type, "node/");
    g_autoptr(GPtrArray) one = g_ptr_array_new();
    g_ptr_array_add(one, proof->device);
    g_autoptr(GPtrArray) stored = fence_secrets_stored(proof->daemon, nodes, one);
    return stored->len == 1;
}

static gboolean has_left(Proof *proof)
{
    return !daemon_node_online(proof->daemon, proof->node);
}

static gboolean has_returned(Proof *proof)
{
    g_autofree char *boot_id = boot_id_of(proof->daemon, proof->node);
    if (!boot_id || g_strcmp0(boot_id, proof->boot_id) == 0) {
        return FALSE;
    }
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(proof->daemon, NULL);
    for (guint i = 0; pacemaker && i < pacemaker->nodes->len; i++) {
        const PacemakerNode *node = pacemaker->nodes->pdata[i];
        if (g_str_equal(node->name, proof->node)) {
            return node->online;
        }
    }
    return FALSE;
}

/* Nothing that anybody needs may run there: the proof really cuts its power. */
static gboolean check_empty(const Proof *proof, GError **error)
{
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(proof->daemon, error);
    g_autoptr(GPtrArray) guests = cache_objects(proof->daemon->cache, &guest_type, "guest/");
    guint online = 0;
    if (!pacemaker) {
        return FALSE;
    }
    for (guint i = 0; i < guests->len; i++) {
        const Guest *guest = guests->pdata[i];
        const PacemakerResource *resource = pacemaker_status_resource(pacemaker, guest->name);
        if (resource && g_strcmp0(resource->node, proof->node) == 0) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                        "guest '%s' runs on %s; run 'holdfast node standby %s' first", guest->name, proof->node,
                        proof->node);
            return FALSE;
        }
    }
    for (guint i = 0; i < pacemaker->nodes->len; i++) {
        online += ((const PacemakerNode *) pacemaker->nodes->pdata[i])->online;
    }
    if (online * 2 <= pacemaker->nodes->len + 1 && pacemaker->nodes->len > 1) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "only %u of %u nodes are online: the cluster would lose its quorum; bring the others back first",
                    online, pacemaker->nodes->len);
        return FALSE;
    }
    return TRUE;
}

static gboolean device_says(const Proof *proof, FencePower wanted, const char *when, GError **error)
{
    FencePower power = FENCE_POWER_UNKNOWN;
    if (!fence_device_status(proof->daemon->runner, proof->device, &power, error)) {
        return FALSE;
    }
    if (power != wanted) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "the device does not report power %s %s",
                    wanted == FENCE_POWER_ON ? "on" : "off", when);
        return FALSE;
    }
    return TRUE;
}

/* The shot took effect, but Pacemaker did not learn of it in time: that is no proof, and the node must not stay off for
 * it. */
static gboolean hit_but_too_late(const Proof *proof, const GError *problem, GError **error)
{
    FencePower power = FENCE_POWER_UNKNOWN;
    if (!fence_device_status(proof->daemon->runner, proof->device, &power, NULL) || power != FENCE_POWER_OFF) {
        return FALSE;
    }
    gboolean on = fence_device_power_on(proof->daemon->runner, proof->device, NULL);
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                "%s is off, but Pacemaker was not told in time (%s): a device as slow as that proves nothing. %s",
                proof->node, problem->message, on ? "It is being powered on again" : "Power it on by hand");
    return TRUE;
}

static gboolean shoot(Proof *proof, GError **error)
{
    for (int tries = 1;; tries++) {
        g_autoptr(GError) problem = NULL;
        gint64 begin_us = g_get_monotonic_time();
        if (!check_empty(proof, error)) { /* a guest may have come since the first look */
            return FALSE;
        }
        if (operation_cancel_requested(proof->daemon, proof->operation)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED, "cancelled before %s was shot", proof->node);
            return FALSE;
        }
        if (pacemaker_fence(proof->daemon->runner, proof->node, SHOT_TIMEOUT_S, &problem)) {
            proof->device->proven_ms = (g_get_monotonic_time() - begin_us) / 1000;
            return TRUE;
        }
        if (hit_but_too_late(proof, problem, error)) {
            return FALSE;
        }
        if (tries == SHOT_TRIES) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        /* The fencer takes a new device over from the CIB a moment after the write. */
        g_usleep(2 * G_USEC_PER_SEC);
    }
}

static gboolean prove(Proof *proof, GError **error)
{
    Daemon *daemon = proof->daemon;
    if (!check_empty(proof, error) || !device_says(proof, FENCE_POWER_ON, "before the shot", error)) {
        return FALSE;
    }
    /* So that no password ever stands in the CIB. A holdfastd that is not there must not keep fencing from being
     * proven: then it does stand there until that daemon is back. */
    if (!wait_until(proof, secrets_are_stored, SECRETS_LIMIT_MS, "secrets not on every node", NULL)) {
        log_line(LOG_LEVEL_WARNING,
                 "fence device of %s: not every node has stored its secrets: they are readable in the CIB until "
                 "holdfastd works on all of them",
                 proof->node);
    }
    if (!device_save(proof, FENCE_PROVING, "being proven", error)) {
        return FALSE;
    }
    operation_stage(daemon, proof->operation, "Pacemaker takes the device over");
    if (!wait_until(proof, is_projected, PROJECTED_LIMIT_MS,
                    "the device did not reach the CIB; is holdfastd working on every node?", error) ||
        !wait_until(proof, is_started, STARTED_LIMIT_MS,
                    "Pacemaker could not start the device: see 'holdfast status' for the agent's message", error)) {
        return FALSE;
    }
    operation_stage(daemon, proof->operation, "shooting %s", proof->node);
    if (!shoot(proof, error) || !device_says(proof, FENCE_POWER_OFF, "after the shot", error) ||
        !wait_until(proof, has_left, LEFT_LIMIT_MS, "the node's cluster link did not fall silent: is this its device?",
                    error)) {
        return FALSE;
    }
    operation_stage(daemon, proof->operation, "%s is off after %" G_GINT64_FORMAT " ms; powering it on", proof->node,
                    proof->device->proven_ms);
    if (!fence_device_power_on(daemon->runner, proof->device, error)) {
        return FALSE;
    }
    operation_stage(daemon, proof->operation, "waiting for %s to come back", proof->node);
    return wait_until(proof, has_returned, RETURN_LIMIT_MS, "the node did not come back", error);
}

void drive_fence_prove(Daemon *daemon, Operation *operation)
{
    g_autoptr(GError) error = NULL;
    const char *node = strchr(operation->target, '/') + 1;
    g_autofree char *key = g_strconcat("fence/", node, NULL);
    g_autofree char *store_key = g_strconcat(STORE_ROOT, key, NULL);
    g_autoptr(StoreEntry) entry = store_get(daemon->store, store_key, NULL, NULL);
    g_autoptr(FenceDevice) device = entry ? object_from_text(&fence_device_type, entry->value, key, NULL) : NULL;
    Proof proof = {.daemon = daemon, .operation = operation, .node = node, .device = device};
    if (!device) {
        g_set_error(&error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND,
                    "node '%s' has no fence device; set one with 'holdfast fence set'", node);
        operation_end(daemon, operation, error);
        return;
    }
    if (device->state == FENCE_PROVING) {
        /* Begun before and cut off: never shoot a second time unasked. */
        fence_proof_abandon(daemon, node, "the proof was interrupted; prove it again", NULL);
        g_set_error(&error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "the proof of %s was interrupted; ask for it again",
                    node);
        operation_end(daemon, operation, error);
        return;
    }
    proof.boot_id = boot_id_of(daemon, node);
    if (prove(&proof, &error)) {
        g_free(device->proven_at);
        device->proven_at = ident_timestamp();
        g_autofree char *detail =
            g_strdup_printf("proven by a real shot that took %" G_GINT64_FORMAT " ms", device->proven_ms);
        device_save(&proof, FENCE_PROVEN, detail, &error);
    } else if (device->state == FENCE_PROVING) {
        device_save(&proof, FENCE_UNPROVEN, error->message, NULL);
    }
    g_free(proof.boot_id);
    operation_end(daemon, operation, error);
}
