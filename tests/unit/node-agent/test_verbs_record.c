/* SPDX-License-Identifier: Apache-2.0
 * record.get and record.cas against a real etcd, through the real socket: what they say, whom they refuse, and that the
 * member of this node need not be there. */
#include "node-agent/socket.h"
#include "node-agent/verbs.h"
#include "storage/record.h"
#include "tests/unit/cluster/etcd_fixture.h"

#include "common/local_call.h"

#include <stdlib.h>

#define NOBODY 65534

typedef struct {
    Etcd *etcd;
    Daemon daemon;
    NodeConfig config;
    AgentSocket *socket;
    char *folder, *path;
} Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    f->etcd = etcd_new("verbs");
    etcd_spawn(f->etcd);
    f->config.node = (char *) "n1";
    f->daemon.config = &f->config;
    /* The first endpoint is the member of this node, which is not there. */
    f->daemon.store = store_at("unix:/nonexistent/etcd.sock:0", f->etcd->endpoint, 5000);
    f->folder = g_dir_make_tmp("holdfast-XXXXXX", NULL);
    f->path = g_build_filename(f->folder, "agent.sock", NULL);
    GError *error = NULL;
    f->socket = agent_socket_new(&f->daemon, f->path, &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_chmod(f->folder, 0755), ==, 0);
    g_assert_cmpint(g_chmod(f->path, 0666), ==, 0); /* so that it is the verb that refuses, not the file */
    g_assert_true(store_put(f->daemon.store, STORE_ROOT "record/web1",
                            "{\"version\":1,\"generation\":7,\"state\":\"running\",\"in_sync\":[\"n1\",\"n2\"],"
                            "\"owner\":\"n1\",\"owner_boot_id\":\"b\",\"handover_to\":\"\",\"handover_id\":\"\"}",
                            0, 0, NULL, &error));
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    agent_socket_free(f->socket);
    store_free(f->daemon.store);
    etcd_free(f->etcd);
    g_rmdir(f->folder);
    g_free(f->folder);
    g_free(f->path);
}

static json_t *run(Fixture *f, const char *verb, json_t *arguments, GError **error)
{
    g_autoptr(json_t) owned = arguments;
    return verb_run(&f->daemon, verb, owned, "local", error);
}

static void assert_fails(Fixture *f, const char *verb, json_t *arguments, int code, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) result = run(f, verb, arguments, &error);
    g_assert_null(result);
    g_assert_error(error, HOLDFAST_ERROR, code);
    g_assert_nonnull(strstr(error->message, text));
}

static void test_get_and_cas(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) got = run(f, "record.get", json_pack("{s:s}", "guest", "web1"), &error);
    g_assert_no_error(error);
    json_int_t revision = json_integer_value(json_object_get(got, "revision"));
    Record record, next;
    char reason[200];
    g_assert_true(record_decode(json_string_value(json_object_get(got, "record")), &record, reason, sizeof(reason)));
    g_assert_cmpint(record.generation, ==, 7);
    g_assert_true(record_mark(&record, "n1", "b", "n2", &next, reason, sizeof(reason)));
    char *text = record_encode(&next);
    g_autoptr(json_t) written =
        run(f, "record.cas", json_pack("{s:s,s:s,s:I}", "guest", "web1", "record", text, "revision", revision), &error);
    g_assert_no_error(error);
    g_assert_true(json_is_true(json_object_get(written, "written")));
    /* What was read before cannot be written upon again. */
    assert_fails(f, "record.cas", json_pack("{s:s,s:s,s:I}", "guest", "web1", "record", text, "revision", revision),
                 HOLDFAST_ERROR_CONFLICT, "changed meanwhile");
    free(text);
    Record now;
    g_assert_true(record_read(f->daemon.store, "web1", &now, NULL, NULL));
    g_assert_cmpint(now.generation, ==, 8);
    g_assert_false(record_is_in_sync(&now, "n2"));
}

static void test_bad_input(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    assert_fails(f, "record.get", json_object(), HOLDFAST_ERROR_INVALID, "guest:");
    assert_fails(f, "record.get", json_pack("{s:s}", "guest", "../web1"), HOLDFAST_ERROR_INVALID, "guest");
    assert_fails(f, "record.get", json_pack("{s:s}", "guest", "other"), HOLDFAST_ERROR_NOT_FOUND, "record/other");
    assert_fails(f, "record.cas", json_pack("{s:s,s:s,s:i}", "guest", "web1", "record", "{}", "revision", 5),
                 HOLDFAST_ERROR_INVALID, "record: version");
    /* 0 would mean "must not exist", -1 "whatever is there": neither is a compare with something read. */
    assert_fails(f, "record.cas", json_pack("{s:s,s:s,s:i}", "guest", "web1", "record", "{}", "revision", 0),
                 HOLDFAST_ERROR_INVALID, "revision:");
    assert_fails(f, "record.cas", json_pack("{s:s,s:s,s:i}", "guest", "web1", "record", "{}", "revision", -1),
                 HOLDFAST_ERROR_INVALID, "revision:");
    assert_fails(f, "record.cas", json_pack("{s:s,s:s}", "guest", "web1", "record", "{}"), HOLDFAST_ERROR_INVALID,
                 "revision:");
}

/* Error code of record.get over the socket, asked as `uid` by another process; -1 when it succeeded. */
static int asked_as(const Fixture *f, uid_t uid)
{
    pid_t child = fork();
    if (child == 0) {
        if (uid != geteuid() && setresuid(uid, uid, uid) != 0) {
            _exit(100);
        }
        GError *error = NULL;
        json_t *arguments = json_pack("{s:s}", "guest", "web1");
        _exit(local_call(f->path, "record.get", arguments, 20000, &error) ? 101 : holdfast_error_code(error));
    }
    int status = 0;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 100);
    return WEXITSTATUS(status) == 101 ? -1 : WEXITSTATUS(status);
}

static gpointer loop_run(gpointer loop)
{
    g_main_loop_run(loop);
    return NULL;
}

static void test_root_only(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    GThread *thread = g_thread_new("loop", loop_run, loop);
    gboolean root = geteuid() == 0;
    g_assert_cmpint(asked_as(f, geteuid()), ==, root ? -1 : HOLDFAST_ERROR_DENIED);
    if (root) {
        g_assert_cmpint(asked_as(f, NOBODY), ==, HOLDFAST_ERROR_DENIED);
    }
    g_main_loop_quit(loop);
    g_thread_join(thread);
}

#define ADD(name, function) g_test_add("/verbs-record/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("get-and-cas", test_get_and_cas);
    ADD("bad-input", test_bad_input);
    ADD("root-only", test_root_only);
    return g_test_run();
}
