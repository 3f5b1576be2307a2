/* SPDX-License-Identifier: Apache-2.0
 * Rounds of the cluster loop with a real store, a Pacemaker and a fence agent that are told what to say. The CIB is out
 * of reach here: what is projected has its own tests. */
#include "cluster/projection.h"
#include "fencing/power_budget.h"
#include "node-agent/guest_document.h"
#include "node-agent/reconcile.h"
#include "storage/record.h"
#include "tests/unit/node-agent/daemon_fixture.h"

#define CRM_MON                                                                                                        \
    "<pacemaker-result><summary><current_dc present=\"true\" name=\"%s\" with_quorum=\"%s\"/></summary><nodes>"        \
    "<node name=\"n1\" online=\"true\" unclean=\"false\"/><node name=\"n2\" online=\"%s\" unclean=\"%s\"/></nodes>"    \
    "<resources><resource id=\"web1\" role=\"Started\" nodes_running_on=\"1\"><node name=\"%s\"/></resource>"          \
    "</resources></pacemaker-result>"

typedef struct {
    char *crm_mon;
    int fence_status; /* exit status of the fence agent's "status" */
    guint power_ons, cib_queries, looks;
} World;

static gboolean world_run(const ProcessRunner *runner, const char *const *argv, const char *input,
                          int timeout_ms G_GNUC_UNUSED, ProcessResult *ret, GError **error G_GNUC_UNUSED)
{
    World *world = runner->user_data;
    ret->stderr_text = g_strdup("");
    if (strcmp(argv[0], "/usr/sbin/crm_mon") == 0) {
        world->looks++;
        ret->stdout_text = g_strdup(world->crm_mon);
        return TRUE;
    }
    ret->stdout_text = g_strdup("");
    if (strcmp(argv[0], "/usr/sbin/cibadmin") == 0) {
        world->cib_queries++;
        ret->exit_status = 102;
        return TRUE;
    }
    g_assert_cmpstr(argv[0], ==, "/usr/sbin/fence_ipmilan");
    gboolean on = strstr(input, "action=on\n") != NULL;
    world->power_ons += on;
    ret->exit_status = on ? 0 : world->fence_status;
    return TRUE;
}

typedef struct {
    const char *dc, *quorum, *online, *unclean, *runs_on;
} Situation;

static const Situation calm = {"n1", "true", "true", "false", "n1"};

/* One round with everything in the store known, right after the one before. */
static void next_round(Fixture *fixture, World *world, const Situation *situation)
{
    Daemon *daemon = &fixture->daemon;
    ProcessRunner runner = {.run = world_run, .user_data = world};
    fixture_catch_up(fixture);
    world->crm_mon = g_strdup_printf(CRM_MON, situation->dc, situation->quorum, situation->online, situation->unclean,
                                     situation->runs_on);
    daemon->runner = &runner;
    daemon->pacemaker_at_us = 0;
    g_clear_pointer(&daemon->pacemaker_xml, g_free);
    reconcile_cluster("cluster", daemon);
    g_clear_pointer(&world->crm_mon, g_free);
    daemon->runner = NULL;
}

/* The same a while later: Pacemaker is asked in any case. */
static void round_with(Fixture *fixture, World *world, const Situation *situation)
{
    fixture->daemon.looked_at_us -= 60 * G_USEC_PER_SEC;
    next_round(fixture, world, situation);
}

static void node_put(Fixture *fixture, const char *name, gint64 id)
{
    g_autofree char *key = g_strconcat("node/", name, NULL);
    Node node = {.version = 1, .name = (char *) name, .id = id, .ring0 = (char *) "10.0.0.1"};
    fixture_put(fixture, key, &node_type, &node);
}

static void guest_put(Fixture *fixture, gboolean deleting, const char *preferred)
{
    g_autoptr(Guest) guest = object_new(&guest_type);
    const char *nodes[] = {"n1", "n2", NULL};
    guest->name = g_strdup("web1");
    guest->uuid = g_strdup("u");
    guest->slot = 7;
    guest->spec.memory_mib = 64;
    guest->spec.vcpus = 1;
    guest->spec.replicas = 2;
    guest->spec.desired = GUEST_DESIRED_RUNNING;
    guest->nodes = g_strdupv((char **) nodes);
    guest->deleting = deleting;
    guest->preferred_node = g_strdup(preferred);
    g_ptr_array_add(guest->spec.volumes, g_new0(GuestVolumeSpec, 1));
    fixture_put(fixture, "guest/web1", &guest_type, guest);
}

