/* SPDX-License-Identifier: Apache-2.0
 * The in-sync record: codec, and every rule with every refusal. */
#include "storage/record_codec.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#define BOOT_1 "boot-n1"
#define BOOT_2 "boot-n2"

/* Records by short text: "state/in_sync/owner@boot[>to#id][?rescue]", e.g. "running/n1,n2/n1@boot-n1>n2#h1";
 * always generation 7. */
static Record record_from(const char *text)
{
    Record r = {.generation = 7};
    g_auto(GStrv) doubt = g_strsplit(text, "?", 2);
    g_auto(GStrv) parts = g_strsplit(doubt[0], "/", 3);
    if (doubt[1]) {
        g_strlcpy(r.unconfirmed, doubt[1], RECORD_NAME_MAX);
    }
    g_assert_cmpint(g_strv_length(parts), ==, 3);
    r.state = strcmp(parts[0], "new") == 0       ? RECORD_NEW
              : strcmp(parts[0], "stopped") == 0 ? RECORD_STOPPED
                                                 : RECORD_RUNNING;
    g_auto(GStrv) nodes = g_strsplit(parts[1], ",", 2);
    for (int i = 0; nodes[i]; i++) {
        g_strlcpy(r.in_sync[i], nodes[i], RECORD_NAME_MAX);
    }
    g_auto(GStrv) owner = g_strsplit_set(parts[2], "@>#", 4);
    char *places[] = {r.owner, r.owner_boot_id, r.handover_to, r.handover_id};
    for (int i = 0; owner[i]; i++) {
        g_strlcpy(places[i], owner[i], RECORD_NAME_MAX);
    }
    return r;
}

