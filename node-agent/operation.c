/* SPDX-License-Identifier: Apache-2.0
 * Operation documents. */
#include "node-agent/operation.h"

#include "cluster/object_update.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "node-agent/reconcile.h"

#define ENDED_TTL_S 86400
#define WAIT_POLL_MS 250
/* How long an operation that was just made may be unknown to this node's cache, and how long one that was asked to stop
 * may take for it. */
#define UNKNOWN_LIMIT_MS 15000
#define CANCEL_LIMIT_MS 120000

static char *operation_key(const char *id)
{
    return g_strconcat(STORE_ROOT "op/", id, NULL);
}

Operation *operation_new(const char *kind, const char *target, const char *argument, const char *node)
{
    Operation *operation = object_new(&operation_type);
    operation->version = 1;
    operation->id = ident_new_uuid();
    operation->kind = g_strdup(kind);
    operation->target = g_strdup(target);
    operation->argument = g_strdup(argument);
    operation->node = g_strdup(node);
    operation->stage = g_strdup(OPERATION_STAGE_ACCEPTED);
    operation->created_at = ident_timestamp();
    return operation;
}

void operation_add_to(StoreTxn *txn, const Operation *operation)
{
    g_autofree char *key = operation_key(operation->id);
    g_autofree char *text = object_to_text(&operation_type, operation);
    store_txn_if_revision(txn, key, 0);
    store_txn_put(txn, key, text, 0);
}

gboolean operation_create(Daemon *daemon, const Operation *operation, GError **error)
{
    g_autoptr(StoreTxn) txn = store_txn_new();
    operation_add_to(txn, operation);
    return store_txn_commit(daemon->store, txn, NULL, error);
}

Operation *operation_get(Daemon *daemon, const char *id)
{
    g_autofree char *name = g_strconcat("op/", id, NULL);
    return cache_object(daemon->cache, &operation_type, name, NULL);
}

Operation *operation_running_on(Daemon *daemon, const char *target)
{
    g_autoptr(GPtrArray) operations = cache_objects(daemon->cache, &operation_type, "op/");
    for (guint i = 0; i < operations->len; i++) {
        const Operation *operation = operations->pdata[i];
        if (operation->state == OPERATION_RUNNING && g_strcmp0(operation->target, target) == 0) {
            return g_ptr_array_steal_index(operations, i);
        }
    }
    return NULL;
}

static gboolean is_ours(const Operation *stored, const Operation *operation)
{
    return stored->state == OPERATION_RUNNING && g_strcmp0(stored->node, operation->node) == 0;
}

/* What we know replaces what is stored, but for what others set meanwhile. */
static gboolean change_all(gpointer object, gpointer user_data, GError **error)
{
    Operation *stored = object, *operation = user_data;
    g_autofree char *there = object_to_text(&operation_type, stored);
    g_autofree char *wanted = object_to_text(&operation_type, operation);
    if (g_str_equal(there, wanted)) {
        return FALSE; /* an earlier attempt of unknown outcome did it */
    }
    if (!is_ours(stored, operation)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "it was ended or taken over by another node");
        return FALSE;
    }
    operation->cancel_requested |= stored->cancel_requested;
    operation->downtime_ms = MAX(operation->downtime_ms, stored->downtime_ms); /* told by the OCF agent meanwhile */
    g_autoptr(json_t) document = json_struct_encode(&operation_type, operation);
    json_struct_clear(&operation_type, stored);
    return json_struct_decode(document, &operation_type, "operation", stored, error);
}

static gboolean operation_write(Daemon *daemon, Operation *operation, gint64 lease, GError **error)
{
    g_autofree char *name = g_strconcat("op/", operation->id, NULL);
    return object_update(daemon->store, &operation_type, name, lease, change_all, operation, NULL, error);
}

static void operation_save(Daemon *daemon, Operation *operation)
{
    g_autoptr(GError) error = NULL;
    if (!operation_write(daemon, operation, 0, &error)) {
        log_line(LOG_LEVEL_WARNING, "operation %s: progress not stored: %s", operation->id, error->message);
    }
}

