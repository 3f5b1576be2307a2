/* SPDX-License-Identifier: Apache-2.0
 * DRBD's handler, the real program but for its root (HOLDFAST_TEST_HANDLER): a failed disk, and the record through the
 * store's member here or through holdfastd. The kernel is a file, drbdsetup a script, store and holdfastd are threads.
 */
#include "common/ident.h"
#include "common/json.h"
#include "storage/lost_copy.h"
#include "storage/split_brain.h"
#include "storage/record_codec.h"

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGENT_PATH "run/holdfast/agent.sock"
#define STORE_PATH "run/holdfast-etcd/etcd.sock:0"
#define LOST_COPIES "var/lib/holdfast/lost-copy"

typedef struct {
    GMutex lock;
    GSocketService *agent, *store; /* NULL: nobody listens */
    char *record;                  /* lock; what the store holds */
    gint64 revision;               /* lock */
    GPtrArray *asked;              /* lock; verbs of holdfastd and paths of the store, in order */
    gboolean store_has_majority;
    gboolean agent_reaches_store;
    gboolean peer_confirms;
} World;

static World world;

static void asked(const char *what)
{
    g_mutex_lock(&world.lock);
    g_ptr_array_add(world.asked, g_strdup(what));
    g_mutex_unlock(&world.lock);
}

static gboolean was_asked(const char *what)
{
    gboolean found = FALSE;
    g_mutex_lock(&world.lock);
    for (guint i = 0; i < world.asked->len; i++) {
        found |= g_str_equal(world.asked->pdata[i], what);
    }
    g_mutex_unlock(&world.lock);
    return found;
}

/* Compare-and-set, whichever way it came. */
static gboolean world_write(const char *record, gint64 revision)
{
    g_mutex_lock(&world.lock);
    gboolean same = revision == world.revision;
    if (same) {
        g_free(world.record);
        world.record = g_strdup(record);
        world.revision++;
    }
    g_mutex_unlock(&world.lock);
    return same;
}

/* ---- holdfastd ---- */

static json_t *agent_answer(const char *verb, json_t *args)
{
    g_assert_cmpstr(json_string_value(json_object_get(args, "guest")), ==, "web1");
    if (g_str_equal(verb, "peer.outdate")) {
        return world.peer_confirms ? json_pack("{s:b,s:{s:b}}", "ok", 1, "result", "outdated", 1)
                                   : json_pack("{s:b}", "ok", 0);
    }
    if (world.agent_reaches_store && g_str_equal(verb, "record.get")) {
        return json_pack("{s:b,s:{s:s,s:I}}", "ok", 1, "result", "record", world.record, "revision",
                         (json_int_t) world.revision);
    }
    if (world.agent_reaches_store && g_str_equal(verb, "record.cas") &&
        world_write(json_string_value(json_object_get(args, "record")),
                    json_integer_value(json_object_get(args, "revision")))) {
        return json_pack("{s:b,s:{s:b}}", "ok", 1, "result", "written", 1);
    }
    return json_pack("{s:b}", "ok", 0);
}

static gboolean on_agent(GThreadedSocketService *service G_GNUC_UNUSED, GSocketConnection *connection,
                         GObject *source G_GNUC_UNUSED, gpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GDataInputStream) in = g_data_input_stream_new(g_io_stream_get_input_stream(G_IO_STREAM(connection)));
    g_autofree char *line = g_data_input_stream_read_line(in, NULL, NULL, NULL);
    g_autoptr(json_t) request = json_text_parse(line, -1, "request", NULL);
    const char *verb = json_string_value(json_object_get(request, "verb"));
    asked(verb);
    g_autoptr(json_t) answer = agent_answer(verb, json_object_get(request, "args"));
    g_autofree char *text = json_text_from(answer);
    g_autofree char *reply = g_strconcat(text, "\n", NULL);
    g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), reply, strlen(reply), NULL, NULL,
                              NULL);
    return TRUE;
}

/* ---- the store's member ---- */

static char *from_base64(const json_t *value)
{
    gsize length = 0;
    g_autofree guchar *bytes = g_base64_decode(json_string_value(value), &length);
    return g_strndup((char *) bytes, length);
}