static char *record_text(const Record *r)
{
    static const char *const states[] = {"new", "stopped", "running"};
    g_autoptr(GString) text = g_string_new(states[r->state]);
    g_string_append_printf(text, "/%s%s%s/%s", r->in_sync[0], r->in_sync[1][0] ? "," : "", r->in_sync[1], r->owner);
    if (r->owner_boot_id[0]) {
        g_string_append_printf(text, "@%s", r->owner_boot_id);
    }
    if (r->handover_to[0]) {
        g_string_append_printf(text, ">%s#%s", r->handover_to, r->handover_id);
    }
    if (r->unconfirmed[0]) {
        g_string_append_printf(text, "?%s", r->unconfirmed);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The outcome of a rule against what the table wants: `wanted` is the record after it (generation 8), "=" the unchanged
 * record, or "!text" a refusal whose reason contains the text. */
static void check_outcome(const char *what, const Record *before, bool ok, const Record *after, const char *reason,
                          const char *wanted)
{
    if (wanted[0] == '!') {
        if (ok || !strstr(reason, wanted + 1)) {
            g_error("%s: wanted a refusal with '%s', got %s '%s'", what, wanted + 1, ok ? "an agreement" : "refusal",
                    reason);
        }
        return;
    }
    if (!ok) {
        g_error("%s: refused: %s", what, reason);
    }
    g_autofree char *got = record_text(after);
    g_autofree char *unchanged = record_text(before);
    g_assert_cmpstr(got, ==, wanted[0] == '=' ? unchanged : wanted);
    g_assert_cmpint(after->generation, ==, wanted[0] == '=' ? 7 : 8);
    /* What a rule writes is what every reader accepts. */
    char problem[256] = "";
    char *encoded = record_encode(after);
    Record again;
    if (!record_decode(encoded, &again, problem, sizeof(problem))) {
        g_error("%s: wrote a record that nobody reads: %s", what, problem);
    }
    g_assert_cmpmem(&again, sizeof(again), after, sizeof(*after));
    free(encoded);
}

/* ---- claim ---- */

enum { REBOOTED = 1, FENCED = 2, STOP_PROVEN = 4, PEER_GOOD = 8, NO_PEER = 16 };

typedef struct {
    const char *before, *node, *boot_id;
    int facts;
    const char *wanted;
} ClaimCase;

static const ClaimCase claim_cases[] = {
    /* nothing to start yet */
    {"new/n1,n2/", "n1", BOOT_1, PEER_GOOD | FENCED | REBOOTED | STOP_PROVEN, "!not initialised"},
    {"new//", "n1", BOOT_1, PEER_GOOD, "!not initialised"},
    /* first start, and start after a clean stop, by either side */
    {"stopped/n1,n2/", "n1", BOOT_1, PEER_GOOD, "running/n1,n2/n1@boot-n1"},
    {"stopped/n1,n2/n1@boot-n1", "n1", BOOT_1, PEER_GOOD, "running/n1,n2/n1@boot-n1"},
    {"stopped/n1,n2/n1@boot-n1", "n2", BOOT_2, PEER_GOOD, "running/n2,n1/n2@boot-n2"},
    /* the peer stays in sync only while connected and up to date */
    {"stopped/n1,n2/n1@boot-n1", "n2", BOOT_2, 0, "running/n2/n2@boot-n2"},
    {"stopped/n1,n2/n1@boot-n1", "n1", BOOT_1, 0, "running/n1/n1@boot-n1"},
    /* a peer that is out does not come back in by a claim, however good it looks */
    {"stopped/n1/n1@boot-n1", "n1", BOOT_1, PEER_GOOD, "running/n1/n1@boot-n1"},
    /* stale never starts, whatever is known of the owner */
    {"stopped/n1/n1@boot-n1", "n2", BOOT_2, PEER_GOOD | FENCED | REBOOTED | STOP_PROVEN, "!stale"},
    {"running/n1/n1@boot-n1", "n2", BOOT_2, PEER_GOOD | FENCED | REBOOTED | STOP_PROVEN, "!stale"},
    {"running/n1,n2/n1@boot-n1", "n3", BOOT_2, FENCED, "!stale"},
    /* the owner may still be writing */
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, 0, "!n1 may still be running"},
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, PEER_GOOD, "!n1 may still be running"},
    /* ... and the three proofs that it is not */
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, FENCED, "running/n2/n2@boot-n2"},
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, REBOOTED, "running/n2/n2@boot-n2"},
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, REBOOTED | PEER_GOOD, "running/n2,n1/n2@boot-n2"},
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, STOP_PROVEN | PEER_GOOD, "running/n2,n1/n2@boot-n2"},
    /* DRBD's proof is about the peer; a peer that is not the owner proves nothing about the owner */
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, STOP_PROVEN | NO_PEER, "!n1 may still be running"},
    /* the owner itself: same life and later life */
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, PEER_GOOD, "running/n1,n2/n1@boot-n1"},
    {"running/n1,n2/n1@boot-n1", "n1", "boot-later", 0, "running/n1/n1@boot-later"},
    {"running/n1/n1@boot-n1", "n1", "boot-later", NO_PEER, "running/n1/n1@boot-later"},
    /* a hand-over stands: only a dead source ends it, and then its fields go */
    {"running/n1,n2/n1@boot-n1>n2#h1", "n2", BOOT_2, STOP_PROVEN | PEER_GOOD, "!hand-over from n1 to n2"},
    {"running/n1,n2/n1@boot-n1>n2#h1", "n1", BOOT_1, PEER_GOOD, "!hand-over from n1 to n2"},
    {"running/n1,n2/n1@boot-n1>n2#h1", "n2", BOOT_2, 0, "!hand-over from n1 to n2"},
    {"running/n1,n2/n1@boot-n1>n2#h1", "n2", BOOT_2, FENCED, "running/n2/n2@boot-n2"},
    {"running/n1,n2/n1@boot-n1>n2#h1", "n2", BOOT_2, REBOOTED | PEER_GOOD, "running/n2,n1/n2@boot-n2"},
    {"running/n1,n2/n1@boot-n1>n2#h1", "n1", "boot-later", PEER_GOOD, "running/n1,n2/n1@boot-later"},
    /* an owner that lost its disk (mark self): the other node needs the same proofs, the owner itself never starts
       again */
    {"running/n2/n1@boot-n1", "n2", BOOT_2, 0, "!n1 may still be running"},
    {"running/n2/n1@boot-n1", "n2", BOOT_2, FENCED, "running/n2/n2@boot-n2"},
    {"running/n2/n1@boot-n1", "n2", BOOT_2, REBOOTED | PEER_GOOD, "running/n2/n2@boot-n2"},
    {"running/n2/n1@boot-n1", "n1", BOOT_1, PEER_GOOD, "!stale"},
    {"running/n2/n1@boot-n1", "n1", "boot-later", PEER_GOOD | REBOOTED, "!stale"},
    {"stopped/n2/n1@boot-n1", "n2", BOOT_2, 0, "running/n2/n2@boot-n2"},
    {"running/n2/n1@boot-n1>n2#h1", "n2", BOOT_2, STOP_PROVEN | PEER_GOOD, "!hand-over from n1 to n2"},
    {"running/n2/n1@boot-n1>n2#h1", "n2", BOOT_2, FENCED, "running/n2/n2@boot-n2"},
    /* nonsense input */
    {"stopped/n1,n2/", "", BOOT_1, 0, "!missing or too long"},
    {"stopped/n1,n2/", "n1", "", 0, "!missing or too long"},
};

static void test_claim(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(claim_cases); i++) {
        const ClaimCase *c = &claim_cases[i];
        Record before = record_from(c->before);
        Record after = {0};
        char reason[256] = "";
        RecordClaimFacts facts = {.node = c->node,
                                  .boot_id = c->boot_id,
                                  .owner_rebooted = c->facts & REBOOTED,
                                  .owner_fenced = c->facts & FENCED,
                                  .peer_proves_stop = c->facts & STOP_PROVEN,
                                  .peer_up_to_date = c->facts & PEER_GOOD,
                                  .peer = c->facts & NO_PEER           ? NULL
                                          : strcmp(c->node, "n1") == 0 ? "n2"
                                                                       : "n1"};
        bool ok = record_claim(&before, &facts, &after, reason, sizeof(reason));
        g_autofree char *what = g_strdup_printf("claim %" G_GSIZE_FORMAT " (%s by %s)", i, c->before, c->node);
        check_outcome(what, &before, ok, &after, reason, c->wanted);
    }
}

