/* SPDX-License-Identifier: Apache-2.0
 * How a resync is told to people. */
#include "node-agent/resync.h"

static void test_text(void)
{
    static const struct {
        const char *connection;
        gint64 permille, left_s;
        const char *text;
    } cases[] = {
        {"Connected", 1000, 0, NULL},
        {"SyncTarget", 0, 0, "resync 0 %"},
        {"SyncTarget", 439, 21, "resync 43 %, about 20 s left"},
        {"SyncTarget", 999, 1, "resync 99 %, a few seconds left"},
        {"SyncSource", 10, 89, "resync 1 %, about 90 s left"},
        {"SyncTarget", 10, 90, "resync 1 %, about 2 min left"},
        {"SyncTarget", 10, 5399, "resync 1 %, about 90 min left"},
        {"SyncTarget", 10, 5400, "resync 1 %, about 2 h left"},
        {"PausedSyncT", 439, 21, "resync paused at 43 %"},
        {NULL, 439, 0, "resync 43 %"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        VolumeStatus status = {.connection = (char *) cases[i].connection,
                               .resync_permille = cases[i].permille,
                               .resync_left_s = cases[i].left_s};
        g_autofree char *text = resync_text(&status);
        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/resync/text", test_text);
    return g_test_run();
}
