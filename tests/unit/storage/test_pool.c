/* SPDX-License-Identifier: Apache-2.0
 * The thin pool: exact commands, idempotence from any half-made state, and every refusal. */
#include "storage/pool.h"
#include "tests/unit/storage/fake_runner.h"

#define MIB ((gint64) 1024 * 1024)
#define LVS_LINE                                                                                                       \
    "/sbin/lvs --reportformat json --units b --nosuffix -o "                                                           \
    "vg_name,lv_name,lv_size,pool_lv,data_percent,metadata_percent,lv_active,lv_tags,lv_when_full,"                    \
    "lv_metadata_size,vg_size,vg_free"

static void assert_log(FakeWorld *w, const char *wanted)
{
    g_autofree char *log = fake_log_take(w);
    g_assert_cmpstr(log, ==, wanted);
}

static void assert_code(GError *error, int code, const char *text)
{
    g_assert_error(error, HOLDFAST_ERROR, code);
    if (!strstr(error->message, text)) {
        g_error("'%s' does not say '%s'", error->message, text);
    }
    g_error_free(error);
}

static void with_pool(FakeWorld *w)
{
    fake_world_start(w);
    w->pv_vg = g_strdup("holdfast");
    w->vg = w->pool = w->pool_errors_when_full = TRUE;
}

/* Metadata (32 KiB per GiB, 36 KiB fixed) always fits behind the volume. */
static void test_lv_size(void)
{
    g_assert_cmpint(pool_lv_size_bytes(4 * MIB), ==, 8 * MIB);
    g_assert_cmpint(pool_lv_size_bytes(64 * MIB), ==, 68 * MIB);
    for (gint64 size = 4 * MIB; size < (gint64) 64 * 1024 * 1024 * MIB;
         size += size / 3 / (4 * MIB) * (4 * MIB) + 4 * MIB) {
        gint64 lv = pool_lv_size_bytes(size);
        gint64 bitmap = (lv + 32767) / 32768; /* one bit per 4 KiB */
        g_assert_cmpint(lv % (4 * MIB), ==, 0);
        g_assert_cmpint(lv - size, >=, bitmap + 36 * 1024 + 4096);
        g_assert_cmpint(lv - size, <, bitmap + 6 * MIB);
    }
}

static void test_create(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    g_assert_true(pool_create(&w.runner, "/dev/fake0", NULL));
    assert_log(&w, "/sbin/pvs --reportformat json --units b --nosuffix -o pv_name,vg_name\n"
                   "/sbin/wipefs --no-act --parsable /dev/fake0\n"
                   "/sbin/pvcreate --yes /dev/fake0\n"
                   "/sbin/vgcreate --yes --physicalextentsize 4m holdfast /dev/fake0\n" LVS_LINE "\n"
                   "/sbin/vgs --reportformat json --units b --nosuffix -o vg_name,vg_size,vg_free\n"
                   "/sbin/lvcreate --yes --type thin-pool --name pool --size 3116367872b --poolmetadatasize 16777216b "
                   "--chunksize 64k --zero y holdfast\n"
                   "/sbin/lvchange --yes --errorwhenfull y holdfast/pool");
    g_assert_true(pool_create(&w.runner, "/dev/fake0", NULL));
    assert_log(&w, "/sbin/pvs --reportformat json --units b --nosuffix -o pv_name,vg_name\n" LVS_LINE);
}

static void test_create_killed_everywhere(void)
{
    for (int step = 1; step <= 8; step++) {
        for (int after = 0; after < 2; after++) {
            g_auto(FakeWorld) w = {0};
            fake_world_start(&w);
            w.kill_at = step;
            w.kill = after ? KILL_AFTER : KILL_BEFORE;
            g_assert_false(pool_create(&w.runner, "/dev/fake0", NULL));
            fake_world_restart(&w, FALSE);
            GError *error = NULL;
            g_assert_true(pool_create(&w.runner, "/dev/fake0", &error));
            g_assert_true(w.pool && w.pool_errors_when_full && strcmp(w.pv_vg, "holdfast") == 0);
            g_assert_cmpstr(w.violation, ==, NULL);
        }
    }
}