/* Every claim that the rules allow, over all records and facts that there are: the safety half of the rules as
 * invariants. */
static void test_claim_invariants(void)
{
    static const char *const records[] = {"new/n1,n2/",
                                          "stopped/n1,n2/",
                                          "stopped/n1/n1@boot-n1",
                                          "stopped/n2,n1/n2@boot-n2",
                                          "running/n1,n2/n1@boot-n1",
                                          "running/n1/n1@boot-n1",
                                          "running/n2/n2@boot-n2",
                                          "running/n2,n1/n2@boot-n2",
                                          "running/n1,n2/n1@boot-n1>n2#h",
                                          "running/n2,n1/n2@boot-n2>n1#h",
                                          "running/n2/n1@boot-n1",
                                          "running/n2/n1@boot-n1>n2#h"};
    int allowed = 0;
    for (gsize i = 0; i < G_N_ELEMENTS(records); i++) {
        for (int bits = 0; bits < 64; bits++) {
            Record before = record_from(records[i]);
            Record after;
            RecordClaimFacts facts = {.node = bits & 32 ? "n2" : "n1",
                                      .boot_id = bits & 32 ? BOOT_2 : BOOT_1,
                                      .owner_rebooted = bits & REBOOTED,
                                      .owner_fenced = bits & FENCED,
                                      .peer_proves_stop = bits & STOP_PROVEN,
                                      .peer_up_to_date = bits & PEER_GOOD,
                                      .peer = bits & NO_PEER ? NULL
                                              : bits & 32    ? "n1"
                                                             : "n2"};
            if (!record_claim(&before, &facts, &after, NULL, 0)) {
                continue;
            }
            allowed++;
            g_assert_true(before.state != RECORD_NEW && record_is_in_sync(&before, facts.node));
            g_assert_true(record_is_in_sync(&after, facts.node) && after.generation == before.generation + 1);
            g_assert_cmpstr(after.owner, ==, facts.node);
            g_assert_cmpstr(after.handover_to, ==, "");
            bool peer_in = facts.peer && record_is_in_sync(&after, facts.peer);
            g_assert_true(!peer_in || (facts.peer_up_to_date && record_is_in_sync(&before, facts.peer)));
            bool mine = strcmp(before.owner, facts.node) == 0;
            bool dead = facts.owner_rebooted || facts.owner_fenced;
            g_assert_true(before.state == RECORD_STOPPED || dead ||
                          (!before.handover_to[0] && (mine || facts.peer_proves_stop)));
        }
    }
    g_assert_cmpint(allowed, >, 100); /* the loop does look at something */
}

/* ---- mark and clear ---- */

typedef struct {
    const char *before, *node, *boot_id, *peer, *after_mark, *after_clear;
} EditCase;

static const EditCase edit_cases[] = {
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n2", "running/n1/n1@boot-n1", "="},
    /* the mark moves the generation even if the peer is out already: an older clear must fail */
    {"running/n1/n1@boot-n1", "n1", BOOT_1, "n2", "running/n1/n1@boot-n1", "running/n1,n2/n1@boot-n1"},
    {"running/n2,n1/n1@boot-n1", "n1", BOOT_1, "n2", "running/n1/n1@boot-n1", "="},
    /* not the owner; not this life of the owner; not running */
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, "n1", "!only the running owner", "!only the running owner"},
    {"running/n1,n2/n1@boot-n1", "n1", "boot-later", "n2", "!only the running owner", "!only the running owner"},
    {"stopped/n1,n2/n1@boot-n1", "n1", BOOT_1, "n2", "!(not running)", "!(not running)"},
    {"stopped/n1,n2/", "n1", BOOT_1, "n2", "!nobody", "!nobody"},
    {"new/n1,n2/", "n1", BOOT_1, "n2", "!only the running owner", "!only the running owner"},
    /* a hand-over stands */
    {"running/n1,n2/n1@boot-n1>n2#h1", "n1", BOOT_1, "n2", "!hand-over to n2", "!hand-over to n2"},
    /* nonsense */
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n1", "!another node", "!another node"},
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "", "!another node", "!another node"},
    /* an owner that lost its disk: the only copy is never marked out; a resync back puts both in again */
    {"running/n2/n1@boot-n1", "n1", BOOT_1, "n2", "!lost its own disk", "running/n1,n2/n1@boot-n1"},
    {"running/n2/n1@boot-n1>n2#h1", "n1", BOOT_1, "n2", "!hand-over to n2", "!hand-over to n2"},
    {"running/n2/n1@boot-n1", "n2", BOOT_2, "n1", "!only the running owner", "!only the running owner"},
};

