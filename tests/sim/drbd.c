/* SPDX-License-Identifier: Apache-2.0
 * DRBD 8.4's kernel module as far as it decides who has which data: roles, disk states, data generations, the freeze,
 * resync. Names in comments are functions of the kernel's drivers/block/drbd. */
#include "tests/sim/sim.h"

#include <string.h>

enum { CURRENT, BITMAP, HISTORY, HISTORY_END };

bool drbd_session(const State *s)
{
    return s->node[0].level != NODE_OFF && s->node[1].level != NODE_OFF && s->node[0].conn >= CONN_CONNECTED &&
           s->node[1].conn >= CONN_CONNECTED && !s->repl_cut;
}

/* ---- data generations ---- */

static uint8_t uuid_fresh(const State *s)
{
    uint16_t used = 0;
    for (int i = 0; i < 4; i++) {
        used |= (uint16_t) (1u << s->node[0].uuid[i] | 1u << s->node[1].uuid[i]);
    }
    uint8_t fresh = 1;
    while (used & 1u << fresh) {
        fresh++;
    }
    return fresh;
}

/* drbd_uuid_new_current() */
void drbd_new_uuid(State *s, int x)
{
    uint8_t fresh = uuid_fresh(s);
    uint8_t *uuid = s->node[x].uuid;
    uuid[BITMAP] = uuid[CURRENT];
    uuid[CURRENT] = fresh;
}

static void history_push(uint8_t *uuid, uint8_t old)
{
    if (old) {
        uuid[HISTORY_END] = uuid[HISTORY];
        uuid[HISTORY] = old;
    }
}

static bool in_history(const uint8_t *uuid, uint8_t wanted)
{
    return uuid[HISTORY] == wanted || uuid[HISTORY_END] == wanted;
}

/* drbd_uuid_compare() for node 0: 0 equal, 1 it becomes source, -1 target, 100 split brain. `tie`: what the
 * connection's accidental arbiter says when both were crashed Primaries. */
static int uuid_compare(const State *s, int tie)
{
    const Node *a = &s->node[0], *b = &s->node[1];
    if (a->uuid[CURRENT] == b->uuid[CURRENT]) {
        if (!a->uuid[BITMAP] != !b->uuid[BITMAP]) {
            return a->uuid[BITMAP] ? 1 : -1; /* rules 34 to 37 */
        }
        if (!a->crashed && !b->crashed) {
            return 0;
        }
        if (a->primary != b->primary) {
            return a->primary ? 1 : -1; /* rule 41 */
        }
        return a->crashed && b->crashed ? tie : a->crashed ? 1 : -1; /* rule 40 */
    }
    if (a->uuid[CURRENT] == b->uuid[BITMAP] || in_history(b->uuid, a->uuid[CURRENT])) {
        return -1; /* rules 50, 60 */
    }
    if (b->uuid[CURRENT] == a->uuid[BITMAP] || in_history(a->uuid, b->uuid[CURRENT])) {
        return 1; /* rules 70, 80 */
    }
    return 100;
}

/* ---- losing the connection ---- */

void drbd_drop(State *s, int x, const Explorer *explorer)
{
    Node *n = &s->node[x];
    uint8_t old = n->peer_disk;
    bool had_peer_data = old == DISK_UP_TO_DATE || old == DISK_CONSISTENT;
    n->conn = CONN_WAITING;
    n->peer_primary = 0;
    if (old != DISK_INCONSISTENT && old != DISK_OUTDATED) {
        n->peer_disk = DISK_UNKNOWN;
    }
    if (!n->primary || n->peer_disk != DISK_UNKNOWN) {
        return;
    }
    bool rotate = had_peer_data && !n->uuid[BITMAP] && n->disk == DISK_UP_TO_DATE;
    if (is_mutant(explorer, MUTANT_DONT_CARE)) {
        if (rotate) {
            drbd_new_uuid(s, x);
        }
        return;
    }
    n->frozen = 1;
    n->new_uuid = rotate;
    n->handler_stale = 0;
    n->handler = n->disk == DISK_DISKLESS ? HANDLER_NONE : HANDLER_LOOP; /* without a disk no handler is called */
}

