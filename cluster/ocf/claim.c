/* SPDX-License-Identifier: Apache-2.0
 * The start claim. Every fact given to record_claim() is proven here or left false:
 * - the owner's node rebooted: it registered another kernel boot id in the store since;
 * - the owner was fenced: it is not in our quorate corosync membership AND Pacemaker's CIB holds it for cleanly down;
 * - the owner stopped without being able to say so: DRBD is connected, the peer is Secondary, both disks are UpToDate.
 *
 * A copy whose disk failed never claims, whatever record and DRBD say: after a reboot it looks as good as before, and
 * the record may not have been told (storage/lost_copy.h). */
#include "cluster/ocf/claim.h"

#include "cluster/membership.h"
#include "cluster/pacemaker.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "storage/record.h"

#define QUORUM_TIMEOUT_MS 1000

typedef struct {
    OcfAgent *agent;
    gboolean peer_absent; /* quorate membership without the peer, and Pacemaker holds it for cleanly down */
    gboolean peer_proves_stop, peer_up_to_date;
} ClaimContext;

/* A local disk that DRBD itself knows to be old (or is not there) never claims: it would throw the good copy out of the
 * record and then fail to promote. */
static gboolean facts_from_drbd(const OcfAgent *agent, ClaimContext *context, GError **error)
{
    const Guest *guest = &agent->manifest->guest;
    context->peer_proves_stop = context->peer_up_to_date = agent->manifest->peer_node != NULL;
    for (guint i = 0; i < agent->manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (!drbd_state_read(guest_minor(guest, (int) i), &state, error)) {
            return FALSE;
        }
        if (!state.present || (!g_str_equal(state.disk, "UpToDate") && !g_str_equal(state.disk, "Consistent"))) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                        "guest '%s': volume %u here is %s; it can start only where a copy is UpToDate", agent->guest, i,
                        state.present ? state.disk : "not attached");
            return FALSE;
        }
        gboolean pair = drbd_state_is_up_to_date_pair(&state);
        context->peer_up_to_date &= pair;
        context->peer_proves_stop &= pair && g_str_equal(state.peer_role, "Secondary");
    }
    return TRUE;
}

/* Whether the node that owned the guest registered another life since. The key is written by every holdfastd before
 * Pacemaker starts. */
static gboolean owner_rebooted(OcfAgent *agent, const Record *record)
{
    if (record->owner[0] == '\0' || record->owner_boot_id[0] == '\0') {
        return FALSE;
    }
    if (g_str_equal(record->owner, ident_node_name())) {
        return !g_str_equal(record->owner_boot_id, ident_boot_id());
    }
    g_autofree char *key = g_strconcat(STORE_ROOT "boot/", record->owner, NULL);
    g_autoptr(StoreEntry) entry = store_get(agent->store, key, NULL, NULL);
    g_autoptr(NodeBoot) boot = entry ? object_from_text(&node_boot_type, entry->value, key, NULL) : NULL;
    return boot && !g_str_equal(boot->boot_id, record->owner_boot_id);
}

/* DRBD is looked at after the record was read, for every attempt: a resync that begins in between would make us throw
 * the good copy out. */
static gboolean claim_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    ClaimContext *context = user_data;
    OcfAgent *agent = context->agent;
    g_autoptr(GError) problem = NULL;
    if (!facts_from_drbd(agent, context, &problem)) {
        g_strlcpy(reason, problem->message, reason_size);
        return FALSE;
    }
    RecordClaimFacts facts = {
        .node = ident_node_name(),
        .boot_id = ident_boot_id(),
        .owner_rebooted = owner_rebooted(agent, before),
        .owner_fenced = context->peer_absent && agent->manifest->peer_node &&
                        g_str_equal(before->owner, agent->manifest->peer_node),
        .peer_proves_stop = context->peer_proves_stop,
        .peer_up_to_date = context->peer_up_to_date,
        .peer = agent->manifest->peer_node,
    };
    return record_claim(before, &facts, after, reason, reason_size);
}

static gboolean facts_from_cluster(OcfAgent *agent, ClaimContext *context, GError **error)
{
    MembershipView view;
    if (!membership_query(QUORUM_TIMEOUT_MS, &view, error)) {
        return FALSE;
    }
    if (!view.quorate) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                    "guest '%s': this node is not in a quorate cluster", agent->guest);
        return FALSE;
    }
    const Manifest *manifest = agent->manifest;
    if (manifest->peer_node && !membership_view_has(&view, (guint32) manifest->peer_id)) {
        return pacemaker_node_is_clean_down(agent->runner, manifest->peer_node, &context->peer_absent, error);
    }
    return TRUE;
}

static gboolean undo_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    return record_handover_rollback(before, user_data, after, reason, reason_size);
}

/* A hand-over that we began and whose migrate_to died before its commit still stands. Only that process could have
 * committed it; should its last request be under way, compare-and-set lets one of the two win and the loser sees it. */
static gboolean abandoned_handover_undo(OcfAgent *agent, GError **error)
{
    Record record;
    if (!record_read(agent->store, agent->guest, &record, NULL, error)) {
        return FALSE;
    }
    if (record.handover_to[0] == '\0' || !g_str_equal(record.owner, ident_node_name()) ||
        !g_str_equal(record.owner_boot_id, ident_boot_id())) {
        return TRUE;
    }
    return record_update(agent->store, agent->guest, undo_rule, record.handover_id, NULL, NULL, error);
}

gboolean claim_start(OcfAgent *agent, GError **error)
{
    ClaimContext context = {.agent = agent};
    if (!guest_copy_trusted(agent->manifest, error) || !ocf_agent_store(agent, error) ||
        !facts_from_cluster(agent, &context, error) || !abandoned_handover_undo(agent, error)) {
        return FALSE;
    }
    Record before, after;
    if (!record_update(agent->store, agent->guest, claim_rule, &context, &before, &after, error)) {
        return FALSE;
    }
    log_line(LOG_LEVEL_NOTICE, "guest '%s': claimed, generation %lld, owner before: %s", agent->guest,
             (long long) after.generation, before.owner[0] ? before.owner : "nobody");
    return TRUE;
}

gboolean claim_stands(OcfAgent *agent, GError **error)
{
    Record record;
    if (!record_read(agent->store, agent->guest, &record, NULL, error)) {
        return FALSE;
    }
    if (record.state == RECORD_RUNNING && g_str_equal(record.owner, ident_node_name()) &&
        g_str_equal(record.owner_boot_id, ident_boot_id()) && record.handover_to[0] == '\0') {
        return TRUE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s': %s claimed it meanwhile", agent->guest,
                record.owner);
    return FALSE;
}

static gboolean stop_rule(const Record *before, gpointer user_data G_GNUC_UNUSED, Record *after, char *reason,
                          gsize reason_size)
{
    return record_stop(before, ident_node_name(), ident_boot_id(), after, reason, reason_size);
}

gboolean claim_release(OcfAgent *agent, GError **error)
{
    return ocf_agent_store(agent, error) && abandoned_handover_undo(agent, error) &&
           record_update(agent->store, agent->guest, stop_rule, NULL, NULL, NULL, error);
}
