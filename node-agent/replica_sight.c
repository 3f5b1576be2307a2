/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/replica_sight.h"

#include "cluster/ocf/guest_run.h"
#include "common/ident.h"
#include "node-agent/peer_verbs.h"
#include "storage/lost_copy.h"
#include "storage/pool.h"
#include "storage/split_brain.h"

#include <glib/gstdio.h>
#include <unistd.h>

#define LOOK_TIMEOUT_MS 5000

gboolean replica_sight_look(const Manifest *manifest, ReplicaSight *ret, GError **error)
{
    const char *name = manifest->guest.name;
    g_autofree char *run_folder = guest_run_folder(name);
    VmmState vmm = guest_engine(&manifest->guest)->query(run_folder, name);
    *ret = (ReplicaSight){.vmm_running = vmm == VMM_RUNNING,
                          .vmm_there = vmm != VMM_STOPPED,
                          .all_primary = TRUE,
                          .up_to_date = TRUE,
                          .usable = TRUE,
                          .whole = TRUE};
    for (guint i = 0; i < manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (!drbd_state_read(guest_minor(&manifest->guest, (int) i), &state, error)) {
            return FALSE;
        }
        gboolean primary = state.present && g_str_equal(state.role, "Primary");
        gboolean up_to_date = state.present && g_str_equal(state.disk, "UpToDate");
        gboolean usable = up_to_date || (state.present && g_str_equal(state.disk, "Consistent"));
        ret->primary |= primary;
        ret->all_primary &= primary;
        ret->frozen |= primary && state.suspended;
        ret->connected |= state.present && drbd_state_is_connected(&state);
        ret->up_to_date &= up_to_date;
        ret->usable &= usable;
        ret->whole &= usable || (state.present && g_str_equal(state.disk, "Outdated"));
        ret->out_of_sync_kib += state.out_of_sync_kib;
    }
    return TRUE;
}

static gboolean is_broken(const Manifest *manifest)
{
    LostCopy lost;
    gboolean broken = FALSE;
    lost_copy_look(LOST_COPY_ROOT, manifest->guest.name, ident_boot_id(), &lost);
    for (guint i = 0; i < manifest->volumes->len; i++) {
        g_autofree char *lv = guest_lv_name(manifest->guest.name, (int) i);
        g_autofree char *path = pool_lv_path(lv);
        broken |= g_access(path, F_OK) != 0;
    }
    return broken || lost.held;
}

json_t *replica_sight_json(const Manifest *manifest, GError **error)
{
    ReplicaSight sight;
    if (!replica_sight_look(manifest, &sight, error)) {
        return NULL;
    }
    return json_pack("{s:b,s:b,s:b,s:b,s:b,s:b,s:b}", "broken", is_broken(manifest), "runs",
                     sight.vmm_there || sight.primary, "frozen", sight.frozen, "connected", sight.connected, "usable",
                     sight.usable, "whole", sight.whole, "differs",
                     split_brain_is_noted(SPLIT_BRAIN_ROOT, manifest->guest.name));
}

json_t *replica_ask(Daemon *daemon, const char *verb, const char *guest, const char *node, int timeout_ms,
                    GError **error)
{
    g_autoptr(json_t) arguments = json_pack("{s:s}", "guest", guest);
    return g_str_equal(node, daemon->config->node) ? peer_verb_run(daemon, verb, arguments, error)
                                                   : daemon_peer_call(daemon, node, verb, arguments, timeout_ms, error);
}

static gboolean says(const json_t *answer, const char *field)
{
    return json_is_true(json_object_get(answer, field));
}

void replica_view(Daemon *daemon, const char *guest, const char *node, ReplicaView *ret)
{
    g_autoptr(json_t) answer = replica_ask(daemon, "replica.look", guest, node, LOOK_TIMEOUT_MS, NULL);
    *ret = (ReplicaView){.answers = answer != NULL,
                         .runs = says(answer, "runs"),
                         .frozen = says(answer, "frozen"),
                         .connected = says(answer, "connected"),
                         .usable = says(answer, "usable"),
                         .whole = says(answer, "whole"),
                         .broken = says(answer, "broken"),
                         .differs = says(answer, "differs")};
    if (!answer && daemon_view(daemon).quorate && !daemon_node_online(daemon, node)) {
        gboolean down = FALSE;
        ret->clean_down = pacemaker_node_is_clean_down(daemon->runner, node, &down, NULL) && down;
    }
}
