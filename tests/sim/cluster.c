/* SPDX-License-Identifier: Apache-2.0
 * Machines, links, corosync's membership, Pacemaker's fencing; and the faults. */
#include "tests/sim/sim.h"

static bool node_up(const State *s, int x)
{
    return x == 2 ? s->third_up : s->node[x].level != NODE_OFF;
}

bool ring_connects(const State *s, int x, int y)
{
    return node_up(s, x) && node_up(s, y) && s->ring_cut != x + 1 && s->ring_cut != y + 1;
}

bool in_quorate_part(const State *s, int x)
{
    return ring_connects(s, x, x ? 0 : 1) || ring_connects(s, x, x == 2 ? 1 : 2);
}

bool view_quorate(const State *s, int x)
{
    return s->node[x].sees_peer || s->node[x].sees_third;
}

bool store_reachable(const State *s, int x)
{
    return node_up(s, x) && s->store_cut != x + 1 &&
           (s->third_up || (node_up(s, 1 - x) && s->store_cut != (1 - x) + 1));
}

static uint8_t metadata_disk(const Node *n)
{
    switch (n->disk) {
    case DISK_INCONSISTENT:
    case DISK_OUTDATED:
        return n->disk;
    default: /* a failed disk kept what was written before */
        return DISK_UP_TO_DATE;
    }
}

void node_crash(State *s, int x)
{
    const Node *n = &s->node[x];
    bool served_primary = n->conn >= CONN_CONNECTED && n->peer_disk == DISK_DISKLESS && n->peer_primary;
    Node off = {
        .level = NODE_OFF,
        .registered = n->registered,
        .clean_down = n->clean_down,
        .shot = n->shot,
        .active = n->active,
        .disk = n->attached || n->disk == DISK_DISKLESS ? metadata_disk(n) : n->disk,
        .peer_disk = n->peer_disk == DISK_INCONSISTENT || n->peer_disk == DISK_OUTDATED ? DISK_OUTDATED : DISK_UNKNOWN,
        .crashed = n->crashed || n->primary || served_primary,
        .uuid = {n->uuid[0], n->uuid[1], n->uuid[2], n->uuid[3]},
        .data = n->data,
        .lost = n->lost,
    };
    s->node[x] = off;
}

/* ---- boot ids ---- */

static void boot_age(uint8_t *boot, uint8_t from, uint8_t to)
{
    if (*boot == from) {
        *boot = to;
    }
}

static void boots_age(State *s, int x, uint8_t from, uint8_t to)
{
    if (s->rec.owner == x + 1) {
        boot_age(&s->rec.owner_boot, from, to);
    }
    if (s->flying && s->flying_rec.owner == x + 1) {
        boot_age(&s->flying_rec.owner_boot, from, to);
    }
    if (s->node[1 - x].ocf == MOVE_READY) {
        boot_age(&s->node[1 - x].ocf_boot, from, to);
    }
}

/* ---- coming up ---- */

/* A boot also takes longer than any request to the store may take: what holdfastd saw before it is not written after
 * it. */
static void drop_old_decisions(State *s, int x)
{
    s->node[x].daemon = DAEMON_IDLE;
    s->node[x].daemon_fresh = 0;
    s->flying = 0;
    s->flying_rec = (Rec){0};
}

static void come_up(const State *s, int x, Explorer *explorer)
{
    const Node *p = &s->node[1 - x];
    State t = *s;
    Node *n = &t.node[x];
    switch (n->level) {
    case NODE_OFF:
        if (p->conn >= CONN_CONNECTED || p->sees_peer) {
            return; /* a boot takes longer than DRBD and corosync need to notice that the node is gone */
        }
        drop_old_decisions(&t, 1 - x);
        n->level = NODE_BOOTED;
        n->shot = 0;
        boots_age(&t, x, BOOT_NOW, n->registered ? BOOT_BEFORE : BOOT_OLDER);
        n->registered = 0;
        explorer_put(explorer, &t, x, "is powered on", STEP_NORMAL);
        break;
    case NODE_BOOTED:
        if (store_reachable(s, x)) {
            n->level = NODE_REGISTERED;
            n->registered = 1;
            boots_age(&t, x, BOOT_BEFORE, BOOT_OLDER);
            if (!n->lost) {
                drbd_attach(&t, x);
            }
            explorer_put(explorer, &t, x, "holdfastd registers the boot id and attaches the replica", STEP_NORMAL);
        }
        break;
    case NODE_REGISTERED:
        if (in_quorate_part(s, x) && view_quorate(s, x)) {
            n->level = NODE_MEMBER;
            n->clean_down = n->active = n->shot = 0;
            n->cib_peer_down = t.node[1 - x].clean_down;
            if (ring_connects(s, x, 1 - x)) {
                t.node[1 - x].cib_peer_down = 0;
            }
            explorer_put(explorer, &t, x, "Pacemaker joins", STEP_NORMAL);
        }
        break;
    default:
        break;
    }
}