static json_t *store_answer(const char *path, const json_t *body)
{
    if (g_str_equal(path, "/v3/kv/range")) {
        g_autofree char *key = from_base64(json_object_get(body, "key"));
        g_assert_cmpstr(key, ==, "/holdfast/v1/record/web1");
        g_autofree char *value = g_base64_encode((const guchar *) world.record, strlen(world.record));
        g_autofree char *revision = g_strdup_printf("%" G_GINT64_FORMAT, world.revision);
        return json_pack("{s:[{s:s,s:s}]}", "kvs", "value", value, "mod_revision", revision);
    }
    json_t *compare = json_array_get(json_object_get(body, "compare"), 0);
    json_t *put = json_object_get(json_array_get(json_object_get(body, "success"), 0), "request_put");
    g_autofree char *record = from_base64(json_object_get(put, "value"));
    gint64 revision = g_ascii_strtoll(json_string_value(json_object_get(compare, "mod_revision")), NULL, 10);
    return json_pack("{s:b}", "succeeded", world_write(record, revision));
}

static gboolean on_store(GThreadedSocketService *service G_GNUC_UNUSED, GSocketConnection *connection,
                         GObject *source G_GNUC_UNUSED, gpointer unused G_GNUC_UNUSED)
{
    GInputStream *raw = g_io_stream_get_input_stream(G_IO_STREAM(connection));
    g_autoptr(GDataInputStream) in = g_data_input_stream_new(raw);
    char path[100] = "";
    gsize length = 0;
    for (;;) {
        g_autofree char *line = g_data_input_stream_read_line(in, NULL, NULL, NULL);
        if (!line || strlen(g_strchomp(line)) == 0) {
            break;
        }
        sscanf(line, "POST %99s", path);
        sscanf(line, "Content-Length: %zu", &length);
    }
    g_autofree char *text = g_malloc0(length + 1);
    g_input_stream_read_all(G_INPUT_STREAM(in), text, length, NULL, NULL, NULL);
    g_autoptr(json_t) body = json_text_parse(text, -1, "body", NULL);
    asked(path);
    g_autoptr(json_t) answer = world.store_has_majority ? store_answer(path, body) : json_object();
    g_autofree char *content = json_text_from(answer);
    g_autofree char *reply = g_strdup_printf("HTTP/1.0 %s\r\nContent-Type: application/json\r\n\r\n%s",
                                             world.store_has_majority ? "200 OK" : "503 Unavailable", content);
    g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), reply, strlen(reply), NULL, NULL,
                              NULL);
    return TRUE;
}

static GSocketService *listen_at(const char *path, GCallback on_run)
{
    GSocketService *service = g_threaded_socket_service_new(8);
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    GError *error = NULL;
    g_socket_listener_add_address(G_SOCKET_LISTENER(service), address, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT,
                                  NULL, NULL, &error);
    g_assert_no_error(error);
    g_signal_connect(service, "run", on_run, NULL);
    g_socket_service_start(service);
    return service;
}

/* ---- the node ---- */

typedef struct {
    char *folder, *previous;
    GMainLoop *loop;
    GThread *thread;
} Fixture;

static void put(const char *path, const char *text)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void put_manifest(gboolean two)
{
    g_autofree char *text =
        g_strdup_printf("{\"guest\":{\"slot\":5},\"volumes\":[{},{}],\"address\":\"10.0.0.1\"%s}",
                        two ? ",\"peer_node\":\"other\",\"peer_id\":2,\"peer_address\":\"10.0.0.2\"" : "");
    put("var/lib/holdfast/guests/web1.json", text);
    put("var/lib/holdfast/guests/damaged.json", "{");
}

/* Both volumes alike but for the first one's local disk. */
static void put_kernel(const char *connection, const char *roles, const char *first_disk, const char *flags)
{
    g_autofree char *text = g_strdup_printf("version: 8.4.11 (api:1/proto:86-101)\n"
                                            "80: cs:%s ro:%s ds:%s/UpToDate C %s\n    ns:0\n"
                                            "81: cs:%s ro:%s ds:UpToDate/UpToDate C %s\n    ns:0\n",
                                            connection, roles, first_disk, flags, connection, roles, flags);
    put("proc/drbd", text);
}

