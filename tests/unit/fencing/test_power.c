/* SPDX-License-Identifier: Apache-2.0
 * The power-on budget: the decision on a clock of its own, and what a real store remembers of it. */
#include "fencing/power.h"

#include "fencing/power_budget.h"
#include "tests/unit/cluster/etcd_fixture.h"

static void test_pause(void)
{
    gint64 off_since_ms = 0, now_ms = 5000;
    PowerBudget budget = {0};
    g_assert_cmpint(power_decide(&off_since_ms, &budget, FALSE, now_ms), ==, POWER_WAIT);
    g_assert_cmpint(power_decide(&off_since_ms, &budget, TRUE, now_ms), ==, POWER_WAIT);
    g_assert_cmpint(power_decide(&off_since_ms, &budget, TRUE, now_ms + POWER_ON_DELAY_MS - 1), ==, POWER_WAIT);
    g_assert_cmpint(power_decide(&off_since_ms, &budget, TRUE, now_ms + POWER_ON_DELAY_MS), ==, POWER_TURN_ON);
    /* Still off a moment after it was switched on: it gets the whole pause again. */
    off_since_ms = 0;
    g_assert_cmpint(power_decide(&off_since_ms, &budget, TRUE, now_ms + POWER_ON_DELAY_MS + 1), ==, POWER_WAIT);
    /* Seen on in between: the pause starts anew. */
    g_assert_cmpint(power_decide(&off_since_ms, &budget, FALSE, now_ms + 2 * POWER_ON_DELAY_MS), ==, POWER_WAIT);
    g_assert_cmpint(power_decide(&off_since_ms, &budget, TRUE, now_ms + 3 * POWER_ON_DELAY_MS), ==, POWER_WAIT);
}

static void test_budget(void)
{
    static const struct {
        PowerBudget budget;
        PowerDecision decision;
    } cases[] = {
        {{.attempts = POWER_ON_BUDGET_PER_HOUR - 1}, POWER_TURN_ON},
        {{.attempts = POWER_ON_BUDGET_PER_HOUR}, POWER_LEAVE_OFF},
        {{.attempts = 0, .left_off = TRUE}, POWER_LEAVE_OFF}, /* also when the hour is over */
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        gint64 off_since_ms = 1;
        g_assert_cmpint(power_decide(&off_since_ms, &cases[i].budget, TRUE, 1 + POWER_ON_DELAY_MS), ==,
                        cases[i].decision);
    }
}

static PowerBudget budget_of(Store *store, const char *node)
{
    GError *error = NULL;
    PowerBudget budget = {.attempts = 99};
    power_budget_read(store, node, &budget, &error);
    g_assert_no_error(error);
    return budget;
}

/* Whoever is DC next reads what the last one did, and one node's attempts are not another's. */
static void test_store(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 2000);
    g_autoptr(GError) error = NULL;
    g_assert_cmpuint(budget_of(store, "n1").attempts, ==, 0);
    g_assert_true(power_budget_spend(store, "n1", &error));
    g_assert_true(power_budget_spend(store, "n1", &error));
    g_assert_true(power_budget_spend(store, "n10", &error));
    g_autoptr(Store) next = store_at(etcd->endpoint, NULL, 2000);
    g_assert_cmpuint(budget_of(next, "n1").attempts, ==, 2);
    g_assert_false(budget_of(next, "n1").left_off);
    g_assert_true(power_budget_leave_off(next, "n1", TRUE, &error));
    g_assert_true(power_budget_leave_off(next, "n1", TRUE, &error)); /* once more is no error */
    g_assert_true(budget_of(store, "n1").left_off);
    g_assert_cmpuint(budget_of(store, "n1").attempts, ==, 2);
    g_assert_false(budget_of(store, "n10").left_off);
    g_assert_true(power_budget_leave_off(store, "n1", FALSE, &error));
    g_assert_false(budget_of(store, "n1").left_off);
    /* An attempt expires by itself, being left off does not. */
    g_assert_true(power_budget_leave_off(store, "n1", TRUE, &error));
    g_autofree char *prefix = power_budget_prefix("n1");
    g_autoptr(GPtrArray) entries = store_list(store, prefix, NULL, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        g_assert_cmpint(entry->lease != 0, ==, !g_str_has_suffix(entry->key, "/left-off"));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/power/pause", test_pause);
    g_test_add_func("/power/budget", test_budget);
    g_test_add_func("/power/store", test_store);
    return g_test_run();
}
