/* SPDX-License-Identifier: Apache-2.0
 * The gate: exact commands, and what a frozen disk leaves behind. */
#include "storage/gate.h"
#include "tests/unit/storage/fake_runner.h"

#define NAME "hfgate-unit-test-0"
#define LOOK "/sbin/dmsetup info -c --noheadings --separator : -o open,suspended " NAME
#define TABLE "/sbin/dmsetup table " NAME
#define NO_UDEV "--noudevsync --noudevrules --verifyudev "

static void assert_log(FakeWorld *w, const char *wanted)
{
    g_autofree char *log = fake_log_take(w);
    g_assert_cmpstr(log, ==, wanted);
}

static void assert_state(FakeWorld *w, GateState wanted)
{
    GateState state;
    int open_count = -1;
    g_assert_true(gate_state(&w->runner, NAME, &state, &open_count, NULL));
    g_assert_cmpstr(gate_state_name(state), ==, gate_state_name(wanted));
    g_assert_cmpint(open_count, ==, 0);
    g_free(fake_log_take(w));
}

static void primary_add(FakeWorld *w)
{
    FakeMinor *minor = g_new0(FakeMinor, 1);
    minor->primary = TRUE;
    g_hash_table_insert(w->minors, GINT_TO_POINTER(80), minor);
}

static void test_golden(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    primary_add(&w);
    assert_state(&w, GATE_ABSENT);
    g_assert_true(gate_close(&w.runner, NAME, 1048576, NULL)); /* absent is closed, and stays absent */
    assert_log(&w, LOOK);
    g_assert_true(gate_ensure(&w.runner, NAME, 1048576, NULL));
    assert_log(&w, LOOK "\n/sbin/dmsetup create " NO_UDEV NAME " --table 0 2048 error");
    assert_state(&w, GATE_CLOSED);
    g_assert_true(gate_ensure(&w.runner, NAME, 1048576, NULL));
    assert_log(&w, LOOK "\n" TABLE "\n/sbin/dmsetup mknodes " NO_UDEV NAME);
    g_assert_true(gate_open(&w.runner, NAME, 80, 1048576, NULL));
    assert_log(&w, LOOK "\n" TABLE "\n/sbin/dmsetup load " NAME " --table 0 2048 linear 147:80 0\n"
                        "/sbin/dmsetup resume " NO_UDEV "--nolockfs " NAME);
    assert_state(&w, GATE_OPEN);
    g_assert_true(gate_open(&w.runner, NAME, 80, 1048576, NULL));
    assert_log(&w, LOOK "\n" TABLE);
    g_assert_true(gate_ensure(&w.runner, NAME, 2097152, NULL)); /* grows, stays open */
    assert_log(&w, LOOK "\n" TABLE "\n/sbin/dmsetup mknodes " NO_UDEV NAME "\n/sbin/dmsetup load " NAME
                        " --table 0 4096 linear 147:80 0\n/sbin/dmsetup resume " NO_UDEV "--nolockfs " NAME);
    g_assert_true(gate_close(&w.runner, NAME, 2097152, NULL));
    assert_log(&w, LOOK "\n" TABLE "\n/sbin/dmsetup load " NAME " --table 0 4096 error\n"
                        "/sbin/dmsetup resume " NO_UDEV "--nolockfs " NAME);
    g_assert_true(gate_close(&w.runner, NAME, 2097152, NULL));
    assert_log(&w, LOOK "\n" TABLE);
    g_assert_true(gate_remove(&w.runner, NAME, NULL) && gate_remove(&w.runner, NAME, NULL));
    assert_log(&w, LOOK "\n" TABLE "\n/sbin/dmsetup remove --retry " NO_UDEV NAME "\n" LOOK);
}

static void test_frozen(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    primary_add(&w);
    g_assert_true(gate_open(&w.runner, NAME, 80, 1048576, NULL));
    FakeGate *gate = g_hash_table_lookup(w.gates, NAME);
    gate->frozen = TRUE;
    GError *error = NULL;
    g_free(fake_log_take(&w));
    g_assert_false(gate_close(&w.runner, NAME, 1048576, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT);
    g_assert_nonnull(strstr(error->message, "frozen"));
    g_error_free(error);
    assert_log(&w, LOOK "\n" TABLE "\n/sbin/dmsetup load " NAME " --table 0 2048 error\n/sbin/dmsetup resume " NO_UDEV
                        "--nolockfs " NAME "\n/sbin/dmsetup clear " NO_UDEV NAME);
    assert_state(&w, GATE_OPEN);
    gate->frozen = FALSE;
    g_assert_true(gate_close(&w.runner, NAME, 1048576, NULL));
    assert_state(&w, GATE_CLOSED);
}

static void test_refusals(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    GError *error = NULL;
    g_assert_false(gate_ensure(&w.runner, NAME, 1000, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_true(gate_ensure(&w.runner, NAME, 1048576, NULL));
    g_assert_false(gate_open(&w.runner, NAME, 80, 1048576, &error)); /* the volume is Secondary */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    g_clear_error(&error);
    assert_state(&w, GATE_CLOSED);
    FakeGate *gate = g_hash_table_lookup(w.gates, NAME);
    gate->open_count = 2;
    g_assert_false(gate_remove(&w.runner, NAME, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY);
    g_clear_error(&error);
    gate->open_count = 0;
    /* A device without a table (a kill inside `create`) is closed and gets one. */
    g_free(gate->table);
    gate->table = g_strdup("");
    assert_state(&w, GATE_CLOSED);
    g_assert_true(gate_ensure(&w.runner, NAME, 1048576, NULL));
    g_assert_cmpstr(gate->table, ==, "0 2048 error");
    g_autofree char *path = gate_path(NAME);
    g_assert_cmpstr(path, ==, "/dev/mapper/" NAME);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gate/golden", test_golden);
    g_test_add_func("/gate/frozen", test_frozen);
    g_test_add_func("/gate/refusals", test_refusals);
    return g_test_run();
}
