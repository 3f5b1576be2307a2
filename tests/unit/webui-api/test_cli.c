/* SPDX-License-Identifier: Apache-2.0
 * The real holdfast command through a real holdfast-api to a scripted agent: words and options in, verbs out, tables
 * and exit codes. */
#include "tests/unit/webui-api/fake_agent.h"

#define ENDED(state, rest)                                                                                             \
    "{\"id\":\"op-1\",\"kind\":\"guest.start\",\"target\":\"guest/a\",\"state\":\"" state "\"" rest "}"
#define GUEST_A                                                                                                        \
    "{\"name\":\"a\",\"nodes\":[\"n1\",\"n2\"],\"spec\":{\"memory_mib\":1536,\"vcpus\":2},\"status\":{\"state\":"      \
    "\"running\","                                                                                                     \
    "\"node\":\"n1\",\"protected\":true,\"protection\":\"2 copies\",\"in_sync\":[\"n1\",\"n2\"]}}"
#define GUEST_LONG "{\"name\":\"long-name\",\"spec\":{\"memory_mib\":64,\"vcpus\":1}}"

typedef struct {
    int code;
    char *out, *err;
} Result;

static void result_clear(Result *result)
{
    g_free(result->out);
    g_free(result->err);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Result, result_clear)

/* Run `holdfast` with these words, separated by single spaces. */
static Result run(const Fixture *fixture, gboolean tcp, const char *line)
{
    Result result = {0};
    g_autofree char *program = program_path("holdfast");
    g_autofree char *address = tcp ? g_strdup(fixture->tcp_base) : g_strconcat("unix:", fixture->socket_path, NULL);
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    g_strv_builder_add(builder, program);
    g_strv_builder_addv(builder, (const char **) words);
    g_auto(GStrv) argv = g_strv_builder_end(builder);
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_subprocess_launcher_setenv(launcher, "HOLDFAST_API", address, TRUE);
    g_subprocess_launcher_setenv(launcher, "HOLDFAST_TOKEN", FAKE_TOKEN, TRUE);
    g_autoptr(GError) error = NULL;
    g_autoptr(GSubprocess) process = g_subprocess_launcher_spawnv(launcher, (const char *const *) argv, &error);
    g_assert_no_error(error);
    g_subprocess_communicate_utf8(process, NULL, NULL, &result.out, &result.err, &error);
    g_assert_no_error(error);
    g_assert_true(g_subprocess_get_if_exited(process));
    result.code = g_subprocess_get_exit_status(process);
    g_test_message("holdfast %s -> %d\n%s%s", line, result.code, result.out, result.err);
    return result;
}

static void expect_error(const Fixture *fixture, const char *line, int code, const char *part)
{
    g_auto(Result) result = run(fixture, FALSE, line);
    g_assert_cmpint(result.code, ==, code);
    g_assert_true(g_str_has_prefix(result.err, "holdfast: "));
    g_assert_nonnull(strstr(result.err, part));
}

static void expect_args(Fixture *fixture, const char *line, const char *verb, const char *expected)
{
    g_auto(Result) result = run(fixture, FALSE, line);
    g_assert_cmpint(result.code, ==, 0);
    g_autofree char *args = fake_agent_args(fixture->agent, verb);
    g_assert_cmpstr(args, ==, expected);
}

