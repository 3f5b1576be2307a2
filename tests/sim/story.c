/* SPDX-License-Identifier: Apache-2.0
 * A state and a step as lines for people. */
#include "tests/sim/sim.h"

#include <stdio.h>

static const char *const levels[] = {"off", "booted", "registered", "member"};
static const char *const disks[] = {"Diskless", "Inconsistent", "Outdated", "DUnknown", "Consistent", "UpToDate"};
static const char *const conns[] = {"StandAlone", "WFConnection", "Connected", "SyncSource", "SyncTarget"};
static const char *const vmms[] = {"none", "incoming", "paused", "running"};
static const char *const boots[] = {"this life", "its life before", "an older life"};
static const char *const in_syncs[] = {"nobody", "A", "B", "A,B"};
static const char *const record_states[] = {"new", "stopped", "running"};

static void writes_text(uint8_t set, char out[SIM_WRITES_MAX + 2])
{
    char *end = out;
    for (int i = 0; i < SIM_WRITES_MAX; i++) {
        if (set & 1 << i) {
            *end++ = (char) ('1' + i);
        }
    }
    if (end == out) {
        *end++ = '-';
    }
    *end = '\0';
}

static void node_line(const State *s, int x)
{
    const Node *n = &s->node[x];
    char data[SIM_WRITES_MAX + 2];
    writes_text(n->data, data);
    if (n->level == NODE_OFF) {
        printf("#        %c off; disk %s/%s holds %s%s%s%s\n", 'A' + x, disks[n->disk], disks[n->peer_disk], data,
               n->crashed ? ", crashed Primary" : "", n->lost ? ", noted as lost" : "",
               n->clean_down ? ", cleanly down in Pacemaker"
               : n->shot     ? ", power is off for sure"
                             : "");
        return;
    }
    printf("#        %c %s, sees%s%s%s; %s %s %s/%s holds %s%s%s%s; gate %s, VMM %s%s%s\n", 'A' + x, levels[n->level],
           n->sees_peer ? (x ? " A" : " B") : "", n->sees_third ? " C" : "",
           n->sees_peer || n->sees_third ? "" : " nobody", n->attached ? conns[n->conn] : "not attached",
           n->primary ? "Primary" : "Secondary", disks[n->disk], disks[n->peer_disk], data, n->frozen ? ", FROZEN" : "",
           n->crashed ? ", crashed Primary" : "", n->lost ? ", noted as lost" : "", n->gate ? "open" : "closed",
           vmms[n->vmm], n->write ? ", a write in flight" : "", n->cib_peer_down ? "; CIB: peer cleanly down" : "");
}

static void record_line(const State *s)
{
    const Rec *rec = &s->rec;
    char acked[SIM_WRITES_MAX + 2];
    writes_text(s->acked, acked);
    printf("#        record %s, in sync %s", record_states[rec->state], in_syncs[rec->in_sync]);
    if (rec->owner) {
        printf(", owner %c (%s)", 'A' + rec->owner - 1, boots[rec->owner_boot]);
    }
    printf("%s%s; acknowledged writes: %s%s%s%s%s\n", rec->handover ? ", hand-over under way" : "",
           s->flying ? "; a write of the record is in flight" : "", acked, s->third_up ? "" : "; C is off",
           s->ring_cut ? "; ring cut" : "", s->store_cut ? "; store cut" : "", s->repl_cut ? "; replication cut" : "");
}

void story_state(const State *s)
{
    node_line(s, 0);
    node_line(s, 1);
    record_line(s);
}

void story_step(int number, int actor, const char *what, const State *s)
{
    printf("#  %2d  %s%s\n", number, actor < 0 ? "" : actor ? "B: " : "A: ", what ? what : "?");
    story_state(s);
}
