/* SPDX-License-Identifier: Apache-2.0
 * The verbs that decide how guests are recovered: guest.update, guest.start with admission control and the end of a
 * restart limit. A real etcd; Pacemaker's programs are recorded. */
#include "node-agent/verbs.h"

#include "common/error.h"
#include "tests/unit/node-agent/daemon_fixture.h"

#include <string.h>

/* crm_mon's answer with `resources` and `history`; n1 and n2 are there. */
#define MON(resources, history)                                                                                        \
    "<pacemaker-result><summary><current_dc present=\"true\" name=\"n1\" with_quorum=\"true\"/></summary><nodes>"      \
    "<node name=\"n1\" online=\"true\" unclean=\"false\"/><node name=\"n2\" online=\"true\" unclean=\"false\"/>"       \
    "</nodes><resources>" resources "</resources><node_history>" history "</node_history></pacemaker-result>"
#define RUNS(name, node)                                                                                               \
    "<resource id=\"" name "\" role=\"Started\" nodes_running_on=\"1\"><node name=\"" node "\"/></resource>"
#define DOWN(name) "<resource id=\"" name "\" role=\"Stopped\" nodes_running_on=\"0\"/>"
#define FAILED(name, node)                                                                                             \
    "<node name=\"" node "\"><resource_history id=\"" name "\" migration-threshold=\"3\" fail-count=\"3\"/></node>"

typedef struct {
    const char *mon;
    GString *commands; /* all but crm_mon */
} Pacemaker;

static gboolean pacemaker_run(const ProcessRunner *runner, const char *const *argv, const char *input G_GNUC_UNUSED,
                              int timeout_ms G_GNUC_UNUSED, ProcessResult *ret, GError **error G_GNUC_UNUSED)
{
    Pacemaker *pacemaker = runner->user_data;
    gboolean mon = g_str_has_suffix(argv[0], "/crm_mon");
    if (!mon) {
        g_autofree char *command = g_strjoinv(" ", (char **) argv);
        g_string_append_printf(pacemaker->commands, "%s\n", command);
    }
    *ret = (ProcessResult){.stdout_text = g_strdup(mon ? pacemaker->mon : ""), .stderr_text = g_strdup("")};
    return TRUE;
}

static void put_node(Fixture *fixture, const char *name, gint64 id)
{
    g_autoptr(Node) node = object_new(&node_type);
    g_autofree char *key = g_strconcat("node/", name, NULL);
    node->name = g_strdup(name);
    node->ring0 = g_strdup("192.0.2.1");
    node->id = id;
    fixture_put(fixture, key, &node_type, node);
    g_autoptr(NodeStatus) status = object_new(&node_status_type);
    g_autofree char *status_key = g_strdup_printf("status/%s/node", name);
    status->node = g_strdup(name);
    status->memory_mib = 1000 + NODE_RESERVE_MIB;
    fixture_put(fixture, status_key, &node_status_type, status);
}

static void put_guest(Fixture *fixture, const char *name, gint64 slot, gint64 memory_mib, GuestDesired desired)
{
    g_autoptr(Guest) guest = object_new(&guest_type);
    g_autofree char *key = g_strconcat("guest/", name, NULL);
    g_autofree char *record_key = g_strdup_printf(STORE_ROOT "record/%s", name);
    guest->name = g_strdup(name);
    guest->uuid = g_strdup("u");
    guest->slot = slot;
    guest->spec.vcpus = 1;
    guest->spec.memory_mib = memory_mib;
    guest->spec.replicas = 2;
    guest->spec.desired = desired;
    GuestVolumeSpec *volume = g_new0(GuestVolumeSpec, 1);
    volume->size_mib = 4;
    g_ptr_array_add(guest->spec.volumes, volume);
    const char *nodes[] = {"n1", "n2", NULL};
    guest->nodes = g_strdupv((char **) nodes);
    fixture_put(fixture, key, &guest_type, guest);
    put(fixture->daemon.store, record_key,
        "{\"version\":1,\"generation\":7,\"state\":\"stopped\",\"in_sync\":[\"n1\",\"n2\"],\"owner\":\"n1\","
        "\"owner_boot_id\":\"b\",\"handover_to\":\"\",\"handover_id\":\"\"}");
}

