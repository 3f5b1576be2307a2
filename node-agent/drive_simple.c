/* SPDX-License-Identifier: Apache-2.0
 * Drivers of short operations: graceful stop of a guest, evacuation of a node, import of an image. */
#include "node-agent/operation.h"

#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/file.h"
#include "common/ident.h"
#include "common/lock.h"
#include "common/log.h"
#include "node-agent/guest_document.h"
#include "node-agent/images.h"
#include "storage/image.h"

#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define POLL_MS 250
#define POWERDOWN_LIMIT_MS 60000
#define STOPPED_LIMIT_MS 60000
#define STORE_LIMIT_MS (5 * 60 * 1000)
#define STORE_RETRY_US G_USEC_PER_SEC
/* A migration's own limits (copying, hand-over, report) end it before this. */
#define CHILD_LIMIT_MS (70 * 60 * 1000)
#define LOCK_TIMEOUT_MS 5000

static const char *target_name(const Operation *operation)
{
    return strchr(operation->target, '/') + 1;
}

/* A graceful stop under way. The marker in the guest's run folder keeps Pacemaker's monitor from taking the ended VMM
 * for a failure and starting it again. It is believed for two minutes, so it is kept fresh, and it stays until
 * Pacemaker itself has stopped the guest: before that its CIB still says "Started". A holdfastd that dies in between
 * leaves it behind, and the operation is gone on with, by it or by another node, before the marker is too old. The next
 * launch of the guest removes it in any case. */
typedef struct {
    Daemon *daemon;
    Operation *operation;
    const char *name;
    char *run_folder, *marker;
    const VmmEngine *engine;
} Stop;

static void marker_refresh(const Stop *stop)
{
    utimes(stop->marker, NULL); /* fails where there is none, and that is well */
}

/* Ask the guest to power itself off and wait. */
static void powerdown(const Stop *stop)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) POWERDOWN_LIMIT_MS * 1000;
    marker_refresh(stop);
    if (stop->engine->query(stop->run_folder, stop->name) != VMM_RUNNING ||
        !file_write_durable(stop->marker, "", 0, 0600, NULL)) {
        return;
    }
    operation_stage(stop->daemon, stop->operation, "asking the guest to shut down");
    if (!stop->engine->powerdown(stop->run_folder, NULL)) {
        return;
    }
    while (stop->engine->query(stop->run_folder, stop->name) != VMM_STOPPED && g_get_monotonic_time() < deadline_us &&
           !operation_cancel_requested(stop->daemon, stop->operation)) {
        g_usleep(POLL_MS * 1000);
        marker_refresh(stop);
    }
}

/* The guest may be off already, so a store that is away for a while is no reason to let it be started again. */
static gboolean desire_stopped(const Stop *stop, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) STORE_LIMIT_MS * 1000;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        if (guest_set_desired(stop->daemon->store, stop->name, GUEST_DESIRED_STOPPED, &problem)) {
            return TRUE;
        }
        if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND) ||
            g_get_monotonic_time() > deadline_us || operation_cancel_requested(stop->daemon, stop->operation)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        log_line(LOG_LEVEL_WARNING, "guest '%s': waiting for the store to say that it shall be stopped: %s", stop->name,
                 problem->message);
        g_usleep(STORE_RETRY_US);
        marker_refresh(stop);
    }
}

static gboolean wait_stopped(const Stop *stop, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) STOPPED_LIMIT_MS * 1000;
    while (g_get_monotonic_time() < deadline_us) {
        g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(stop->daemon, NULL);
        const PacemakerResource *resource = pacemaker ? pacemaker_status_resource(pacemaker, stop->name) : NULL;
        if (pacemaker && (!resource || (!resource->node && !resource->pending))) {
            return TRUE;
        }
        g_usleep(POLL_MS * 1000);
        marker_refresh(stop);
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
                "guest '%s' shall be stopped, but Pacemaker did not stop it within %d s; see 'crm_mon'", stop->name,
                STOPPED_LIMIT_MS / 1000);
    return FALSE;
}

