/* SPDX-License-Identifier: Apache-2.0
 * A live hand-over: migrate_to and its roll-back on the source x (cluster/ocf/migrate.c), and what the target's
 * holdfastd does for it (node-agent/peer_verbs.c). A request to the target may go on there after the source gave it
 * up. */
#include "tests/sim/sim.h"

static void put(const State *s, int x, uint8_t ocf, const char *what, Explorer *explorer)
{
    State t = *s;
    t.node[x].ocf = ocf;
    if (ocf != BACK_ASKED) {
        t.node[x].ocf_code = 0;
    }
    if (ocf != MOVE_READY) {
        t.node[x].ocf_boot = 0;
    }
    explorer_put(explorer, &t, x, what, STEP_NORMAL);
}

static bool target_answers(const State *s, int x)
{
    return ring_connects(s, x, 1 - x) && s->node[1 - x].level >= NODE_REGISTERED;
}

/* ---- source ---- */

static void move_begin(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x], *p = &s->node[1 - x];
    if (!s->moves_left || n->level != NODE_MEMBER || n->ocf != OCF_IDLE || !n->active || n->vmm != VMM_RUNNING ||
        p->level != NODE_MEMBER || p->active || p->ocf != OCF_IDLE || !target_answers(s, x) || p->vmm > VMM_INCOMING ||
        !p->attached) {
        return;
    }
    State t = *s;
    t.moves_left--;
    t.move_id = !s->move_id;
    t.node[1 - x].active = 1;
    t.node[1 - x].vmm = VMM_INCOMING;
    put(&t, x, MOVE_ASKED, "Pacemaker asks for a live hand-over, memory is copied", explorer);
}

static void announce(const State *s, int x, Explorer *explorer)
{
    State t = *s, lost;
    if (rule_handover_begin(&t, x, s->move_id) != WRITE_DONE) {
        put(s, x, OCF_IDLE, "hand-over: cannot be announced", explorer);
        return;
    }
    put(&t, x, MOVE_BEGUN, "hand-over: announced in the record", explorer);
    if (rule_lose_answer(s, &t, &lost)) {
        put(&lost, x, OCF_IDLE, "hand-over: announcement sent, no answer, given up", explorer);
    }
}

static void give_disk(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    State t = *s;
    switch (n->ocf) {
    case MOVE_BEGUN:
        if (!n->frozen && !n->write) {
            t.node[x].vmm = n->vmm == VMM_RUNNING ? VMM_PAUSED : n->vmm;
            put(&t, x, MOVE_PAUSED, "hand-over: the guest is paused here", explorer);
        }
        break;
    case MOVE_PAUSED:
        if (!n->frozen) {
            t.node[x].gate = 0;
            put(&t, x, MOVE_GATE_CLOSED, "hand-over: closes the gate here", explorer);
        }
        break;
    case MOVE_GATE_CLOSED:
        if (!n->frozen) {
            drbd_demote(&t, x);
            put(&t, x, MOVE_DEMOTED, "hand-over: demotes here", explorer);
        }
        break;
    case MOVE_DEMOTED:
        if (target_answers(s, x) && s->node[1 - x].verb == VERB_NONE) {
            t.node[1 - x].verb = TAKE_ASKED;
            t.node[1 - x].verb_id = s->move_id;
            put(&t, x, MOVE_TAKE_SENT, "hand-over: asks the target to take the disk", explorer);
        }
        break;
    default:
        break;
    }
    put(s, x, BACK_BEGUN, "hand-over fails, is taken back", explorer);
}

static void wait_for_take(const State *s, int x, Explorer *explorer)
{
    const Node *p = &s->node[1 - x];
    if (p->verb == TAKE_DONE && target_answers(s, x)) {
        State t = *s;
        t.node[1 - x].verb = VERB_NONE;
        t.node[1 - x].verb_id = 0;
        put(&t, x, MOVE_TAKEN, "hand-over: the target has the disk", explorer);
    }
    put(s, x, BACK_BEGUN, "hand-over: the target did not take the disk in time, is taken back", explorer);
}

static void send_rest(const State *s, int x, Explorer *explorer)
{
    if (target_answers(s, x) && s->node[x].vmm == VMM_PAUSED && s->node[1 - x].vmm == VMM_INCOMING) {
        State t = *s;
        t.node[1 - x].vmm = VMM_PAUSED;
        put(&t, x, MOVE_READY, "hand-over: the last memory is sent, the target is ready", explorer);
    }
    put(s, x, BACK_BEGUN, "hand-over fails, is taken back", explorer);
}