static Pacemaker pacemaker;
static ProcessRunner runner = {.run = pacemaker_run, .user_data = &pacemaker};

/* web1 is stopped, db1 (800 of the 1000 MiB of either node) runs on n1. */
static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture_set_up(fixture, data);
    fixture->daemon.runner = &runner;
    fixture->daemon.view = (MembershipView){.connected = TRUE, .quorate = TRUE, .n_nodes = 2, .nodes = {1, 2}};
    pacemaker = (Pacemaker){.mon = MON(RUNS("db1", "n1") DOWN("web1"), ""), .commands = g_string_new(NULL)};
    fixture_load(fixture);
    put_node(fixture, "n1", 1);
    put_node(fixture, "n2", 2);
    put_guest(fixture, "db1", 1, 800, GUEST_DESIRED_RUNNING);
    put_guest(fixture, "web1", 2, 201, GUEST_DESIRED_STOPPED);
    fixture_catch_up(fixture);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    g_string_free(pacemaker.commands, TRUE);
    fixture_tear_down(fixture, data);
}

static json_t *run(Fixture *fixture, const char *verb, const char *arguments, GError **error)
{
    g_autoptr(json_t) object = json_text_parse(arguments, -1, "arguments", NULL);
    g_assert_nonnull(object);
    return verb_run(&fixture->daemon, verb, object, "tester", error);
}

static void assert_fails(Fixture *fixture, const char *verb, const char *arguments, int code, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) result = run(fixture, verb, arguments, &error);
    g_assert_null(result);
    g_assert_error(error, HOLDFAST_ERROR, code);
    if (!strstr(error->message, text)) {
        g_assert_cmpstr(error->message, ==, text);
    }
}

static void test_update(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) changed =
        run(fixture, "guest.update",
            "{\"name\":\"db1\",\"spec\":{\"priority\":500,\"keep_apart\":[\"web1\"],\"restart_limit\":7}}", &error);
    g_assert_no_error(error);
    json_t *spec = json_object_get(changed, "spec");
    g_assert_cmpint(json_integer_value(json_object_get(spec, "restart_limit")), ==, 7);
    g_assert_cmpint(json_integer_value(json_object_get(spec, "restart_window_s")), ==, 300); /* what holds is shown */
    g_autoptr(Guest) stored = fixture_get(fixture, "guest/db1", &guest_type);
    g_assert_cmpint(stored->spec.priority, ==, 500);
    g_assert_cmpstr(stored->spec.keep_apart[0], ==, "web1");
    g_assert_cmpint(stored->spec.memory_mib, ==, 800);
    g_assert_cmpint(stored->spec.desired, ==, GUEST_DESIRED_RUNNING);
    /* Failures of before do not count against the new limit; all else is the projection's business. */
    g_assert_cmpstr(pacemaker.commands->str, ==, "/usr/sbin/crm_resource --cleanup --resource db1\n");
    fixture_catch_up(fixture);
    g_autoptr(json_t) back =
        run(fixture, "guest.update", "{\"name\":\"db1\",\"spec\":{\"priority\":null,\"keep_apart\":null}}", &error);
    g_assert_no_error(error);
    g_autoptr(Guest) again = fixture_get(fixture, "guest/db1", &guest_type);
    g_assert_cmpint(again->spec.priority, ==, 100);
    g_assert_cmpint(again->spec.restart_limit, ==, 7);
    g_assert_null(again->spec.keep_apart);
}