static void test_usage(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    expect_error(fixture, "explode", 2, "no command 'explode'");
    expect_error(fixture, "guest explode", 2, "'explode' cannot be done with a guest");
    expect_error(fixture, "guest show", 2, "usage: holdfast guest show NAME");
    expect_error(fixture, "guest show a b", 2, "'b' is one word too many");
    expect_error(fixture, "guest list --nonsense", 2, "--nonsense is not an option here");
    expect_error(fixture, "guest list -o yaml", 2, "--output");
    expect_error(fixture, "guest list --json=1", 2, "--json takes no value");
    expect_error(fixture, "guest list -o", 2, "--output needs a value");
    expect_error(fixture, "guest start a --wait --no-wait", 2, "contradict");
    expect_error(fixture, "guest create a", 2, "--memory: is needed");
    expect_error(fixture, "guest create a --memory 64", 2, "a guest needs a volume");
    expect_error(fixture, "guest create a --memory 64 --size big", 2, "--size: must be a size like");
    expect_error(fixture, "guest create a --memory 64 --size 4 --volume size=4", 2, "--volume: says all");
    expect_error(fixture, "fence confirm n2 --confirm n1", 2, "repeat with --confirm n2");
    expect_error(fixture, "fence set n2 fence_ipmilan ip", 2, "key=value");
    g_auto(Result) help = run(fixture, FALSE, "help guest");
    g_assert_cmpint(help.code, ==, 0);
    g_assert_nonnull(strstr(help.out, "guest migrate NAME NODE"));
    g_assert_null(strstr(help.out, "node list"));
    g_auto(Result) one = run(fixture, FALSE, "guest create --help");
    g_assert_nonnull(strstr(one.out, "--memory SIZE"));
}

static void test_create(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "guest.create", ENDED("running", ""));
    expect_args(
        fixture,
        "guest create a --memory 1G --vcpus 2 --image debian --size 4G --size=512M --network lan -n dmz --no-wait",
        "guest.create",
        "{\"name\":\"a\",\"spec\":{\"desired_state\":\"running\",\"memory_mib\":1024,\"nics\":[{\"network\":\"lan\"},"
        "{\"network\":\"dmz\"}],\"vcpus\":2,\"volumes\":[{\"image\":\"debian\",\"size_mib\":4096},{\"size_mib\":512}]}"
        "}");
    expect_args(fixture,
                "guest create a -m 64 --volume size=8,image=x --volume size=1T --replicas 1 --stopped --no-wait",
                "guest.create",
                "{\"name\":\"a\",\"spec\":{\"desired_state\":\"stopped\",\"memory_mib\":64,\"nics\":[],\"replicas\":1,"
                "\"volumes\":[{\"image\":\"x\",\"size_mib\":8},{\"size_mib\":1048576}]}}");
    expect_args(fixture,
                "guest create a -m 64 -s 8 --priority 500 --start-after dns --start-after db --keep-apart b "
                "--keep-apart-strict --keep-together c --restart-limit 5 --restart-window 600 --no-wait",
                "guest.create",
                "{\"name\":\"a\",\"spec\":{\"desired_state\":\"running\",\"keep_apart\":[\"b\"],\"keep_apart_strict\":"
                "true,\"keep_together\":[\"c\"],\"memory_mib\":64,\"nics\":[],\"priority\":500,\"restart_limit\":5,"
                "\"restart_window_s\":600,\"start_after\":[\"dns\",\"db\"],\"volumes\":[{\"size_mib\":8}]}}");
    g_autofree char *file = g_build_filename(fixture->dir, "spec.json", NULL);
    g_assert_true(g_file_set_contents(file, "{\"name\":\"f\",\"spec\":{\"vcpus\":3}}", -1, NULL));
    g_autofree char *line = g_strconcat("guest create --no-wait -f ", file, NULL);
    expect_args(fixture, line, "guest.create", "{\"name\":\"f\",\"spec\":{\"vcpus\":3}}");
}

static void test_set(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "guest.update", "{\"name\":\"a\"}");
    expect_args(fixture,
                "guest set a priority=7 start_after=b,c keep_apart= keep_apart_strict=no restart_limit= memory=1G "
                "description=a=b",
                "guest.update",
                "{\"name\":\"a\",\"spec\":{\"description\":\"a=b\",\"keep_apart\":null,\"keep_apart_strict\":false,"
                "\"memory_mib\":1024,\"priority\":7,\"restart_limit\":null,\"start_after\":[\"b\",\"c\"]}}");
    expect_error(fixture, "guest set a", 2, "usage: holdfast guest set NAME KEY=VALUE...");
    expect_error(fixture, "guest set a priority", 2, "'priority': must be KEY=VALUE");
    expect_error(fixture, "guest set a volumes=1", 2, "where KEY is one of priority, start_after");
    expect_error(fixture, "guest set a priority=high", 2, "priority: must be a whole number, not 'high'");
    expect_error(fixture, "guest set a keep_apart_strict=true", 2, "keep_apart_strict: must be yes or no");
    expect_error(fixture, "guest set a memory=big", 2, "memory: must be a size like");
    fake_agent_result(fixture->agent, "guest.start", ENDED("running", ""));
    expect_args(fixture, "guest start a --force --no-wait", "guest.start", "{\"force\":true,\"name\":\"a\"}");
}

