/* SPDX-License-Identifier: Apache-2.0
 * When a move away from a lost disk is tried again. */
#include "node-agent/leave_lost_disk.h"

static void test_tried(void)
{
    static const struct {
        const char *kind, *target, *ended_at;
        gboolean tried;
    } cases[] = {
        {"guest.migrate", "guest/web", "2026-01-02T03:04:00Z", TRUE},  /* 5 s ago */
        {"guest.migrate", "guest/web", "2026-01-02T03:00:00Z", FALSE}, /* long ago */
        {"guest.migrate", "guest/web", NULL, FALSE},                   /* not ended: operation_running_on() tells */
        {"guest.migrate", "guest/web", "yesterday", FALSE},            /* damaged */
        {"guest.migrate", "guest/website", "2026-01-02T03:04:00Z", FALSE},
        {"guest.stop", "guest/web", "2026-01-02T03:04:00Z", FALSE},
    };
    g_autoptr(GDateTime) now = g_date_time_new_utc(2026, 1, 2, 3, 4, 5);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Operation operation = {
            .kind = (char *) cases[i].kind, .target = (char *) cases[i].target, .ended_at = (char *) cases[i].ended_at};
        g_assert_cmpint(leave_was_tried(&operation, "guest/web", now), ==, cases[i].tried);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/leave-lost-disk/tried", test_tried);
    return g_test_run();
}
