/* SPDX-License-Identifier: Apache-2.0
 * Rescue and restore of the store, with real etcd members over loopback: what is refused, what is there afterwards, and
 * a real SIGKILL at every step. The process that is killed is this program itself, started with --killed-at. */
#include "cluster/projection.h"
#include "cluster/store_rescue.h"
#include "cluster/store_snapshot.h"
#include "node-agent/setup/store_command.h"
#include "node-agent/setup/store_rejoin.h"
#include "node-agent/setup/store_rescue_run.h"
#include "storage/record.h"
#include "tests/unit/node-agent/join_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *program;

#define STOPPED_BOTH                                                                                                   \
    "{\"generation\":4,\"handover_id\":\"\",\"handover_to\":\"\",\"in_sync\":[\"n1\",\"n2\"],\"owner\":\"n1\","        \
    "\"owner_boot_id\":\"b1\",\"state\":\"stopped\",\"version\":1}"
#define RUNNING_N2                                                                                                     \
    "{\"generation\":9,\"handover_id\":\"\",\"handover_to\":\"\",\"in_sync\":[\"n2\"],\"owner\":\"n2\","               \
    "\"owner_boot_id\":\"b2\",\"state\":\"running\",\"version\":1}"
#define DEVICE "{\"agent\":\"fence_ipmilan\",\"node\":\"n1\",\"parameters\":[],\"state\":\"proven\",\"version\":1}"

static void put(Store *store, const char *key, const char *value)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *full = g_strconcat(STORE_ROOT, key, NULL);
    store_put(store, full, value, -1, 0, NULL, &error);
    g_assert_no_error(error);
}

static gboolean present(Store *store, const char *key)
{
    g_autofree char *full = g_strconcat(STORE_ROOT, key, NULL);
    g_autoptr(StoreEntry) entry = store_get(store, full, NULL, NULL);
    return entry != NULL;
}

static void assert_refused(GError **error, const char *text)
{
    g_assert_error(*error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    if (!strstr((*error)->message, text)) {
        g_error("wanted '%s' in: %s", text, (*error)->message);
    }
    g_clear_error(error);
}

/* Which nodes vote, by the store's documents. */
static char *voters(Store *store)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) nodes = join_nodes_load(store, &error);
    g_assert_no_error(error);
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        g_string_append(text, node->voter ? node->name : "");
    }
    return g_string_free(text, FALSE);
}

static void assert_voters(Store *store, const char *wanted)
{
    g_autofree char *text = voters(store);
    g_assert_cmpstr(text, ==, wanted);
}

/* The record may not start anything, whatever is proven of its owner. */
static void assert_doubted(Store *store, const char *guest)
{
    g_autoptr(GError) error = NULL;
    Record record, after;
    char reason[256] = "";
    record_read(store, guest, &record, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(record.unconfirmed, !=, "");
    const char *node = record.in_sync[0];
    RecordClaimFacts facts = {.node = node,
                              .boot_id = "b9",
                              .owner_rebooted = TRUE,
                              .owner_fenced = TRUE,
                              .peer = "other",
                              .peer_up_to_date = TRUE};
    g_assert_false(record_claim(&record, &facts, &after, reason, sizeof(reason)));
    g_assert_nonnull(strstr(reason, "rescued or restored"));
}

static void fill(Store *store)
{
    put(store, "record/web1", STOPPED_BOTH);
    put(store, "record/broken", "{}");
    put(store, "fence/n1", DEVICE);
    put(store, "boot/n1", "{\"boot_id\":\"b1\",\"left\":false,\"version\":1}");
    put(store, "status/n1/node", "{}");
    put(store, "op/17", "{}");
    put(store, "token/0123abcd", "{}");
}

/* What every new store looks like, whatever it was made from. */
static void assert_marked(Store *store, int kind)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreRescue) rescue = NULL;
    g_autoptr(ProjectionInput) input = NULL;
    store_rescue_load(store, &rescue, &error);
    g_assert_no_error(error);
    g_assert_nonnull(rescue);
    g_assert_cmpint(rescue->kind, ==, kind);
    g_assert_cmpstr(rescue->node, ==, "n1");
    g_assert_cmpint(rescue->revision, >, 1);
    assert_doubted(store, "web1");
    assert_voters(store, "n1");
    g_assert_true(present(store, "record/broken"));
    g_assert_false(present(store, "boot/n1"));
    g_assert_false(present(store, "status/n1/node"));
    g_assert_false(present(store, "op/17"));
    g_assert_false(present(store, "token/0123abcd"));
    g_assert_null((input = projection_input_read(store, NULL, &error)));
    assert_refused(&error, "store confirm");
    g_autoptr(GPtrArray) members = store_members(store, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(members->len, ==, 1);
}

