/* SPDX-License-Identifier: Apache-2.0
 * A node that is off for good: guest by guest its replicas are built anew elsewhere, then it is removed. The driver can
 * begin anywhere: what was replaced is not on the node any more. */
#include "node-agent/node_gone.h"

#include "common/error.h"
#include "node-agent/node_remove.h"
#include "node-agent/operation.h"
#include "node-agent/replica_replace.h"
#include "storage/record.h"

#include <string.h>

#define BEGIN_TRIES 10
#define BEGIN_PAUSE_US G_USEC_PER_SEC
/* A resync ends by itself; this is for one that cannot. */
#define CHILD_LIMIT_MS (7 * 24 * 60 * 60 * 1000)

char *node_gone_obstacle(const Guest *guest, const Record *record, const char *node)
{
    const char *keeper = guest_peer_node(guest, node);
    const char *name = guest->name;
    if (guest->deleting) {
        return NULL; /* it ends with the node */
    }
    if (!record) {
        return g_strdup_printf("guest '%s': its in-sync record cannot be read", name);
    }
    if (record->unconfirmed[0]) {
        return g_strdup_printf(
            "guest '%s': its record is in doubt after a rescue or restore of the store: 'holdfast guest "
            "confirm %s NODE' ends that",
            name, name);
    }
    if (!keeper || (record->state != RECORD_NEW && !record_is_in_sync(record, keeper))) {
        return g_strdup_printf(
            "guest '%s': its only current copy is on %s: bring the node back, or give the guest up with "
            "'holdfast guest delete %s'",
            name, node, name);
    }
    if (record->state == RECORD_NEW) {
        return g_strdup_printf("guest '%s' was never completed: 'holdfast guest delete %s'", name, name);
    }
    if (record->state != RECORD_RUNNING || strcmp(record->owner, keeper) != 0) {
        return g_strdup_printf(
            "guest '%s' does not run on %s: its replica is replaced while it runs, so 'holdfast guest "
            "start %s' first",
            name, keeper, name);
    }
    return NULL;
}

/* Pacemaker's own word that nothing runs there, as for every removal's fail-over. */
static gboolean is_surely_off(Daemon *daemon, const char *node, GError **error)
{
    gboolean down = FALSE;
    if (strcmp(node, daemon->config->node) == 0 || daemon_node_online(daemon, node)) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_REFUSED,
            "name: node '%s' is online: --gone is for a node that is off for good; 'holdfast node "
            "standby %s' and 'holdfast guest replace-replica' empty one that is there",
            node, node);
    }
    if (!daemon_view(daemon).quorate) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_UNAVAILABLE, "this node is not in a quorate cluster");
    }
    return pacemaker_node_is_clean_down(daemon->runner, node, &down, error) &&
           (down || holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                        "name: Pacemaker does not know node '%s' as cleanly down or fenced, it may be "
                                        "running: switch it off, then 'holdfast fence confirm %s'",
                                        node, node));
}

static gboolean record_look(Daemon *daemon, const char *guest, Record *ret)
{
    char reason[200];
    g_autofree char *key = record_key(guest);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    return entry && record_decode(entry->value, ret, reason, sizeof(reason));
}

static gboolean is_only_holder(const Image *image, const char *node)
{
    return image->nodes && g_strcmp0(image->nodes[0], node) == 0 && !image->nodes[1];
}

/* node_remove() refuses these too, but only when all replicas have been built. */
static void images_check(Daemon *daemon, const char *node, GString *obstacles)
{
    g_autoptr(GPtrArray) images = cache_objects(daemon->cache, &image_type, "image/");
    for (guint i = 0; i < images->len; i++) {
        const Image *image = images->pdata[i];
        if (is_only_holder(image, node)) {
            g_string_append_printf(obstacles, "%simage '%s': its only copy is on %s: 'holdfast image delete %s'",
                                   obstacles->len ? "; " : "", image->name, node, image->name);
        }
    }
}

