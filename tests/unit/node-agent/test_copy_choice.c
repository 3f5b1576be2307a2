/* SPDX-License-Identifier: Apache-2.0
 * What an operator's word about copies that differ leads to. */
#include "node-agent/copy_choice.h"

#include <string.h>

typedef struct {
    ReplicaView node, other;
    const char *reason; /* NULL: allowed */
} Case;

static const Case overrides[] = {
    {{.answers = TRUE, .whole = TRUE}, {.clean_down = TRUE}, NULL},
    /* its disk is gone for good; or merely not in use */
    {{.answers = TRUE, .whole = TRUE}, {.answers = TRUE, .broken = TRUE}, NULL},
    {{.answers = TRUE, .whole = TRUE}, {.answers = TRUE}, "not known to be lost"},
    /* silence proves nothing */
    {{.answers = TRUE, .whole = TRUE}, {.answers = FALSE}, "may be running it"},
    {{.answers = TRUE, .whole = TRUE}, {.answers = TRUE, .whole = TRUE}, "answers and has it"},
    {{.answers = TRUE, .whole = TRUE}, {.answers = TRUE, .runs = TRUE}, "running"},
    {{.answers = TRUE, .whole = TRUE, .runs = TRUE}, {.clean_down = TRUE}, "running"},
    {{.answers = TRUE}, {.clean_down = TRUE}, "half-finished resync"},
    {{.answers = FALSE}, {.clean_down = TRUE}, "does not answer"},
};

static const Case discards[] = {
    {{.answers = TRUE, .differs = TRUE}, {.answers = TRUE, .usable = TRUE}, NULL},
    {{.answers = TRUE, .differs = TRUE}, {.clean_down = TRUE}, "all there is"},
    {{.answers = TRUE, .differs = TRUE}, {.answers = TRUE}, "all there is"},
    {{.answers = TRUE}, {.answers = TRUE, .usable = TRUE}, "resyncs by itself"},
    {{.answers = TRUE, .differs = TRUE, .runs = TRUE}, {.answers = TRUE, .usable = TRUE}, "runs from that copy"},
    {{.answers = TRUE, .differs = TRUE, .connected = TRUE}, {.answers = TRUE, .usable = TRUE}, "is connected"},
    {{.differs = TRUE}, {.answers = TRUE, .usable = TRUE}, "does not answer"},
};

static void check(gsize i, const char *reason, const char *wanted)
{
    g_test_message("case %" G_GSIZE_FORMAT ": %s", i, reason ? reason : "allowed");
    g_assert_true(wanted ? reason && strstr(reason, wanted) : !reason);
}

static void test_override(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(overrides); i++) {
        check(i, copy_choice_override_refusal(&overrides[i].node, &overrides[i].other), overrides[i].reason);
    }
}

static void test_discard(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(discards); i++) {
        check(i, copy_choice_discard_refusal(&discards[i].node, &discards[i].other), discards[i].reason);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/copy-choice/override", test_override);
    g_test_add_func("/copy-choice/discard", test_discard);
    return g_test_run();
}