/* TRUE: the guest is stopped. *ret_desired: that it shall be is stored. */
static gboolean stop_run(const Stop *stop, gboolean *ret_desired, GError **error)
{
    if (g_strcmp0(stop->operation->argument, "force") != 0) {
        powerdown(stop);
    }
    if (operation_cancel_requested(stop->daemon, stop->operation)) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED,
                            "cancelled; if the guest has shut down meanwhile it is started again");
        return FALSE;
    }
    operation_stage(stop->daemon, stop->operation, "Pacemaker stops the guest");
    if (!desire_stopped(stop, error)) {
        return FALSE;
    }
    *ret_desired = TRUE;
    daemon_kick_cluster(stop->daemon);
    return wait_stopped(stop, error);
}

void drive_guest_stop(Daemon *daemon, Operation *operation)
{
    g_autoptr(GError) error = NULL;
    const char *name = target_name(operation);
    g_autofree char *run_folder = guest_run_folder(name);
    g_autofree char *marker = g_build_filename(run_folder, GUEST_STOPPING_MARKER, NULL);
    Stop stop = {.daemon = daemon,
                 .operation = operation,
                 .name = name,
                 .run_folder = run_folder,
                 .marker = marker,
                 .engine = vmm_engine_find("qemu")};
    gboolean desired = FALSE;
    gboolean stopped = stop_run(&stop, &desired, &error);
    if (operation_is_lost(daemon, operation)) {
        return; /* another node goes on with it: the marker serves it too */
    }
    if (stopped || !desired) {
        unlink(marker); /* Pacemaker has stopped it, or shall see what it is now */
    }
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

/* Whatever else is under way with the guest comes first; a migration that is under way (ours, before a restart, or
 * somebody's) is the one we want. */
static gboolean wait_until_free(Daemon *daemon, const Operation *operation, const char *target, GError **error)
{
    g_autoptr(Operation) other = operation_running_on(daemon, target);
    return !other || operation_wait(daemon, operation, other->id, CHILD_LIMIT_MS, error) ||
           g_str_equal(other->kind, "guest.migrate");
}

static gboolean runs_on(Daemon *daemon, const char *guest, const char *node)
{
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(daemon, NULL);
    const PacemakerResource *resource = pacemaker ? pacemaker_status_resource(pacemaker, guest) : NULL;
    return !pacemaker || (resource && g_strcmp0(resource->node, node) == 0);
}

static gboolean migrate_away(Daemon *daemon, const Operation *operation, const char *guest_name, const char *node,
                             GError **error)
{
    g_autofree char *key = g_strconcat("guest/", guest_name, NULL);
    if (!wait_until_free(daemon, operation, key, error)) {
        return FALSE;
    }
    g_clear_error(error);
    g_autoptr(Guest) guest = cache_object(daemon->cache, &guest_type, key, NULL);
    const char *peer = guest ? guest_peer_node(guest, node) : NULL;
    if (!runs_on(daemon, guest_name, node)) {
        return TRUE;
    }
    if (!peer || !daemon_node_online(daemon, peer)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "%s%s", peer ? peer : "it has no other replica",
                    peer ? ", where its other replica is, is not in the cluster" : "");
        return FALSE;
    }
    g_autoptr(Operation) child = operation_new("guest.migrate", key, peer, node);
    return operation_create(daemon, child, error) &&
           operation_wait(daemon, operation, child->id, CHILD_LIMIT_MS, error);
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
        const char *guest = names->pdata[i];
        g_autoptr(GError) problem = NULL;
        operation_stage(daemon, operation, "moving %s", guest);
        operation_progress(daemon, operation, i, names->len, "guests");
        gboolean moved = migrate_away(daemon, operation, guest, node, &problem);
        if (operation_cancel_requested(daemon, operation)) {
            g_set_error_literal(&error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED,
                                "cancelled; guests moved so far stay moved");
        } else if (!moved) {
            daemon_event(daemon, "guest.not_migrated", operation->target,
                         "%s could not be moved live and is restarted elsewhere: %s", guest, problem->message);
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
