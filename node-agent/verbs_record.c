/* SPDX-License-Identifier: Apache-2.0
 * The in-sync record for DRBD's handler where the store's member of this node does not answer (or is none): read and
 * compare-and-set through whatever voter our store client reaches. Both are linearizable, so they mean the same as at
 * the member. And the operator's word: that a failed disk works again, which copy counts. */
#include "node-agent/verbs.h"

#include "common/error.h"
#include "common/ident.h"
#include "node-agent/copy_choice.h"
#include "node-agent/operation.h"
#include "node-agent/peer_verbs.h"
#include "node-agent/record_doubt.h"
#include "storage/record.h"

#include <stdlib.h>

#define REATTACH_TIMEOUT_MS 5000

static const char *guest_argument(const VerbCall *call, GError **error)
{
    const char *guest = verb_string(call, "guest", error);
    return guest && ident_check_name(guest, "guest", error) ? guest : NULL;
}

static json_t *record_get(const VerbCall *call, GError **error)
{
    const char *guest = guest_argument(call, error);
    Record record;
    gint64 revision = 0;
    if (!guest || !record_read(call->daemon->store, guest, &record, &revision, error)) {
        return NULL;
    }
    char *text = record_encode(&record);
    json_t *result = json_pack("{s:s,s:I}", "record", text, "revision", (json_int_t) revision);
    free(text);
    return result;
}

/* CONFLICT when it has moved on, TIMEOUT when the outcome is unknown: either way the handler reads again. */
static json_t *record_cas(const VerbCall *call, GError **error)
{
    const char *guest = guest_argument(call, error);
    const char *text = guest ? verb_string(call, "record", error) : NULL;
    const json_t *revision = json_object_get(call->arguments, "revision");
    char reason[256];
    Record record;
    if (!text) {
        return NULL;
    }
    if (!json_is_integer(revision) || json_integer_value(revision) <= 0) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                            "revision: must be the one that record.get gave");
        return NULL;
    }
    if (!record_decode(text, &record, reason, sizeof(reason))) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "record: %s", reason);
        return NULL;
    }
    return record_write(call->daemon->store, guest, &record, json_integer_value(revision), NULL, error)
               ? json_pack("{s:b}", "written", 1)
               : NULL;
}

/* TRUE with *ret_released when `node` had a failed disk of the guest. */
static gboolean reattach_on(const VerbCall *call, const char *guest, const char *node, gboolean *ret_released,
                            GError **error)
{
    g_autoptr(json_t) arguments = json_pack("{s:s}", "guest", guest);
    g_autoptr(json_t) result =
        g_str_equal(node, call->daemon->config->node)
            ? peer_verb_run(call->daemon, "disk.reattach", arguments, error)
            : daemon_peer_call(call->daemon, node, "disk.reattach", arguments, REATTACH_TIMEOUT_MS, error);
    *ret_released = json_is_true(json_object_get(result, "released"));
    return result != NULL;
}

static json_t *guest_reattach(const VerbCall *call, GError **error)
{
    g_autoptr(Guest) guest = verb_object(call, &guest_type, "guest", NULL, error);
    const char *only = json_string_value(json_object_get(call->arguments, "node"));
    g_autoptr(json_t) nodes = json_array();
    if (!guest) {
        return NULL;
    }
    if (only && !guest_on_node(guest, only)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "node: guest '%s' has no replica on '%s'",
                    guest->name, only);
        return NULL;
    }
    for (char **node = guest->nodes; node && *node; node++) {
        gboolean released = FALSE;
        if (only && !g_str_equal(only, *node)) {
            continue;
        }
        if (!reattach_on(call, guest->name, *node, &released, error)) {
            return NULL;
        }
        if (released) {
            json_array_append_new(nodes, json_string(*node));
        }
    }
    if (json_array_size(nodes) == 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "no disk of guest '%s' failed%s%s: nothing to do",
                    guest->name, only ? " on " : "", only ? only : "");
        return NULL;
    }
    return json_pack("{s:s,s:O}", "guest", guest->name, "nodes", nodes);
}

/* ---- an operator's word about copies that are not the same ---- */

/* The guest, when argument "node" (*ret_node, borrowed) has a copy of it, "confirm" repeats its name, and no operation
 * on it is under way. Caller frees. */
static Guest *copy_argument(const VerbCall *call, const char **ret_node, GError **error)
{
    g_autoptr(Guest) guest = verb_object(call, &guest_type, "guest", NULL, error);
    const char *node = guest ? verb_string(call, "node", error) : NULL;
    if (!node || !verb_confirmed(call, guest->name, error)) {
        return NULL;
    }
    g_autofree char *target = g_strconcat("guest/", guest->name, NULL);
    if (!guest_on_node(guest, node)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "node: guest '%s' has no replica on '%s'",
                    guest->name, node);
        return NULL;
    }
    *ret_node = node;
    /* A start that waits for this very word is not in its way. */
    g_autoptr(Operation) waiting = operation_running_on(call->daemon, target);
    gboolean start = waiting && g_str_equal(waiting->kind, "guest.start");
    return start || verb_target_free(call, target, error) ? g_steal_pointer(&guest) : NULL;
}

static json_t *guest_confirm(const VerbCall *call, GError **error)
{
    const char *node = NULL;
    Record record;
    g_autoptr(Guest) guest = copy_argument(call, &node, error);
    if (!guest || !record_read(call->daemon->store, guest->name, &record, NULL, error)) {
        return NULL;
    }
    gboolean done = record.unconfirmed[0] ? record_doubt_confirm(call->daemon, guest, node, error)
                                          : copy_choice_override(call->daemon, guest, node, error);
    if (!done) {
        return NULL;
    }
    g_autofree char *object = g_strconcat("guest/", guest->name, NULL);
    daemon_event(call->daemon, "guest.confirmed", object, "%s says that the copy on %s is the current one", call->user,
                 node);
    daemon_kick_cluster(call->daemon);
    return json_pack("{s:s,s:s}", "guest", guest->name, "node", node);
}

static json_t *guest_discard_copy(const VerbCall *call, GError **error)
{
    const char *node = NULL;
    g_autoptr(Guest) guest = copy_argument(call, &node, error);
    g_autoptr(json_t) answer = guest ? copy_choice_discard(call->daemon, guest, node, error) : NULL;
    if (!answer) {
        return NULL;
    }
    g_autofree char *object = g_strconcat("guest/", guest->name, NULL);
    daemon_event(call->daemon, "guest.copy_discarded", object,
                 "%s gives up what only the copy on %s has; it is kept there as snapshot", call->user, node);
    return json_pack("{s:s,s:s,s:O}", "guest", guest->name, "node", node, "kept", json_object_get(answer, "kept"));
}

const Verb verbs_record[] = {
    {"record.get", record_get},
    {"record.cas", record_cas},
    {"guest.reattach", guest_reattach},
    {"guest.confirm", guest_confirm},
    {"guest.discard_copy", guest_discard_copy},
    {NULL, NULL},
};
