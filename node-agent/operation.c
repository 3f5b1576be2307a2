/* SPDX-License-Identifier: Apache-2.0
 * Operation documents. */
#include "node-agent/operation.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "node-agent/reconcile.h"

#define ENDED_TTL_S 86400

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
    operation->stage = g_strdup("accepted");
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

/* Read-modify-write, because a cancel request may be set by any node meanwhile. */
static gboolean operation_write(Daemon *daemon, Operation *operation, gint64 lease, GError **error)
{
    g_autofree char *key = operation_key(operation->id);
    for (int tries = 0; tries < 5; tries++) {
        g_autoptr(GError) problem = NULL;
        g_autoptr(StoreEntry) entry = store_get(daemon->store, key, NULL, error);
        g_autoptr(Operation) stored = entry ? object_from_text(&operation_type, entry->value, key, error) : NULL;
        if (!stored) {
            return FALSE;
        }
        operation->cancel_requested |= stored->cancel_requested;
        operation->downtime_ms = MAX(operation->downtime_ms, stored->downtime_ms); /* told by the OCF agent meanwhile */
        g_autofree char *text = object_to_text(&operation_type, operation);
        if (store_put(daemon->store, key, text, entry->mod_revision, lease, NULL, &problem)) {
            return TRUE;
        }
        if (!g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT, "operation %s changed too often", operation->id);
    return FALSE;
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

gboolean operation_cancel_requested(Daemon *daemon, const Operation *operation)
{
    g_autoptr(Operation) stored = operation_get(daemon, operation->id);
    return stored && stored->cancel_requested;
}

static gint64 elapsed_ms(const Operation *operation)
{
    g_autoptr(GDateTime) start = g_date_time_new_from_iso8601(operation->created_at, NULL);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    return start ? g_date_time_difference(now, start) / 1000 : 0;
}

void operation_end(Daemon *daemon, Operation *operation, const GError *error)
{
    g_autoptr(GError) problem = NULL;
    gint64 lease = 0;
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
    if (!store_lease_grant(daemon->store, ENDED_TTL_S, &lease, &problem) ||
        !operation_write(daemon, operation, lease, &problem)) {
        log_line(LOG_LEVEL_WARNING, "operation %s: its end could not be stored: %s", operation->id, problem->message);
    }
    daemon_event(daemon, operation->kind, operation->target, "%s%s%s", error ? "failed: " : "done",
                 error ? error->message : "", "");
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
    {"image.import", drive_image_import},   {"fence.prove", drive_fence_prove},
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
