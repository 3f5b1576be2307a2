/* SPDX-License-Identifier: Apache-2.0
 * The OCF agent's start (cluster/ocf/start.c, claim.c) and stop (stop.c), and when Pacemaker asks for them. */
#include "tests/sim/sim.h"

static void put(const State *s, int x, uint8_t ocf, const char *what, Explorer *explorer)
{
    State t = *s;
    Node *n = &t.node[x];
    n->ocf = ocf;
    if (ocf == OCF_IDLE || ocf == START_CLAIMED) {
        n->fact_stop = n->fact_up_to_date = n->fact_absent = 0;
    }
    if (ocf != START_ASKED) {
        n->ocf_code = 0;
    }
    explorer_put(explorer, &t, x, what, STEP_NORMAL);
}

/* ---- start ---- */

/* requires=fencing: in a quorate part, and only when every node that is not in it is cleanly down. */
static bool pacemaker_may_start(const State *s, int x, bool wild)
{
    const Node *n = &s->node[x], *p = &s->node[1 - x];
    bool settled = (n->sees_peer && ring_connects(s, x, 1 - x) && p->level == NODE_MEMBER) || p->clean_down;
    return n->level == NODE_MEMBER && n->ocf == OCF_IDLE && view_quorate(s, x) && n->vmm < VMM_PAUSED &&
           (wild ? p->ocf < START_ACTIVATED || p->ocf > FAILED_START_DEMOTED : settled && !n->active && !p->active);
}

static void start_begin(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    if (!pacemaker_may_start(s, x, explorer_scenario(explorer)->wild)) {
        return;
    }
    State t = *s;
    t.node[x].active = 1;
    t.node[x].vmm = VMM_STOPPED;
    if (n->lost) {
        return; /* it ends before the claim */
    }
    if (!n->attached) {
        drbd_attach(&t, x);
    }
    if (n->conn == CONN_NONE) {
        t.node[x].conn = CONN_WAITING;
    }
    put(&t, x, START_ACTIVATED, "Pacemaker starts the guest: the replica is up", explorer);
}

static void see_disk(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    if (!n->attached || n->lost || (n->disk != DISK_UP_TO_DATE && n->disk != DISK_CONSISTENT)) {
        put(s, x, OCF_IDLE, "start fails: the disk here holds no current data", explorer);
        return;
    }
    State t = *s;
    bool pair = n->conn == CONN_CONNECTED && n->disk == DISK_UP_TO_DATE && n->peer_disk == DISK_UP_TO_DATE;
    t.node[x].fact_up_to_date = pair;
    t.node[x].fact_stop = pair && !n->peer_primary;
    put(&t, x, START_DISK_SEEN, pair ? "start: sees both disks UpToDate" : "start: sees only its own disk", explorer);
}

static void see_cluster(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    if (!view_quorate(s, x)) {
        put(s, x, OCF_IDLE, "start fails: not in a quorate cluster", explorer);
        return;
    }
    State t = *s;
    t.node[x].fact_absent = !n->sees_peer && n->cib_peer_down;
    put(&t, x, START_CLUSTER_SEEN,
        t.node[x].fact_absent ? "start: sees that the peer was fenced" : "start: sees quorum", explorer);
}

/* An abandoned hand-over of ours is rolled back first. */
static bool own_handover(const State *s, int x)
{
    return s->rec.handover && s->rec.owner == x + 1 && s->rec.owner_boot == BOOT_NOW;
}

