/* SPDX-License-Identifier: Apache-2.0
 * The end of the doubt. What counts as proof that the guest does not run elsewhere is what counts for a start: the node
 * says so itself, or it is out of a quorate membership and cleanly down. */
#include "node-agent/record_doubt.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "storage/record.h"

#define RENEW_TIMEOUT_MS 5000

typedef struct {
    const Manifest *manifest;
    gboolean may_be_frozen;
} Renewal;

/* DRBD is looked at after the record was read, for every attempt. A frozen Primary waits to hear whether its peer may
 * count as gone, and the answer was in the record that is in doubt: it renews nothing by itself. */
static gboolean renew_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    const Renewal *renewal = user_data;
    ReplicaSight sight;
    gboolean writes = replica_sight_look(renewal->manifest, &sight, NULL) && sight.vmm_running && sight.all_primary &&
                      sight.up_to_date && (renewal->may_be_frozen || !sight.frozen);
    return record_renew(before, ident_node_name(), ident_boot_id(), writes, after, reason, reason_size);
}

void record_doubt_follow(Daemon *daemon, const Manifest *manifest, Record *record)
{
    const char *name = manifest->guest.name;
    Renewal renewal = {.manifest = manifest};
    ReplicaSight sight;
    g_autoptr(GError) error = NULL;
    if (!record->unconfirmed[0] || !replica_sight_look(manifest, &sight, NULL) || !sight.vmm_running) {
        return;
    }
    if (!record_update(daemon->store, name, renew_rule, &renewal, NULL, record, &error)) {
        log_line(LOG_LEVEL_INFO, "guest '%s': %s", name, error->message);
        return;
    }
    g_autofree char *object = g_strconcat("guest/", name, NULL);
    daemon_event(daemon, "guest.record_renewed", object, "it runs on %s, so the copy there is the current one",
                 ident_node_name());
}

json_t *record_doubt_renew(Daemon *daemon, const Manifest *manifest, GError **error)
{
    Renewal renewal = {.manifest = manifest, .may_be_frozen = TRUE};
    return record_update(daemon->store, manifest->guest.name, renew_rule, &renewal, NULL, NULL, error) ? json_object()
                                                                                                       : NULL;
}

DoubtStep record_doubt_decide(const ReplicaView *node, const ReplicaView *other, const char **ret_reason)
{
    *ret_reason = NULL;
    if (!node->answers) {
        *ret_reason = "that node does not answer: bring it back first, its copy cannot be looked at";
    } else if (other && !other->answers && !other->clean_down) {
        *ret_reason = "the node of the other copy does not answer and may be running it: switch it off, then `holdfast "
                      "fence confirm` (this side must have quorum)";
    } else if (other && other->runs) {
        *ret_reason =
            "it runs on the node of the other copy: that copy is the current one, and its node renews the record "
            "by itself";
    } else if (!node->usable) {
        *ret_reason = "a disk of that copy is not attached, or neither UpToDate nor Consistent";
    } else if (node->runs && !node->frozen) {
        *ret_reason = "it runs there, and that node renews the record by itself within seconds, unless the guest is "
                      "paused or its "
                      "VMM is dead: then stop it there first";
    }
    return *ret_reason ? DOUBT_REFUSE : node->runs ? DOUBT_RENEW : DOUBT_CONFIRM;
}

static gboolean confirm_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    return record_confirm(before, user_data, after, reason, reason_size);
}

gboolean record_doubt_confirm(Daemon *daemon, const Guest *guest, const char *node, GError **error)
{
    const char *peer = guest_peer_node(guest, node), *reason = NULL;
    ReplicaView here, there = {0};
    replica_view(daemon, guest->name, node, &here);
    if (peer) {
        replica_view(daemon, guest->name, peer, &there);
    }
    switch (record_doubt_decide(&here, peer ? &there : NULL, &reason)) {
    case DOUBT_CONFIRM:
        return record_update(daemon->store, guest->name, confirm_rule, (gpointer) node, NULL, NULL, error);
    case DOUBT_RENEW: {
        g_autoptr(json_t) answer = replica_ask(daemon, "replica.renew", guest->name, node, RENEW_TIMEOUT_MS, error);
        return answer != NULL;
    }
    case DOUBT_REFUSE:
        break;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s', copy on %s: %s", guest->name, node, reason);
    return FALSE;
}