/* Its rules and its recoveries; without an answer about these the guest is shown all the same. */
static void test_show_recovery(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "guest.show",
                      "{\"name\":\"a\",\"spec\":{\"priority\":7,\"start_after\":[\"b\",\"c\"],\"keep_apart\":[\"d\"],"
                      "\"keep_apart_strict\":true,\"restart_limit\":3,\"restart_window_s\":300}}");
    g_auto(Result) without = run(fixture, FALSE, "guest show a");
    g_assert_cmpint(without.code, ==, 0);
    g_assert_nonnull(strstr(without.out, "Priority:     7\n"));
    g_assert_nonnull(strstr(without.out, "Starts after: b, c\n"));
    g_assert_nonnull(strstr(without.out, "Kept apart:   d (strictly)\n"));
    g_assert_nonnull(strstr(without.out, "3 failures on a node, forgotten 300 s after the last\n"));
    g_assert_null(strstr(without.out, "Kept with"));
    g_assert_null(strstr(without.out, "Recovered"));
    fake_agent_result(fixture->agent, "guest.recoveries",
                      "[{\"incident\":\"i\",\"reason\":\"silent\",\"from\":\"n1\",\"to\":\"n2\",\"began_at\":\"T\","
                      "\"recovery_ms\":5200,\"outage_ms\":6300},{\"reason\":\"panic\",\"from\":\"n2\",\"began_at\":"
                      "\"U\",\"failure\":\"no disk\"}]");
    g_auto(Result) with = run(fixture, FALSE, "guest show a");
    g_assert_nonnull(
        strstr(with.out, "Recovered:    T silent: n1 to n2, running 5.2 s after detection, 6.3 s after the loss\n"));
    g_assert_nonnull(strstr(with.out, "Recovered:    U panic: n2 to nowhere, not seen running: no disk\n"));
    g_auto(Result) json = run(fixture, TRUE, "guest show a --json");
    g_autoptr(json_t) value = json_text_parse(json.out, -1, "json", NULL);
    g_assert_cmpuint(json_array_size(json_object_get(value, "recoveries")), ==, 2);
}

static void test_mutations(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    const char *const verbs[] = {"guest.stop",   "guest.migrate",  "volume.grow",    "fence.prove",
                                 "image.import", "fence.set",      "network.create", "fence.confirm",
                                 "op.cancel",    "guest.reattach", "node.remove",    "guest.replace_replica"};
    for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++) {
        fake_agent_result(fixture->agent, verbs[i], ENDED("running", ""));
    }
    expect_args(fixture, "guest stop a --force --no-wait", "guest.stop", "{\"force\":true,\"name\":\"a\"}");
    expect_args(fixture, "guest migrate a n2 --no-wait", "guest.migrate", "{\"name\":\"a\",\"node\":\"n2\"}");
    expect_args(fixture, "guest replace-replica a --from n2 --to n3 --no-wait", "guest.replace_replica",
                "{\"from\":\"n2\",\"name\":\"a\",\"to\":\"n3\",\"unprotected\":false}");
    expect_args(fixture, "guest replace-replica a --from n2 --unprotected --no-wait", "guest.replace_replica",
                "{\"from\":\"n2\",\"name\":\"a\",\"unprotected\":true}");
    expect_args(fixture, "node remove n2 --gone --no-wait", "node.remove", "{\"gone\":true,\"name\":\"n2\"}");
    expect_args(fixture, "guest reattach a --node n2", "guest.reattach", "{\"name\":\"a\",\"node\":\"n2\"}");
    expect_args(fixture, "volume grow a-0 8G --no-wait", "volume.grow", "{\"name\":\"a-0\",\"size_mib\":8192}");
    expect_error(fixture, "volume grow a-0 +8G", 2, "SIZE: must be a size like");
    expect_error(fixture, "volume grow a-0", 2, "usage: holdfast volume grow NAME SIZE");
    expect_args(fixture, "fence prove n2 --no-wait", "fence.prove", "{\"node\":\"n2\"}");
    expect_args(
        fixture, "fence set n2 fence_ipmilan ip=10.0.0.1 password=a=b", "fence.set",
        "{\"agent\":\"fence_ipmilan\",\"node\":\"n2\",\"parameters\":{\"ip\":\"10.0.0.1\",\"password\":\"a=b\"}}");
    expect_args(fixture, "fence confirm n2 --confirm n2", "fence.confirm", "{\"confirm\":\"n2\",\"node\":\"n2\"}");
    expect_args(fixture, "network create lan --interface lan0 --vlan 7", "network.create",
                "{\"interface\":\"lan0\",\"name\":\"lan\",\"vlan\":7}");
    expect_args(fixture, "op cancel op-1", "op.cancel", "{\"id\":\"op-1\"}");
}