static void membership(const State *s, int x, Explorer *explorer)
{
    State t = *s;
    Node *n = &t.node[x];
    n->sees_peer = ring_connects(s, x, 1 - x);
    n->sees_third = ring_connects(s, x, 2);
    if (n->sees_peer != s->node[x].sees_peer || n->sees_third != s->node[x].sees_third) {
        explorer_put(explorer, &t, x, "corosync installs a new membership", STEP_NORMAL);
    }
}

static void cib_sync(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    if (n->level == NODE_MEMBER && view_quorate(s, x) && in_quorate_part(s, x) &&
        n->cib_peer_down != s->node[1 - x].clean_down) {
        State t = *s;
        t.node[x].cib_peer_down = s->node[1 - x].clean_down;
        explorer_put(explorer, &t, x, "the CIB here learns whether the peer is cleanly down", STEP_NORMAL);
    }
}

/* A node that a quorate part has lost, or that failed to stop the guest, is shot; later Pacemaker shows it. */
static void fencing(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    int y = 1 - x;
    bool others_quorate = ring_connects(s, y, 2);
    bool lost = others_quorate && !ring_connects(s, x, 2);
    bool asked = n->ocf == STOP_FAILED && (others_quorate || in_quorate_part(s, x));
    if ((lost || asked) && !n->clean_down && !n->shot) {
        State t = *s;
        if (n->level != NODE_OFF) {
            node_crash(&t, x);
        }
        t.node[x].shot = 1;
        explorer_put(explorer, &t, x, n->level == NODE_OFF ? "fencing finds it off" : "is shot", STEP_NORMAL);
    }
    if (n->shot && others_quorate) {
        State t = *s;
        t.node[x].shot = 0;
        t.node[x].clean_down = 1;
        t.node[x].active = 0;
        t.node[y].cib_peer_down = t.node[y].level == NODE_MEMBER;
        explorer_put(explorer, &t, x, "Pacemaker holds it for cleanly down", STEP_NORMAL);
    }
}

static void heal(const State *s, Explorer *explorer)
{
    State t = *s;
    if (s->ring_cut) {
        t.ring_cut = NOBODY;
        explorer_put(explorer, &t, -1, "the ring is whole again", STEP_NORMAL);
    }
    t = *s;
    if (s->store_cut) {
        t.store_cut = NOBODY;
        explorer_put(explorer, &t, -1, "the store is in reach again", STEP_NORMAL);
    }
    t = *s;
    if (s->repl_cut) {
        t.repl_cut = 0;
        explorer_put(explorer, &t, -1, "the replication link is whole again", STEP_NORMAL);
    }
    t = *s;
    if (!s->third_up) {
        t.third_up = 1;
        explorer_put(explorer, &t, -1, "the third node is back", STEP_NORMAL);
    }
}

/* A write of the record whose answer was lost may arrive at any time, as long as it still fits. */
static void late_write(const State *s, Explorer *explorer)
{
    if (s->flying) {
        State t = *s;
        t.rec = s->flying_rec;
        t.flying = 0;
        t.flying_rec = (Rec){0};
        t.node[0].daemon_fresh = t.node[1].daemon_fresh = 0;
        explorer_put(explorer, &t, -1, "the write without an answer reaches the store", STEP_NORMAL);
        t.rec = s->rec;
        explorer_put(explorer, &t, -1, "the write without an answer is lost", STEP_NORMAL);
    }
}

void cluster_steps(const State *s, Explorer *explorer)
{
    for (int x = 0; x < 2; x++) {
        come_up(s, x, explorer);
        if (s->node[x].level != NODE_OFF) {
            membership(s, x, explorer);
            cib_sync(s, x, explorer);
        }
        fencing(s, x, explorer);
    }
    heal(s, explorer);
    late_write(s, explorer);
}

/* ---- faults ---- */