static void test_mark_and_clear(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(edit_cases); i++) {
        const EditCase *c = &edit_cases[i];
        Record before = record_from(c->before);
        Record after = {0};
        char reason[256] = "";
        bool ok = record_mark(&before, c->node, c->boot_id, c->peer, &after, reason, sizeof(reason));
        check_outcome("mark", &before, ok, &after, reason, c->after_mark);
        ok = record_clear(&before, c->node, c->boot_id, c->peer, &after, reason, sizeof(reason));
        check_outcome("clear", &before, ok, &after, reason, c->after_clear);
    }
}

/* ---- mark self ---- */

enum { DISK_LOST = 1, PEER_HAS_IT = 2, BOTH_PROVEN = 3 };

static const struct {
    const char *before, *node, *boot_id, *peer;
    int facts;
    const char *wanted;
} self_cases[] = {
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n2", BOTH_PROVEN, "running/n2/n1@boot-n1"},
    {"running/n2,n1/n1@boot-n1", "n1", BOOT_1, "n2", BOTH_PROVEN, "running/n2/n1@boot-n1"},
    /* resynced, but not cleared yet: DRBD's proof is the same as for a clear */
    {"running/n1/n1@boot-n1", "n1", BOOT_1, "n2", BOTH_PROVEN, "running/n2/n1@boot-n1"},
    {"running/n2/n1@boot-n1", "n1", BOOT_1, "n2", BOTH_PROVEN, "="},
    /* both facts are needed */
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n2", PEER_HAS_IT, "!not lost"},
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n2", DISK_LOST, "!nobody would be left"},
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n2", 0, "!not lost"},
    /* only the running owner, in this life, outside a hand-over, about another node */
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, "n1", BOTH_PROVEN, "!only the running owner"},
    {"running/n1,n2/n1@boot-n1", "n1", "boot-later", "n2", BOTH_PROVEN, "!only the running owner"},
    {"stopped/n1,n2/n1@boot-n1", "n1", BOOT_1, "n2", BOTH_PROVEN, "!(not running)"},
    {"new/n1,n2/", "n1", BOOT_1, "n2", BOTH_PROVEN, "!only the running owner"},
    {"running/n1,n2/n1@boot-n1>n2#h1", "n1", BOOT_1, "n2", BOTH_PROVEN, "!hand-over to n2"},
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n1", BOTH_PROVEN, "!another node"},
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "", BOTH_PROVEN, "!another node"},
};

static void test_mark_self(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(self_cases); i++) {
        Record before = record_from(self_cases[i].before);
        Record after = {0};
        char reason[256] = "";
        RecordSelfFacts facts = {.node = self_cases[i].node,
                                 .boot_id = self_cases[i].boot_id,
                                 .peer = self_cases[i].peer,
                                 .own_disk_lost = self_cases[i].facts & DISK_LOST,
                                 .peer_up_to_date = self_cases[i].facts & PEER_HAS_IT};
        bool ok = record_mark_self(&before, &facts, &after, reason, sizeof(reason));
        check_outcome("mark self", &before, ok, &after, reason, self_cases[i].wanted);
    }
}

/* ---- stop ---- */

static const struct {
    const char *before, *node, *boot_id, *wanted;
} stop_cases[] = {
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "stopped/n1,n2/n1@boot-n1"},
    {"running/n1/n1@boot-n1", "n1", BOOT_1, "stopped/n1/n1@boot-n1"},
    {"running/n1,n2/n1@boot-n1", "n1", "boot-later", "stopped/n1,n2/n1@boot-n1"}, /* the reboot ended that life */
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, "="}, /* Pacemaker stops on the other side too */
    {"stopped/n1,n2/n1@boot-n1", "n1", BOOT_1, "="},
    {"new/n1,n2/", "n1", BOOT_1, "="},
    {"running/n1,n2/n1@boot-n1>n2#h1", "n1", BOOT_1, "!roll it back (id h1)"},
    {"running/n1,n2/n1@boot-n1>n2#h1", "n2", BOOT_2, "="},
    {"running/n2/n1@boot-n1", "n1", BOOT_1, "stopped/n2/n1@boot-n1"}, /* its disk was lost */
    {"running/n1,n2/n1@boot-n1", "n1", "", "!missing or too long"},
};

static void test_stop(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(stop_cases); i++) {
        Record before = record_from(stop_cases[i].before);
        Record after = {0};
        char reason[256] = "";
        bool ok = record_stop(&before, stop_cases[i].node, stop_cases[i].boot_id, &after, reason, sizeof(reason));
        check_outcome("stop", &before, ok, &after, reason, stop_cases[i].wanted);
    }
}

/* ---- hand-over ---- */