static void gone_put(Fixture *fixture, const char *node, gboolean gone)
{
    g_autofree char *key = g_strdup_printf("status/%s/guest/web1", node);
    GuestStatus status = {.version = 1, .node = (char *) node, .guest = (char *) "web1", .gone = gone};
    g_autoptr(GPtrArray) volumes = g_ptr_array_new();
    status.volumes = volumes;
    fixture_put(fixture, key, &guest_status_type, &status);
}

static guint keys(Fixture *fixture, const char *prefix)
{
    GError *error = NULL;
    g_autofree char *full = g_strconcat(STORE_ROOT, prefix, NULL);
    g_autoptr(GPtrArray) entries = store_list(fixture->daemon.store, full, NULL, &error);
    g_assert_no_error(error);
    return entries->len;
}

static void membership_set(Fixture *fixture, gboolean with_n2)
{
    MembershipView view = {.connected = TRUE, .quorate = TRUE, .n_nodes = with_n2 ? 2 : 1};
    view.nodes[0] = 1;
    view.nodes[1] = 2;
    fixture->daemon.view = view;
}

static void prepare(Fixture *fixture)
{
    fixture_load(fixture);
    node_put(fixture, "n1", 1);
    node_put(fixture, "n2", 2);
    membership_set(fixture, TRUE);
}

/* A guest's keys go all together, once the last of its replicas has gone, and only at the DC's word. */
static void test_deletion(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    World world = {0};
    const Situation elsewhere = {"n2", "true", "true", "false", "n1"}, alone = {"n1", "false", "true", "false", "n1"};
    prepare(fixture);
    guest_put(fixture, TRUE, NULL);
    put(fixture->daemon.store, STORE_ROOT "volume/web1-0", "{}");
    put(fixture->daemon.store, STORE_ROOT "volume/web1-0-x-0", "{}"); /* another guest's */
    put(fixture->daemon.store, STORE_ROOT "record/web1", "{}");
    put(fixture->daemon.store, STORE_ROOT "slot/7", "{}");
    gone_put(fixture, "n1", TRUE);
    gone_put(fixture, "n2", FALSE);
    round_with(fixture, &world, &calm);
    g_assert_cmpuint(keys(fixture, "guest/web1"), ==, 1);
    gone_put(fixture, "n2", TRUE);
    round_with(fixture, &world, &elsewhere);
    round_with(fixture, &world, &alone);
    g_assert_cmpuint(keys(fixture, "guest/web1"), ==, 1);
    round_with(fixture, &world, &calm);
    g_assert_cmpuint(keys(fixture, "guest/"), ==, 0);
    g_assert_cmpuint(keys(fixture, "record/"), ==, 0);
    g_assert_cmpuint(keys(fixture, "slot/"), ==, 0);
    g_assert_cmpuint(keys(fixture, "status/"), ==, 0);
    g_assert_cmpuint(keys(fixture, "volume/"), ==, 1);
}

/* The preference of a guest stays until it runs where it was wanted. */
static void test_preference(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    World world = {0};
    const Situation arrived = {"n1", "true", "true", "false", "n2"};
    prepare(fixture);
    guest_put(fixture, FALSE, "n2");
    round_with(fixture, &world, &calm);
    g_autoptr(Guest) under_way = fixture_get(fixture, "guest/web1", &guest_type);
    g_assert_cmpstr(under_way->preferred_node, ==, "n2");
    round_with(fixture, &world, &arrived);
    g_autoptr(Guest) there = fixture_get(fixture, "guest/web1", &guest_type);
    g_assert_null(there->preferred_node);
}

/* By the DC; by another only when the DC's holdfastd is known to be away, which nobody without corosync can know. */
static void test_operations_are_judged(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    World world = {0};
    const Situation elsewhere = {"n2", "true", "true", "false", "n1"}, away = {"n1", "true", "false", "true", "n1"};
    GError *error = NULL;
    prepare(fixture);
    g_autoptr(Operation) online = operation_new("node.online", "node/n2", NULL, NULL);
    g_autoptr(Operation) driven = operation_new("guest.migrate", "guest/web1", "n1", "n2");
    g_assert_true(operation_create(&fixture->daemon, online, &error));
    g_assert_true(operation_create(&fixture->daemon, driven, &error));
    g_autofree char *online_name = g_strconcat("op/", online->id, NULL);
    g_autofree char *driven_name = g_strconcat("op/", driven->id, NULL);
    round_with(fixture, &world, &elsewhere);
    round_with(fixture, &world, &away);
    g_autoptr(Operation) waiting = fixture_get(fixture, online_name, &operation_type);
    g_assert_cmpint(waiting->state, ==, OPERATION_RUNNING);
    round_with(fixture, &world, &calm);
    g_autoptr(Operation) done = fixture_get(fixture, online_name, &operation_type);
    g_assert_cmpint(done->state, ==, OPERATION_SUCCEEDED);
    g_autoptr(Operation) untouched = fixture_get(fixture, driven_name, &operation_type);
    g_assert_cmpint(untouched->state, ==, OPERATION_RUNNING);
}

