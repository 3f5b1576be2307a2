/* SPDX-License-Identifier: Apache-2.0
 * holdfastd and its pool: each level is told once, the reserve is given by itself, and the status says what people
 * need. */
#include "node-agent/pool_care.h"
#include "node-agent/reconcile.h"
#include "storage/pool_state.h"
#include "tests/unit/node-agent/daemon_fixture.h"
#include "tests/unit/storage/fake_runner.h"

#define MIB ((gint64) 1024 * 1024)
#define S ((gint64) G_USEC_PER_SEC)

/* In the place of the real ones, which would look at this machine. */
void reconcile_guest(const char *key G_GNUC_UNUSED, gpointer user_data G_GNUC_UNUSED)
{
}

void reconcile_node(const char *key G_GNUC_UNUSED, gpointer user_data G_GNUC_UNUSED)
{
}

typedef struct {
    Fixture base;
    FakeWorld world;
    gint64 now_us;
} Scene;

static void scene_set_up(Scene *scene, gconstpointer data)
{
    fixture_set_up(&scene->base, data);
    fake_world_start(&scene->world);
    scene->world.pool = TRUE;
    Daemon *daemon = &scene->base.daemon;
    daemon->runner = &scene->world.runner;
    daemon->worker = worker_new(1, daemon);
    fixture_load(&scene->base);
    pool_care_begin(daemon);
    scene->now_us = 1000 * S;
}

static void scene_tear_down(Scene *scene, gconstpointer data)
{
    worker_free(scene->base.daemon.worker);
    pool_care_end(&scene->base.daemon);
    fake_world_clear(&scene->world);
    fixture_tear_down(&scene->base, data);
}

/* Some looks at a pool that is so full. */
static void pass(Scene *scene, int data_percent, const char *mode)
{
    FakeWorld *w = &scene->world;
    for (int i = 0; i < 5; i++) {
        w->data_used = w->pool_kernel.data / 100 * data_percent;
        w->pool_mode = mode;
        scene->now_us += 3 * S;
        pool_care_look_at(&scene->base.daemon, scene->now_us);
    }
}

/* Kinds of the events in the store, in no order, and how often each. */
static guint events(Scene *scene, const char *kind)
{
    GError *error = NULL;
    g_autoptr(GPtrArray) entries = store_list(scene->base.daemon.store, STORE_ROOT "event/", NULL, &error);
    g_assert_no_error(error);
    guint n = 0;
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        g_autofree char *wanted = g_strdup_printf("\"kind\":\"%s\"", kind);
        n += strstr(entry->value, wanted) && strstr(entry->value, "node/n1");
    }
    return n;
}

static NodeStatus *status(Scene *scene)
{
    NodeStatus *status = object_new(&node_status_type);
    GError *error = NULL;
    pool_care_fill_status(&scene->base.daemon, status, &error);
    g_assert_no_error(error);
    return status;
}

static void test_filling_up(Scene *scene, gconstpointer data G_GNUC_UNUSED)
{
    pass(scene, 79, "rw");
    g_autoptr(NodeStatus) well = status(scene);
    g_assert_cmpstr(well->pool_level, ==, "ok");
    g_assert_null(well->pool_condition);
    g_assert_cmpint(well->pool_reserve_mib, ==, 60);
    pass(scene, 81, "rw");
    pass(scene, 79, "rw");
    pass(scene, 81, "rw");
    g_assert_cmpuint(events(scene, "node.pool_warning"), ==, 1);
    g_assert_cmpuint(events(scene, "node.pool_ok"), ==, 0);
    g_autoptr(NodeStatus) warned = status(scene);
    g_assert_cmpstr(warned->pool_level, ==, "warning");
    g_assert_nonnull(strstr(warned->pool_condition, "60 MiB are in reserve"));
    pass(scene, 92, "rw");
    g_assert_cmpuint(events(scene, "node.pool_critical"), ==, 1);
    g_assert_cmpuint(events(scene, "node.pool_extended"), ==, 1);
    g_assert_cmpint(scene->world.pool_kernel.data, ==, 2147483648 + 44 * MIB);
    pass(scene, 100, "out_of_data_space");
    g_assert_cmpuint(events(scene, "node.pool_full"), ==, 1);
    g_assert_cmpuint(events(scene, "node.pool_extended"), ==, 1);
    g_autoptr(NodeStatus) full = status(scene);
    g_assert_cmpstr(full->pool_level, ==, "full");
    g_assert_cmpint(full->pool_reserve_mib, ==, 16);
    pass(scene, 40, "rw");
    g_assert_cmpuint(events(scene, "node.pool_ok"), ==, 1);
    g_assert_cmpstr(scene->world.violation, ==, NULL);
}

/* A look that fails tells nothing and is no level. */
static void test_no_answer(Scene *scene, gconstpointer data G_GNUC_UNUSED)
{
    pass(scene, 85, "rw");
    pass(scene, 85, NULL);
    pass(scene, 85, "rw");
    g_assert_cmpuint(events(scene, "node.pool_warning"), ==, 1);
    g_assert_cmpuint(events(scene, "node.pool_ok"), ==, 0);
}

/* An extension that was cut off is finished at a later look, without a change of level. */
static void test_cut_off(Scene *scene, gconstpointer data G_GNUC_UNUSED)
{
    FakeWorld *w = &scene->world;
    pass(scene, 50, "rw"); /* the probe's volume is made meanwhile */
    g_assert_nonnull(fake_lv("hf-probe"));
    w->data_used = w->pool_kernel.data / 100 * 95;
    w->kill_at = w->commands + 3; /* dmsetup, lvs, lvextend */
    w->kill = KILL_HALF;
    pool_care_look_at(&scene->base.daemon, scene->now_us += 9 * S);
    g_assert_true(w->dead && w->pool_kernel.data < w->pool_lvm.data);
    fake_world_restart(w, FALSE);
    for (int i = 0; i < 12; i++) {
        pool_care_look_at(&scene->base.daemon, scene->now_us += 3 * S);
    }
    g_assert_cmpint(w->pool_kernel.data, ==, 2147483648 + 44 * MIB);
    g_assert_cmpuint(events(scene, "node.pool_extended"), ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, test) g_test_add("/pool-care/" name, Scene, NULL, scene_set_up, test, scene_tear_down)
    ADD("filling-up", test_filling_up);
    ADD("no-answer", test_no_answer);
    ADD("cut-off", test_cut_off);
    return g_test_run();
}
