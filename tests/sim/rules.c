/* SPDX-License-Identifier: Apache-2.0
 * The bridge to the real rules: a state's small record becomes a Record, storage/record_codec.c decides, and what it
 * wrote becomes the new small record.
 *
 * Reading, deciding and compare-and-set are one step here, at the moment of the compare-and-set: it succeeds only if
 * nothing changed since the reading, so the reading could as well have been then. What was looked at before (DRBD,
 * corosync, the CIB) is kept in the program's state, where it can grow old. Generations only ever grow and are only
 * compared for "unchanged since": `daemon_fresh` says that instead. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const node_names[] = {"", "a", "b"};
static const char *const boot_names[] = {[BOOT_NOW] = "now", [BOOT_BEFORE] = "before", [BOOT_OLDER] = "older"};
static const char *const ids[] = {"id0", "id1"};

static Record unpack(const Rec *rec)
{
    Record record = {.generation = 1, .state = (RecordState) rec->state};
    int place = 0;
    for (int x = 0; x < 2; x++) {
        if (rec->in_sync & 1 << x) {
            strcpy(record.in_sync[place++], node_names[x + 1]);
        }
    }
    strcpy(record.owner, node_names[rec->owner]);
    if (rec->owner) {
        strcpy(record.owner_boot_id, boot_names[rec->owner_boot]);
    }
    if (rec->handover) {
        strcpy(record.handover_to, node_names[3 - rec->owner]);
        strcpy(record.handover_id, ids[rec->handover_id]);
    }
    return record;
}

static int find(const char *const *names, int n, const char *wanted)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], wanted) == 0) {
            return i;
        }
    }
    fprintf(stderr, "sim: the rules wrote the unknown name '%s'\n", wanted);
    abort();
}

static Rec pack(const Record *record)
{
    Rec rec = {.state = record->state, .owner = (uint8_t) find(node_names, 3, record->owner)};
    for (int i = 0; i < RECORD_NODES_MAX; i++) {
        if (record->in_sync[i][0]) {
            rec.in_sync |= (uint8_t) (1u << (find(node_names, 3, record->in_sync[i]) - 1));
        }
    }
    if (rec.owner) {
        rec.owner_boot = (uint8_t) find(boot_names, 3, record->owner_boot_id);
    }
    if (record->handover_to[0]) {
        rec.handover = 1;
        rec.handover_id = (uint8_t) find(ids, 2, record->handover_id);
    }
    return rec;
}

/* ---- does every record that the rules write survive the strict codec? ---- */

static struct {
    uint8_t seen[1 << 10];
    int bad;
} codec;

static void check_codec(const Rec *rec, const Record *record)
{
    unsigned index = rec->state | rec->in_sync << 2 | rec->owner << 4 | rec->owner_boot << 6 | rec->handover << 8 |
                     rec->handover_id << 9;
    if (codec.seen[index]) {
        return;
    }
    codec.seen[index] = 1;
    Record again;
    char reason[200] = "";
    char *text = record_encode(record);
    if (!text || !record_decode(text, &again, reason, sizeof(reason))) {
        printf("# a rule wrote a record that the codec refuses (%s): %s\n", reason, text ? text : "");
        codec.bad++;
    }
    free(text);
}

int rules_check_codec(void)
{
    return codec.bad;
}

/* ---- writing ---- */

static Write write_record(State *s, bool allowed, const Record *next)
{
    if (!allowed) {
        return WRITE_REFUSED;
    }
    if (next->generation == 1) {
        return WRITE_DONE; /* the rule found nothing to change */
    }
    s->rec = pack(next);
    check_codec(&s->rec, next);
    s->flying = 0;
    s->flying_rec = (Rec){0};
    s->node[0].daemon_fresh = s->node[1].daemon_fresh = 0;
    return WRITE_DONE;
}

bool rule_lose_answer(const State *before, const State *after, State *ret)
{
    if (!before->lost_answers_left || before->flying || memcmp(&before->rec, &after->rec, sizeof(Rec)) == 0) {
        return false;
    }
    *ret = *before;
    ret->lost_answers_left--;
    ret->flying = 1;
    ret->flying_rec = after->rec;
    return true;
}

