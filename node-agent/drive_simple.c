/* SPDX-License-Identifier: Apache-2.0
 * Drivers of short operations: graceful stop of a guest, evacuation of a node, import of an image. */
#include "node-agent/operation.h"

#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/file.h"
#include "common/ident.h"
#include "common/lock.h"
#include "node-agent/images.h"
#include "storage/image.h"

#include <string.h>
#include <unistd.h>

#define POLL_MS 250
#define POWERDOWN_LIMIT_MS 60000
#define STOPPED_LIMIT_MS 60000
#define LOCK_TIMEOUT_MS 5000

static const char *target_name(const Operation *operation)
{
    return strchr(operation->target, '/') + 1;
}

static gboolean guest_set_desired(Daemon *daemon, const char *name, GuestDesired desired, GError **error)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "guest/", name, NULL);
    g_autoptr(StoreEntry) entry = store_get(daemon->store, key, NULL, error);
    g_autoptr(Guest) guest = entry ? object_from_text(&guest_type, entry->value, key, error) : NULL;
    if (!guest) {
        return FALSE;
    }
    guest->spec.desired = desired;
    g_autofree char *text = object_to_text(&guest_type, guest);
    return store_put(daemon->store, key, text, entry->mod_revision, 0, NULL, error);
}

/* Ask the guest to power itself off and wait; the marker keeps Pacemaker's monitor from "recovering" it meanwhile. */
static void powerdown(Daemon *daemon, Operation *operation, const char *name)
{
    g_autofree char *run_folder = guest_run_folder(name);
    g_autofree char *marker = g_build_filename(run_folder, GUEST_STOPPING_MARKER, NULL);
    const VmmEngine *engine = vmm_engine_find("qemu");
    if (engine->query(run_folder, name) != VMM_RUNNING || !file_write_durable(marker, "", 0, 0600, NULL)) {
        return;
    }
    operation_stage(daemon, operation, "asking the guest to shut down");
    gint64 deadline_us = g_get_monotonic_time() + (gint64) POWERDOWN_LIMIT_MS * 1000;
    if (engine->powerdown(run_folder, NULL)) {
        while (engine->query(run_folder, name) != VMM_STOPPED && g_get_monotonic_time() < deadline_us &&
               !operation_cancel_requested(daemon, operation)) {
            g_usleep(POLL_MS * 1000);
        }
    }
}

static gboolean wait_stopped(Daemon *daemon, const char *name, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) STOPPED_LIMIT_MS * 1000;
    while (g_get_monotonic_time() < deadline_us) {
        g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(daemon, NULL);
        const PacemakerResource *resource = pacemaker ? pacemaker_status_resource(pacemaker, name) : NULL;
        if (pacemaker && (!resource || (!resource->node && !resource->pending))) {
            return TRUE;
        }
        g_usleep(POLL_MS * 1000);
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "guest '%s' did not stop; see 'crm_mon'", name);
    return FALSE;
}

void drive_guest_stop(Daemon *daemon, Operation *operation)
{
    g_autoptr(GError) error = NULL;
    const char *name = target_name(operation);
    if (g_strcmp0(operation->argument, "force") != 0) {
        powerdown(daemon, operation, name);
    }
    if (operation_cancel_requested(daemon, operation)) {
        g_set_error_literal(&error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED,
                            "cancelled; if the guest has shut down meanwhile it is started again");
    } else {
        operation_stage(daemon, operation, "Pacemaker stops the guest");
    }
    if (!error && guest_set_desired(daemon, name, GUEST_DESIRED_STOPPED, &error)) {
        daemon_kick_cluster(daemon);
        wait_stopped(daemon, name, &error);
    }
    g_autofree char *run_folder = guest_run_folder(name);
    g_autofree char *marker = g_build_filename(run_folder, GUEST_STOPPING_MARKER, NULL);
    unlink(marker);
    operation_end(daemon, operation, error);
}