void drbd_thaw(State *s, int x)
{
    Node *n = &s->node[x];
    if (n->new_uuid) {
        drbd_new_uuid(s, x);
    }
    n->frozen = n->new_uuid = 0;
}

/* ---- attach and connect ---- */

void drbd_attach(State *s, int x)
{
    Node *n = &s->node[x];
    n->attached = 1;
    if (n->disk != DISK_INCONSISTENT && n->disk != DISK_OUTDATED) {
        n->disk = n->peer_disk == DISK_OUTDATED ? DISK_UP_TO_DATE : DISK_CONSISTENT;
    }
}

static void session_begin(State *s, int x)
{
    Node *n = &s->node[x];
    const Node *p = &s->node[1 - x];
    n->peer_primary = p->primary;
    n->handler_stale = n->handler != HANDLER_NONE;
    n->peer_disk = p->disk;
    if (n->disk != DISK_DISKLESS || p->disk == DISK_UP_TO_DATE) {
        n->frozen = n->new_uuid = 0;
    }
}

static void both_good(State *s)
{
    for (int x = 0; x < 2; x++) {
        Node *n = &s->node[x];
        if (n->disk == DISK_UP_TO_DATE && n->peer_disk == DISK_UP_TO_DATE) {
            n->crashed = 0;
        }
    }
}

static void sync_begin(State *s, int source)
{
    Node *from = &s->node[source], *to = &s->node[1 - source];
    uint8_t sync = uuid_fresh(s);
    history_push(from->uuid, from->uuid[BITMAP]);
    from->uuid[BITMAP] = sync;
    to->uuid[CURRENT] = sync;
    to->uuid[BITMAP] = 0;
    from->conn = CONN_SYNC_SOURCE;
    to->conn = CONN_SYNC_TARGET;
    from->disk = DISK_UP_TO_DATE;
    to->disk = DISK_INCONSISTENT;
    session_begin(s, 0);
    session_begin(s, 1);
}

static void good_when_connected(Node *n)
{
    if (n->disk == DISK_CONSISTENT || n->disk == DISK_OUTDATED) {
        n->disk = DISK_UP_TO_DATE;
    }
}

static void pair_connected(State *s)
{
    for (int x = 0; x < 2; x++) {
        s->node[x].conn = CONN_CONNECTED;
        good_when_connected(&s->node[x]);
    }
    session_begin(s, 0);
    session_begin(s, 1);
    both_good(s);
}

static void both_stand_alone(State *s)
{
    s->node[0].conn = s->node[1].conn = CONN_NONE;
}

/* receive_state(): a Primary that is frozen does not go on with a peer that has rebooted. It drops the connection, and
 * tl_clear() completes what was frozen. TRUE when it happened. */
static bool aborts_connect(State *s, int x)
{
    Node *n = &s->node[x];
    if (!n->frozen || !n->new_uuid || s->node[1 - x].disk != DISK_CONSISTENT) {
        return false;
    }
    drbd_new_uuid(s, x);
    n->new_uuid = 0;
    if (n->write && n->write_local) {
        if (n->vmm >= VMM_PAUSED) {
            s->acked |= (uint8_t) (1u << (n->write - 1));
        }
        n->write = n->write_local = n->write_peer = 0;
    }
    return true;
}

static void connect_diskless(const State *s, int x, Explorer *explorer)
{
    State t = *s;
    const Node *n = &s->node[x], *p = &s->node[1 - x];
    /* receive_uuids(): "Can only connect to data with current UUID". The kernel does not see that a node which already
     * has a bitmap generation wrote more under the same current one; that is a known gap. */
    bool wrote_more = n->uuid[BITMAP] && !is_mutant(explorer, MUTANT_DISKLESS_CONNECT);
    bool same = (p->uuid[CURRENT] == n->uuid[CURRENT] && !wrote_more) || p->uuid[BITMAP] == n->uuid[CURRENT];
    if (p->primary || p->disk <= DISK_INCONSISTENT || (n->primary && !same)) {
        both_stand_alone(&t);
    } else {
        pair_connected(&t);
    }
    explorer_put(explorer, &t, x, "connects without a disk", STEP_NORMAL);
}