static void test_create_refuses(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    GError *error = NULL;
    w.signature = "# offset,uuid,label,type\n0x438,1c1e,,ext4\n";
    g_assert_false(pool_create(&w.runner, "/dev/fake0", &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED, "wipefs --all /dev/fake0");
    w.signature = NULL;
    w.pv_vg = g_strdup("othervg");
    g_assert_false(pool_create(&w.runner, "/dev/fake0", &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED, "'othervg'");
    g_free(w.pv_vg);
    w.pv_vg = g_strdup("holdfast");
    g_assert_false(pool_create(&w.runner, "/dev/fake1", &error)); /* our VG, on another disk */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED, "on /dev/fake0 already");
    g_assert_false(pool_create(&w.runner, "vdb", &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_INVALID, "storage_device");
    w.device_size = 64 * MIB;
    g_assert_false(pool_create(&w.runner, "/dev/fake0", &error));
    assert_code(error, HOLDFAST_ERROR_NO_SPACE, "too little");
    g_assert_false(w.pool);
}

static void test_volumes(void)
{
    g_auto(FakeWorld) w = {0};
    with_pool(&w);
    gboolean created = FALSE;
    g_assert_true(pool_lv_converge(&w.runner, "hf-a-0", 68 * MIB, "hf-uuid-1", NULL, TRUE, &created, NULL));
    g_assert_true(created);
    assert_log(&w, LVS_LINE "\n"
                            "/sbin/lvcreate --yes --wipesignatures n --type thin --name hf-a-0 --virtualsize 71303168b "
                            "--thinpool pool --addtag hf-uuid-1 holdfast");
    g_assert_true(pool_lv_converge(&w.runner, "hf-a-0", 68 * MIB, "hf-uuid-1", NULL, TRUE, &created, NULL));
    g_assert_false(created);
    assert_log(&w, LVS_LINE);
    g_assert_true(pool_lv_ensure(&w.runner, "hf-a-0", 100 * MIB, NULL, NULL));
    assert_log(&w, LVS_LINE "\n/sbin/lvextend --yes --size 104857600b holdfast/hf-a-0");
    g_assert_true(pool_lv_ensure(&w.runner, "hf-a-0", 4 * MIB, NULL, NULL)); /* never shrinks */
    assert_log(&w, LVS_LINE);
    g_assert_true(pool_lv_ensure(&w.runner, "hf-b-0", 5 * MIB, NULL, NULL)); /* whole extents, no tag */
    assert_log(&w, LVS_LINE "\n"
                            "/sbin/lvcreate --yes --wipesignatures n --type thin --name hf-b-0 --virtualsize 8388608b "
                            "--thinpool pool holdfast");
    fake_lv("hf-a-0")->active = FALSE;
    g_assert_true(pool_lv_activate(&w.runner, "hf-a-0", NULL));
    assert_log(&w, LVS_LINE "\n/sbin/lvchange --activate y --ignoreactivationskip holdfast/hf-a-0");
    PoolUsage usage;
    g_assert_true(pool_usage(&w.runner, &usage, NULL));
    g_assert_cmpint(usage.size_bytes, ==, 2147483648);
    g_assert_cmpint(usage.virtual_bytes, ==, 108 * MIB);
    g_assert_cmpint(usage.metadata_permille, ==, 104);
    g_free(fake_log_take(&w));
    g_assert_true(pool_lv_snapshot(&w.runner, "hf-a-0", "kept-a-0-now", NULL) &&
                  pool_lv_snapshot(&w.runner, "hf-a-0", "kept-a-0-now", NULL));
    assert_log(&w, LVS_LINE "\n/sbin/lvcreate --yes --quiet --snapshot --name kept-a-0-now holdfast/hf-a-0\n" LVS_LINE);
    GError *none = NULL;
    g_assert_false(pool_lv_snapshot(&w.runner, "hf-z-0", "kept-z-0-now", &none));
    assert_code(g_steal_pointer(&none), HOLDFAST_ERROR_NOT_FOUND, "holdfast/hf-z-0");
    g_free(fake_log_take(&w));
    const char *copies[] = {"hf-a-0", NULL};
    g_assert_true(pool_room_to_overwrite(&w.runner, copies, NULL));
    w.used_permille = 900;
    g_assert_false(pool_room_to_overwrite(&w.runner, copies, &none));
    assert_code(none, HOLDFAST_ERROR_NO_SPACE, "kept-*");
    w.used_permille = 0;
    g_free(fake_log_take(&w));
    g_assert_true(pool_lv_remove(&w.runner, "hf-a-0", NULL) && pool_lv_remove(&w.runner, "hf-a-0", NULL));
    assert_log(&w, LVS_LINE "\n/sbin/lvremove --yes holdfast/hf-a-0\n" LVS_LINE);
}

static void test_volume_refusals(void)
{
    g_auto(FakeWorld) w = {0};
    with_pool(&w);
    GError *error = NULL;
    g_assert_false(pool_lv_ensure(&w.runner, "hf-a-0", 3000 * MIB, NULL, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_NO_SPACE, "3000 MiB wanted, the whole pool has 2048 MiB");
    w.used_permille = 905;
    g_assert_false(pool_lv_ensure(&w.runner, "hf-a-0", 8 * MIB, NULL, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_NO_SPACE, "90.5 %");
    w.used_permille = 900;
    g_assert_true(pool_lv_converge(&w.runner, "hf-a-0", 8 * MIB, "hf-uuid-1", NULL, TRUE, NULL, NULL));
    w.used_permille = 905;
    g_assert_false(pool_lv_ensure(&w.runner, "hf-a-0", 16 * MIB, NULL, &error)); /* growing is a promise too */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_NO_SPACE, "90.5 %");
    g_assert_false(pool_lv_converge(&w.runner, "hf-a-0", 8 * MIB, "hf-uuid-2", NULL, TRUE, NULL, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED, "earlier guest");
    g_assert_false(pool_lv_converge(&w.runner, "hf-b-0", 8 * MIB, NULL, NULL, FALSE, NULL, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_NOT_FOUND, "hf-b-0");
    g_assert_false(pool_lv_activate(&w.runner, "hf-b-0", &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_NOT_FOUND, "hf-b-0");
    w.pool = FALSE;
    PoolUsage usage;
    g_assert_false(pool_usage(&w.runner, &usage, &error));
    assert_code(error, HOLDFAST_ERROR_NOT_FOUND, "no thin pool");
}

/* Both tags are there from the first moment on, since one lvcreate gives them. */
static void test_two_tags(void)
{
    g_auto(FakeWorld) w = {0};
    with_pool(&w);
    const char *own[] = {"hf-uuid-1", NULL}, *both[] = {"hf-uuid-1", "hf-join-2", NULL};
    gboolean present = TRUE, tagged = TRUE;
    g_assert_true(pool_lv_look(&w.runner, "hf-a-0", own, &present, &tagged, NULL));
    g_assert_true(!present && !tagged);
    g_free(fake_log_take(&w));
    g_assert_true(pool_lv_converge(&w.runner, "hf-a-0", 8 * MIB, "hf-uuid-1", "hf-join-2", TRUE, NULL, NULL));
    g_autofree char *log = fake_log_take(&w);
    g_assert_nonnull(strstr(log, "--thinpool pool --addtag hf-uuid-1 --addtag hf-join-2 holdfast"));
    g_assert_true(pool_lv_look(&w.runner, "hf-a-0", both, &present, &tagged, NULL));
    g_assert_true(present && tagged);
    g_assert_true(pool_lv_converge(&w.runner, "hf-b-0", 8 * MIB, "hf-uuid-1", NULL, TRUE, NULL, NULL));
    g_assert_true(pool_lv_look(&w.runner, "hf-b-0", both, &present, &tagged, NULL));
    g_assert_true(present && !tagged);
    g_assert_true(pool_lv_look(&w.runner, "hf-b-0", own, &present, &tagged, NULL));
    g_assert_true(present && tagged);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pool/lv-size", test_lv_size);
    g_test_add_func("/pool/create", test_create);
    g_test_add_func("/pool/create-killed-everywhere", test_create_killed_everywhere);
    g_test_add_func("/pool/create-refuses", test_create_refuses);
    g_test_add_func("/pool/volumes", test_volumes);
    g_test_add_func("/pool/volume-refusals", test_volume_refusals);
    g_test_add_func("/pool/two-tags", test_two_tags);
    return g_test_run();
}
