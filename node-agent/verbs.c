/* SPDX-License-Identifier: Apache-2.0
 * Finding and running a verb, and what verbs share. */
#include "node-agent/verbs.h"

#include "common/error.h"
#include "common/ident.h"
#include "node-agent/operation.h"

gboolean verb_is_for_root(const char *name)
{
    return g_str_has_prefix(name, "record.");
}

json_t *verb_run(Daemon *daemon, const char *name, json_t *arguments, const char *user, GError **error)
{
    static const Verb *const tables[] = {verbs_guest,    verbs_replace, verbs_node,   verbs_fence,
                                         verbs_incident, verbs_other,   verbs_record, verbs_store};
    g_autoptr(json_t) empty = json_object();
    VerbCall call = {.daemon = daemon, .arguments = arguments ? arguments : empty, .user = user ? user : "local"};
    if (!json_is_object(call.arguments)) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "args: must be a JSON object");
        return NULL;
    }
    for (gsize t = 0; t < G_N_ELEMENTS(tables); t++) {
        for (const Verb *verb = tables[t]; verb->name; verb++) {
            if (g_str_equal(verb->name, name)) {
                return verb->run(&call, error);
            }
        }
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED,
                "verb: '%s' is not known to holdfastd " DAEMON_VERSION, name);
    return NULL;
}

const char *verb_string(const VerbCall *call, const char *name, GError **error)
{
    const char *text = json_string_value(json_object_get(call->arguments, name));
    if (!text || !*text) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: must be a text that is not empty", name);
        return NULL;
    }
    return text;
}

gpointer verb_object(const VerbCall *call, const JsonStruct *type, const char *kind, gint64 *ret_revision,
                     GError **error)
{
    const char *name = verb_string(call, "name", error);
    if (!name || !ident_check_name(name, "name", error)) {
        return NULL;
    }
    g_autofree char *key = g_strdup_printf("%s/%s", kind, name);
    gpointer object = cache_object(call->daemon->cache, type, key, ret_revision);
    if (!object) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND,
                    "there is no %s '%s'; 'holdfast %s list' shows what there is", kind, name, kind);
    }
    return object;
}

gboolean verb_confirmed(const VerbCall *call, const char *wanted, GError **error)
{
    const char *confirm = verb_string(call, "confirm", error);
    if (confirm && !g_str_equal(confirm, wanted)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "confirm: must be '%s'", wanted);
        return FALSE;
    }
    return confirm != NULL;
}

gboolean verb_target_free(const VerbCall *call, const char *target, GError **error)
{
    g_autoptr(Operation) operation = operation_running_on(call->daemon, target);
    if (operation) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                    "%s is busy with %s (operation %s, %s); wait for it or cancel it with 'holdfast op cancel %s'",
                    target, operation->kind, operation->id, operation->stage, operation->id);
    }
    return operation == NULL;
}

json_t *verb_operation(const VerbCall *call, Operation *operation, GError **error)
{
    g_autoptr(Operation) owned = operation;
    if (!operation_create(call->daemon, owned, error)) {
        return NULL;
    }
    return operation_view(owned);
}