gboolean node_gone_check(Daemon *daemon, const char *node, GError **error)
{
    g_autoptr(GPtrArray) guests = cache_objects(daemon->cache, &guest_type, "guest/");
    g_autoptr(GString) obstacles = g_string_new(NULL);
    if (!is_surely_off(daemon, node, error)) {
        return FALSE;
    }
    for (guint i = 0; i < guests->len; i++) {
        const Guest *guest = guests->pdata[i];
        Record record;
        gboolean known = record_look(daemon, guest->name, &record);
        g_autofree char *obstacle =
            guest_on_node(guest, node) ? node_gone_obstacle(guest, known ? &record : NULL, node) : NULL;
        if (obstacle) {
            g_string_append_printf(obstacles, "%s%s", obstacles->len ? "; " : "", obstacle);
        }
    }
    images_check(daemon, node, obstacles);
    return obstacles->len == 0 || holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                                      "name: node '%s' is not given up: %s", node, obstacles->str);
}

/* Whatever else is under way with the guest comes first, and may be the very thing that is wanted. */
static gboolean replace_one(Daemon *daemon, const Operation *operation, const char *name, const char *node,
                            GError **error)
{
    g_autofree char *target = g_strconcat("guest/", name, NULL);
    g_autoptr(Operation) other = operation_running_on(daemon, target);
    if (other) {
        g_autoptr(GError) ignored = NULL;
        if (!operation_wait(daemon, operation, other->id, CHILD_LIMIT_MS, &ignored) &&
            g_error_matches(ignored, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED)) {
            g_propagate_error(error, g_steal_pointer(&ignored));
            return FALSE;
        }
    }
    g_autoptr(json_t) child = NULL;
    for (int tries = 0; !child; tries++) {
        g_autoptr(GError) problem = NULL;
        g_autoptr(Guest) guest = cache_object(daemon->cache, &guest_type, target, NULL);
        if (!guest || guest->deleting || !guest_on_node(guest, node)) {
            return TRUE;
        }
        child = replica_replace_begin(daemon, guest, node, NULL, FALSE, &problem);
        gboolean passes = g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT) ||
                          g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY);
        if (!child && (!passes || tries == BEGIN_TRIES || operation_cancel_requested(daemon, operation))) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        if (!child) {
            g_usleep(BEGIN_PAUSE_US); /* somebody else changed the guest at the same moment */
        }
    }
    g_autoptr(GError) problem = NULL;
    const char *id = json_string_value(json_object_get(child, "id"));
    if (operation_wait(daemon, operation, id ? id : "", CHILD_LIMIT_MS, &problem)) {
        return TRUE;
    }
    g_autoptr(Guest) after = cache_object(daemon->cache, &guest_type, target, NULL);
    if (!after || after->deleting) {
        return TRUE; /* deleted meanwhile */
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

static gboolean replace_all(Daemon *daemon, Operation *operation, const char *node, GError **error)
{
    g_autoptr(GPtrArray) guests = cache_objects(daemon->cache, &guest_type, "guest/");
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (guint i = 0; i < guests->len; i++) {
        const Guest *guest = guests->pdata[i];
        if (guest_on_node(guest, node) && !guest->deleting) {
            g_ptr_array_add(names, guest->name);
        }
    }
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i];
        operation_progress(daemon, operation, i, names->len, "guests");
        operation_stage(daemon, operation, "building the replica of %s anew", name);
        if (operation_cancel_requested(daemon, operation)) {
            g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED,
                                "cancelled; replicas that were replaced so far stay where they are");
            return FALSE;
        }
        if (!replace_one(daemon, operation, name, node, error)) {
            g_prefix_error(error, "guest '%s': ", name);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean is_member(Daemon *daemon, const char *node)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "node/", node, NULL);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    return entry != NULL;
}

void drive_node_remove(Daemon *daemon, Operation *operation)
{
    g_autoptr(GError) error = NULL;
    const char *node = strchr(operation->target, '/') + 1;
    /* Taken over just after it was done, there is nothing left to do. It may have come back, or a guest may have been
     * made there, since this was asked for or begun: so all is asked again. */
    if (is_member(daemon, node) && node_gone_check(daemon, node, &error) &&
        replace_all(daemon, operation, node, &error)) {
        operation_stage(daemon, operation, "removing %s", node);
        if (is_surely_off(daemon, node, &error)) {
            node_remove(setup_context_default(), daemon->store, daemon->config->node, node, FALSE, TRUE, &error);
        }
    }
    operation_end(daemon, operation, error);
}
