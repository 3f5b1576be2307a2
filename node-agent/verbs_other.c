/* SPDX-License-Identifier: Apache-2.0
 * Verbs on images, networks, operations, events and the cluster; and those of the OCF agent and the DRBD handler. */
#include "node-agent/verbs.h"

#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/ident.h"
#include "node-agent/images.h"
#include "node-agent/operation.h"
#include "node-agent/views.h"
#include "storage/record.h"

#include <string.h>
#include <unistd.h>

#define WAIT_POLL_MS 100
#define WAIT_LIMIT_S 60

static json_t *status(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    return view_status(call->daemon);
}

static json_t *documents(const VerbCall *call, const JsonStruct *type, const char *prefix)
{
    g_autoptr(GPtrArray) objects = cache_objects(call->daemon->cache, type, prefix);
    json_t *list = json_array();
    for (guint i = 0; i < objects->len; i++) {
        json_array_append_new(list, view_document(type, objects->pdata[i]));
    }
    return list;
}

static json_t *image_list(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    return documents(call, &image_type, "image/");
}

static json_t *image_show(const VerbCall *call, GError **error)
{
    g_autoptr(Image) image = verb_object(call, &image_type, "image", NULL, error);
    return image ? view_document(&image_type, image) : NULL;
}

static json_t *image_import_verb(const VerbCall *call, GError **error)
{
    const char *name = verb_string(call, "name", error);
    const char *path = name ? verb_string(call, "path", error) : NULL;
    if (!path || !ident_check_name(name, "name", error)) {
        return NULL;
    }
    g_autofree char *key = g_strconcat("image/", name, NULL);
    g_autoptr(Image) present = cache_object(call->daemon->cache, &image_type, key, NULL);
    if (present) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_EXISTS, "name: there is an image '%s' already", name);
        return NULL;
    }
    if (!g_path_is_absolute(path) || access(path, R_OK) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "path: '%s' must be an absolute path of a file on node %s", path, call->daemon->config->node);
        return NULL;
    }
    return verb_target_free(call, key, error)
               ? verb_operation(call, operation_new("image.import", key, path, call->daemon->config->node), error)
               : NULL;
}

/* BUSY while a guest is still to be filled from it. */
static gboolean image_is_unused(const VerbCall *call, const char *name, GError **error)
{
    g_autoptr(GPtrArray) volumes = cache_objects(call->daemon->cache, &volume_type, "volume/");
    for (guint i = 0; i < volumes->len; i++) {
        const Volume *volume = volumes->pdata[i];
        Record record = {0};
        char reason[200];
        g_autofree char *key = record_key(volume->guest);
        g_autoptr(StoreEntry) entry = cache_get(call->daemon->cache, key);
        if (g_strcmp0(volume->image, name) == 0 && entry &&
            record_decode(entry->value, &record, reason, sizeof(reason)) && record.state == RECORD_NEW) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                        "guest '%s' is being created from image '%s': wait until it is ready, or delete it first",
                        volume->guest, name);
            return FALSE;
        }
    }
    return TRUE;
}

static json_t *image_delete(const VerbCall *call, GError **error)
{
    gint64 revision = 0;
    g_autoptr(Image) image = verb_object(call, &image_type, "image", &revision, error);
    if (!image || !image_is_unused(call, image->name, error)) {
        return NULL;
    }
    g_autofree char *key = g_strconcat(STORE_ROOT "image/", image->name, NULL);
    if (!store_delete(call->daemon->store, key, revision, error)) {
        return NULL;
    }
    images_collect(call->daemon); /* the other nodes follow when they see it, or when they are back */
    return json_object();
}

static json_t *network_list(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    return documents(call, &network_type, "network/");
}

static json_t *network_create(const VerbCall *call, GError **error)
{
    g_autoptr(Network) network = object_new(&network_type);
    if (!network_from_json(call->arguments, network, error)) {
        return NULL;
    }
    g_autofree char *key = g_strconcat(STORE_ROOT "network/", network->name, NULL);
    g_autofree char *text = object_to_text(&network_type, network);
    g_autoptr(GError) problem = NULL;
    if (!store_put(call->daemon->store, key, text, 0, 0, NULL, &problem)) {
        if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_EXISTS, "name: there is a network '%s' already",
                        network->name);
        } else {
            g_propagate_error(error, g_steal_pointer(&problem));
        }
        return NULL;
    }
    return view_document(&network_type, network);
}