/* drbdsetup notes what it was asked, does `then`, and waits for the test like the real one does for DRBD's worker. */
static void put_drbdsetup(const char *then)
{
    g_autofree char *text = g_strdup_printf("#!/bin/sh\necho \"$@\" >drbdsetup.tmp\n%s\nmv drbdsetup.tmp "
                                            "drbdsetup.log\nread word <gate\n: >drbdsetup.done\n",
                                            then);
    put("lib/drbd/drbdsetup-84", text);
    g_assert_cmpint(g_chmod("lib/drbd/drbdsetup-84", 0755), ==, 0);
    g_assert_cmpint(mkfifo("gate", 0600), ==, 0);
}

static void set_record(const char *in_sync, const char *state, const char *owner)
{
    g_free(world.record);
    world.revision = 41;
    world.record = g_strdup_printf("{\"version\":1,\"generation\":7,\"state\":\"%s\",\"in_sync\":%s,\"owner\":\"%s\","
                                   "\"owner_boot_id\":\"%s\",\"handover_to\":\"\",\"handover_id\":\"\"}",
                                   state, in_sync, owner, ident_boot_id());
}

static char *us_and(const char *other)
{
    return g_strdup_printf("[\"%s\"%s%s%s]", ident_node_name(), other ? ",\"" : "", other ? other : "",
                           other ? "\"" : "");
}

static gpointer loop_run(gpointer loop)
{
    g_main_loop_run(loop);
    return NULL;
}

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    f->previous = g_get_current_dir();
    f->folder = g_dir_make_tmp("holdfast-XXXXXX", NULL);
    g_assert_cmpint(g_chdir(f->folder), ==, 0);
    g_mkdir_with_parents("run/holdfast", 0755);
    g_mkdir_with_parents("run/holdfast-etcd", 0755);
    world = (World){.asked = g_ptr_array_new_with_free_func(g_free), .store_has_majority = TRUE};
    g_autofree char *both = us_and("other");
    set_record(both, "running", ident_node_name());
    put_manifest(TRUE);
    f->loop = g_main_loop_new(NULL, FALSE);
    f->thread = g_thread_new("services", loop_run, f->loop);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    GSocketService *services[] = {world.agent, world.store};
    for (int i = 0; i < 2; i++) {
        if (services[i]) {
            g_socket_service_stop(services[i]);
            g_socket_listener_close(G_SOCKET_LISTENER(services[i]));
            g_object_unref(services[i]);
        }
    }
    g_main_loop_quit(f->loop);
    g_thread_join(f->thread);
    g_main_loop_unref(f->loop);
    g_assert_cmpint(g_chdir(f->previous), ==, 0);
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", f->folder);
    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
    g_ptr_array_unref(world.asked);
    g_free(world.record);
    g_free(f->folder);
    g_free(f->previous);
}

static char *handler_path; /* absolute: the tests change the folder */

static GPid handler_start(const char *event, const char *what)
{
    char *argv[] = {handler_path, (char *) event, (char *) what, NULL};
    GPid pid;
    GError *error = NULL;
    g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, &error);
    g_assert_no_error(error);
    return pid;
}

