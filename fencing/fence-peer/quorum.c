/* SPDX-License-Identifier: Apache-2.0
 * Corosync's verdict on the peer, by libquorum. Its notification carries the members and the quorum of one and the same
 * membership. libvotequorum would not do: while a quorum device (a witness) is being asked, for seconds, it shows the
 * peer as gone already and the cluster as quorate still, and the device may be about to vote for the peer. */
#include "fencing/fence-peer/io.h"

#include <corosync/quorum.h>
#include <time.h>

#define SETTLE_MS 300

typedef struct {
    uint32_t peer_id;
    bool told, left;
} Look;

static void on_quorum(quorum_handle_t handle, uint32_t quorate, uint64_t ring, uint32_t n_members, uint32_t *members)
{
    (void) ring;
    const void *context = NULL;
    if (quorum_context_get(handle, &context) != CS_OK) {
        return;
    }
    Look *look = (Look *) context;
    bool present = false;
    for (uint32_t i = 0; i < n_members; i++) {
        present = present || members[i] == look->peer_id;
    }
    look->told = true;
    look->left = quorate != 0 && !present;
}

static bool look_at(uint32_t peer_id)
{
    quorum_handle_t handle;
    quorum_callbacks_t callbacks = {.quorum_notify_fn = on_quorum};
    uint32_t type;
    Look look = {.peer_id = peer_id};
    if (quorum_initialize(&handle, &callbacks, &type) != CS_OK) {
        return false;
    }
    if (quorum_context_set(handle, &look) == CS_OK && quorum_trackstart(handle, CS_TRACK_CURRENT) == CS_OK) {
        quorum_dispatch(handle, CS_DISPATCH_ONE);
    }
    quorum_finalize(handle);
    return look.told && look.left;
}

bool handler_peer_left_quorate_membership(uint32_t peer_id)
{
    if (!look_at(peer_id)) {
        return false;
    }
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_MS * 1000000L}, NULL);
    return look_at(peer_id);
}