void operation_stage(Daemon *daemon, Operation *operation, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *stage = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    if (g_strcmp0(stage, operation->stage) != 0) {
        g_free(operation->stage);
        operation->stage = g_steal_pointer(&stage);
        operation_save(daemon, operation);
    }
}

void operation_progress(Daemon *daemon, Operation *operation, gint64 done, gint64 total, const char *unit)
{
    operation->done = done;
    operation->total = total;
    g_free(operation->unit);
    operation->unit = g_strdup(unit);
    operation_save(daemon, operation);
}

gboolean operation_is_lost(Daemon *daemon, const Operation *operation)
{
    g_autoptr(Operation) stored = operation_get(daemon, operation->id);
    return stored && !is_ours(stored, operation);
}

gboolean operation_cancel_requested(Daemon *daemon, const Operation *operation)
{
    g_autoptr(Operation) stored = operation_get(daemon, operation->id);
    return stored && (stored->cancel_requested || !is_ours(stored, operation));
}

static gboolean change_cancel(gpointer object, gpointer user_data G_GNUC_UNUSED, GError **error)
{
    Operation *operation = object;
    if (operation->state != OPERATION_RUNNING) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "operation %s has ended already", operation->id);
        return FALSE;
    }
    operation->cancel_requested = TRUE;
    return TRUE;
}

gboolean operation_request_cancel(Daemon *daemon, const char *id, GError **error)
{
    g_autofree char *name = g_strconcat("op/", id, NULL);
    return object_update(daemon->store, &operation_type, name, 0, change_cancel, NULL, NULL, error);
}

typedef struct {
    const Operation *operation;
    const char *node;
} TakeOver;

static gboolean change_driver(gpointer object, gpointer user_data, GError **error)
{
    Operation *stored = object;
    const TakeOver *take = user_data;
    if (stored->state == OPERATION_RUNNING && g_strcmp0(stored->node, take->node) == 0) {
        return FALSE; /* an earlier attempt of unknown outcome did it */
    }
    if (!is_ours(stored, take->operation)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "it was ended or taken over by another node");
        return FALSE;
    }
    g_free(stored->stage);
    stored->stage = g_strdup_printf("taken over by %s: holdfastd on %s does not answer", take->node, stored->node);
    g_free(stored->node);
    stored->node = g_strdup(take->node);
    return TRUE;
}

gboolean operation_take_over(Daemon *daemon, const Operation *operation, GError **error)
{
    g_autofree char *name = g_strconcat("op/", operation->id, NULL);
    TakeOver take = {.operation = operation, .node = daemon->config->node};
    return object_update(daemon->store, &operation_type, name, 0, change_driver, &take, NULL, error);
}

static gboolean ended_well(const Operation *operation, GError **error)
{
    if (operation->state == OPERATION_SUCCEEDED) {
        return TRUE;
    }
    g_set_error(error, HOLDFAST_ERROR, holdfast_error_from_name(operation->error_code), "%s",
                operation->error ? operation->error : "it ended without a reason");
    return FALSE;
}

gboolean operation_wait(Daemon *daemon, const Operation *waiter, const char *id, int limit_ms, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) limit_ms * 1000;
    gint64 known_by_us = g_get_monotonic_time() + UNKNOWN_LIMIT_MS * 1000;
    gboolean asked_to_stop = FALSE;
    for (;;) {
        g_autoptr(Operation) operation = operation_get(daemon, id);
        gint64 now_us = g_get_monotonic_time();
        if (operation && operation->state != OPERATION_RUNNING) {
            return ended_well(operation, error);
        }
        if (!operation && now_us > known_by_us) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "operation %s is not in the store", id);
            return FALSE;
        }
        if (now_us > deadline_us && asked_to_stop) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
                        "operation %s (%s) does not end; see 'holdfast op show %s'", id,
                        operation ? operation->stage : "unknown", id);
            return FALSE;
        }
        if (!asked_to_stop && (now_us > deadline_us || operation_cancel_requested(daemon, waiter))) {
            operation_request_cancel(daemon, id, NULL); /* fails only when it ends this moment, or with the store */
            asked_to_stop = TRUE;
            deadline_us = now_us + CANCEL_LIMIT_MS * G_GINT64_CONSTANT(1000);
        }
        g_usleep(WAIT_POLL_MS * 1000);
    }
}