static int handler_end(GPid pid)
{
    int status = 0;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int handler(const char *event, const char *what)
{
    return handler_end(handler_start(event, what));
}

static int notes(void)
{
    LostCopy lost;
    lost_copy_look(LOST_COPIES, "web1", ident_boot_id(), &lost);
    g_assert_true(lost.n_names == 0 || (lost.held && lost.minor == 80));
    return lost.n_names;
}

/* ---- local-io-error ---- */

static void test_secondary_cuts_itself_off(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    put_kernel("Connected", "Secondary/Primary", "Failed", "r-----");
    put_drbdsetup("sed -i 's/cs:.*/cs:Unconfigured/' proc/drbd");
    g_assert_cmpint(handler("local-io-error", "minor-80"), ==, 0);
    g_assert_cmpint(notes(), ==, 1);
    /* It returned as soon as the connection was down, with drbdsetup still waiting (for the kernel's worker, which
     * waits for the handler). */
    g_assert_false(g_file_test("drbdsetup.done", G_FILE_TEST_EXISTS));
    FILE *gate = fopen("gate", "w"); /* waits for the script's read */
    fputs("go\n", gate);
    fclose(gate);
    while (!g_file_test("drbdsetup.done", G_FILE_TEST_EXISTS)) {
        g_usleep(10 * 1000);
    }
    g_autofree char *log = NULL;
    g_assert_true(g_file_get_contents("drbdsetup.log", &log, NULL, NULL));
    g_assert_cmpstr(log, ==, "disconnect --force=yes ipv4:10.0.0.1:7805 ipv4:10.0.0.2:7805\n");
}

static void test_cut_that_does_not_come(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    put_kernel("Connected", "Secondary/Primary", "Failed", "r-----");
    /* no drbdsetup at all */
    g_assert_cmpint(handler("local-io-error", "minor-80"), ==, 0);
    g_assert_cmpint(notes(), ==, 1);
}

static void test_primary_stays_connected(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    put_kernel("Connected", "Primary/Secondary", "Failed", "r-----");
    put_drbdsetup(": >called");
    g_assert_cmpint(handler("local-io-error", "minor-80"), ==, 0);
    g_assert_cmpint(notes(), ==, 1);
    g_assert_false(g_file_test("drbdsetup.tmp", G_FILE_TEST_EXISTS) || g_file_test("called", G_FILE_TEST_EXISTS));
}

static void test_one_replica(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    put_manifest(FALSE);
    put_kernel("StandAlone", "Secondary/Unknown", "Failed", "r-----");
    put_drbdsetup(": >called");
    g_assert_cmpint(handler("local-io-error", "minor-80"), ==, 0);
    g_assert_cmpint(notes(), ==, 1);
    g_assert_false(g_file_test("called", G_FILE_TEST_EXISTS));
}

static void test_nobodys_disk(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    put_kernel("Connected", "Secondary/Primary", "Failed", "r-----");
    g_assert_cmpint(handler("local-io-error", "minor-96"), ==, 0);
    g_assert_cmpint(handler("local-io-error", "hf-web1"), ==, 0);
    g_assert_false(g_file_test(LOST_COPIES, G_FILE_TEST_EXISTS));
}

/* ---- split-brain ---- */

static void test_split_brain_is_noted(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    put_kernel("StandAlone", "Secondary/Unknown", "Consistent", "r-----");
    g_assert_cmpint(handler("split-brain", "minor-96"), ==, 0); /* nobody's */
    g_assert_false(g_file_test("run/holdfast/split-brain", G_FILE_TEST_EXISTS));
    g_assert_cmpint(handler("split-brain", "minor-80"), ==, 0);
    g_assert_cmpint(handler("split-brain", "minor-80"), ==, 0);
    g_assert_true(split_brain_is_noted("run/holdfast/split-brain", "web1"));
    g_assert_true(split_brain_forget("run/holdfast/split-brain", "web1") &&
                  split_brain_forget("run/holdfast/split-brain", "web1"));
    g_assert_false(split_brain_is_noted("run/holdfast/split-brain", "web1"));
    g_assert_false(split_brain_note("run/holdfast/split-brain", "../web1"));
    g_assert_false(split_brain_note("proc/drbd/x", "web1")); /* no folder, and none can be made */
}

/* ---- fence-peer ---- */

static void serve(gboolean agent, gboolean store)
{
    world.agent = agent ? listen_at(AGENT_PATH, G_CALLBACK(on_agent)) : NULL;
    world.store = store ? listen_at(STORE_PATH, G_CALLBACK(on_store)) : NULL;
}

static Record written(void)
{
    Record record;
    char reason[200];
    g_assert_true(record_decode(world.record, &record, reason, sizeof(reason)));
    return record;
}

/* The mark, by the member here; or, where that is not to be had, through holdfastd. */
static void mark(gboolean store_there, gboolean majority_here)
{
    put_kernel("WFConnection", "Primary/Unknown", "UpToDate", "s-----");
    world.store_has_majority = majority_here;
    world.agent_reaches_store = !majority_here || !store_there;
    world.peer_confirms = TRUE;
    serve(TRUE, store_there);
    g_assert_cmpint(handler("fence-peer", "hf-web1"), ==, 4);
    Record record = written();
    g_assert_cmpint(record.generation, ==, 8);
    g_assert_true(record_is_in_sync(&record, ident_node_name()) && !record_is_in_sync(&record, "other"));
    g_assert_true(was_asked("peer.outdate"));
    g_assert_cmpint(was_asked("record.cas"), ==, world.agent_reaches_store);
    g_assert_cmpint(was_asked("/v3/kv/txn"), ==, store_there);
}

static void test_mark_here(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    mark(TRUE, TRUE);
    g_assert_false(was_asked("record.get"));
}

static void test_mark_without_a_member(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    mark(FALSE, FALSE);
}

static void test_mark_without_majority_here(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    mark(TRUE, FALSE);
}

/* Frozen it stays, until the connection is back; and the record was not touched. `until`: what it asks for in vain. */
static void stays_frozen(const char *first_disk, const char *until)
{
    put_kernel("WFConnection", "Primary/Unknown", first_disk, "s-----");
    GPid pid = handler_start("fence-peer", "hf-web1");
    if (!until) {
        g_usleep(700 * 1000); /* some of its rounds; fewer on a slow machine, never a wrong verdict */
    }
    while (until && !was_asked(until)) {
        g_usleep(10 * 1000);
    }
    put_kernel("Connected", "Primary/Secondary", first_disk, "r-----");
    g_assert_cmpint(handler_end(pid), ==, 1);
    g_assert_cmpint(world.revision, ==, 41);
}

static void test_frozen_without_proof(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    serve(TRUE, TRUE);
    stays_frozen("UpToDate", "peer.outdate");
}

/* A volume of our own is lost, so the peer's copy is the only whole one: it must not leave the record, although it
 * confirms. */
static void test_frozen_without_own_disk(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    world.peer_confirms = TRUE;
    serve(TRUE, TRUE);
    stays_frozen("Diskless", NULL);
    g_assert_false(was_asked("peer.outdate"));
}

/* Nobody to write the record: nothing is guessed. */
static void test_frozen_without_store(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    world.peer_confirms = TRUE;
    serve(TRUE, FALSE);
    stays_frozen("UpToDate", "record.get");
}

static void test_promotion(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    (void) f;
    g_autofree char *us = us_and(NULL);
    put_kernel("WFConnection", "Secondary/Unknown", "UpToDate", "r-----");
    g_assert_cmpint(handler("fence-peer", "hf-web1"), ==, 1); /* neither store nor holdfastd */
    world.agent_reaches_store = TRUE;
    serve(TRUE, FALSE);
    g_assert_cmpint(handler("fence-peer", "hf-web1"), ==, 1); /* claimed, but the peer is still in */
    set_record(us, "running", ident_node_name());
    g_assert_cmpint(handler("fence-peer", "hf-web1"), ==, 5);
    put_kernel("WFConnection", "Secondary/Unknown", "Consistent", "r-----");
    g_assert_cmpint(handler("fence-peer", "hf-web1"), ==, 7);
    set_record(us, "stopped", ident_node_name());
    g_assert_cmpint(handler("fence-peer", "hf-web1"), ==, 1);
    g_assert_cmpint(world.revision, ==, 41);
}

#define ADD(name, function) g_test_add("/fence-peer/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    const char *path = g_getenv("HOLDFAST_TEST_HANDLER");
    if (!path) {
        g_error("HOLDFAST_TEST_HANDLER is not set: run this with 'make check-unit'");
    }
    handler_path = g_canonicalize_filename(path, NULL);
    ADD("disk/secondary-cuts-itself-off", test_secondary_cuts_itself_off);
    ADD("disk/cut-that-does-not-come", test_cut_that_does_not_come);
    ADD("disk/primary-stays-connected", test_primary_stays_connected);
    ADD("disk/one-replica", test_one_replica);
    ADD("disk/nobodys", test_nobodys_disk);
    ADD("split-brain", test_split_brain_is_noted);
    ADD("mark/here", test_mark_here);
    ADD("mark/without-a-member", test_mark_without_a_member);
    ADD("mark/without-majority-here", test_mark_without_majority_here);
    ADD("frozen/without-proof", test_frozen_without_proof);
    ADD("frozen/without-own-disk", test_frozen_without_own_disk);
    ADD("frozen/without-store", test_frozen_without_store);
    ADD("promotion", test_promotion);
    int code = g_test_run();
    g_free(handler_path);
    return code;
}