/* Guests that run on `node` now, by Pacemaker. */
static GPtrArray *guests_on(const PacemakerStatus *pacemaker, Daemon *daemon, const char *node)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) guests = cache_objects(daemon->cache, &guest_type, "guest/");
    for (guint i = 0; i < guests->len; i++) {
        const Guest *guest = guests->pdata[i];
        const PacemakerResource *resource = pacemaker_status_resource(pacemaker, guest->name);
        if (resource && g_strcmp0(resource->node, node) == 0) {
            g_ptr_array_add(names, g_strdup(guest->name));
        }
    }
    return names;
}

static gboolean operation_wait(Daemon *daemon, const char *id)
{
    for (;;) {
        g_autoptr(Operation) operation = operation_get(daemon, id);
        if (operation && operation->state != OPERATION_RUNNING) {
            return operation->state == OPERATION_SUCCEEDED;
        }
        g_usleep(POLL_MS * 1000);
    }
}

static gboolean migrate_away(Daemon *daemon, const char *guest_name, const char *node)
{
    g_autofree char *key = g_strconcat("guest/", guest_name, NULL);
    g_autoptr(Guest) guest = cache_object(daemon->cache, &guest_type, key, NULL);
    const char *peer = guest ? guest_peer_node(guest, node) : NULL;
    if (!peer || !daemon_node_online(daemon, peer)) {
        return FALSE;
    }
    g_autoptr(Operation) child = operation_new("guest.migrate", key, peer, node);
    return operation_create(daemon, child, NULL) && operation_wait(daemon, child->id);
}

/* Evacuate by live migration, one guest after another, then standby. What cannot be migrated live is named, and
 * Pacemaker moves it its own way. */
void drive_node_standby(Daemon *daemon, Operation *operation)
{
    g_autoptr(GError) error = NULL;
    const char *node = target_name(operation);
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(daemon, &error);
    g_autoptr(GPtrArray) names = pacemaker ? guests_on(pacemaker, daemon, node) : g_ptr_array_new();
    for (guint i = 0; i < names->len && !error; i++) {
        operation_stage(daemon, operation, "moving %s", (char *) names->pdata[i]);
        operation_progress(daemon, operation, i, names->len, "guests");
        if (!migrate_away(daemon, names->pdata[i], node)) {
            daemon_event(daemon, "guest.not_migrated", operation->target,
                         "%s could not be moved live; it is restarted elsewhere", (char *) names->pdata[i]);
        }
        if (operation_cancel_requested(daemon, operation)) {
            g_set_error_literal(&error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED,
                                "cancelled; guests moved so far stay moved");
        }
    }
    if (!error) {
        operation_stage(daemon, operation, "putting %s in standby", node);
        pacemaker_standby(daemon->runner, node, TRUE, &error);
    }
    operation_end(daemon, operation, error);
}

static gboolean image_register(Daemon *daemon, const char *name, gint64 size_bytes, const char *sha256, GError **error)
{
    g_autoptr(Image) image = object_new(&image_type);
    g_autofree char *key = g_strconcat(STORE_ROOT "image/", name, NULL);
    image->version = 1;
    image->name = g_strdup(name);
    image->size_bytes = size_bytes;
    image->sha256 = g_strdup(sha256);
    image->nodes = g_new0(char *, 2);
    image->nodes[0] = g_strdup(daemon->config->node);
    image->created_at = ident_timestamp();
    g_autofree char *text = object_to_text(&image_type, image);
    return store_put(daemon->store, key, text, 0, 0, NULL, error);
}

void drive_image_import(Daemon *daemon, Operation *operation)
{
    g_autoptr(GError) error = NULL;
    const char *name = target_name(operation);
    gint64 size_bytes = 0;
    g_autofree char *sha256 = NULL;
    operation_stage(daemon, operation, "converting and checking the image");
    LOCK_AUTO int lock = images_lock(name, LOCK_TIMEOUT_MS, &error);
    if (lock >= 0 && image_import(daemon->runner, name, operation->argument, &size_bytes, &sha256, &error) &&
        !image_register(daemon, name, size_bytes, sha256, &error)) {
        image_remove(name, NULL);
    }
    operation_end(daemon, operation, error);
}