static const struct {
    const char *before, *node, *boot_id, *to, *id, *wanted;
} begin_cases[] = {
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n2", "h1", "running/n1,n2/n1@boot-n1>n2#h1"},
    {"running/n1,n2/n1@boot-n1>n2#h1", "n1", BOOT_1, "n2", "h1", "="}, /* asked twice */
    {"running/n1,n2/n1@boot-n1>n2#h1", "n1", BOOT_1, "n2", "h2", "!another live hand-over"},
    {"running/n1/n1@boot-n1", "n1", BOOT_1, "n2", "h1", "!not in sync"},
    {"running/n2/n1@boot-n1", "n1", BOOT_1, "n2", "h1", "running/n2/n1@boot-n1>n2#h1"}, /* away from a lost disk */
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n1", "h1", "!already"},
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n3", "h1", "!not in sync"},
    {"running/n1,n2/n1@boot-n1", "n2", BOOT_2, "n1", "h1", "!only the running owner"},
    {"running/n1,n2/n1@boot-n1", "n1", "boot-later", "n2", "h1", "!only the running owner"},
    {"stopped/n1,n2/n1@boot-n1", "n1", BOOT_1, "n2", "h1", "!(not running)"},
    {"running/n1,n2/n1@boot-n1", "n1", BOOT_1, "n2", "", "!missing or too long"},
};

static const struct {
    const char *before, *id, *after_commit, *after_rollback;
} end_cases[] = {
    {"running/n1,n2/n1@boot-n1>n2#h1", "h1", "running/n1,n2/n2@boot-n2", "running/n1,n2/n1@boot-n1"},
    {"running/n1,n2/n1@boot-n1>n2#h1", "h2", "!another live hand-over", "!another live hand-over"},
    {"running/n1,n2/n1@boot-n1>n2#h1", "", "!another live hand-over", "!another live hand-over"},
    {"running/n2/n1@boot-n1>n2#h1", "h1", "running/n2/n2@boot-n2", "running/n2/n1@boot-n1"},
    {"running/n1,n2/n2@boot-n2", "h1", "!no live hand-over", "!no live hand-over"},
    {"stopped/n1,n2/n1@boot-n1", "h1", "!no live hand-over", "!no live hand-over"},
};

static void test_handover(void)
{
    Record after = {0};
    char reason[256] = "";
    for (gsize i = 0; i < G_N_ELEMENTS(begin_cases); i++) {
        Record before = record_from(begin_cases[i].before);
        bool ok = record_handover_begin(&before, begin_cases[i].node, begin_cases[i].boot_id, begin_cases[i].to,
                                        begin_cases[i].id, &after, reason, sizeof(reason));
        check_outcome("begin", &before, ok, &after, reason, begin_cases[i].wanted);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(end_cases); i++) {
        Record before = record_from(end_cases[i].before);
        bool ok = record_handover_commit(&before, end_cases[i].id, BOOT_2, &after, reason, sizeof(reason));
        check_outcome("commit", &before, ok, &after, reason, end_cases[i].after_commit);
        ok = record_handover_rollback(&before, end_cases[i].id, &after, reason, sizeof(reason));
        check_outcome("rollback", &before, ok, &after, reason, end_cases[i].after_rollback);
    }
    Record standing = record_from("running/n1,n2/n1@boot-n1>n2#h1");
    g_assert_false(record_handover_commit(&standing, "h1", "", &after, reason, sizeof(reason)));
}

/* ---- after a rescue or restore of the store ---- */

/* Nothing starts from a record in doubt and nobody edits it, whatever is proven of the owner; two equal copies, or the
 * only one there is, end the doubt. */
static const ClaimCase doubted_claim_cases[] = {
    {"stopped/n1,n2/n1@boot-n1?r1", "n1", BOOT_1, 0, "!rescued or restored"},
    {"stopped/n1/n1@boot-n1?r1", "n1", BOOT_1, 0, "!rescued or restored"},
    {"running/n1,n2/n2@boot-n2?r1", "n1", BOOT_1, FENCED | REBOOTED, "!rescued or restored"},
    {"running/n1,n2/n1@boot-n1?r1", "n1", "boot-later", 0, "!rescued or restored"},
    /* equal while the other side may be writing is no end of the doubt: that one is the owner */
    {"stopped/n1,n2/n1@boot-n1?r1", "n1", BOOT_1, PEER_GOOD, "!rescued or restored"},
    {"stopped/n1,n2/n1@boot-n1?r1", "n1", BOOT_1, STOP_PROVEN, "!rescued or restored"},
    {"stopped/n1,n2/n1@boot-n1?r1", "n1", BOOT_1, PEER_GOOD | STOP_PROVEN, "running/n1,n2/n1@boot-n1"},
    /* the in-sync set of an old record is worth nothing, in either direction */
    {"stopped/n2/n2@boot-n2?r1", "n1", BOOT_1, PEER_GOOD | STOP_PROVEN, "running/n1,n2/n1@boot-n1"},
    {"stopped/n1/n2@boot-n2?r1", "n1", BOOT_1, PEER_GOOD | STOP_PROVEN, "running/n1/n1@boot-n1"},
    {"running/n2/n2@boot-n2?r1", "n1", BOOT_1, PEER_GOOD | STOP_PROVEN, "running/n1,n2/n1@boot-n1"},
    /* never initialised, says the record: copies are equal from the start, and one may have been filled since */
    {"new/n1,n2/?r1", "n1", BOOT_1, PEER_GOOD | STOP_PROVEN, "!not initialised"},
    {"running/n1,n2/n2@boot-n2>n1#h1?r1", "n1", BOOT_1, PEER_GOOD | STOP_PROVEN, "!hand-over"},
    {"running/n1,n2/n3@boot-n3?r1", "n1", BOOT_1, PEER_GOOD | STOP_PROVEN, "!n3 may still be running"},
    {"stopped/n1/n1@boot-n1?r1", "n1", BOOT_1, NO_PEER, "running/n1/n1@boot-n1"},
    {"stopped/n1,n2/n1@boot-n1?r1", "n1", BOOT_1, NO_PEER, "!rescued or restored"},
    {"stopped/n2/n2@boot-n2?r1", "n1", BOOT_1, NO_PEER, "!rescued or restored"},
};