static json_t *network_delete(const VerbCall *call, GError **error)
{
    gint64 revision = 0;
    g_autoptr(Network) network = verb_object(call, &network_type, "network", &revision, error);
    g_autoptr(GPtrArray) guests = cache_objects(call->daemon->cache, &guest_type, "guest/");
    for (guint i = 0; network && i < guests->len; i++) {
        const Guest *guest = guests->pdata[i];
        for (guint n = 0; n < guest->spec.nics->len; n++) {
            if (g_str_equal(((const GuestNic *) guest->spec.nics->pdata[n])->network, network->name)) {
                g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY, "network '%s' is used by guest '%s'",
                            network->name, guest->name);
                return NULL;
            }
        }
    }
    g_autofree char *key = network ? g_strconcat(STORE_ROOT "network/", network->name, NULL) : NULL;
    return network && store_delete(call->daemon->store, key, revision, error) ? json_object() : NULL;
}

static json_t *op_list(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    return documents(call, &operation_type, "op/");
}

static json_t *op_show(const VerbCall *call, GError **error)
{
    const char *id = verb_string(call, "id", error);
    gint64 wait_s = MIN(json_integer_value(json_object_get(call->arguments, "wait_s")), WAIT_LIMIT_S);
    gint64 deadline_us = g_get_monotonic_time() + wait_s * G_USEC_PER_SEC;
    gint64 known_by_us = g_get_monotonic_time() + 2 * G_USEC_PER_SEC;
    while (id) {
        g_autoptr(Operation) operation = operation_get(call->daemon, id);
        gboolean late = g_get_monotonic_time() >= deadline_us;
        if (operation && (operation->state != OPERATION_RUNNING || late)) {
            return operation_view(operation);
        }
        /* The cache of this node may be a moment behind the node that made the operation: look a little longer before
         * denying it. */
        if (!operation && g_get_monotonic_time() >= MAX(deadline_us, known_by_us)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "id: there is no operation '%s'", id);
            return NULL;
        }
        g_usleep(WAIT_POLL_MS * 1000);
    }
    return NULL;
}

static json_t *op_cancel(const VerbCall *call, GError **error)
{
    const char *id = verb_string(call, "id", error);
    if (!id || !operation_request_cancel(call->daemon, id, error)) {
        return NULL;
    }
    g_autofree char *key = g_strconcat(STORE_ROOT "op/", id, NULL);
    g_autoptr(StoreEntry) entry = store_get(call->daemon->store, key, NULL, error);
    g_autoptr(Operation) operation = entry ? object_from_text(&operation_type, entry->value, key, error) : NULL;
    return operation ? operation_view(operation) : NULL;
}

static json_t *event_list(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    gint64 since = json_integer_value(json_object_get(call->arguments, "since"));
    g_autoptr(GPtrArray) entries = cache_list(call->daemon->cache, STORE_ROOT "event/");
    json_t *list = json_array();
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        json_t *event = entry->mod_revision > since ? json_text_parse(entry->value, -1, entry->key, NULL) : NULL;
        if (event) {
            json_object_del(event, "version");
            json_object_set_new(event, "index", json_integer(entry->mod_revision));
            json_array_append_new(list, event);
        }
    }
    return list;
}

/* --- for the OCF agent and the DRBD handler
 * ------------------------------------------------------------------------------ */

/* DRBD lost the peer of `guest`: have the peer's holdfastd outdate its replica. */
static json_t *peer_outdate(const VerbCall *call, GError **error)
{
    const char *guest = verb_string(call, "guest", error);
    g_autoptr(Manifest) manifest =
        guest && ident_check_name(guest, "guest", error) ? manifest_read(guest, error) : NULL;
    if (!manifest) {
        return NULL;
    }
    if (!manifest->peer_node) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "guest: '%s' has one replica", guest);
        return NULL;
    }
    return daemon_peer_call(call->daemon, manifest->peer_node, "drbd.outdate", call->arguments, 2500, error);
}