static void claim(const State *s, int x, Explorer *explorer)
{
    State t = *s, lost;
    if (own_handover(s, x)) {
        bool done = rule_handover_rollback(&t, x, s->rec.handover_id) == WRITE_DONE;
        put(&t, x, done ? START_CLUSTER_SEEN : OCF_IDLE, "start: rolls its abandoned hand-over back", explorer);
        return;
    }
    if (is_mutant(explorer, MUTANT_NO_CLAIM_READ)) {
        put(s, x, START_CLAIMED, "start: goes on without the record (mutant)", explorer);
        return;
    }
    if (rule_claim(&t, x, explorer) != WRITE_DONE) {
        put(s, x, OCF_IDLE, "start fails: the claim was refused or the store is away", explorer);
        return;
    }
    put(&t, x, START_CLAIMED, "start: claims the guest", explorer);
    if (rule_lose_answer(s, &t, &lost)) {
        put(&lost, x, OCF_IDLE, "start fails: the claim was sent, no answer", explorer);
    }
}

static void promote(const State *s, int x, Explorer *explorer)
{
    State t = *s;
    Promote result = drbd_promote(&t, x);
    if (result == PROMOTE_DONE) {
        put(&t, x, START_PROMOTED, "start: promotes", explorer);
        return;
    }
    if (result == PROMOTE_ASKS_HANDLER) {
        t = *s;
        t.node[x].ocf_code = (uint8_t) handler_promotion_code(s, x, explorer);
        put(&t, x, START_ASKED, "start: promotes, DRBD asks the handler", explorer);
        return;
    }
    put(s, x, FAILED_START, "start fails: not promoted", explorer);
}

/* drbd_set_role() with the handler's answer. */
static void promote_with_code(const State *s, int x, uint8_t next, uint8_t failed, Explorer *explorer)
{
    State t = *s;
    Node *n = &t.node[x];
    bool good = n->ocf_code == 7 || (n->ocf_code == 5 && n->disk == DISK_UP_TO_DATE);
    if (n->conn < CONN_CONNECTED && good && (n->disk == DISK_UP_TO_DATE || n->disk == DISK_CONSISTENT)) {
        n->peer_disk = DISK_OUTDATED;
        n->disk = DISK_UP_TO_DATE;
    }
    if (drbd_promote(&t, x) == PROMOTE_DONE) {
        put(&t, x, next, "DRBD promotes with the handler's consent", explorer);
    } else {
        put(s, x, failed, "DRBD does not promote", explorer);
    }
}

static void launch(const State *s, int x, Explorer *explorer)
{
    State t = *s;
    t.node[x].vmm = VMM_RUNNING;
    put(&t, x, OCF_IDLE, "start: the guest runs", explorer);
    put(s, x, FAILED_START, "start fails: the VMM does not come up", explorer);
}

static void open_gate(const State *s, int x, uint8_t next, Explorer *explorer)
{
    State t = *s;
    t.node[x].gate = 1;
    put(&t, x, next, "opens the gate", explorer);
}

/* Close the gates, then demote; not while I/O is frozen or under way. */
static bool demote(State *s, int x)
{
    Node *n = &s->node[x];
    if (n->frozen || n->write) {
        return false;
    }
    n->gate = 0;
    if (n->primary) {
        drbd_demote(s, x);
    }
    return true;
}

/* Give back: kill, demote, release. What cannot be undone is left for stop. */
static void give_back(const State *s, int x, Explorer *explorer)
{
    State t = *s, lost;
    if (s->node[x].ocf == FAILED_START) {
        t.node[x].vmm = VMM_STOPPED;
        bool done = demote(&t, x);
        put(&t, x, done ? FAILED_START_DEMOTED : OCF_IDLE, "failed start: demotes", explorer);
        return;
    }
    bool done = rule_stop(&t, x) == WRITE_DONE;
    put(&t, x, OCF_IDLE, done ? "failed start: releases the record" : "failed start: cannot release the record",
        explorer);
    if (done && rule_lose_answer(s, &t, &lost)) {
        put(&lost, x, OCF_IDLE, "failed start: sends the release, no answer", explorer);
    }
}

/* ---- stop ---- */