/* ---- the rules, each with what its caller gives it ---- */

/* claim.c, owner_rebooted(): the key boot/OWNER names another life. */
static bool owner_rebooted(const State *s, int x)
{
    if (!s->rec.owner) {
        return false;
    }
    if (s->rec.owner == x + 1) {
        return s->rec.owner_boot != BOOT_NOW;
    }
    return s->rec.owner_boot != (s->node[s->rec.owner - 1].registered ? BOOT_NOW : BOOT_BEFORE);
}

Write rule_claim(State *s, int x, const Explorer *explorer)
{
    const Node *n = &s->node[x];
    if (!store_reachable(s, x)) {
        return WRITE_FAILED;
    }
    Record now = unpack(&s->rec), next;
    RecordClaimFacts facts = {
        .node = node_names[x + 1],
        .boot_id = boot_names[BOOT_NOW],
        .owner_rebooted = owner_rebooted(s, x),
        .owner_fenced = (n->fact_absent || is_mutant(explorer, MUTANT_CLAIM_WITHOUT_FENCING)) && s->rec.owner == 2 - x,
        .peer_proves_stop = n->fact_stop,
        .peer_up_to_date = n->fact_up_to_date,
        .peer = node_names[2 - x],
    };
    if (is_mutant(explorer, MUTANT_MIDDLE_IS_STOP) && now.handover_to[0]) {
        now.handover_to[0] = now.handover_id[0] = '\0';
    }
    bool ok = record_claim(&now, &facts, &next, NULL, 0);
    return write_record(s, ok, &next);
}

Write rule_mark(State *s, int x)
{
    Record now = unpack(&s->rec), next;
    return !store_reachable(s, x)
               ? WRITE_FAILED
               : write_record(
                     s, record_mark(&now, node_names[x + 1], boot_names[BOOT_NOW], node_names[2 - x], &next, NULL, 0),
                     &next);
}

Write rule_mark_self(State *s, int x)
{
    Record now = unpack(&s->rec), next;
    /* The caller has seen in DRBD that the disk here is gone and the connected peer is UpToDate. */
    RecordSelfFacts facts = {.node = node_names[x + 1],
                             .boot_id = boot_names[BOOT_NOW],
                             .peer = node_names[2 - x],
                             .own_disk_lost = true,
                             .peer_up_to_date = true};
    return !store_reachable(s, x) ? WRITE_FAILED
                                  : write_record(s, record_mark_self(&now, &facts, &next, NULL, 0), &next);
}

Write rule_clear(State *s, int x)
{
    Record now = unpack(&s->rec), next;
    return !store_reachable(s, x)
               ? WRITE_FAILED
               : write_record(
                     s, record_clear(&now, node_names[x + 1], boot_names[BOOT_NOW], node_names[2 - x], &next, NULL, 0),
                     &next);
}

Write rule_stop(State *s, int x)
{
    Record now = unpack(&s->rec), next;
    return !store_reachable(s, x)
               ? WRITE_FAILED
               : write_record(s, record_stop(&now, node_names[x + 1], boot_names[BOOT_NOW], &next, NULL, 0), &next);
}

Write rule_handover_begin(State *s, int x, int id)
{
    Record now = unpack(&s->rec), next;
    return !store_reachable(s, x) ? WRITE_FAILED
                                  : write_record(s,
                                                 record_handover_begin(&now, node_names[x + 1], boot_names[BOOT_NOW],
                                                                       node_names[2 - x], ids[id], &next, NULL, 0),
                                                 &next);
}

Write rule_handover_commit(State *s, int x, int id, int target_boot)
{
    Record now = unpack(&s->rec), next;
    return !store_reachable(s, x)
               ? WRITE_FAILED
               : write_record(s, record_handover_commit(&now, ids[id], boot_names[target_boot], &next, NULL, 0), &next);
}

Write rule_handover_rollback(State *s, int x, int id)
{
    Record now = unpack(&s->rec), next;
    return !store_reachable(s, x) ? WRITE_FAILED
                                  : write_record(s, record_handover_rollback(&now, ids[id], &next, NULL, 0), &next);
}