static const struct {
    const char *before, *node;
    bool writes;
    const char *wanted;
} renew_cases[] = {
    {"running/n1,n2/n1@boot-n1?r1", "n1", true, "running/n1/n1@boot-n1"},
    /* the record is of before the move to n2, of before a stop, or of a hand-over that ended long ago */
    {"running/n1,n2/n1@boot-n1?r1", "n2", true, "running/n2/n2@boot-n2"},
    {"stopped/n1/n1@boot-n1?r1", "n2", true, "running/n2/n2@boot-n2"},
    {"running/n1,n2/n1@boot-n1>n2#h1?r1", "n2", true, "running/n2/n2@boot-n2"},
    {"new/n1,n2/?r1", "n1", true, "running/n1/n1@boot-n1"},
    {"running/n1,n2/n1@boot-n1?r1", "n1", false, "!does not run"},
    {"running/n1,n2/n1@boot-n1?r1", "", true, "!missing or too long"},
    {"running/n1,n2/n1@boot-n1", "n1", true, "!not in doubt"},
};

static void test_doubted_claim_and_renew(void)
{
    Record after = {0};
    char reason[256] = "";
    for (gsize i = 0; i < G_N_ELEMENTS(doubted_claim_cases); i++) {
        const ClaimCase *c = &doubted_claim_cases[i];
        Record before = record_from(c->before);
        const char *peer = strcmp(c->node, "n1") == 0 ? "n2" : "n1";
        RecordClaimFacts facts = {.node = c->node,
                                  .boot_id = c->boot_id,
                                  .owner_rebooted = c->facts & REBOOTED,
                                  .owner_fenced = c->facts & FENCED,
                                  .peer_proves_stop = c->facts & STOP_PROVEN,
                                  .peer_up_to_date = c->facts & PEER_GOOD,
                                  .peer = c->facts & NO_PEER ? NULL : peer};
        bool ok = record_claim(&before, &facts, &after, reason, sizeof(reason));
        check_outcome("claim in doubt", &before, ok, &after, reason, c->wanted);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(renew_cases); i++) {
        Record before = record_from(renew_cases[i].before);
        const char *node = renew_cases[i].node;
        bool ok = record_renew(&before, node, strcmp(node, "n1") == 0 ? BOOT_1 : BOOT_2, renew_cases[i].writes, &after,
                               reason, sizeof(reason));
        check_outcome("renew", &before, ok, &after, reason, renew_cases[i].wanted);
    }
}