static gint64 elapsed_ms(const Operation *operation)
{
    g_autoptr(GDateTime) start = g_date_time_new_from_iso8601(operation->created_at, NULL);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    return start ? g_date_time_difference(now, start) / 1000 : 0;
}

static void fill_end(Operation *operation, const GError *error)
{
    int code = holdfast_error_code(error);
    operation->state = !error                             ? OPERATION_SUCCEEDED
                       : code == HOLDFAST_ERROR_CANCELLED ? OPERATION_CANCELLED
                                                          : OPERATION_FAILED;
    operation->ended_at = ident_timestamp();
    operation->duration_ms = elapsed_ms(operation);
    if (error) {
        operation->error = g_strdup(error->message);
        operation->error_code = g_strdup(holdfast_error_name(code));
    } else {
        g_free(operation->stage);
        operation->stage = g_strdup("done");
    }
}

void operation_end(Daemon *daemon, Operation *operation, const GError *error)
{
    g_autoptr(GError) problem = NULL;
    gint64 lease = 0;
    fill_end(operation, error);
    if (!store_lease_grant(daemon->store, ENDED_TTL_S, &lease, &problem) ||
        !operation_write(daemon, operation, lease, &problem)) {
        log_line(LOG_LEVEL_WARNING, "operation %s: its end could not be stored: %s", operation->id, problem->message);
        if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED)) {
            return; /* whoever ended it has said so */
        }
    }
    daemon_event(daemon, operation->kind, operation->target, "%s%s", error ? "failed: " : "done",
                 error ? error->message : "");
}

gboolean operation_create_done(Daemon *daemon, Operation *operation, GError **error)
{
    gint64 lease = 0;
    g_autofree char *key = operation_key(operation->id);
    fill_end(operation, NULL);
    g_autofree char *text = object_to_text(&operation_type, operation);
    if (!store_lease_grant(daemon->store, ENDED_TTL_S, &lease, error) ||
        !store_put(daemon->store, key, text, 0, lease, NULL, error)) {
        return FALSE;
    }
    daemon_event(daemon, operation->kind, operation->target, "done");
    return TRUE;
}

json_t *operation_view(const Operation *operation)
{
    json_t *view = json_struct_encode(&operation_type, operation);
    json_object_del(view, "version");
    return view;
}

static const struct {
    const char *kind;
    void (*drive)(Daemon *daemon, Operation *operation);
} drivers[] = {
    {"guest.migrate", drive_guest_migrate}, {"guest.stop", drive_guest_stop},   {"node.standby", drive_node_standby},
    {"image.import", drive_image_import},   {"fence.prove", drive_fence_prove}, {"guest.verify", drive_guest_verify},
    {"node.remove", drive_node_remove},
};

void operation_drive(const char *key, gpointer user_data)
{
    Daemon *daemon = user_data;
    /* From the store itself: the cache may not have seen yet that the last run ended it. */
    g_autofree char *store_key = g_strconcat(STORE_ROOT, key, NULL);
    g_autoptr(StoreEntry) entry = store_get(daemon->store, store_key, NULL, NULL);
    g_autoptr(Operation) operation = entry ? object_from_text(&operation_type, entry->value, store_key, NULL) : NULL;
    if (!operation || operation->state != OPERATION_RUNNING || g_strcmp0(operation->node, daemon->config->node) != 0) {
        return;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (g_str_equal(drivers[i].kind, operation->kind)) {
            drivers[i].drive(daemon, operation);
            return;
        }
    }
}
