/* SPDX-License-Identifier: Apache-2.0
 * The fence-peer handler (fencing/fence-peer/main.c), and what DRBD does with its exit code. */
#include "tests/sim/sim.h"

/* promotion(): what the handler answers to a Secondary that is being promoted without its peer. */
int handler_promotion_code(const State *s, int x, const Explorer *explorer)
{
    const Node *n = &s->node[x];
    const Rec *rec = &s->rec;
    if (is_mutant(explorer, MUTANT_NO_CLAIM_READ)) {
        return n->disk == DISK_UP_TO_DATE ? 5 : 7;
    }
    if (is_mutant(explorer, MUTANT_COMMIT) && n->ocf == BACK_ABORT_DONE) {
        return 5;
    }
    bool ours = store_reachable(s, x) && rec->state == RECORD_RUNNING && rec->owner == x + 1 &&
                rec->owner_boot == BOOT_NOW && !rec->handover;
    if (!ours || rec->in_sync != 1 << x) {
        return 1;
    }
    return n->disk == DISK_UP_TO_DATE ? 5 : 7;
}

static void put(const State *s, int x, uint8_t handler, const char *what, Explorer *explorer)
{
    State t = *s;
    t.node[x].handler = handler;
    explorer_put(explorer, &t, x, what, STEP_NORMAL);
}

/* The peer's holdfastd outdates its replica; the answer may get lost. */
static void ask_peer(const State *s, int x, Explorer *explorer)
{
    const Node *p = &s->node[1 - x];
    if (!ring_connects(s, x, 1 - x) || s->node[x].level < NODE_REGISTERED || p->level < NODE_REGISTERED ||
        !p->attached || p->primary || p->conn >= CONN_CONNECTED) {
        return;
    }
    State t = *s;
    if (p->disk == DISK_UP_TO_DATE || p->disk == DISK_CONSISTENT) {
        t.node[1 - x].disk = DISK_OUTDATED;
    }
    if (s->lost_answers_left && t.node[1 - x].disk != p->disk) {
        State u = t;
        u.lost_answers_left--;
        explorer_put(explorer, &u, 1 - x, "outdates its replica for the peer, but the answer is lost", STEP_FAULT);
    }
    put(&t, x, HANDLER_PEER_OUTDATED, "handler: the peer has outdated its replica", explorer);
}

static void look(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    if (n->conn >= CONN_CONNECTED) {
        put(s, x, HANDLER_NONE, "handler: connected again, nothing to record", explorer);
        return;
    }
    if (n->disk != DISK_UP_TO_DATE) {
        return; /* without a whole copy of our own the peer's is the only one */
    }
    if (is_mutant(explorer, MUTANT_MARK_WITHOUT_QUORUM) || (view_quorate(s, x) && !n->sees_peer)) {
        put(s, x, HANDLER_PEER_LEFT, "handler: the peer has left our quorate membership", explorer);
    } else {
        ask_peer(s, x, explorer);
    }
}

static void mark(const State *s, int x, uint8_t exit_state, Explorer *explorer)
{
    State t = *s, lost;
    switch (rule_mark(&t, x)) {
    case WRITE_DONE:
        /* With further faults the membership that the handler saw may be old, which costs only a copy for a while. */
        t.blind_mark |= explorer_scenario(explorer)->crashes == 0 && exit_state == HANDLER_EXIT_5 &&
                        !in_quorate_part(s, x) && in_quorate_part(s, 1 - x);
        put(&t, x, exit_state, "handler: marks the peer as out of sync", explorer);
        if (rule_lose_answer(s, &t, &lost)) {
            put(&lost, x, HANDLER_LOOP, "handler: sends the mark, no answer", explorer);
        }
        break;
    case WRITE_REFUSED:
    case WRITE_FAILED:
        put(s, x, HANDLER_LOOP, "handler: cannot mark, tries again", explorer);
        break;
    }
}

/* conn_try_outdate_peer() after the handler: ignored when the connection was there meanwhile. */
static void kernel_takes(const State *s, int x, Explorer *explorer)
{
    State t = *s;
    Node *n = &t.node[x];
    bool ignored = n->handler_stale || n->conn >= CONN_CONNECTED;
    if (!ignored && (n->handler == HANDLER_EXIT_4 || n->disk == DISK_UP_TO_DATE)) {
        n->peer_disk = DISK_OUTDATED;
        if (n->disk != DISK_DISKLESS) {
            drbd_thaw(&t, x); /* else on-no-data-accessible still suspends it */
        }
    }
    n->handler = HANDLER_NONE;
    n->handler_stale = 0;
    explorer_put(explorer, &t, x,
                 ignored ? "DRBD ignores the handler's exit code" : "the handler ends, DRBD thaws (peer outdated)",
                 STEP_NORMAL);
}

void handler_steps(const State *s, Explorer *explorer)
{
    for (int x = 0; x < 2; x++) {
        switch (s->node[x].handler) {
        case HANDLER_LOOP:
            look(s, x, explorer);
            break;
        case HANDLER_PEER_LEFT:
            mark(s, x, HANDLER_EXIT_5, explorer);
            break;
        case HANDLER_PEER_OUTDATED:
            mark(s, x, HANDLER_EXIT_4, explorer);
            break;
        case HANDLER_EXIT_5:
        case HANDLER_EXIT_4:
            kernel_takes(s, x, explorer);
            break;
        default:
            break;
        }
    }
}