static void test_wait(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "guest.start", ENDED("running", ""));
    fake_agent_result(fixture->agent, "op.show", ENDED("succeeded", ",\"duration_ms\":1530,\"downtime_ms\":42"));
    g_auto(Result) good = run(fixture, FALSE, "guest start a");
    g_assert_cmpint(good.code, ==, 0);
    g_assert_cmpstr(good.out, ==, "guest.start guest/a: done in 1.5 s, paused for 42 ms\n");
    fake_agent_result(fixture->agent, "op.show",
                      ENDED("failed", ",\"error\":\"pool is full\",\"error_code\":\"no_space\""));
    expect_error(fixture, "guest start a", 10, "guest.start guest/a failed: pool is full");
    fake_agent_result(fixture->agent, "op.show", ENDED("cancelled", ""));
    expect_error(fixture, "op wait op-1", 12, "was cancelled");
    g_auto(Result) no_wait = run(fixture, FALSE, "guest start a --no-wait");
    g_assert_cmpstr(no_wait.out, ==, "op-1\n");
}

static void test_interrupt(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_hold(fixture->agent, TRUE);
    g_autofree char *program = program_path("holdfast");
    g_autofree char *address = g_strconcat("unix:", fixture->socket_path, NULL);
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_subprocess_launcher_setenv(launcher, "HOLDFAST_API", address, TRUE);
    g_autoptr(GSubprocess) process = g_subprocess_launcher_spawn(launcher, NULL, program, "op", "wait", "op-1", NULL);
    json_decref(fake_agent_seen(fixture->agent, "op.show"));
    g_subprocess_send_signal(process, SIGINT);
    g_autofree char *err = NULL;
    g_assert_true(g_subprocess_communicate_utf8(process, NULL, NULL, NULL, &err, NULL));
    g_assert_cmpint(g_subprocess_get_exit_status(process), ==, 12);
    g_assert_nonnull(strstr(err, "the operation goes on. Look with `holdfast op show op-1`"));
}

static void test_tables(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "guest.list", "[" GUEST_A "," GUEST_LONG "]");
    g_auto(Result) table = run(fixture, FALSE, "guest list");
    g_assert_cmpstr(table.out, ==,
                    "NAME       STATE    NODE  PROTECTED       MEMORY  VCPUS\n"
                    "a          running  n1    yes: 2 copies  1.5 GiB      2\n"
                    "long-name  unknown  -     unknown         64 MiB      1\n");
    g_auto(Result) json = run(fixture, TRUE, "guest list --json");
    g_autoptr(json_t) value = json_text_parse(json.out, -1, "json", NULL);
    g_assert_cmpuint(json_array_size(value), ==, 2);
    /* Names and texts of others must not steer the terminal. */
    fake_agent_result(fixture->agent, "guest.show", "{\"name\":\"a\\u001b[2J\",\"status\":{\"state\":\"x\\ny\"}}");
    g_auto(Result) show = run(fixture, FALSE, "guest show a");
    g_assert_null(strchr(show.out, '\033'));
    g_assert_nonnull(strstr(show.out, "Protected:    unknown\n"));
}

