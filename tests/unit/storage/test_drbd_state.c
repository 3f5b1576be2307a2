/* SPDX-License-Identifier: Apache-2.0
 * /proc/drbd and `drbdsetup-84 show`, on texts taken from Debian 12's DRBD 8.4.11. */
#include "storage/drbd_internal.h"

#include <string.h>

static const char proc_text[] = "version: 8.4.11 (api:1/proto:86-101)\n"
                                "srcversion: F73C670A7EC572DB9CF3E5B \n"
                                "\n"
                                " 8: cs:Unconfigured\n"
                                "16: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n"
                                "    ns:47216 nr:0 dw:47216 dr:2088 al:15 bm:0 lo:0 pe:1 ua:0 ap:1 ep:1 wo:f oos:0\n"
                                "80: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s-----\n"
                                "    ns:47216 nr:0 dw:47216 dr:2088 al:15 bm:0 lo:0 pe:1 ua:0 ap:1 ep:1 wo:f oos:0\n"
                                "81: cs:StandAlone ro:Secondary/Unknown ds:UpToDate/DUnknown   r-----\n"
                                "    ns:0 nr:0 dw:0 dr:672 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0\n"
                                "82: cs:StandAlone ro:Primary/Unknown ds:Failed/DUnknown   s-----\n"
                                "    ns:0 nr:0 dw:0 dr:672 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0\n"
                                "160: cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----\n"
                                "    ns:0 nr:2088 dw:2088 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:100\n"
                                "\t[=>..................] sync'ed: 12.5% (92160/94248)K\n"
                                "\tfinish: 0:00:44 speed: 2,088 (2,088) want: 2,880 K/sec\n"
                                "161: cs:WFBitMapS ro:Primary/Secondary ds:UpToDate/Consistent C r-----\n"
                                "    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0\n"
                                "162: cs:VerifyS ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n"
                                "    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0\n"
                                "\t[==========>.........] verified: 55.0% (100/200)M\n";

static const struct {
    int minor;
    gboolean present;
    const char *connection, *role, *peer_role, *disk, *peer_disk;
    gboolean suspended;
    int permille;
    gboolean connected, pair;
} state_cases[] = {
    {0, FALSE, "", "", "", "", "", FALSE, 1000, FALSE, FALSE},
    {1, FALSE, "", "", "", "", "", FALSE, 1000, FALSE, FALSE}, /* no prefix of 16 or 160 */
    {8, FALSE, "", "", "", "", "", FALSE, 1000, FALSE, FALSE},
    {16, TRUE, "Connected", "Primary", "Secondary", "UpToDate", "UpToDate", FALSE, 1000, TRUE, TRUE},
    {80, TRUE, "WFConnection", "Primary", "Unknown", "UpToDate", "DUnknown", TRUE, 1000, FALSE, FALSE},
    {81, TRUE, "StandAlone", "Secondary", "Unknown", "UpToDate", "DUnknown", FALSE, 1000, FALSE, FALSE},
    {82, TRUE, "StandAlone", "Primary", "Unknown", "Failed", "DUnknown", TRUE, 1000, FALSE, FALSE},
    {160, TRUE, "SyncTarget", "Secondary", "Primary", "Inconsistent", "UpToDate", FALSE, 125, TRUE, FALSE},
    {161, TRUE, "WFBitMapS", "Primary", "Secondary", "UpToDate", "Consistent", FALSE, 0, TRUE, FALSE},
    {162, TRUE, "VerifyS", "Primary", "Secondary", "UpToDate", "UpToDate", FALSE, 1000, TRUE, TRUE},
};

/* What is on its way to the disk, and a number that moves when something of it ends. */
static void test_counters(void)
{
    static const char form[] = " 16: cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----\n"
                               "    ns:0 nr:%d dw:%d dr:%d al:%d bm:%d lo:%d pe:0 ua:1 ap:0 ep:1 wo:f oos:0\n";
    DrbdState first, second;
    drbd_state_parse(proc_text, 16, &first);
    g_assert_cmpint(first.local_pending, ==, 0);
    g_autofree char *hung = g_strdup_printf(form, 500, 400, 7, 3, 1, 2);
    drbd_state_parse(hung, 16, &first);
    g_assert_cmpint(first.local_pending, ==, 2);
    g_autofree char *more_came = g_strdup_printf(form, 900, 400, 7, 3, 1, 9);
    drbd_state_parse(more_came, 16, &second);
    g_assert_cmpint(second.local_pending, ==, 9);
    g_assert_cmpuint(second.local_done, ==, first.local_done);
    for (int i = 0; i < 4; i++) {
        g_autofree char *ended =
            g_strdup_printf(form, 900, 400 + (i == 0), 7 + (i == 1), 3 + (i == 2), 1 + (i == 3), 9);
        drbd_state_parse(ended, 16, &second);
        g_assert_cmpuint(second.local_done, !=, first.local_done);
    }
}