static void stop_begin(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    if (n->level != NODE_MEMBER || n->ocf != OCF_IDLE || (!n->active && n->vmm == VMM_STOPPED && !n->primary)) {
        return;
    }
    State t = *s;
    t.node[x].ocf_was_primary = n->primary;
    t.node[x].vmm = VMM_STOPPED;
    put(&t, x, STOP_KILLED, "Pacemaker stops the guest: the VMM is gone", explorer);
}

static void stop_end(const State *s, int x, const char *what, Explorer *explorer)
{
    State t = *s;
    t.node[x].active = 0;
    t.node[x].ocf_was_primary = 0;
    put(&t, x, OCF_IDLE, what, explorer);
}

static void stop_release(const State *s, int x, Explorer *explorer)
{
    State t = *s, lost;
    if (!s->node[x].ocf_was_primary) {
        stop_end(s, x, "stop: done, nothing was Primary", explorer);
        return;
    }
    if (own_handover(s, x)) {
        if (rule_handover_rollback(&t, x, s->rec.handover_id) == WRITE_DONE) {
            put(&t, x, STOP_DEMOTED, "stop: rolls its abandoned hand-over back", explorer);
        } else {
            stop_end(s, x, "stop: done, but the store cannot be told", explorer);
        }
        return;
    }
    if (rule_stop(&t, x) != WRITE_DONE) {
        stop_end(s, x, "stop: done, but the store cannot be told", explorer);
        return;
    }
    stop_end(&t, x, "stop: done, releases the record", explorer);
    if (rule_lose_answer(s, &t, &lost)) {
        stop_end(&lost, x, "stop: done, sends the release, no answer", explorer);
    }
}

static void stop_go_on(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    State t = *s;
    switch (n->ocf) {
    case STOP_KILLED:
        if (!n->frozen && !n->write) {
            t.node[x].gate = 0;
            put(&t, x, STOP_GATE_CLOSED, "stop: closes the gate", explorer);
        } else if (n->frozen) {
            put(s, x, STOP_FAILED, "stop fails: its disk stays frozen", explorer);
        }
        break;
    case STOP_GATE_CLOSED:
        if (n->frozen) {
            put(s, x, STOP_FAILED, "stop fails: its disk stays frozen", explorer);
            break;
        }
        if (n->primary) {
            drbd_demote(&t, x);
        }
        put(&t, x, STOP_DEMOTED, "stop: demotes", explorer);
        break;
    case STOP_DEMOTED:
        stop_release(s, x, explorer);
        break;
    default:
        break;
    }
}

/* ---- */

void start_steps(const State *s, Explorer *explorer)
{
    for (int x = 0; x < 2; x++) {
        uint8_t ocf = s->node[x].ocf;
        start_begin(s, x, explorer);
        switch (ocf) {
        case START_ACTIVATED:
            see_disk(s, x, explorer);
            break;
        case START_DISK_SEEN:
            see_cluster(s, x, explorer);
            break;
        case START_CLUSTER_SEEN:
            claim(s, x, explorer);
            break;
        case START_CLAIMED:
            promote(s, x, explorer);
            break;
        case START_ASKED:
            promote_with_code(s, x, START_PROMOTED, FAILED_START, explorer);
            break;
        case START_PROMOTED:
            open_gate(s, x, START_GATE_OPEN, explorer);
            break;
        case START_GATE_OPEN:
            launch(s, x, explorer);
            break;
        case FAILED_START:
        case FAILED_START_DEMOTED:
            give_back(s, x, explorer);
            break;
        default:
            break;
        }
        /* Pacemaker's time-out kills the agent. */
        if (ocf >= START_ACTIVATED && ocf <= FAILED_START_DEMOTED) {
            put(s, x, OCF_IDLE, "the start is killed by its time-out", explorer);
        }
    }
}

void stop_steps(const State *s, Explorer *explorer)
{
    for (int x = 0; x < 2; x++) {
        stop_begin(s, x, explorer);
        stop_go_on(s, x, explorer);
    }
}