static void test_volumes(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "volume.list",
                      "[{\"name\":\"a-0\",\"guest\":\"a\",\"size_bytes\":134217728,\"replicas\":["
                      "{\"node\":\"n1\",\"disk\":\"UpToDate\",\"size_bytes\":134217728,\"guest_bytes\":67108864},"
                      "{\"node\":\"n2\",\"disk\":\"UpToDate\",\"size_bytes\":134217728,\"guest_bytes\":0}]},"
                      "{\"name\":\"b-0\",\"guest\":\"b\",\"size_bytes\":134217728,\"replicas\":["
                      "{\"node\":\"n1\",\"disk\":\"UpToDate\",\"size_bytes\":134217728,\"guest_bytes\":134217728}]}]");
    g_auto(Result) table = run(fixture, FALSE, "volume list");
    g_assert_cmpstr(table.out, ==,
                    "NAME  GUEST                  SIZE  REPLICAS\n"
                    "a-0   a      128 MiB (now 64 MiB)  UpToDate on n1, UpToDate on n2\n"
                    "b-0   b                   128 MiB  UpToDate on n1\n");
}

static void test_status(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(
        fixture->agent, "status",
        "{\"cluster\":\"demo\",\"node\":\"n1\",\"quorate\":false,\"dc\":null,\"ha_armed\":false,\"nodes\":[{\"name\":"
        "\"n1\","
        "\"online\":true,\"clean\":true,\"agent\":true,\"fencing\":{\"state\":\"unproven\"},\"status\":null}],"
        "\"witness\":{\"name\":\"w1\",\"address\":\"10.0.0.9\",\"ready\":true,\"voting\":false,\"store\":true},"
        "\"guests\":[" GUEST_A "],\"problems\":[\"no store majority\"]}");
    g_auto(Result) page = run(fixture, FALSE, "status");
    g_assert_cmpint(page.code, ==, 0);
    const char *const parts[] = {"Quorum  NO",
                                 "NOT ARMED",
                                 "! no store majority",
                                 "`holdfast fence prove n1`",
                                 "unknown",
                                 "Witness w1 at 10.0.0.9: does not vote",
                                 "Guests  1 of 1 protected"};
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_assert_nonnull(strstr(page.out, parts[i]));
    }
}

static void test_unreachable(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fixture_kill_agent(fixture);
    expect_error(fixture, "status", 7, "holdfastd is not answering on this node");
    fixture_stop_api(fixture);
    expect_error(fixture, "status", 7, "see `systemctl status holdfast-api`");
}

static void test_image_import(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    g_autofree char *file = g_build_filename(fixture->dir, "image.raw", NULL);
    g_autofree char *line = g_strdup_printf("image import debian %s --no-wait", file);
    expect_error(fixture, line, 3, "PATH: ");
    g_autofree char *content = g_strnfill(1500000, 'i');
    g_assert_true(g_file_set_contents(file, content, -1, NULL));
    fake_agent_result(fixture->agent, "image.import", ENDED("running", ""));
    fake_agent_result(fixture->agent, "op.show", ENDED("succeeded", ""));
    g_autofree char *expected = g_strdup_printf("{\"name\":\"debian\",\"path\":\"%s\"}", file);
    expect_args(fixture, line, "image.import", expected);
    g_auto(Result) remote = run(fixture, TRUE, line);
    g_assert_cmpint(remote.code, ==, 0);
    g_assert_cmpint(fixture->agent->imported_bytes, ==, 1500000);
    g_autofree char *args = fake_agent_args(fixture->agent, "image.import");
    g_assert_nonnull(strstr(args, fixture->spool));
    json_decref(fake_agent_seen(fixture->agent, "op.show"));
    fixture_stop_api(fixture);
}

#define INCIDENT                                                                                                       \
    "\"id\":\"n1-3f2a9c1b\",\"node\":\"n1\",\"state\":\"over\",\"began_at\":\"2026-01-02T03:04:05.000Z\","             \
    "\"reason\":{\"kind\":\"silent\",\"text\":\"n1 fell silent\",\"certain\":false,\"evidence\":[\"one\",\"two\"]},"   \
    "\"phases\":[{\"name\":\"notice\",\"ms\":5000},{\"name\":\"fence\",\"ms\":250}],\"outage_ms\":5250,"               \
    "\"guests\":[{\"name\":\"web1\",\"what\":\"moved\",\"from\":\"n1\",\"to\":\"n2\",\"generation\":9,\"outage_ms\":"  \
    "5250}]"