static void join_as(Fixture *fixture, int index, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    join(fixture, index, name, token, &error);
    g_assert_no_error(error);
}

static int fence_state(Store *store)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreEntry) entry = store_get(store, STORE_ROOT "fence/n1", NULL, &error);
    g_assert_no_error(error);
    g_autoptr(FenceDevice) device = object_from_text(&fence_device_type, entry->value, entry->key, &error);
    g_assert_no_error(error);
    return device->state;
}

static void test_rescue(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    const SetupContext *context = &fixture->machines[0].context, *second = &fixture->machines[1].context;
    g_autoptr(GError) error = NULL;
    RescueRequest request = {.confirm = "demo", .others_gone = TRUE};
    join_as(fixture, 1, "n2");
    join_as(fixture, 2, "n3");
    g_assert_cmpuint(count_voting_members(fixture), ==, 3);
    fill(fixture->store);
    g_assert_false(rescue_run(context, &request, &error));
    assert_refused(&error, "nothing to rescue");
    etcd_stop(&fixture->machines[2]);
    g_subprocess_send_signal(fixture->machines[1].etcd, SIGSTOP);
    while (present(fixture->store, "cluster/config")) {
        g_usleep(10000); /* it has not stopped yet */
    }
    g_assert_false(rescue_run(context, &request, &error));
    assert_refused(&error, "answers, and two stores");
    etcd_stop(&fixture->machines[1]);
    request.confirm = "dem0";
    g_assert_false(rescue_run(context, &request, &error));
    assert_refused(&error, "--confirm");
    request = (RescueRequest){.confirm = "demo"};
    g_assert_false(rescue_run(context, &request, &error));
    assert_refused(&error, "--others-gone");
    g_autofree char *seen = rescue_look_text(context, &error);
    g_assert_no_error(error);
    g_assert_nonnull(strstr(seen, "is at revision"));
    g_assert_nonnull(strstr(seen, "majority  does not answer"));
    request.others_gone = TRUE;
    rescue_run(context, &request, &error);
    g_assert_no_error(error);
    assert_marked(fixture->store, STORE_RESCUE_MAJORITY_LOST);
    g_assert_cmpint(fence_state(fixture->store), ==, FENCE_PROVEN);
    /* The operator's word lets the projection go on; the guest in doubt stays as the CIB has it. */
    store_rescue_confirm(fixture->store, &error);
    g_assert_no_error(error);
    g_assert_false(store_rescue_confirm(fixture->store, &error));
    assert_refused(&error, "already");
    g_autoptr(ProjectionInput) input = projection_input_read(fixture->store, NULL, &error);
    g_assert_no_error(error);
    /* An old voter that comes back cannot speak to the new store; it leaves its own and joins. */
    etcd_start(&fixture->machines[1]);
    g_assert_false(store_rejoin(second, &error));
    assert_refused(&error, "store leave");
    g_assert_false(store_leave(second, "demo2", &error));
    assert_refused(&error, "--confirm");
    store_leave(second, "demo", &error);
    g_assert_no_error(error);
    store_rejoin(second, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_voting_members(fixture), ==, 2);
    assert_voters(fixture->store, "n1n2");
    assert_doubted(fixture->store, "web1");
}

