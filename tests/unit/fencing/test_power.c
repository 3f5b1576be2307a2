/* SPDX-License-Identifier: Apache-2.0
 * The power-on budget, on a clock of its own. */
#include "fencing/power.h"

#define MINUTE_MS 60000

static void test_pause(void)
{
    PowerHistory history = {0};
    gint64 now_ms = 5000;
    g_assert_cmpint(power_decide(&history, FALSE, now_ms), ==, POWER_WAIT);
    g_assert_cmpint(power_decide(&history, TRUE, now_ms), ==, POWER_WAIT);
    g_assert_cmpint(power_decide(&history, TRUE, now_ms + POWER_ON_DELAY_MS - 1), ==, POWER_WAIT);
    g_assert_cmpint(power_decide(&history, TRUE, now_ms + POWER_ON_DELAY_MS), ==, POWER_TURN_ON);
    power_record_attempt(&history, now_ms + POWER_ON_DELAY_MS);
    /* Still off a moment later: it gets the whole pause again. */
    g_assert_cmpint(power_decide(&history, TRUE, now_ms + POWER_ON_DELAY_MS + 1), ==, POWER_WAIT);
    /* Seen on in between: the pause starts anew. */
    g_assert_cmpint(power_decide(&history, FALSE, now_ms + 2 * POWER_ON_DELAY_MS), ==, POWER_WAIT);
    g_assert_cmpint(power_decide(&history, TRUE, now_ms + 3 * POWER_ON_DELAY_MS), ==, POWER_WAIT);
}

/* Off, on after the pause; returns the decision at the end of the pause. */
static PowerDecision cycle(PowerHistory *history, gint64 *now_ms)
{
    power_decide(history, FALSE, *now_ms);
    *now_ms += MINUTE_MS;
    power_decide(history, TRUE, *now_ms);
    *now_ms += POWER_ON_DELAY_MS;
    PowerDecision decision = power_decide(history, TRUE, *now_ms);
    if (decision == POWER_TURN_ON) {
        power_record_attempt(history, *now_ms);
    }
    return decision;
}

static void test_budget(void)
{
    PowerHistory history = {0};
    gint64 now_ms = 1;
    for (int i = 0; i < POWER_ON_BUDGET_PER_HOUR; i++) {
        g_assert_cmpint(cycle(&history, &now_ms), ==, POWER_TURN_ON);
    }
    g_assert_cmpint(cycle(&history, &now_ms), ==, POWER_LEAVE_OFF);
    /* It stays off however long that takes, until somebody else switches it on. */
    now_ms += 100 * 60 * (gint64) MINUTE_MS;
    g_assert_cmpint(power_decide(&history, TRUE, now_ms), ==, POWER_LEAVE_OFF);
    g_assert_cmpint(cycle(&history, &now_ms), ==, POWER_TURN_ON);
}

static void test_window_slides(void)
{
    PowerHistory history = {0};
    gint64 now_ms = 1;
    for (int i = 0; i < 20; i++) { /* more than the history holds, each well apart */
        now_ms += 61 * (gint64) MINUTE_MS / POWER_ON_BUDGET_PER_HOUR;
        g_assert_cmpint(cycle(&history, &now_ms), ==, POWER_TURN_ON);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/power/pause", test_pause);
    g_test_add_func("/power/budget", test_budget);
    g_test_add_func("/power/window-slides", test_window_slides);
    return g_test_run();
}