static void test_update_refused(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    static const struct {
        const char *arguments;
        int code;
        const char *text;
    } cases[] = {
        {"{\"name\":\"web9\",\"spec\":{\"priority\":1}}", HOLDFAST_ERROR_NOT_FOUND, "there is no guest 'web9'"},
        {"{\"name\":\"db1\"}", HOLDFAST_ERROR_INVALID, "spec: must be an object of the fields to change"},
        {"{\"name\":\"db1\",\"spec\":{}}", HOLDFAST_ERROR_INVALID, "spec: must be an object of the fields to change"},
        {"{\"name\":\"db1\",\"spec\":{\"volumes\":[]}}", HOLDFAST_ERROR_INVALID,
         "spec.volumes: cannot be changed like this"},
        {"{\"name\":\"db1\",\"spec\":{\"desired_state\":\"stopped\"}}", HOLDFAST_ERROR_INVALID,
         "spec.desired_state: cannot be changed like this"},
        {"{\"name\":\"db1\",\"spec\":{\"priority\":1001}}", HOLDFAST_ERROR_INVALID,
         "spec.priority: must be between 0 and 1000, not 1001"},
        {"{\"name\":\"db1\",\"spec\":{\"start_after\":[\"x\"]}}", HOLDFAST_ERROR_NOT_FOUND,
         "spec.start_after: there is no guest 'x'"},
        {"{\"name\":\"db1\",\"spec\":{\"memory_mib\":700}}", HOLDFAST_ERROR_REFUSED,
         "spec.memory_mib: guest 'db1' is not stopped"},
        {"{\"name\":\"web1\",\"spec\":{\"memory_mib\":202}}", HOLDFAST_ERROR_NO_SPACE,
         "spec.memory_mib: node n1 has no room for guest 'web1'"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_fails(fixture, "guest.update", cases[i].arguments, cases[i].code, cases[i].text);
    }
}

static void test_start(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    assert_fails(fixture, "guest.start", "{\"name\":\"web1\"}", HOLDFAST_ERROR_NO_SPACE,
                 "not started (--force starts it without the reserve): spec.memory_mib: node n1 has no room for guest "
                 "'web1' with the loss of any one node in reserve: it has 1000 MiB memory for guests, and those there "
                 "need 800 MiB; this guest needs 201 MiB.");
    g_assert_cmpstr(pacemaker.commands->str, ==, "");
    g_autoptr(Guest) stopped = fixture_get(fixture, "guest/web1", &guest_type);
    g_assert_cmpint(stopped->spec.desired, ==, GUEST_DESIRED_STOPPED);

    g_autoptr(json_t) less = run(fixture, "guest.update", "{\"name\":\"web1\",\"spec\":{\"memory_mib\":200}}", &error);
    g_assert_no_error(error);
    fixture_catch_up(fixture);
    g_autoptr(json_t) started = run(fixture, "guest.start", "{\"name\":\"web1\"}", &error);
    g_assert_no_error(error);
    g_autoptr(Guest) running = fixture_get(fixture, "guest/web1", &guest_type);
    g_assert_cmpint(running->spec.desired, ==, GUEST_DESIRED_RUNNING);
    g_assert_cmpstr(pacemaker.commands->str, ==, "/usr/sbin/crm_resource --cleanup --resource web1\n");
}

static void test_forced_start(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) started = run(fixture, "guest.start", "{\"name\":\"web1\",\"force\":true}", &error);
    g_assert_no_error(error);
    g_autoptr(Guest) running = fixture_get(fixture, "guest/web1", &guest_type);
    g_assert_cmpint(running->spec.desired, ==, GUEST_DESIRED_RUNNING);
}

static char *text_replaced(const char *text, const char *from, const char *to)
{
    g_auto(GStrv) parts = g_strsplit(text, from, -1);
    g_assert_cmpuint(g_strv_length(parts), ==, 2);
    return g_strjoinv(to, parts);
}

static const char *state_of(const json_t *guest)
{
    return json_string_value(json_object_get(json_object_get(guest, "status"), "state"));
}

static char *conditions_of(const json_t *guest)
{
    return json_text_from(json_object_get(json_object_get(guest, "status"), "conditions"));
}

