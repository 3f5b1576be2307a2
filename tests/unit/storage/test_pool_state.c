/* SPDX-License-Identifier: Apache-2.0
 * How full the pool is: the kernel's lines, levels that do not flap, and the reserve, given once and through any kill.
 */
#include "storage/pool_state.h"
#include "tests/unit/storage/fake_runner.h"

#define MIB ((gint64) 1024 * 1024)

static PoolState parsed(const char *line)
{
    PoolState state;
    GError *error = NULL;
    pool_state_parse(line, &state, &error);
    g_assert_no_error(error);
    return state;
}

/* As Linux 6.1 says it. */
static void test_parse(void)
{
    PoolState state =
        parsed("0 6086656 thin-pool 5 27/4096 12000/47552 - rw discard_passdown error_if_no_space - 1024 ");
    g_assert_cmpint(state.size_bytes, ==, (gint64) 6086656 * 512);
    g_assert_cmpint(pool_state_data_permille(&state), ==, 252);
    g_assert_cmpint(pool_state_metadata_permille(&state), ==, 6);
    g_assert_false(state.out_of_space || state.broken);
    state =
        parsed("0 6086656 thin-pool 5 27/4096 47552/47552 - out_of_data_space discard_passdown error_if_no_space - 1");
    g_assert_true(state.out_of_space && !state.broken);
    g_assert_true(parsed("0 6086656 thin-pool 5 4000/4096 1/47552 - ro discard_passdown error_if_no_space - 1").broken);
    g_assert_true(
        parsed("0 6086656 thin-pool 5 27/4096 1/47552 - rw discard_passdown error_if_no_space needs_check 1").broken);
    g_assert_true(parsed("0 6086656 thin-pool Fail").broken);
    static const char *const strange[] = {"", "0 8 linear", "0 8 thin 1 2", "0 8 thin-pool 5 27/4096", "nonsense"};
    for (gsize i = 0; i < G_N_ELEMENTS(strange); i++) {
        PoolState unused;
        GError *error = NULL;
        g_assert_false(pool_state_parse(strange[i], &unused, &error));
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
        g_error_free(error);
    }
}

static PoolLevel after(PoolLevel before, gint64 data_permille, gint64 metadata_permille)
{
    PoolState state = {
        .data_used = data_permille, .data_total = 1000, .metadata_used = metadata_permille, .metadata_total = 1000};
    return pool_level_next(before, &state);
}

static void test_levels(void)
{
    static const struct {
        PoolLevel before;
        gint64 data, metadata;
        PoolLevel after;
    } table[] = {
        {POOL_LEVEL_OK, 799, 699, POOL_LEVEL_OK},
        {POOL_LEVEL_OK, 800, 0, POOL_LEVEL_WARNING},
        {POOL_LEVEL_OK, 0, 700, POOL_LEVEL_WARNING},
        {POOL_LEVEL_OK, 900, 0, POOL_LEVEL_CRITICAL},
        {POOL_LEVEL_OK, 0, 850, POOL_LEVEL_CRITICAL},
        {POOL_LEVEL_OK, 1000, 0, POOL_LEVEL_FULL},
        /* down again only 2 % lower */
        {POOL_LEVEL_WARNING, 781, 0, POOL_LEVEL_WARNING},
        {POOL_LEVEL_WARNING, 779, 0, POOL_LEVEL_OK},
        {POOL_LEVEL_WARNING, 899, 0, POOL_LEVEL_WARNING},
        {POOL_LEVEL_CRITICAL, 881, 0, POOL_LEVEL_CRITICAL},
        {POOL_LEVEL_CRITICAL, 879, 0, POOL_LEVEL_WARNING},
        {POOL_LEVEL_CRITICAL, 0, 831, POOL_LEVEL_CRITICAL},
        {POOL_LEVEL_CRITICAL, 779, 679, POOL_LEVEL_OK},
        {POOL_LEVEL_FULL, 999, 0, POOL_LEVEL_CRITICAL},
        {POOL_LEVEL_FULL, 885, 0, POOL_LEVEL_CRITICAL},
        {POOL_LEVEL_FULL, 100, 0, POOL_LEVEL_OK},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        g_assert_cmpint(after(table[i].before, table[i].data, table[i].metadata), ==, table[i].after);
    }
    /* A usage that swings by less than the hysteresis changes the level once. */
    PoolLevel level = POOL_LEVEL_OK;
    int changes = 0;
    for (int i = 0; i < 100; i++) {
        PoolLevel next = after(level, i % 2 ? 895 : 905, 0);
        changes += next != level;
        level = next;
    }
    g_assert_cmpint(changes, ==, 1);
    PoolState state = {.broken = TRUE};
    g_assert_cmpint(pool_level_next(POOL_LEVEL_OK, &state), ==, POOL_LEVEL_BROKEN);
    state = (PoolState){.out_of_space = TRUE, .data_used = 1, .data_total = 2};
    g_assert_cmpint(pool_level_next(POOL_LEVEL_OK, &state), ==, POOL_LEVEL_FULL);
}

