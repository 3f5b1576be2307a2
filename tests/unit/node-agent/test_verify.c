/* SPDX-License-Identifier: Apache-2.0
 * When the copies of a guest are compared by themselves, and what is said of the outcome. */
#include "node-agent/verify.h"

#include <string.h>

static const struct {
    const char *created, *last, *now;
    int replicas;
    gboolean deleting, due;
} cases[] = {
    {"2026-11-01T12:00:00Z", NULL, "2026-11-21T02:00:00Z", 2, FALSE, TRUE},
    {"2026-11-01T12:00:00Z", NULL, "2026-11-21T00:59:00Z", 2, FALSE, FALSE}, /* not night yet */
    {"2026-11-01T12:00:00Z", NULL, "2026-11-21T05:00:00Z", 2, FALSE, FALSE}, /* any more */
    {"2026-11-20T12:00:00Z", NULL, "2026-11-21T02:00:00Z", 2, FALSE, FALSE}, /* made yesterday */
    {"2026-11-01T12:00:00Z", "2026-11-14T02:00:00Z", "2026-11-21T02:00:00Z", 2, FALSE, TRUE},
    {"2026-11-01T12:00:00Z", "2026-11-14T02:00:01Z", "2026-11-21T02:00:00Z", 2, FALSE, FALSE},
    {"2026-11-01T12:00:00Z", "2026-11-22T02:00:00Z", "2026-11-21T02:00:00Z", 2, FALSE, FALSE}, /* a clock went back */
    {"2026-11-01T12:00:00Z", NULL, "2026-11-21T02:00:00Z", 1, FALSE, FALSE},
    {"2026-11-01T12:00:00Z", NULL, "2026-11-21T02:00:00Z", 2, TRUE, FALSE},
    {NULL, NULL, "2026-11-21T02:00:00Z", 2, FALSE, TRUE},
};

static void test_due(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(Guest) guest = object_new(&guest_type);
        g_autoptr(Verification) last = object_new(&verification_type);
        g_autoptr(GDateTime) now = g_date_time_new_from_iso8601(cases[i].now, NULL);
        guest->created_at = g_strdup(cases[i].created);
        guest->spec.replicas = cases[i].replicas;
        guest->deleting = cases[i].deleting;
        last->at = g_strdup(cases[i].last);
        g_test_message("case %" G_GSIZE_FORMAT, i);
        g_assert_cmpint(verify_is_due(guest, cases[i].last ? last : NULL, now), ==, cases[i].due);
    }
}

static void test_problem(void)
{
    Verification equal = {.guest = (char *) "web1", .at = (char *) "Monday"};
    Verification differ = {.guest = (char *) "web1", .at = (char *) "Monday", .differing_kib = 12};
    g_autofree char *text = verify_problem(&differ);
    g_assert_null(verify_problem(NULL));
    g_assert_null(verify_problem(&equal));
    g_assert_nonnull(strstr(text, "differed in 12 KiB when they were compared at Monday"));
    g_assert_nonnull(strstr(text, "'holdfast guest verify web1 --repair'"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/verify/due", test_due);
    g_test_add_func("/verify/problem", test_problem);
    return g_test_run();
}