static void test_restore(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    const SetupContext *context = &fixture->machines[0].context;
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_strconcat(fixture->folder, "/snapshots", NULL);
    g_autofree char *socket = g_strconcat(context->prefix, STORE_LOCAL_SOCKET, NULL);
    struct stat status;
    fill(fixture->store);
    g_autoptr(StoreSnapshot) snapshot = store_snapshot_take(context->runner, folder, socket, &error);
    g_assert_no_error(error);
    g_autofree char *path = g_build_filename(folder, snapshot->name, NULL);
    g_assert_cmpint(stat(path, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 07777, ==, 0600);
    g_assert_cmpint(status.st_size, ==, snapshot->size_bytes);
    g_autoptr(GPtrArray) list = store_snapshot_list(folder);
    g_assert_cmpuint(list->len, ==, 1);
    g_assert_cmpint(((StoreSnapshot *) list->pdata[0])->revision, ==, snapshot->revision);
    /* The truth goes on: n1 is marked absent, a guest comes. The snapshot says that n1 is in sync. */
    put(fixture->store, "record/web1", RUNNING_N2);
    put(fixture->store, "record/web2", STOPPED_BOTH);
    RescueRequest request = {.snapshot = path, .confirm = "demo", .others_gone = TRUE};
    rescue_run(context, &request, &error);
    g_assert_no_error(error);
    assert_marked(fixture->store, STORE_RESCUE_RESTORED);
    g_assert_cmpint(fence_state(fixture->store), ==, FENCE_UNPROVEN);
    g_assert_false(present(fixture->store, "record/web2"));
    /* A damaged file is found before anything is touched. */
    g_autofree char *text = NULL;
    gsize length = 0;
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    text[length / 2] ^= 1;
    g_assert_true(g_file_set_contents(path, text, (gssize) length, NULL));
    g_assert_false(store_snapshot_check(path, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(rescue_run(context, &request, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    assert_marked(fixture->store, STORE_RESCUE_RESTORED);
}

/* ---- killed at every step ---- */

static int steps_left;

static void step(void)
{
    if (--steps_left == 0) {
        kill(getpid(), SIGKILL);
    }
}

static void progress_step(const char *text G_GNUC_UNUSED)
{
    step();
}

static gboolean run_step(const ProcessRunner *runner, const char *const *argv, const char *input, int timeout_ms,
                         ProcessResult *ret, GError **error)
{
    step();
    gboolean ok = machine_run(runner, argv, input, timeout_ms, ret, error);
    step();
    return ok;
}

/* The child: --killed-at N FOLDER NETWORK CLIENT_PORT PEER_PORT. Exit status 0: it came to the end. */
static int killed_at(char **argv)
{
    Machine machine = {0};
    g_autoptr(GError) error = NULL;
    steps_left = atoi(argv[0]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    machine_init(&machine, argv[1], argv[2], 1, atoi(argv[3]), atoi(argv[4]));
    machine.runner.run = run_step;
    machine.context.progress = progress_step;
    RescueRequest request = {.confirm = "demo", .others_gone = TRUE};
    gboolean ok = rescue_run(&machine.context, &request, &error);
    etcd_stop(&machine);
    if (!ok) {
        fprintf(stderr, "%s\n", error->message);
    }
    return ok ? 0 : 1;
}

static gboolean run_child(const Fixture *fixture, int n)
{
    const Machine *machine = &fixture->machines[0];
    g_autoptr(GError) error = NULL;
    g_autofree char *number = g_strdup_printf("%d", n);
    g_autofree char *network = g_strndup(machine->ring0, strlen(machine->ring0) - 2);
    g_autofree char *client = g_strdup_printf("%d", machine->context.etcd_client_port);
    g_autofree char *peer = g_strdup_printf("%d", machine->context.etcd_peer_port);
    g_autofree char *told = NULL;
    char *argv[] = {program, "--killed-at", number, fixture->folder, network, client, peer, NULL};
    int status = 0;
    g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &told, &status, &error);
    g_assert_no_error(error);
    if (!WIFSIGNALED(status) && WEXITSTATUS(status) != 0) {
        g_error("step %d: %s", n, told);
    }
    g_assert_true(!WIFSIGNALED(status) || WTERMSIG(status) == SIGKILL);
    return !WIFSIGNALED(status);
}

static ino_t data_inode(const char *data)
{
    g_autofree char *wal = g_build_filename(data, "member", "wal", NULL);
    struct stat status;
    g_assert_cmpint(g_access(wal, F_OK), ==, 0); /* at no moment is there nothing, or half of something */
    g_assert_cmpint(stat(data, &status), ==, 0);
    return status.st_ino;
}

/* What was exchanged is not finished by the other command, whose operator would be told of something that was not done.
 */
static void assert_restore_waits(Machine *machine)
{
    g_autoptr(GError) error = NULL;
    RescueRequest request = {.snapshot = "/nonexistent", .confirm = "demo", .others_gone = TRUE};
    g_assert_false(rescue_run(&machine->context, &request, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_assert_nonnull(strstr(error->message, "run `holdfast store rescue` to its end first"));
}

/* Killed one step later each time, and begun again from what the kill left; once the exchange is done, from its first
 * step on again. */
static void kill_everywhere(Fixture *fixture)
{
    Machine *machine = &fixture->machines[0];
    g_autofree char *data = setup_path(&machine->context, "/var/lib/holdfast/etcd");
    g_autofree char *journal = setup_path(&machine->context, "/var/lib/holdfast/store-rescue.json");
    etcd_stop(machine);
    ino_t old = data_inode(data);
    int before = 0, after = 0;
    while (data_inode(data) == old) {
        g_assert_false(run_child(fixture, ++before));
    }
    g_assert_cmpint(before, >, 10);
    assert_restore_waits(machine);
    while (!run_child(fixture, ++after)) {
        g_assert_cmpuint(data_inode(data), !=, old);
    }
    g_assert_cmpint(after, >, 5);
    g_test_message("killed %d times before the exchange and %d times after it", before, after - 1);
    g_assert_cmpint(g_access(journal, F_OK), !=, 0);
    etcd_start(machine);
    g_autoptr(GError) error = NULL;
    member_wait_store(&machine->context, fixture->store, NULL, NULL, &error);
    g_assert_no_error(error);
}

static void test_killed(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    fill(fixture->store);
    kill_everywhere(fixture);
    assert_marked(fixture->store, STORE_RESCUE_MAJORITY_LOST);
}

/* ---- pure ---- */

static const struct {
    const char *line, *begins; /* begins NULL: good */
} command_cases[] = {
    {"rescue", NULL},
    {"rescue --confirm demo --others-gone", NULL},
    {"restore /a/file.db --others-gone", NULL},
    {"leave --confirm demo", NULL},
    {"rejoin", NULL},
    {"", "store: "},
    {"forget", "store: "},
    {"restore", "store restore: "},
    {"restore a b", "'b': "},
    {"rescue file", "'file': "},
    {"rescue --confirm", "--confirm: "},
    {"rescue --force", "'--force': "},
    {"leave --others-gone", "'--others-gone': "},
    {"rejoin --confirm demo", "'--confirm': "},
};

static void test_command(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(command_cases); i++) {
        g_autoptr(GError) error = NULL;
        g_auto(StoreCommand) command = {0};
        g_auto(GStrv) words = g_strsplit(command_cases[i].line, " ", -1);
        gboolean ok = store_command_parse(words, &command, &error);
        g_test_message("store %s -> %s", command_cases[i].line, error ? error->message : "good");
        g_assert_cmpint(ok, ==, !command_cases[i].begins);
        g_assert_true(ok || g_str_has_prefix(error->message, command_cases[i].begins));
    }
}

static void test_names_and_bounds(void)
{
    static const char *const not_ours[] = {"taking.db", "store-20260101T120000Z-r12.db.part", "store-x-r1.db",
                                           "store-20261301T120000Z-r12.db"};
    g_autoptr(StoreSnapshot) parsed = store_snapshot_parse("store-20260102T030405Z-r678.db");
    g_assert_nonnull(parsed);
    g_assert_cmpstr(parsed->at, ==, "2026-01-02T03:04:05Z");
    g_assert_cmpint(parsed->revision, ==, 678);
    for (gsize i = 0; i < G_N_ELEMENTS(not_ours); i++) {
        g_assert_null(store_snapshot_parse(not_ours[i]));
    }
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify) store_snapshot_free);
    g_assert_cmpuint(store_snapshot_n_keep(list, 24, 100), ==, 0);
    for (int i = 0; i < 5; i++) {
        StoreSnapshot *snapshot = store_snapshot_parse("store-20260102T030405Z-r678.db");
        snapshot->size_bytes = 40;
        g_ptr_array_add(list, snapshot);
    }
    g_assert_cmpuint(store_snapshot_n_keep(list, 24, 1000), ==, 5);
    g_assert_cmpuint(store_snapshot_n_keep(list, 3, 1000), ==, 3);
    g_assert_cmpuint(store_snapshot_n_keep(list, 24, 100), ==, 3); /* the newest, and two more */
    g_assert_cmpuint(store_snapshot_n_keep(list, 24, 0), ==, 1);
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc >= 7 && strcmp(argv[1], "--killed-at") == 0) {
        _exit(killed_at(argv + 2)); /* it frees no more than one that was killed */
    }
    join_test_init(&argc, &argv);
    g_test_add_func("/store-rescue/command", test_command);
    g_test_add_func("/store-rescue/names-and-bounds", test_names_and_bounds);
    g_test_add("/store-rescue/rescue", Fixture, NULL, set_up, test_rescue, tear_down);
    g_test_add("/store-rescue/restore", Fixture, NULL, set_up, test_restore, tear_down);
    g_test_add("/store-rescue/killed", Fixture, NULL, set_up, test_killed, tear_down);
    return g_test_run();
}