static void test_texts(void)
{
    PoolState state = {.data_used = 833, .data_total = 1000, .metadata_used = 121, .metadata_total = 1000};
    g_assert_null(pool_level_text(POOL_LEVEL_OK, &state, 0));
    for (PoolLevel level = POOL_LEVEL_WARNING; level <= POOL_LEVEL_FULL; level++) {
        g_autofree char *text = pool_level_text(level, &state, 164 * MIB);
        g_assert_true(strstr(text, "83.3 %") && strstr(text, "12.1 %") && strstr(text, "164 MiB"));
        g_assert_nonnull(strstr(text, "vgextend holdfast"));
        g_assert_nonnull(strstr(text, "docs/runbook/pool-full.md"));
    }
    g_autofree char *broken = pool_level_text(POOL_LEVEL_BROKEN, &state, 0);
    g_assert_nonnull(strstr(broken, "read-only"));
    g_assert_true(g_file_test("docs/runbook/pool-full.md", G_FILE_TEST_EXISTS));
}

/* One look of holdfastd: what the kernel says, what lvm2 says, one step. */
static PoolStep look_and_step(FakeWorld *w)
{
    PoolState state;
    PoolUsage usage;
    gint64 size;
    if (!pool_state_read(&w->runner, &state, NULL) || !pool_step_is_near(&state) ||
        !pool_usage(&w->runner, &usage, NULL)) {
        return POOL_STEP_NONE;
    }
    PoolStep step = pool_step_decide(&state, &usage, &size);
    pool_step_run(&w->runner, step, size, NULL);
    return step;
}

static void world_start(FakeWorld *w)
{
    fake_world_start(w);
    w->pool = TRUE;
}

static void test_reserve_is_given_once(void)
{
    g_auto(FakeWorld) w = {0};
    world_start(&w);
    w.data_used = w.pool_lvm.data / 100 * 89;
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_NONE);
    g_autofree char *quiet = fake_log_take(&w);
    g_assert_cmpstr(quiet, ==, "/sbin/dmsetup status --noflush holdfast-pool-tpool"); /* lvm2 is not asked */
    w.data_used = w.pool_lvm.data / 100 * 91;
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_DATA);
    /* 60 MiB free of 3068: 15.3 (0.5 %) are kept for metadata */
    g_assert_cmpint(w.pool_kernel.data, ==, 2147483648 + 44 * MIB);
    g_assert_cmpint(w.vg_free, ==, 16 * MIB);
    g_autofree char *log = fake_log_take(&w);
    g_assert_nonnull(strstr(log, "/sbin/lvextend --yes --size 2193620992b holdfast/pool"));
    /* full even so: there is no second one */
    w.data_used = w.pool_lvm.data;
    w.pool_mode = "out_of_data_space";
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_NONE);
    }
    /* an operator adds a disk of 1 GiB: the pool takes it but for a new reserve */
    w.device_size += 1024 * MIB;
    w.vg_free += 1024 * MIB;
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_DATA);
    g_assert_cmpint(w.vg_free, >=, w.device_size / 50);
    g_assert_cmpint(w.vg_free, <, w.device_size / 50 + 4 * MIB);
    w.pool_mode = "rw";
    w.data_used = w.pool_lvm.data / 100 * 91;
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_DATA); /* the new reserve, at the next time */
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_NONE);
    g_assert_cmpint(w.pool_lvm.data, ==, w.pool_kernel.data);
}