static json_t *relay(const VerbCall *call, const char *verb, GError **error)
{
    const char *node = verb_string(call, "node", error);
    return node ? daemon_peer_call(call->daemon, node, verb, call->arguments, 15000, error) : NULL;
}

static json_t *migrate_take(const VerbCall *call, GError **error)
{
    return relay(call, "migrate.take", error);
}

static json_t *migrate_ready(const VerbCall *call, GError **error)
{
    return relay(call, "migrate.ready", error);
}

static json_t *migrate_go(const VerbCall *call, GError **error)
{
    return relay(call, "migrate.go", error);
}

static json_t *migrate_abort(const VerbCall *call, GError **error)
{
    return relay(call, "migrate.abort", error);
}

/* A hand-over that Pacemaker began by itself: pre-copy now, within limit_ms. */
static json_t *migrate_precopy(const VerbCall *call, GError **error)
{
    const char *guest = verb_string(call, "guest", error);
    const char *node = guest ? verb_string(call, "node", error) : NULL;
    gint64 limit_ms = json_integer_value(json_object_get(call->arguments, "limit_ms"));
    g_autoptr(Manifest) manifest = node ? manifest_read(guest, error) : NULL;
    g_autoptr(json_t) prepared = manifest ? relay(call, "migrate.prepare", error) : NULL;
    if (!prepared) {
        return NULL;
    }
    const VmmEngine *engine = guest_engine(&manifest->guest);
    g_autofree char *run_folder = guest_run_folder(guest);
    if (!engine->migrate_begin(run_folder, manifest->peer_address, guest_migration_port(&manifest->guest), node,
                               error)) {
        return NULL;
    }
    gint64 deadline_us = g_get_monotonic_time() + limit_ms * 1000;
    while (g_get_monotonic_time() < deadline_us) {
        g_auto(VmmMigration) state = {0};
        if (!engine->migrate_query(run_folder, &state, error)) {
            return NULL;
        }
        if (vmm_migration_nearly_done(&state)) {
            return engine->migrate_hold(run_folder, error) ? json_object() : NULL;
        }
        g_usleep(WAIT_POLL_MS * 1000);
    }
    engine->migrate_cancel(run_folder, NULL);
    g_autoptr(json_t) aborted = relay(call, "migrate.abort", NULL);
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "memory could not be copied within %d s",
                (int) (limit_ms / 1000));
    return NULL;
}

/* The agent tells how long the guest stood still: into the operation whose id the hand-over has. */
static json_t *migrate_report(const VerbCall *call, GError **error)
{
    const char *id = verb_string(call, "id", error);
    g_autofree char *key = id ? g_strconcat(STORE_ROOT "op/", id, NULL) : NULL;
    g_autoptr(StoreEntry) entry = key ? store_get(call->daemon->store, key, NULL, error) : NULL;
    g_autoptr(Operation) operation = entry ? object_from_text(&operation_type, entry->value, key, error) : NULL;
    if (!operation) {
        return NULL;
    }
    operation->downtime_ms = json_integer_value(json_object_get(call->arguments, "downtime_ms"));
    g_autofree char *text = object_to_text(&operation_type, operation);
    return store_put(call->daemon->store, key, text, entry->mod_revision, 0, NULL, error) ? json_object() : NULL;
}

const Verb verbs_other[] = {
    {"status", status},
    {"image.list", image_list},
    {"image.show", image_show},
    {"image.import", image_import_verb},
    {"image.delete", image_delete},
    {"network.list", network_list},
    {"network.create", network_create},
    {"network.delete", network_delete},
    {"op.list", op_list},
    {"op.show", op_show},
    {"op.cancel", op_cancel},
    {"event.list", event_list},
    {"peer.outdate", peer_outdate},
    {"migrate.take", migrate_take},
    {"migrate.ready", migrate_ready},
    {"migrate.go", migrate_go},
    {"migrate.abort", migrate_abort},
    {"migrate.precopy", migrate_precopy},
    {"migrate.report", migrate_report},
    {NULL, NULL},
};