/* It failed three times on each node: failed, with the way out; the way out makes Pacemaker forget. */
static void test_restart_limit(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    pacemaker.mon = MON(DOWN("db1"), FAILED("db1", "n1"));
    g_autoptr(json_t) half = run(fixture, "guest.show", "{\"name\":\"db1\"}", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(state_of(half), ==, "starting"); /* the other node is left */
    g_autofree char *half_text = conditions_of(half);
    g_assert_nonnull(
        strstr(half_text, "it failed 3 times on n1 and is not started there until its last failure is 300 s"));

    pacemaker.mon = MON(DOWN("db1"), FAILED("db1", "n1") FAILED("db1", "n2"));
    fixture->daemon.pacemaker_at_us = 0; /* an answer of before is not used again */
    g_clear_pointer(&fixture->daemon.pacemaker_xml, g_free);
    g_autoptr(json_t) down = run(fixture, "guest.show", "{\"name\":\"db1\"}", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(state_of(down), ==, "failed");
    g_autofree char *text = conditions_of(down);
    g_assert_nonnull(strstr(text, "restart limit reached: it failed 3 times on n1, 3 times on n2"));
    g_assert_nonnull(strstr(text, "'holdfast guest start db1' forgets them and starts it at once"));

    g_autoptr(json_t) started = run(fixture, "guest.start", "{\"name\":\"db1\"}", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(pacemaker.commands->str, ==, "/usr/sbin/crm_resource --cleanup --resource db1\n");
}

/* Its current copy is on n1 alone, which is away: it waits, and people are told for what, and of the way out. */
static void test_waits_for_its_copy(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    put(fixture->daemon.store, STORE_ROOT "record/db1",
        "{\"version\":1,\"generation\":8,\"state\":\"running\",\"in_sync\":[\"n1\"],\"owner\":\"n1\","
        "\"owner_boot_id\":\"b\",\"handover_to\":\"\",\"handover_id\":\"\"}");
    fixture_catch_up(fixture);
    g_autofree char *away = text_replaced(MON(DOWN("db1"), ""), "\"n1\" online=\"true\"", "\"n1\" online=\"false\"");
    pacemaker.mon = away;
    g_autoptr(json_t) waiting = run(fixture, "guest.show", "{\"name\":\"db1\"}", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(state_of(waiting), ==, "waiting");
    g_autofree char *text = conditions_of(waiting);
    g_assert_nonnull(strstr(text, "waits for n1, which has the current data and takes no guests now: bring it back"));
    g_assert_nonnull(
        strstr(text, "'holdfast guest confirm db1 n2 --confirm db1' starts the guest from the older copy"));
    /* Said once more, wrongly, or about a copy that is none. */
    assert_fails(fixture, "guest.confirm", "{\"name\":\"db1\",\"node\":\"n2\",\"confirm\":\"db\"}",
                 HOLDFAST_ERROR_INVALID, "confirm: must be 'db1'");
    assert_fails(fixture, "guest.confirm", "{\"name\":\"db1\",\"node\":\"n3\",\"confirm\":\"db1\"}",
                 HOLDFAST_ERROR_INVALID, "node: guest 'db1' has no replica on 'n3'");
    assert_fails(fixture, "guest.confirm", "{\"name\":\"db1\",\"node\":\"n1\",\"confirm\":\"db1\"}",
                 HOLDFAST_ERROR_REFUSED, "it was started from the copy on n1, which is the only current one");
    assert_fails(fixture, "guest.discard_copy", "{\"name\":\"db1\",\"node\":\"n1\",\"confirm\":\"db1\"}",
                 HOLDFAST_ERROR_REFUSED, "the copy on n1 is a current one");
}

/* Both run, on a node each, and neither node could take both. */
static void test_reserve_is_a_problem(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    pacemaker.mon = MON(RUNS("db1", "n1") RUNS("web1", "n2"), "");
    g_autoptr(json_t) status = run(fixture, "status", "{}", &error);
    g_assert_no_error(error);
    g_autofree char *problems = json_text_from(json_object_get(status, "problems"));
    g_assert_nonnull(strstr(problems,
                            "if n1 is lost, not all guests have room: n2 has 1000 MiB for guests, those there "
                            "need 201 MiB and those coming over 800 MiB"));
    g_assert_nonnull(strstr(problems, "if n2 is lost, not all guests have room"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    static const struct {
        const char *path;
        void (*run)(Fixture *fixture, gconstpointer data);
    } tests[] = {
        {"/verbs-guest/update", test_update},
        {"/verbs-guest/update-refused", test_update_refused},
        {"/verbs-guest/start", test_start},
        {"/verbs-guest/forced-start", test_forced_start},
        {"/verbs-guest/restart-limit", test_restart_limit},
        {"/verbs-guest/waits-for-its-copy", test_waits_for_its_copy},
        {"/verbs-guest/reserve-is-a-problem", test_reserve_is_a_problem},
    };
    for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
    }
    return g_test_run();
}