/* A pool that fills faster than anybody looks: given also when it is full already. */
static void test_reserve_at_full(void)
{
    g_auto(FakeWorld) w = {0};
    world_start(&w);
    w.data_used = w.pool_lvm.data;
    w.pool_mode = "out_of_data_space";
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_DATA);
    g_assert_cmpint(w.pool_kernel.data, ==, 2147483648 + 44 * MIB);
}

static void test_metadata(void)
{
    g_auto(FakeWorld) w = {0};
    world_start(&w);
    w.metadata_used = 16 * MIB / 100 * 71;
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_METADATA);
    g_assert_cmpint(w.pool_kernel.metadata, ==, 32 * MIB);
    g_assert_cmpint(w.vg_free, ==, 28 * MIB); /* the spare grew too */
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_NONE);
    /* both short: metadata first */
    w.metadata_used = 32 * MIB / 100 * 90;
    w.data_used = w.pool_lvm.data / 100 * 95;
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_METADATA);
    g_assert_cmpint(w.pool_kernel.metadata, ==, 44 * MIB); /* no more than half of what is free */
    w.metadata_used = 44 * MIB / 100 * 90;
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_NONE); /* 4 MiB are left: neither */
    g_assert_cmpint(w.vg_free, ==, 4 * MIB);
}

static void test_broken_is_left_alone(void)
{
    g_auto(FakeWorld) w = {0};
    world_start(&w);
    w.data_used = w.pool_lvm.data;
    w.metadata_used = 16 * MIB;
    w.pool_mode = "ro";
    g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_NONE);
    w.pool_mode = NULL;
    PoolState state;
    GError *error = NULL;
    g_assert_false(pool_state_read(&w.runner, &state, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_error_free(error);
}

/* Killed before, in the midst of and after each command: the next looks end where an undisturbed one ends. */
static void test_killed_everywhere(void)
{
    static const FakeKill kills[] = {KILL_BEFORE, KILL_HALF, KILL_AFTER};
    for (int metadata = 0; metadata < 2; metadata++) {
        for (int step = 1; step <= 3; step++) {
            for (gsize kill = 0; kill < G_N_ELEMENTS(kills); kill++) {
                g_auto(FakeWorld) w = {0};
                world_start(&w);
                w.data_used = w.pool_lvm.data / 100 * (metadata ? 10 : 95);
                w.metadata_used = 16 * MIB / 100 * (metadata ? 75 : 10);
                w.kill_at = step;
                w.kill = kills[kill];
                look_and_step(&w);
                g_assert_true(w.dead);
                gboolean half = w.pool_lvm.data != w.pool_kernel.data || w.pool_lvm.metadata != w.pool_kernel.metadata;
                g_assert_true(half == (step == 3 && kills[kill] == KILL_HALF));
                fake_world_restart(&w, FALSE);
                PoolStep next = look_and_step(&w);
                g_assert_true(!half || next == POOL_STEP_REFRESH);
                g_assert_cmpint(look_and_step(&w), ==, POOL_STEP_NONE);
                g_assert_cmpint(w.pool_kernel.data, ==, 2147483648 + (metadata ? 0 : 44) * MIB);
                g_assert_cmpint(w.pool_kernel.metadata, ==, (metadata ? 32 : 16) * MIB);
            }
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pool-state/parse", test_parse);
    g_test_add_func("/pool-state/levels", test_levels);
    g_test_add_func("/pool-state/texts", test_texts);
    g_test_add_func("/pool-state/reserve-is-given-once", test_reserve_is_given_once);
    g_test_add_func("/pool-state/reserve-at-full", test_reserve_at_full);
    g_test_add_func("/pool-state/metadata", test_metadata);
    g_test_add_func("/pool-state/broken-is-left-alone", test_broken_is_left_alone);
    g_test_add_func("/pool-state/killed-everywhere", test_killed_everywhere);
    return g_test_run();
}
