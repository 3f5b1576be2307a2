/* SPDX-License-Identifier: Apache-2.0
 * The operator's word about a copy in doubt, and when snapshots of the store are due and too old. */
#include "node-agent/record_doubt.h"
#include "node-agent/store_care.h"

#include <string.h>

#define GOOD                                                                                                           \
    {                                                                                                                  \
        .answers = TRUE, .usable = TRUE                                                                                \
    }
#define RUNS                                                                                                           \
    {                                                                                                                  \
        .answers = TRUE, .usable = TRUE, .runs = TRUE                                                                  \
    }
#define FROZEN                                                                                                         \
    {                                                                                                                  \
        .answers = TRUE, .usable = TRUE, .runs = TRUE, .frozen = TRUE                                                  \
    }
#define SILENT                                                                                                         \
    {                                                                                                                  \
        .answers = FALSE                                                                                               \
    }
#define DOWN                                                                                                           \
    {                                                                                                                  \
        .clean_down = TRUE                                                                                             \
    }
#define BROKEN                                                                                                         \
    {                                                                                                                  \
        .answers = TRUE                                                                                                \
    }

static const struct {
    ReplicaView node, other;
    gboolean alone;
    DoubtStep step;
    const char *reason;
} cases[] = {
    {GOOD, GOOD, FALSE, DOUBT_CONFIRM, NULL},
    {GOOD, DOWN, FALSE, DOUBT_CONFIRM, NULL},
    {GOOD, SILENT, TRUE, DOUBT_CONFIRM, NULL},
    {GOOD, BROKEN, FALSE, DOUBT_CONFIRM, NULL},
    /* silence proves nothing: it may run there */
    {GOOD, SILENT, FALSE, DOUBT_REFUSE, "may be running it"},
    {GOOD, RUNS, FALSE, DOUBT_REFUSE, "runs on the node of the other copy"},
    {GOOD, FROZEN, FALSE, DOUBT_REFUSE, "runs on the node of the other copy"},
    {FROZEN, DOWN, FALSE, DOUBT_RENEW, NULL},
    {FROZEN, GOOD, FALSE, DOUBT_RENEW, NULL},
    {FROZEN, SILENT, FALSE, DOUBT_REFUSE, "may be running it"},
    {RUNS, DOWN, FALSE, DOUBT_REFUSE, "renews the record"},
    {SILENT, GOOD, FALSE, DOUBT_REFUSE, "does not answer"},
    {DOWN, GOOD, FALSE, DOUBT_REFUSE, "does not answer"},
    {BROKEN, GOOD, FALSE, DOUBT_REFUSE, "not attached"},
};

static void test_decide(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *reason = NULL;
        DoubtStep step = record_doubt_decide(&cases[i].node, cases[i].alone ? NULL : &cases[i].other, &reason);
        g_test_message("case %" G_GSIZE_FORMAT ": %s", i, reason ? reason : "-");
        g_assert_cmpint(step, ==, cases[i].step);
        g_assert_true(cases[i].reason ? reason && strstr(reason, cases[i].reason) : !reason);
    }
}

static void test_due(void)
{
    g_assert_cmpint(store_care_due_s(0, 1000000), ==, 0);
    g_assert_cmpint(store_care_due_s(1000000 - 600, 1000000), ==, STORE_SNAPSHOT_EVERY_S - 600);
    g_assert_cmpint(store_care_due_s(1000000 - STORE_SNAPSHOT_EVERY_S, 1000000), ==, 0);
    g_assert_cmpint(store_care_due_s(1000000 + 600, 1000000), ==, 0);
}

static void test_problem(void)
{
    StoreSnapshotStatus none = {.error = (char *) "disk full"}, old = {.at = (char *) "Monday", .time_s = 1000000};
    g_autofree char *unknown = store_care_snapshot_problem("n1", NULL, 1000000);
    g_autofree char *missing = store_care_snapshot_problem("n1", &none, 1000000);
    g_autofree char *fine = store_care_snapshot_problem("n1", &old, 1000000 + STORE_SNAPSHOT_OLD_S);
    g_autofree char *late = store_care_snapshot_problem("n1", &old, 1000001 + STORE_SNAPSHOT_OLD_S);
    g_assert_null(unknown);
    g_assert_cmpstr(missing, ==, "node n1 has no snapshot of the store: disk full");
    g_assert_null(fine);
    g_assert_cmpstr(late, ==, "the newest snapshot of the store on node n1 is of Monday");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/record-doubt/decide", test_decide);
    g_test_add_func("/store-care/due", test_due);
    g_test_add_func("/store-care/problem", test_problem);
    return g_test_run();
}