static void test_proc(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(state_cases); i++) {
        DrbdState s;
        drbd_state_parse(proc_text, state_cases[i].minor, &s);
        g_test_message("minor %d", state_cases[i].minor);
        g_assert_cmpint(s.present, ==, state_cases[i].present);
        g_assert_cmpstr(s.connection, ==, state_cases[i].connection);
        g_assert_cmpstr(s.role, ==, state_cases[i].role);
        g_assert_cmpstr(s.peer_role, ==, state_cases[i].peer_role);
        g_assert_cmpstr(s.disk, ==, state_cases[i].disk);
        g_assert_cmpstr(s.peer_disk, ==, state_cases[i].peer_disk);
        g_assert_cmpint(s.suspended, ==, state_cases[i].suspended);
        g_assert_cmpint(s.resync_permille, ==, state_cases[i].permille);
        g_assert_cmpint(s.out_of_sync_kib, ==, state_cases[i].minor == 160 ? 100 : 0); /* the only one with any */
        g_assert_cmpint(drbd_state_is_connected(&s), ==, state_cases[i].connected);
        g_assert_cmpint(drbd_state_is_up_to_date_pair(&s), ==, state_cases[i].pair);
    }
}

static void test_proc_damaged(void)
{
    static const char *const texts[] = {"",           "\n\n", "80:", "80: cs:", "80: cs:X ro:", "80: cs:X ro:A/B ds:C",
                                        "80: cs:\n80"};
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        DrbdState s;
        drbd_state_parse(texts[i], 80, &s);
        g_assert_false(s.present);
        g_assert_cmpint(s.resync_permille, ==, 1000);
    }
}

static const char show_text[] = "resource hf-web1 {\n"
                                "    options {\n"
                                "        on-no-data-accessible\tsuspend-io;\n"
                                "    }\n"
                                "    net {\n"
                                "        timeout         \t15; # 1/10 seconds\n"
                                "        shared-secret   \t\"00112233445566778899aabbccddeeff\";\n"
                                "    }\n"
                                "    _remote_host {\n"
                                "        address\t\t\tipv4 10.98.0.2:7801;\n"
                                "    }\n"
                                "    _this_host {\n"
                                "        address\t\t\tipv4 10.98.0.1:7801;\n"
                                "        volume 0 {\n"
                                "            device\t\t\tminor 16;\n"
                                "            disk\t\t\t\"/dev/holdfast/hf-t-0\";\n"
                                "            meta-disk\t\t\tinternal;\n"
                                "            disk {\n"
                                "                on-io-error     \tcall-local-io-error;\n"
                                "                fencing         \tresource-and-stonith;\n"
                                "                c-fill-target   \t2048s; # bytes\n"
                                "            }\n"
                                "        }\n"
                                "        volume 3 {\n"
                                "            device\t\t\tminor 19;\n"
                                "        }\n"
                                "    }\n"
                                "}\n";

static void test_show(void)
{
    DrbdShow show;
    drbd_show_parse("", &show);
    g_assert_true(!show.exists && !show.net && show.volumes[0].minor == -1);
    g_assert_cmpstr(show.remote, ==, "");
    drbd_show_parse("resource hf-t {\n    _this_host {\n    }\n}\n", &show);
    g_assert_true(show.exists && !show.net && show.protocol_c && show.volumes[0].minor == -1);
    drbd_show_parse(show_text, &show);
    g_assert_true(show.exists && show.net && show.protocol_c);
    g_assert_cmpstr(show.remote, ==, "ipv4:10.98.0.2:7801"); /* not this host's own */
    g_assert_cmpstr(show.secret, ==, "00112233445566778899aabbccddeeff");
    g_assert_cmpint(show.volumes[0].minor, ==, 16);
    g_assert_true(show.volumes[0].attached && show.volumes[0].fencing);
    g_assert_cmpint(show.volumes[1].minor, ==, -1);
    g_assert_cmpint(show.volumes[3].minor, ==, 19);
    g_assert_false(show.volumes[3].attached || show.volumes[3].fencing);
    drbd_show_parse("resource x {\n net {\n protocol        \tA;\n }\n}\n", &show);
    g_assert_false(show.protocol_c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/drbd-state/proc", test_proc);
    g_test_add_func("/drbd-state/counters", test_counters);
    g_test_add_func("/drbd-state/proc-damaged", test_proc_damaged);
    g_test_add_func("/drbd-state/show", test_show);
    return g_test_run();
}