static void test_doubt(void)
{
    Record before = record_from("running/n1,n2/n1@boot-n1"), after = {0}, again = {0};
    Record standing = record_from("running/n1,n2/n1@boot-n1>n2#h1?r1");
    Record stale = record_from("stopped/n1,n2/n2@boot-n2?r1"), fresh = record_from("new/n1,n2/");
    RecordSelfFacts lost = {
        .node = "n1", .boot_id = BOOT_1, .peer = "n2", .own_disk_lost = true, .peer_up_to_date = true};
    char reason[256] = "";
    bool ok = record_doubt(&before, "r1", &after, reason, sizeof(reason));
    check_outcome("doubt", &before, ok, &after, reason, "running/n1,n2/n1@boot-n1?r1");
    after.generation = 7;
    ok = record_doubt(&after, "r1", &again, reason, sizeof(reason));
    check_outcome("doubt twice", &after, ok, &again, reason, "=");
    ok = record_doubt(&after, "r2", &again, reason, sizeof(reason));
    check_outcome("doubt anew", &after, ok, &again, reason, "running/n1,n2/n1@boot-n1?r2");
    ok = record_doubt(&fresh, "r1", &again, reason, sizeof(reason));
    check_outcome("doubt new", &fresh, ok, &again, reason, "new/n1,n2/?r1");
    g_assert_false(record_doubt(&before, "", &again, reason, sizeof(reason)));
    /* nobody edits it */
    ok = record_mark(&after, "n1", BOOT_1, "n2", &again, reason, sizeof(reason));
    check_outcome("mark", &after, ok, &again, reason, "!rescued or restored");
    ok = record_clear(&after, "n1", BOOT_1, "n2", &again, reason, sizeof(reason));
    check_outcome("clear", &after, ok, &again, reason, "!rescued or restored");
    ok = record_mark_self(&after, &lost, &again, reason, sizeof(reason));
    check_outcome("mark self", &after, ok, &again, reason, "!rescued or restored");
    ok = record_handover_begin(&after, "n1", BOOT_1, "n2", "h1", &again, reason, sizeof(reason));
    check_outcome("begin", &after, ok, &again, reason, "!rescued or restored");
    ok = record_handover_commit(&standing, "h1", BOOT_2, &again, reason, sizeof(reason));
    check_outcome("commit", &standing, ok, &again, reason, "!rescued or restored");
    /* an end is always true, and leaves the doubt */
    ok = record_handover_rollback(&standing, "h1", &again, reason, sizeof(reason));
    check_outcome("rollback", &standing, ok, &again, reason, "running/n1,n2/n1@boot-n1?r1");
    ok = record_stop(&after, "n1", BOOT_1, &again, reason, sizeof(reason));
    check_outcome("stop", &after, ok, &again, reason, "stopped/n1,n2/n1@boot-n1?r1");
    /* the operator's word */
    ok = record_confirm(&stale, "n1", &again, reason, sizeof(reason));
    check_outcome("confirm", &stale, ok, &again, reason, "stopped/n1/n2@boot-n2");
    ok = record_confirm(&standing, "n2", &again, reason, sizeof(reason));
    check_outcome("confirm", &standing, ok, &again, reason, "stopped/n2/n1@boot-n1");
    g_assert_false(record_confirm(&before, "n1", &again, reason, sizeof(reason)));
    g_assert_false(record_confirm(&stale, "", &again, reason, sizeof(reason)));
}

/* A stale copy is all that is left. */
static void test_override(void)
{
    static const struct {
        const char *before, *node, *after;
        gint64 moved_on;
    } cases[] = {
        {"running/n1/n1@boot-n1", "n2", "stopped/n2/n1@boot-n1", 0},
        {"stopped/n1/n1@boot-n1", "n2", "stopped/n2/n1@boot-n1", 0},
        {"running/n1/n1@boot-n1", "n2", "!moved on", 1},
        {"running/n1,n2/n1@boot-n1", "n2", "stopped/n2/n1@boot-n1", 0}, /* named, and Outdated on the disk */
        {"running/n2/n2@boot-n2", "n2", "!is the only current one", 0},
        {"running/n1/n1@boot-n1?r1", "n2", "!in doubt", 0},
        {"running/n1/n1@boot-n1", "", "!missing or too long", 0},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        char reason[200] = "";
        Record after, before = record_from(cases[i].before);
        bool ok = record_override(&before, before.generation + cases[i].moved_on, cases[i].node, &after, reason,
                                  sizeof(reason));
        check_outcome("override", &before, ok, &after, reason, cases[i].after);
    }
}

/* A name that does not fit must be refused, never cut: cut, it could equal another node's. */
static void test_long_names(void)
{
    g_autofree char *name = g_strnfill(RECORD_NAME_MAX, 'x');
    Record running = record_from("running/n1,n2/n1@boot-n1");
    Record stopped = record_from("stopped/n1,n2/n1@boot-n1");
    Record after;
    g_assert_false(record_clear(&running, "n1", BOOT_1, name, &after, NULL, 0));
    g_assert_false(record_handover_begin(&running, "n1", BOOT_1, "n2", name, &after, NULL, 0));
    RecordClaimFacts facts = {.node = "n1", .boot_id = name};
    g_assert_false(record_claim(&stopped, &facts, &after, NULL, 0));
}

/* ---- codec ---- */

#define DOCUMENT(state, in_sync, owner, boot, to, id)                                                                  \
    "{\"version\":1,\"generation\":3,\"state\":\"" state "\",\"in_sync\":" in_sync ",\"owner\":\"" owner               \
    "\",\"owner_boot_id\":\"" boot "\",\"handover_to\":\"" to "\",\"handover_id\":\"" id "\"}"

