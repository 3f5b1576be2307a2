/* SPDX-License-Identifier: Apache-2.0
 * What must hold in every state, and what "well" means. */
#include "tests/sim/sim.h"

#include <stdio.h>

bool guest_runs(const State *s, int x)
{
    const Node *n = &s->node[x];
    return n->level != NODE_OFF && n->vmm == VMM_RUNNING && n->gate && n->primary;
}

/* The data that a guest running on x sees; without any disk in reach it sees none, since DRBD suspends it. */
static uint8_t data_seen(const State *s, int x)
{
    const Node *n = &s->node[x];
    if (n->disk != DISK_DISKLESS) {
        return n->data;
    }
    return n->conn >= CONN_CONNECTED && n->peer_disk == DISK_UP_TO_DATE ? s->node[1 - x].data : s->acked;
}

const char *state_violation(const State *s)
{
    if (guest_runs(s, 0) && guest_runs(s, 1)) {
        return "I1: the guest runs on both nodes, with open gates on promoted disks";
    }
    for (int x = 0; x < 2; x++) {
        if (guest_runs(s, x) && (s->acked & ~data_seen(s, x))) {
            return x ? "I2: an acknowledged write is not on the disk of B, where the guest runs"
                     : "I2: an acknowledged write is not on the disk of A, where the guest runs";
        }
    }
    if (s->blind_mark) {
        return "I6: a node outside the quorate part threw the copy inside it out of the record";
    }
    return NULL;
}

bool state_is_goal(const State *s, bool protected)
{
    for (int x = 0; x < 2; x++) {
        const Node *n = &s->node[x];
        bool owns = s->rec.owner == x + 1 && s->rec.owner_boot == BOOT_NOW && s->rec.state == RECORD_RUNNING;
        bool both = s->rec.in_sync == 3 && n->conn == CONN_CONNECTED && n->peer_disk == DISK_UP_TO_DATE;
        if (guest_runs(s, x) && !n->frozen && owns && (both || !protected || s->node[0].lost || s->node[1].lost)) {
            return true;
        }
    }
    return false;
}

bool state_is_excused(const State *s)
{
    uint8_t lost = (uint8_t) (s->node[0].lost | s->node[1].lost << 1);
    bool owner_lost = s->rec.state == RECORD_RUNNING && lost & 1 << (s->rec.owner - 1);
    bool other_old = (lost & 1 && s->node[1].disk <= DISK_OUTDATED) || (lost & 2 && s->node[0].disk <= DISK_OUTDATED);
    return (s->rec.in_sync & ~lost) == 0 || owner_lost || other_old;
}