static void commit(const State *s, int x, Explorer *explorer)
{
    State t = *s, lost;
    switch (rule_handover_commit(&t, x, s->move_id, s->node[x].ocf_boot)) {
    case WRITE_DONE:
        put(&t, x, MOVE_COMMITTED, "hand-over: committed, the target owns the guest", explorer);
        if (rule_lose_answer(s, &t, &lost)) {
            put(&lost, x, is_mutant(explorer, MUTANT_COMMIT) ? BACK_BEGUN : OCF_IDLE,
                "hand-over: commit sent, no answer; paused on both sides", explorer);
        }
        break;
    case WRITE_REFUSED:
        put(s, x, BACK_BEGUN, "hand-over: the commit was refused, is taken back", explorer);
        break;
    case WRITE_FAILED:
        put(s, x, OCF_IDLE, "hand-over: the store is away; paused on both sides", explorer);
        break;
    }
}

static void tell_target(const State *s, int x, Explorer *explorer)
{
    if (target_answers(s, x) && s->node[1 - x].verb == VERB_NONE) {
        State t = *s;
        t.node[1 - x].verb = GO_ASKED;
        put(&t, x, OCF_IDLE, "hand-over: done, tells the target to go", explorer);
    }
    put(s, x, is_mutant(explorer, MUTANT_COMMIT) ? BACK_BEGUN : OCF_IDLE, "hand-over: done, the target is not told",
        explorer);
}

/* ---- roll-back on the source ---- */

static void abort_target(const State *s, int x, Explorer *explorer)
{
    const Node *p = &s->node[1 - x];
    bool theirs = s->rec.state == RECORD_RUNNING && s->rec.owner == 2 - x;
    if (target_answers(s, x) && store_reachable(s, 1 - x) && !theirs && p->vmm != VMM_RUNNING && !p->frozen &&
        !p->write) {
        State t = *s;
        t.node[1 - x].vmm = VMM_STOPPED;
        t.node[1 - x].gate = 0;
        if (p->primary) {
            drbd_demote(&t, 1 - x);
        }
        put(&t, x, BACK_ABORT_DONE, "roll-back: the target lets go of the guest", explorer);
    }
    put(s, x, BACK_ABORT_DONE, "roll-back: the target does not answer", explorer);
}

static void take_back(const State *s, int x, Explorer *explorer)
{
    State t = *s;
    Promote result = drbd_promote(&t, x);
    if (result == PROMOTE_DONE) {
        put(&t, x, BACK_PROMOTED, "roll-back: promotes here", explorer);
        return;
    }
    if (result == PROMOTE_ASKS_HANDLER) {
        t = *s;
        t.node[x].ocf_code = (uint8_t) handler_promotion_code(s, x, explorer);
        put(&t, x, BACK_ASKED, "roll-back: promotes, DRBD asks the handler", explorer);
    }
    put(s, x, OCF_IDLE, "roll-back fails: not promoted", explorer);
}

static void take_back_with_code(const State *s, int x, Explorer *explorer)
{
    State t = *s;
    Node *n = &t.node[x];
    bool good = n->ocf_code == 7 || (n->ocf_code == 5 && n->disk == DISK_UP_TO_DATE);
    if (n->conn < CONN_CONNECTED && good && (n->disk == DISK_UP_TO_DATE || n->disk == DISK_CONSISTENT)) {
        n->peer_disk = DISK_OUTDATED;
        n->disk = DISK_UP_TO_DATE;
    }
    bool done = drbd_promote(&t, x) == PROMOTE_DONE;
    put(done ? &t : s, x, done ? BACK_PROMOTED : OCF_IDLE, done ? "DRBD promotes" : "roll-back fails: not promoted",
        explorer);
}

static void roll_back(const State *s, int x, Explorer *explorer)
{
    State t = *s, lost;
    switch (s->node[x].ocf) {
    case BACK_BEGUN:
        abort_target(s, x, explorer);
        break;
    case BACK_ABORT_DONE:
        take_back(s, x, explorer);
        break;
    case BACK_ASKED:
        take_back_with_code(s, x, explorer);
        break;
    case BACK_PROMOTED:
        t.node[x].gate = 1;
        put(&t, x, BACK_GATE_OPEN, "roll-back: opens the gate here", explorer);
        break;
    case BACK_GATE_OPEN:
        if (s->node[x].vmm >= VMM_PAUSED) {
            t.node[x].vmm = VMM_RUNNING;
            put(&t, x, BACK_RESUMED, "roll-back: the guest goes on here", explorer);
        } else {
            put(s, x, OCF_IDLE, "roll-back fails: no VMM here", explorer);
        }
        break;
    case BACK_RESUMED: {
        bool done = rule_handover_rollback(&t, x, s->move_id) == WRITE_DONE;
        put(&t, x, OCF_IDLE, done ? "roll-back: recorded" : "roll-back: cannot be recorded", explorer);
        if (done && rule_lose_answer(s, &t, &lost)) {
            put(&lost, x, OCF_IDLE, "roll-back: sent to the store, no answer", explorer);
        }
        break;
    }
    default:
        break;
    }
}

/* ---- target ---- */