/* A CIB that could not be written is tried again with the next round; where the DC is not, nobody tries. */
static void test_projection_is_repeated(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    World world = {0};
    const Situation elsewhere = {"n2", "true", "true", "false", "n1"};
    prepare(fixture);
    next_round(fixture, &world, &elsewhere);
    g_assert_cmpuint(world.cib_queries, ==, 0);
    round_with(fixture, &world, &calm);
    g_assert_cmpuint(world.cib_queries, ==, 1);
    next_round(fixture, &world, &calm);
    g_assert_cmpuint(world.cib_queries, ==, 2);
}

/* Asking Pacemaker is dear: who is not in charge does so once in a while, unless a node is away or the store changes.
 */
static void test_looks_are_rare(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    World world = {0};
    const Situation elsewhere = {"n2", "true", "true", "false", "n1"};
    prepare(fixture);
    guest_put(fixture, FALSE, "n2"); /* pending, which is the DC's to follow */
    next_round(fixture, &world, &elsewhere);
    next_round(fixture, &world, &elsewhere);
    g_assert_cmpuint(world.looks, ==, 1);
    guest_put(fixture, FALSE, "n1");
    next_round(fixture, &world, &elsewhere);
    g_assert_cmpuint(world.looks, ==, 2);
    membership_set(fixture, FALSE);
    next_round(fixture, &world, &elsewhere);
    next_round(fixture, &world, &elsewhere);
    g_assert_cmpuint(world.looks, ==, 4);
    membership_set(fixture, TRUE);
    round_with(fixture, &world, &calm);
    next_round(fixture, &world, &calm);
    g_assert_cmpuint(world.looks, ==, 6);
}

/* What another DC spent counts; who is switched on by somebody begins anew. */
static void test_power_budget(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Daemon *daemon = &fixture->daemon;
    World world = {.fence_status = 2};
    const Situation down = {"n1", "true", "false", "false", "n1"}, unfenced = {"n1", "true", "false", "true", "n1"};
    g_autoptr(GError) error = NULL;
    const char *parameters[] = {"ip=192.0.2.2", "cipher=17", NULL};
    FenceDevice device = {.version = 1,
                          .node = (char *) "n2",
                          .agent = (char *) "fence_ipmilan",
                          .parameters = (char **) parameters,
                          .state = FENCE_PROVEN};
    NodeBoot boot = {.version = 1, .boot_id = (char *) "b"};
    prepare(fixture);
    fixture_put(fixture, "fence/n2", &fence_device_type, &device);
    fixture_put(fixture, "boot/n2", &node_boot_type, &boot);
    for (int i = 0; i < POWER_ON_BUDGET_PER_HOUR; i++) {
        g_assert_true(power_budget_spend(daemon->store, "n2", &error));
    }
    membership_set(fixture, FALSE);
    round_with(fixture, &world, &unfenced);
    g_assert_cmpuint(keys(fixture, "power/n2/left-off"), ==, 0);
    round_with(fixture, &world, &down);
    g_assert_cmpuint(keys(fixture, "power/n2/left-off"), ==, 1);
    guint told = keys(fixture, "event/");
    round_with(fixture, &world, &down);
    g_assert_cmpuint(keys(fixture, "event/"), ==, told); /* said once */
    g_assert_cmpuint(told, ==, 1);
    world.fence_status = 0; /* somebody switched it on, it is booting */
    round_with(fixture, &world, &down);
    g_assert_cmpuint(keys(fixture, "power/n2/left-off"), ==, 0);
    g_assert_true(power_budget_leave_off(daemon->store, "n2", TRUE, &error));
    membership_set(fixture, TRUE); /* it is back, and nobody saw it boot */
    round_with(fixture, &world, &calm);
    g_assert_cmpuint(keys(fixture, "power/n2/left-off"), ==, 0);
    g_assert_cmpuint(world.power_ons, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    static const struct {
        const char *path;
        void (*run)(Fixture *fixture, gconstpointer data);
    } tests[] = {
        {"/reconcile-cluster/deletion", test_deletion},
        {"/reconcile-cluster/preference", test_preference},
        {"/reconcile-cluster/operations-are-judged", test_operations_are_judged},
        {"/reconcile-cluster/projection-is-repeated", test_projection_is_repeated},
        {"/reconcile-cluster/looks-are-rare", test_looks_are_rare},
        {"/reconcile-cluster/power-budget", test_power_budget},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, fixture_set_up, tests[i].run, fixture_tear_down);
    }
    return g_test_run();
}
