/* SPDX-License-Identifier: Apache-2.0
 * holdfastd's part (node-agent/reconcile_guest.c): bring the replica up, mark a peer that is known to be stale, mark
 * the own lost disk, clear after a resync. Any of it may be killed between two steps. */
#include "tests/sim/sim.h"

static void put(const State *s, int x, uint8_t daemon, const char *what, Explorer *explorer)
{
    State t = *s;
    t.node[x].daemon = daemon;
    if (daemon == DAEMON_IDLE) {
        t.node[x].daemon_fresh = 0;
    }
    explorer_put(explorer, &t, x, what, STEP_NORMAL);
}

/* While the record counts on this copy and the guest may be running on the peer in its present life, the peer's
 * Primary may be frozen over losing us. Connecting now would let it go on without a mark (aborts_connect() in drbd.c),
 * so we wait until we are marked, or until that life of the peer is over. */
static bool may_connect(const State *s, int x, const Explorer *explorer)
{
    const Rec *rec = &s->rec;
    bool peer_lives = rec->owner == 2 - x && rec->owner_boot == (s->node[1 - x].registered ? BOOT_NOW : BOOT_BEFORE);
    bool counted_on = rec->state == RECORD_RUNNING && peer_lives && rec->in_sync & 1 << x;
    return is_mutant(explorer, MUTANT_CONNECT_UNMARKED) || (store_reachable(s, x) && !counted_on);
}

static void bring_up(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    State t = *s;
    if (n->attached && n->conn == CONN_NONE && may_connect(s, x, explorer)) {
        t.node[x].conn = CONN_WAITING;
        explorer_put(explorer, &t, x, "holdfastd lets the replica connect", STEP_NORMAL);
    }
}

static bool we_own_it(const State *s, int x)
{
    const Rec *rec = &s->rec;
    return rec->state == RECORD_RUNNING && !rec->handover && rec->owner == x + 1 && rec->owner_boot == BOOT_NOW;
}

static bool pair_is_good(const Node *n)
{
    return n->conn == CONN_CONNECTED && n->disk == DISK_UP_TO_DATE && n->peer_disk == DISK_UP_TO_DATE;
}

static void begin(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    if (!we_own_it(s, x)) {
        return;
    }
    bool peer_in = s->rec.in_sync & 1 << (1 - x), self_in = s->rec.in_sync & 1 << x;
    if (n->primary && n->disk == DISK_DISKLESS) {
        if (self_in && n->conn == CONN_CONNECTED && n->peer_disk == DISK_UP_TO_DATE) {
            put(s, x, SELF_LOOKED, "holdfastd sees that the disk here is lost", explorer);
        }
    } else if (peer_in && n->primary && n->peer_disk <= DISK_OUTDATED) {
        put(s, x, MARK_LOOKED, "holdfastd sees that the peer's copy is stale", explorer);
    }
    bool early = is_mutant(explorer, MUTANT_CLEAR_EARLY) && n->conn == CONN_SYNC_SOURCE;
    if (!peer_in && self_in && n->primary && (pair_is_good(n) || early)) {
        State t = *s;
        t.node[x].daemon = CLEAR_LOOKED;
        t.node[x].daemon_fresh = 1;
        explorer_put(explorer, &t, x, "holdfastd sees both copies UpToDate", STEP_NORMAL);
    }
}

static void write(const State *s, int x, Write (*rule)(State *, int), const char *what, Explorer *explorer)
{
    State t = *s, lost;
    if (rule(&t, x) == WRITE_DONE) {
        put(&t, x, DAEMON_IDLE, what, explorer);
        if (rule_lose_answer(s, &t, &lost)) {
            put(&lost, x, DAEMON_IDLE, "holdfastd sends a change of the record, no answer", explorer);
        }
    } else {
        put(s, x, DAEMON_IDLE, "holdfastd cannot change the record", explorer);
    }
}

static void go_on(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    switch (n->daemon) {
    case CLEAR_LOOKED:
        if (n->daemon_fresh) {
            write(s, x, rule_clear, "holdfastd clears: both in sync", explorer);
        } else {
            put(s, x, DAEMON_IDLE, "holdfastd: the record moved on, no clear", explorer);
        }
        break;
    case MARK_LOOKED:
        write(s, x, rule_mark, "holdfastd marks the peer as out of sync", explorer);
        break;
    case SELF_LOOKED:
        write(s, x, rule_mark_self, "holdfastd records the peer's as the only copy", explorer);
        break;
    default:
        break;
    }
}

void daemon_steps(const State *s, Explorer *explorer)
{
    for (int x = 0; x < 2; x++) {
        const Node *n = &s->node[x];
        if (n->level < NODE_REGISTERED) {
            continue;
        }
        bring_up(s, x, explorer);
        if (n->daemon == DAEMON_IDLE) {
            begin(s, x, explorer);
        } else {
            go_on(s, x, explorer);
        }
    }
}