static void cuts(const State *s, int x, Explorer *explorer)
{
    static const char *const names[] = {NULL,
                                        "is cut off from the ring",
                                        "loses the store",
                                        "is cut off from the ring and the store",
                                        "loses the replication link",
                                        "is cut off from the ring and the peer's replica",
                                        "loses the store and the replication link",
                                        "is cut off from everything"};
    int kinds = explorer_scenario(explorer)->cut_kinds;
    for (int which = 1; which < 8; which++) {
        if (kinds && !(kinds & 1 << which)) {
            continue;
        }
        State t = *s;
        t.cuts_left--;
        t.ring_cut = which & 1 ? (uint8_t) (x + 1) : NOBODY;
        t.store_cut = which & 2 ? (uint8_t) (x + 1) : NOBODY;
        t.repl_cut = which & 4 ? 1 : 0;
        explorer_put(explorer, &t, x, names[which], STEP_FAULT);
    }
}

/* `drbdsetup down` or `disconnect` on a Secondary: a Primary learns in good order that this copy is out of date. */
static void leave(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    State t = *s;
    Node *p = &t.node[1 - x];
    bool needed = p->primary && p->disk != DISK_UP_TO_DATE; /* then the kernel refuses */
    if (n->primary || n->conn < CONN_CONNECTED || !drbd_session(s) || needed) {
        return;
    }
    t.leaves_left--;
    t.node[x].conn = CONN_NONE;
    t.node[x].peer_primary = 0;
    bool both_good = n->disk == DISK_UP_TO_DATE && p->disk == DISK_UP_TO_DATE && p->peer_disk == DISK_UP_TO_DATE;
    if (p->primary && n->disk == DISK_UP_TO_DATE) {
        t.node[x].disk = DISK_OUTDATED;
    }
    t.node[x].peer_disk = n->peer_disk == DISK_INCONSISTENT ? DISK_INCONSISTENT : DISK_UNKNOWN;
    p->conn = CONN_WAITING;
    p->peer_primary = 0;
    if (p->peer_disk == DISK_UP_TO_DATE) {
        p->peer_disk = p->primary ? DISK_OUTDATED : DISK_UNKNOWN;
    }
    if (p->primary && both_good && !p->uuid[1]) {
        drbd_new_uuid(&t, 1 - x);
    }
    explorer_put(explorer, &t, x, "its replica disconnects in good order", STEP_FAULT);
}

/* As it is meant to be: on a Secondary the failed disk cuts the connection, so the Primary freezes and records it; on a
 * Primary the peer's copy serves the guest. Either way a durable note says that this copy must not start. */
static void disk_error(const State *s, int x, Explorer *explorer)
{
    const Node *n = &s->node[x];
    if (n->level == NODE_OFF || !n->attached || n->disk == DISK_DISKLESS) {
        return;
    }
    State t = *s;
    Node *m = &t.node[x], *p = &t.node[1 - x];
    bool note = !is_mutant(explorer, MUTANT_NO_NOTE);
    bool session = n->conn >= CONN_CONNECTED && drbd_session(s);
    t.disk_errors_left--;
    m->lost = note;
    m->disk = DISK_DISKLESS;
    m->new_uuid = 0;
    if (session && (n->primary || !note)) {
        m->conn = p->conn = CONN_CONNECTED;
        if (p->disk == DISK_UP_TO_DATE && !p->uuid[1] && (p->primary || n->primary)) {
            drbd_new_uuid(&t, 1 - x);
        }
        p->peer_disk = DISK_DISKLESS;
    } else if (!n->primary) {
        m->attached = 0;
        m->conn = CONN_NONE;
        m->peer_primary = 0;
        m->peer_disk = DISK_UNKNOWN;
    }
    if (n->primary && m->peer_disk != DISK_UP_TO_DATE) {
        m->frozen = 1; /* on-no-data-accessible suspend-io */
    }
    explorer_put(explorer, &t, x, note && !n->primary ? "its disk fails, which cuts the connection" : "its disk fails",
                 STEP_FAULT);
}

void fault_steps(const State *s, Explorer *explorer)
{
    for (int x = 0; x < 2; x++) {
        if (s->crashes_left && s->node[x].level != NODE_OFF) {
            State t = *s;
            t.crashes_left--;
            node_crash(&t, x);
            explorer_put(explorer, &t, x, "crashes", STEP_FAULT);
        }
        if (s->cuts_left && !s->ring_cut && !s->store_cut && !s->repl_cut) {
            cuts(s, x, explorer);
        }
        if (s->leaves_left) {
            leave(s, x, explorer);
        }
        if (s->disk_errors_left) {
            disk_error(s, x, explorer);
        }
    }
    if (s->crashes_left && s->third_up && explorer_scenario(explorer)->third_crashes) {
        State t = *s;
        t.crashes_left--;
        t.third_up = 0;
        explorer_put(explorer, &t, -1, "the third node crashes", STEP_FAULT);
    }
}