static void connect_with(const State *s, int compared, Explorer *explorer)
{
    State t = *s;
    const Node *a = &s->node[0], *b = &s->node[1];
    bool a_bad = a->disk <= DISK_INCONSISTENT, b_bad = b->disk <= DISK_INCONSISTENT;
    int hg = a_bad != b_bad ? (a_bad ? -1 : 1) : compared;
    if ((a->primary && b->primary) || hg == 100 || (hg && a_bad && b_bad)) {
        both_stand_alone(&t);
        explorer_put(explorer, &t, -1, "DRBD refuses to connect (two Primaries, or split brain)", STEP_NORMAL);
        return;
    }
    if (hg) {
        int source = hg > 0 ? 0 : 1;
        if (s->node[1 - source].primary && s->node[1 - source].disk >= DISK_CONSISTENT) {
            t.node[1 - source].conn = CONN_NONE; /* "I shall become SyncTarget, but I am primary!" */
            explorer_put(explorer, &t, 1 - source, "DRBD refuses to overwrite a Primary", STEP_NORMAL);
            return;
        }
        sync_begin(&t, source);
        explorer_put(explorer, &t, source, "DRBD connects, this node becomes SyncSource", STEP_NORMAL);
        return;
    }
    for (int x = 0; x < 2; x++) {
        if (aborts_connect(&t, x)) {
            explorer_put(explorer, &t, x, "DRBD aborts the connect to a rebooted peer and completes what was frozen",
                         STEP_NORMAL);
            return;
        }
    }
    pair_connected(&t);
    explorer_put(explorer, &t, -1, "DRBD connects, both copies are equal", STEP_NORMAL);
}

static void connect(const State *s, Explorer *explorer)
{
    const Node *a = &s->node[0], *b = &s->node[1];
    if (a->conn != CONN_WAITING || b->conn != CONN_WAITING || s->repl_cut || a->level == NODE_OFF ||
        b->level == NODE_OFF) {
        return;
    }
    if (a->disk == DISK_DISKLESS || b->disk == DISK_DISKLESS) {
        connect_diskless(s, a->disk == DISK_DISKLESS ? 0 : 1, explorer);
        return;
    }
    connect_with(s, uuid_compare(s, 1), explorer);
    if (uuid_compare(s, 1) != uuid_compare(s, -1)) {
        connect_with(s, uuid_compare(s, -1), explorer);
    }
}

/* ---- resync: first the target holds itself for done, then the source hears of it ---- */

static void sync_end(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x], *p = &s->node[1 - x];
    if (!drbd_session(s)) {
        return;
    }
    State t = *s;
    Node *m = &t.node[x];
    if (n->conn == CONN_SYNC_TARGET) {
        m->data = p->data | (p->write && p->write_peer ? (uint8_t) (1u << (p->write - 1)) : 0);
        m->uuid[CURRENT] = p->uuid[CURRENT];
        m->uuid[BITMAP] = 0;
        m->uuid[HISTORY] = p->uuid[BITMAP];
        m->uuid[HISTORY_END] = p->uuid[HISTORY];
        m->disk = DISK_UP_TO_DATE;
        m->conn = CONN_CONNECTED;
        both_good(&t);
        explorer_put(explorer, &t, x, "its resync is complete", STEP_NORMAL);
    } else if (n->conn == CONN_SYNC_SOURCE && p->conn == CONN_CONNECTED) {
        history_push(m->uuid, m->uuid[BITMAP]);
        m->uuid[BITMAP] = 0;
        m->peer_disk = DISK_UP_TO_DATE;
        m->conn = CONN_CONNECTED;
        both_good(&t);
        explorer_put(explorer, &t, x, "hears that the peer's resync is complete", STEP_NORMAL);
    }
}

/* ---- roles ---- */

