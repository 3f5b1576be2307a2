/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/await_mark.h"

#include "common/ident.h"
#include "common/log.h"
#include "storage/drbd.h"
#include "storage/record.h"

#define MARK_TIMEOUT_MS 5000

AwaitMark await_mark_decide(const AwaitMarkFacts *facts)
{
    const Record *record = facts->record;
    if (!facts->peer || facts->connected) {
        return CONNECT_NOW;
    }
    if (facts->primary_here && facts->detached) {
        /* Without a disk whatever is connected is what the guest reads and writes: only a copy the record names. */
        return record && record_is_in_sync(record, facts->peer) ? CONNECT_NOW : CONNECT_LATER;
    }
    if (facts->configured || facts->primary_here) {
        return CONNECT_NOW;
    }
    if (!record) {
        return CONNECT_LATER;
    }
    if (record->state != RECORD_RUNNING || g_strcmp0(record->owner, facts->peer) != 0 ||
        !record_is_in_sync(record, facts->node)) {
        return CONNECT_NOW;
    }
    if (!facts->peer_boot_id) {
        return CONNECT_LATER;
    }
    /* In another life than the claim's the owner is Primary no more, and nothing of it is frozen. */
    return g_strcmp0(record->owner_boot_id, facts->peer_boot_id) == 0 ? CONNECT_AFTER_MARK : CONNECT_NOW;
}

/* Connection and role over all volumes. */
static void look(const Manifest *manifest, AwaitMarkFacts *facts)
{
    for (guint i = 0; i < manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (drbd_state_read(guest_minor(&manifest->guest, (int) i), &state, NULL) && state.present) {
            facts->configured |= !g_str_equal(state.connection, "StandAlone");
            facts->connected |= drbd_state_is_connected(&state);
            facts->primary_here |= g_str_equal(state.role, "Primary");
        }
    }
}

static char *boot_id_of(Store *store, const char *node)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "boot/", node, NULL);
    g_autoptr(StoreEntry) entry = store_get(store, key, NULL, NULL);
    g_autoptr(NodeBoot) boot = entry ? object_from_text(&node_boot_type, entry->value, key, NULL) : NULL;
    return boot ? g_steal_pointer(&boot->boot_id) : NULL;
}

gboolean await_mark(Daemon *daemon, const Manifest *manifest, gboolean detached)
{
    Record record;
    AwaitMarkFacts facts = {.node = ident_node_name(), .peer = manifest->peer_node, .detached = detached};
    look(manifest, &facts);
    if (!facts.peer || facts.connected || (facts.configured && !facts.detached)) {
        return FALSE; /* the usual case costs no request to the store */
    }
    if (record_read(daemon->store, manifest->guest.name, &record, NULL, NULL)) {
        facts.record = &record;
    }
    g_autofree char *boot_id = boot_id_of(daemon->store, facts.peer);
    facts.peer_boot_id = boot_id;
    AwaitMark decision = await_mark_decide(&facts);
    if (decision == CONNECT_AFTER_MARK) {
        g_autoptr(GError) error = NULL;
        g_autoptr(json_t) arguments = json_pack("{s:s}", "guest", manifest->guest.name);
        g_autoptr(json_t) answer =
            daemon_peer_call(daemon, facts.peer, "replica.mark", arguments, MARK_TIMEOUT_MS, &error);
        log_line(LOG_LEVEL_INFO, "guest '%s': waiting for %s to record that the copy here was away%s%s",
                 manifest->guest.name, facts.peer, answer ? "" : ": ", answer ? "" : error->message);
    }
    return decision != CONNECT_NOW;
}