static void test_incidents(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "incident.list", "[{" INCIDENT "}]");
    g_auto(Result) list = run(fixture, FALSE, "incident list");
    g_assert_nonnull(strstr(list.out, "n1-3f2a9c1b"));
    g_assert_nonnull(strstr(list.out, "web1 to n2"));
    fake_agent_result(
        fixture->agent, "incident.show",
        "{" INCIDENT ",\"fence\":{\"asked_at\":\"x\",\"device\":\"fence-n1\",\"done_by\":\"n2\"},"
        "\"not_known\":[\"why\"],\"timeline\":["
        "{\"ms\":-1500,\"node\":\"n1\",\"source\":\"kernel\",\"text\":\"last\\u001b[2J words\",\"dead\":true},"
        "{\"ms\":7,\"node\":\"n2\",\"source\":\"corosync\",\"text\":\"chatter\",\"dead\":false},"
        "{\"ms\":5000,\"node\":\"n2\",\"source\":\"corosync\",\"text\":\"gone\",\"what\":\"lost\"}]}");
    g_auto(Result) show = run(fixture, FALSE, "incident show n1-3f2a9c1b");
    g_autofree char *args = fake_agent_args(fixture->agent, "incident.show");
    g_assert_cmpstr(args, ==, "{\"id\":\"n1-3f2a9c1b\"}");
    g_assert_nonnull(strstr(show.out, "n1 fell silent (as far as evidence tells)"));
    g_assert_nonnull(strstr(show.out, "notice 5.0 s + fence 250 ms = 5.2 s"));
    g_assert_nonnull(strstr(show.out, "device fence-n1, used by n2, not ended"));
    g_assert_nonnull(strstr(show.out, "-1.500 *n1"));
    g_assert_null(strchr(show.out, '\033'));
    g_assert_null(strstr(show.out, "chatter"));
    g_auto(Result) all = run(fixture, FALSE, "incident show --all n1-3f2a9c1b");
    g_assert_nonnull(strstr(all.out, "chatter"));
}

static void test_events(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(
        fixture->agent, "event.list",
        "[{\"index\":7,\"time\":\"T\",\"kind\":\"guest.started\",\"object\":\"guest/a\",\"text\":\"hi\"}]");
    g_auto(Result) list = run(fixture, FALSE, "events --since 6");
    g_assert_nonnull(strstr(list.out, "guest.started"));
    g_autofree char *args = fake_agent_args(fixture->agent, "event.list");
    g_assert_cmpstr(args, ==, "{\"since\":6}");
    /* A line that is no event ends the stream: what came before was printed, and the end is an error. */
    fake_agent_script(
        fixture->agent, "events.watch",
        "{\"v\":1,\"ok\":true,\"result\":{}}\n\n{\"v\":1,\"event\":{\"index\":8,\"kind\":\"node.lost\"}}\n{}");
    g_auto(Result) stream = run(fixture, FALSE, "events --follow --json");
    g_assert_cmpint(stream.code, ==, 7);
    g_assert_cmpstr(stream.out, ==, "{\"index\":8,\"kind\":\"node.lost\"}\n");
}

static void add(const char *path, void (*test)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, NULL, fixture_setup, test, fixture_teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    add("/cli/usage", test_usage);
    add("/cli/create", test_create);
    add("/cli/mutations", test_mutations);
    add("/cli/set", test_set);
    add("/cli/show-recovery", test_show_recovery);
    add("/cli/wait", test_wait);
    add("/cli/interrupt", test_interrupt);
    add("/cli/tables", test_tables);
    add("/cli/volumes", test_volumes);
    add("/cli/status", test_status);
    add("/cli/unreachable", test_unreachable);
    add("/cli/image-import", test_image_import);
    add("/cli/events", test_events);
    add("/cli/incidents", test_incidents);
    return g_test_run();
}
