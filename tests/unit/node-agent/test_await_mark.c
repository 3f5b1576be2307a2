/* SPDX-License-Identifier: Apache-2.0
 * When a copy may be connected: every fact that decides, one at a time. */
#include "node-agent/await_mark.h"

static Record record_of(RecordState state, const char *owner, const char *boot, const char *first, const char *second)
{
    Record record = {.generation = 3, .state = state};
    g_strlcpy(record.owner, owner, RECORD_NAME_MAX);
    g_strlcpy(record.owner_boot_id, boot, RECORD_NAME_MAX);
    g_strlcpy(record.in_sync[0], first, RECORD_NAME_MAX);
    g_strlcpy(record.in_sync[1], second, RECORD_NAME_MAX);
    return record;
}

static AwaitMarkFacts facts_of(const Record *record)
{
    return (AwaitMarkFacts){.node = "n2", .peer = "n1", .record = record, .peer_boot_id = "life"};
}

static void test_counted_on_by_a_living_owner(void)
{
    Record record = record_of(RECORD_RUNNING, "n1", "life", "n1", "n2");
    AwaitMarkFacts facts = facts_of(&record);
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_AFTER_MARK);
    facts.peer_boot_id = "another life"; /* it rebooted: nothing of it is frozen */
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_NOW);
    facts.peer_boot_id = NULL;
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_LATER);
    facts.peer_boot_id = "life";
    facts.configured = TRUE; /* DRBD reconnects by itself and can resend: this copy was not rebooted */
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_NOW);
}

static void test_recorded_or_not_running(void)
{
    Record marked = record_of(RECORD_RUNNING, "n1", "life", "n1", "");
    Record stopped = record_of(RECORD_STOPPED, "n1", "life", "n1", "n2");
    Record new = record_of(RECORD_NEW, "", "", "n1", "n2");
    Record own = record_of(RECORD_RUNNING, "n2", "earlier", "n1", "n2");
    const Record *free[] = {&marked, &stopped, &new, &own};
    for (gsize i = 0; i < G_N_ELEMENTS(free); i++) {
        AwaitMarkFacts facts = facts_of(free[i]);
        g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_NOW);
    }
}

static void test_unknown_record_waits(void)
{
    AwaitMarkFacts facts = facts_of(NULL);
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_LATER);
    facts.peer = NULL; /* one replica */
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_NOW);
}

static void test_primary_without_a_disk(void)
{
    Record alone = record_of(RECORD_RUNNING, "n2", "life", "n2", "");
    Record both = record_of(RECORD_RUNNING, "n2", "life", "n2", "n1");
    AwaitMarkFacts facts = facts_of(&alone);
    facts.primary_here = TRUE;
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_NOW); /* its disk is well: the peer shall resync */
    facts.detached = TRUE;
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_LATER);
    facts.configured = TRUE; /* also when DRBD would connect by itself */
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_LATER);
    facts.connected = TRUE; /* the copies talk already: mark self judges that */
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_NOW);
    facts.connected = FALSE;
    facts.record = &both;
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_NOW);
    facts.record = NULL;
    g_assert_cmpint(await_mark_decide(&facts), ==, CONNECT_LATER);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/await-mark/counted-on-by-a-living-owner", test_counted_on_by_a_living_owner);
    g_test_add_func("/await-mark/recorded-or-not-running", test_recorded_or_not_running);
    g_test_add_func("/await-mark/unknown-record-waits", test_unknown_record_waits);
    g_test_add_func("/await-mark/primary-without-a-disk", test_primary_without_a_disk);
    return g_test_run();
}
