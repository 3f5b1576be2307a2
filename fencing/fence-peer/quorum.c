/* SPDX-License-Identifier: Apache-2.0
 * Corosync's verdict on the peer, by libvotequorum. */
#include "fencing/fence-peer/io.h"

#include <corosync/votequorum.h>
#include <time.h>

#define SETTLE_MS 300

static bool look(uint32_t peer_id)
{
    votequorum_handle_t handle;
    votequorum_callbacks_t callbacks = {0};
    struct votequorum_info own, peer;
    if (votequorum_initialize(&handle, &callbacks) != CS_OK) {
        return false;
    }
    bool left = votequorum_getinfo(handle, 0, &own) == CS_OK && (own.flags & VOTEQUORUM_INFO_QUORATE) != 0 &&
                votequorum_getinfo(handle, peer_id, &peer) == CS_OK && peer.node_state == VOTEQUORUM_NODESTATE_DEAD;
    votequorum_finalize(handle);
    return left;
}

bool handler_peer_left_quorate_membership(uint32_t peer_id)
{
    if (!look(peer_id)) {
        return false;
    }
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_MS * 1000000L}, NULL);
    return look(peer_id);
}