static void verb_put(const State *s, int y, uint8_t verb, const char *what, Explorer *explorer)
{
    State t = *s;
    t.node[y].verb = verb;
    if (verb == VERB_NONE || verb >= GO_ASKED) {
        t.node[y].verb_id = 0;
    }
    explorer_put(explorer, &t, y, what, STEP_NORMAL);
}

static void take(const State *s, int y, Explorer *explorer)
{
    const Node *n = &s->node[y];
    State t = *s;
    bool ours = store_reachable(s, y) && s->rec.handover && s->rec.owner == 2 - y && s->rec.handover_id == n->verb_id;
    switch (n->verb) {
    case TAKE_ASKED:
        verb_put(s, y, ours ? TAKE_READ : VERB_NONE,
                 ours ? "target: the record hands the guest to this node" : "target: refuses the disk", explorer);
        break;
    case TAKE_READ:
        /* A stop that came first has discarded the VMM; nobody would ever demote the disk again. Without a connection
         * the handler is asked, and refuses: this node has no claim while a hand-over stands. */
        if ((n->vmm == VMM_INCOMING || is_mutant(explorer, MUTANT_LATE_TAKE)) && drbd_promote(&t, y) == PROMOTE_DONE) {
            verb_put(&t, y, TAKE_PROMOTED, "target: promotes", explorer);
        } else {
            verb_put(s, y, VERB_NONE, "target: cannot promote", explorer);
        }
        break;
    case TAKE_PROMOTED:
        t.node[y].gate = 1;
        verb_put(&t, y, TAKE_DONE, "target: opens the gate", explorer);
        break;
    default:
        break;
    }
}

static void go(const State *s, int y, Explorer *explorer)
{
    const Node *n = &s->node[y];
    bool ours = store_reachable(s, y) && s->rec.state == RECORD_RUNNING && s->rec.owner == y + 1 &&
                s->rec.owner_boot == BOOT_NOW;
    if (n->verb == GO_ASKED) {
        verb_put(s, y, ours ? GO_READ : VERB_NONE, ours ? "target: owns the guest" : "target: does not own the guest",
                 explorer);
        return;
    }
    State t = *s;
    if (n->vmm == VMM_PAUSED) {
        t.node[y].vmm = VMM_RUNNING;
    }
    verb_put(&t, y, VERB_NONE, "target: the guest goes on here", explorer);
}

/* migrate_from, or the resume that got lost. */
static void move_from(const State *s, int y, Explorer *explorer)
{
    const Node *n = &s->node[y];
    State t = *s;
    bool ours = store_reachable(s, y) && s->rec.state == RECORD_RUNNING && s->rec.owner == y + 1 &&
                s->rec.owner_boot == BOOT_NOW && !s->rec.handover;
    if (n->ocf == OCF_IDLE && n->level == NODE_MEMBER && n->active && n->vmm == VMM_PAUSED && ours) {
        put(s, y, FROM_SEEN, "migrate_from: owns the paused guest", explorer);
    } else if (n->ocf == FROM_SEEN) {
        t.node[y].vmm = n->vmm == VMM_PAUSED ? VMM_RUNNING : n->vmm;
        put(&t, y, OCF_IDLE, "migrate_from: the guest goes on here", explorer);
    }
}

static void source_steps(const State *s, int x, Explorer *explorer)
{
    uint8_t ocf = s->node[x].ocf;
    if (ocf >= MOVE_BEGUN && ocf <= MOVE_DEMOTED) {
        give_disk(s, x, explorer);
    } else if (ocf >= BACK_BEGUN && ocf <= BACK_RESUMED) {
        roll_back(s, x, explorer);
    } else if (ocf == MOVE_ASKED) {
        announce(s, x, explorer);
    } else if (ocf == MOVE_TAKE_SENT) {
        wait_for_take(s, x, explorer);
    } else if (ocf == MOVE_TAKEN) {
        send_rest(s, x, explorer);
    } else if (ocf == MOVE_READY) {
        commit(s, x, explorer);
    } else if (ocf == MOVE_COMMITTED) {
        tell_target(s, x, explorer);
    }
    if (ocf >= MOVE_ASKED && ocf <= BACK_RESUMED) {
        put(s, x, OCF_IDLE, "migrate_to is killed by its time-out", explorer);
    }
}

void move_steps(const State *s, Explorer *explorer)
{
    for (int x = 0; x < 2; x++) {
        move_begin(s, x, explorer);
        source_steps(s, x, explorer);
        move_from(s, x, explorer);
        uint8_t verb = s->node[x].verb;
        if (verb >= GO_ASKED) {
            go(s, x, explorer);
        } else if (verb != VERB_NONE) {
            take(s, x, explorer);
        }
        /* holdfastd restarts, or the source forgot its request. */
        if (verb != VERB_NONE) {
            verb_put(s, x, VERB_NONE, "target: holdfastd restarts", explorer);
        }
    }
}