static const struct {
    const char *text, *reason; /* reason NULL: accepted */
} decode_cases[] = {
    {DOCUMENT("new", "[]", "", "", "", ""), NULL},
    {DOCUMENT("stopped", "[\"n1\",\"n2\"]", "", "", "", ""), NULL},
    {DOCUMENT("running", "[\"n1\",\"n2\"]", "n1", "b", "n2", "h"), NULL},
    {DOCUMENT("running", "[\"n1\"]", "n1", "b", "", ""), NULL},
    {"{\"version\":1,\"generation\":3,\"state\":\"new\",\"in_sync\":[],\"owner\":\"\",\"owner_boot_id\":\"\","
     "\"handover_to\":\"\",\"handover_id\":\"\",\"unconfirmed\":\"r1\"}",
     NULL},
    {"{\"version\":1,\"generation\":3,\"state\":\"new\",\"in_sync\":[],\"owner\":\"\",\"owner_boot_id\":\"\","
     "\"handover_to\":\"\",\"handover_id\":\"\",\"unconfirmed\":\"\"}",
     "unconfirmed"},
    {"", "not valid JSON"},
    {"[]", "JSON object"},
    {"{}", "version"},
    {"{\"version\":2}", "version"},
    {"{\"version\":1,\"version\":1}", "not valid JSON"},
    {DOCUMENT("new", "[]", "", "", "", "") "x", "not valid JSON"},
    {"{\"version\":1,\"generation\":0}", "generation"},
    {"{\"version\":1,\"generation\":\"3\"}", "generation"},
    {"{\"version\":1,\"generation\":3,\"extra\":1}", "extra: unknown field"},
    {DOCUMENT("started", "[\"n1\"]", "n1", "b", "", ""), "state"},
    {DOCUMENT("stopped", "[]", "", "", "", ""), "in_sync"},
    {DOCUMENT("stopped", "[\"n1\",\"n1\"]", "", "", "", ""), "in_sync"},
    {DOCUMENT("stopped", "[\"n1\",\"n2\",\"n3\"]", "", "", "", ""), "in_sync"},
    {DOCUMENT("stopped", "[\"\"]", "", "", "", ""), "in_sync"},
    {DOCUMENT("stopped", "[1]", "", "", "", ""), "in_sync"},
    {DOCUMENT("running", "[\"n1\"]", "", "", "", ""), "owner"},
    {DOCUMENT("running", "[\"n1\"]", "n2", "b", "", ""), NULL},
    {DOCUMENT("running", "[\"n1\"]", "n2", "b", "n1", "h"), NULL},
    {DOCUMENT("running", "[\"n1\",\"n3\"]", "n2", "b", "", ""), "in_sync"},
    {DOCUMENT("running", "[]", "n2", "b", "", ""), "in_sync"},
    {DOCUMENT("running", "[\"n1\"]", "n1", "", "", ""), "owner"},
    {DOCUMENT("running", "[\"n1\",\"n2\"]", "n1", "b", "n2", ""), "handover_id"},
    {DOCUMENT("running", "[\"n1\",\"n2\"]", "n1", "b", "", "h"), "handover_id"},
    {DOCUMENT("running", "[\"n1\",\"n2\"]", "n1", "b", "n1", "h"), "handover_to"},
    {DOCUMENT("running", "[\"n1\"]", "n1", "b", "n2", "h"), "handover_to"},
    {DOCUMENT("stopped", "[\"n1\",\"n2\"]", "n1", "b", "n2", "h"), "handover_to"},
    {DOCUMENT("running", "[\"n1\"]", "n1\\u0000x", "b", "", ""), "not valid JSON"},
    {DOCUMENT("stopped", "[\"n1\"]", "0123456789012345678901234567890123456789012345678901234567890123", "b", "", ""),
     "owner"},
};

static void test_decode(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(decode_cases); i++) {
        Record record;
        char reason[256] = "";
        bool ok = record_decode(decode_cases[i].text, &record, reason, sizeof(reason));
        if (ok != !decode_cases[i].reason || (!ok && !strstr(reason, decode_cases[i].reason))) {
            g_error("decode %" G_GSIZE_FORMAT ": %d '%s'", i, ok, reason);
        }
        if (ok) {
            char *text = record_encode(&record);
            Record again;
            g_assert_true(record_decode(text, &again, reason, sizeof(reason)));
            g_assert_cmpmem(&again, sizeof(again), &record, sizeof(record));
            free(text);
        }
    }
    Record record;
    g_autofree char *huge = g_strnfill(5000, ' ');
    g_assert_false(record_decode(huge, &record, NULL, 0));
    g_assert_false(record_decode(NULL, &record, NULL, 0));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/record/claim", test_claim);
    g_test_add_func("/record/claim-invariants", test_claim_invariants);
    g_test_add_func("/record/mark-and-clear", test_mark_and_clear);
    g_test_add_func("/record/mark-self", test_mark_self);
    g_test_add_func("/record/stop", test_stop);
    g_test_add_func("/record/handover", test_handover);
    g_test_add_func("/record/doubt", test_doubt);
    g_test_add_func("/record/doubted-claim-and-renew", test_doubted_claim_and_renew);
    g_test_add_func("/record/override", test_override);
    g_test_add_func("/record/long-names", test_long_names);
    g_test_add_func("/record/decode", test_decode);
    return g_test_run();
}