/* drbd_set_role() */
Promote drbd_promote(State *s, int x)
{
    Node *n = &s->node[x];
    Node *p = &s->node[1 - x];
    if (n->primary) {
        return PROMOTE_DONE;
    }
    if (!n->attached || (n->disk != DISK_UP_TO_DATE && n->disk != DISK_CONSISTENT)) {
        return PROMOTE_REFUSED; /* volume_promote() looks before it asks the kernel */
    }
    if (n->conn >= CONN_CONNECTED) {
        if (!drbd_session(s) || p->primary) {
            return PROMOTE_REFUSED; /* both nodes must agree */
        }
        p->peer_primary = 1;
    } else if (n->disk != DISK_UP_TO_DATE || n->peer_disk > DISK_OUTDATED) {
        return PROMOTE_ASKS_HANDLER;
    }
    n->primary = 1;
    if ((n->conn < CONN_CONNECTED || n->peer_disk == DISK_DISKLESS) && !n->uuid[BITMAP]) {
        drbd_new_uuid(s, x);
    }
    return PROMOTE_DONE;
}

void drbd_demote(State *s, int x)
{
    s->node[x].primary = 0;
    if (drbd_session(s)) {
        s->node[1 - x].peer_primary = 0;
    }
}

void drbd_steps(const State *s, Explorer *explorer)
{
    for (int x = 0; x < 2; x++) {
        const Node *n = &s->node[x];
        if (n->level != NODE_OFF && n->conn >= CONN_CONNECTED && !drbd_session(s)) {
            State t = *s;
            drbd_drop(&t, x, explorer);
            explorer_put(explorer, &t, x,
                         t.node[x].frozen && !n->frozen ? "DRBD loses the peer and freezes" : "DRBD loses the peer",
                         STEP_NORMAL);
        }
        if (n->level != NODE_OFF) {
            sync_end(s, x, explorer);
        }
    }
    connect(s, explorer);
}

/* ---- the guest's writes, acknowledged by protocol C ---- */

static bool peer_takes_writes(const Node *n)
{
    return n->conn >= CONN_CONNECTED && (n->peer_disk == DISK_UP_TO_DATE || n->peer_disk == DISK_INCONSISTENT);
}

static void write_begin(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    bool somewhere = n->disk == DISK_UP_TO_DATE || (peer_takes_writes(n) && n->peer_disk == DISK_UP_TO_DATE);
    if (n->vmm == VMM_RUNNING && n->gate && n->primary && !n->frozen && !n->write && somewhere &&
        s->n_written < explorer_scenario(explorer)->writes) {
        State t = *s;
        t.node[x].write = (uint8_t) (++t.n_written);
        if (n->disk != DISK_DISKLESS) {
            t.node[x].write_local = 1;
            t.node[x].data |= (uint8_t) (1u << s->n_written);
        }
        explorer_put(explorer, &t, x, "the guest writes, the write is on its disk", STEP_NORMAL);
    }
}

static void write_progress(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    uint8_t bit = (uint8_t) (1u << (n->write - 1));
    bool has_disk = n->disk != DISK_DISKLESS;
    State t = *s;
    if (!n->write_peer && peer_takes_writes(n) && drbd_session(s) && s->node[1 - x].disk != DISK_DISKLESS) {
        t.node[x].write_peer = 1;
        t.node[1 - x].data |= bit;
        explorer_put(explorer, &t, x, "the write is on the peer's disk", STEP_NORMAL);
    }
    t = *s;
    bool peer_done = n->write_peer || !peer_takes_writes(n) || is_mutant(explorer, MUTANT_ACK_EARLY);
    if (!n->frozen && (n->write_local || !has_disk) && peer_done && (n->write_local || n->write_peer)) {
        t.node[x].write = t.node[x].write_local = t.node[x].write_peer = 0;
        if (n->vmm >= VMM_PAUSED) {
            t.acked |= bit;
        }
        explorer_put(explorer, &t, x, n->vmm >= VMM_PAUSED ? "the write is acknowledged" : "the write ends unheard",
                     STEP_NORMAL);
    }
}

void guest_steps(const State *s, Explorer *explorer)
{
    for (int x = 0; x < 2; x++) {
        write_begin(s, x, explorer);
        if (s->node[x].write) {
            write_progress(s, x, explorer);
        }
    }
}
