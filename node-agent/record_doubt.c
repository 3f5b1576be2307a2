/* SPDX-License-Identifier: Apache-2.0
 * The end of the doubt. What counts as proof that the guest does not run elsewhere is what counts for a start: the node
 * says so itself, or it is out of a quorate membership and cleanly down. */
#include "node-agent/record_doubt.h"

#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "node-agent/peer_verbs.h"
#include "storage/record.h"

#define LOOK_TIMEOUT_MS 5000

typedef struct {
    gboolean vmm_running, vmm_there; /* "there": in any state but stopped */
    gboolean primary, all_primary;
    gboolean frozen;
    gboolean usable, up_to_date;
} Sight;

static gboolean look(const Manifest *manifest, Sight *ret, GError **error)
{
    const char *name = manifest->guest.name;
    g_autofree char *run_folder = guest_run_folder(name);
    VmmState vmm = guest_engine(&manifest->guest)->query(run_folder, name);
    *ret = (Sight){.vmm_running = vmm == VMM_RUNNING,
                   .vmm_there = vmm != VMM_STOPPED,
                   .all_primary = TRUE,
                   .usable = TRUE,
                   .up_to_date = TRUE};
    for (guint i = 0; i < manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (!drbd_state_read(guest_minor(&manifest->guest, (int) i), &state, error)) {
            return FALSE;
        }
        gboolean primary = state.present && g_str_equal(state.role, "Primary");
        gboolean up_to_date = state.present && g_str_equal(state.disk, "UpToDate");
        ret->primary |= primary;
        ret->all_primary &= primary;
        ret->frozen |= primary && state.suspended;
        ret->up_to_date &= up_to_date;
        ret->usable &= up_to_date || (state.present && g_str_equal(state.disk, "Consistent"));
    }
    return TRUE;
}

typedef struct {
    const Manifest *manifest;
    gboolean may_be_frozen;
} Renewal;

/* DRBD is looked at after the record was read, for every attempt. A frozen Primary waits to hear whether its peer may
 * count as gone, and the answer was in the record that is in doubt: it renews nothing by itself. */
static gboolean renew_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    const Renewal *renewal = user_data;
    Sight sight;
    gboolean writes = look(renewal->manifest, &sight, NULL) && sight.vmm_running && sight.all_primary &&
                      sight.up_to_date && (renewal->may_be_frozen || !sight.frozen);
    return record_renew(before, ident_node_name(), ident_boot_id(), writes, after, reason, reason_size);
}

void record_doubt_follow(Daemon *daemon, const Manifest *manifest, Record *record)
{
    const char *name = manifest->guest.name;
    Renewal renewal = {.manifest = manifest};
    Sight sight;
    g_autoptr(GError) error = NULL;
    if (!record->unconfirmed[0] || !look(manifest, &sight, NULL) || !sight.vmm_running) {
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

json_t *record_doubt_look(const Manifest *manifest, GError **error)
{
    Sight sight;
    return look(manifest, &sight, error) ? json_pack("{s:b,s:b,s:b}", "runs", sight.vmm_there || sight.primary,
                                                     "frozen", sight.frozen, "usable", sight.usable)
                                         : NULL;
}

json_t *record_doubt_renew(Daemon *daemon, const Manifest *manifest, GError **error)
{
    Renewal renewal = {.manifest = manifest, .may_be_frozen = TRUE};
    return record_update(daemon->store, manifest->guest.name, renew_rule, &renewal, NULL, NULL, error) ? json_object()
                                                                                                       : NULL;
}

DoubtStep record_doubt_decide(const DoubtView *node, const DoubtView *other, const char **ret_reason)
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

static json_t *ask(Daemon *daemon, const char *verb, const char *guest, const char *node, GError **error)
{
    g_autoptr(json_t) arguments = json_pack("{s:s}", "guest", guest);
    return g_str_equal(node, daemon->config->node)
               ? peer_verb_run(daemon, verb, arguments, error)
               : daemon_peer_call(daemon, node, verb, arguments, LOOK_TIMEOUT_MS, error);
}

static void view_of(Daemon *daemon, const char *guest, const char *node, DoubtView *ret)
{
    g_autoptr(json_t) answer = ask(daemon, "replica.look", guest, node, NULL);
    *ret = (DoubtView){.answers = answer != NULL,
                       .runs = json_is_true(json_object_get(answer, "runs")),
                       .frozen = json_is_true(json_object_get(answer, "frozen")),
                       .usable = json_is_true(json_object_get(answer, "usable"))};
    if (!answer && daemon_view(daemon).quorate && !daemon_node_online(daemon, node)) {
        gboolean down = FALSE;
        ret->clean_down = pacemaker_node_is_clean_down(daemon->runner, node, &down, NULL) && down;
    }
}

static gboolean confirm_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    return record_confirm(before, user_data, after, reason, reason_size);
}

gboolean record_doubt_confirm(Daemon *daemon, const Guest *guest, const char *node, GError **error)
{
    const char *peer = guest_peer_node(guest, node), *reason = NULL;
    DoubtView here, there = {0};
    view_of(daemon, guest->name, node, &here);
    if (peer) {
        view_of(daemon, guest->name, peer, &there);
    }
    switch (record_doubt_decide(&here, peer ? &there : NULL, &reason)) {
    case DOUBT_CONFIRM:
        return record_update(daemon->store, guest->name, confirm_rule, (gpointer) node, NULL, NULL, error);
    case DOUBT_RENEW: {
        g_autoptr(json_t) answer = ask(daemon, "replica.renew", guest->name, node, error);
        return answer != NULL;
    }
    case DOUBT_REFUSE:
        break;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s', copy on %s: %s", guest->name, node, reason);
    return FALSE;
}
