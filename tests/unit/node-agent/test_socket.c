/* SPDX-License-Identifier: Apache-2.0
 * The socket of holdfastd with a real store behind it: answers of the size a full cluster makes, and the event stream.
 */
#include "common/ident.h"
#include "common/local_call.h"
#include "node-agent/socket.h"
#include "storage/record.h"
#include "tests/unit/node-agent/daemon_fixture.h"
#include "webui-api/server/agent_client.h"

#include <sys/un.h>

#define GUESTS 1000
#define KEYS_PER_TXN 100 /* etcd takes 128 */
#define CALL_TIMEOUT_MS 120000

/* --- a cluster of three nodes and many guests --- */

typedef struct {
    Fixture *fixture;
    StoreTxn *txn;
    guint n_keys;
} Filler;

static void flush(Filler *filler)
{
    GError *error = NULL;
    store_txn_commit(filler->fixture->daemon.store, filler->txn, NULL, &error);
    g_assert_no_error(error);
    store_txn_free(filler->txn);
    filler->txn = store_txn_new();
    filler->n_keys = 0;
}

static void fill_text(Filler *filler, const char *name, const char *text)
{
    g_autofree char *key = g_strconcat(STORE_ROOT, name, NULL);
    store_txn_put(filler->txn, key, text, 0);
    if (++filler->n_keys == KEYS_PER_TXN) {
        flush(filler);
    }
}

static void fill_object(Filler *filler, const char *name, const JsonStruct *type, gconstpointer object)
{
    g_autofree char *text = object_to_text(type, object);
    fill_text(filler, name, text);
}

static void fill_node(Filler *filler, gint64 id)
{
    g_autofree char *name = g_strdup_printf("n%d", (int) id);
    g_autofree char *key = g_strconcat("node/", name, NULL);
    Node node = {.version = 1, .name = name, .id = id, .ring0 = (char *) "10.0.0.1"};
    fill_object(filler, key, &node_type, &node);
}

static void fill_status(Filler *filler, const char *node, const char *guest)
{
    g_autofree char *key = g_strdup_printf("status/%s/guest/%s", node, guest);
    VolumeStatus volume = {.role = (char *) "Primary",
                           .disk = (char *) "UpToDate",
                           .peer_disk = (char *) "UpToDate",
                           .connection = (char *) "Connected",
                           .resync_permille = 1000,
                           .gate = (char *) "open"};
    g_autoptr(GPtrArray) volumes = g_ptr_array_new();
    g_ptr_array_add(volumes, &volume);
    GuestStatus status = {.version = 1,
                          .node = (char *) node,
                          .guest = (char *) guest,
                          .boot_id = (char *) "4f7c6a0e-6a51-4a5c-8c2b-7d9f0f8d3e10",
                          .ready = TRUE,
                          .vmm = (char *) "running",
                          .condition = (char *) "",
                          .volumes = volumes};
    fill_object(filler, key, &guest_status_type, &status);
}

static void fill_guest(Filler *filler, int slot)
{
    g_autofree char *name = g_strdup_printf("customer-web-%04d", slot);
    g_autofree char *guest_key = g_strconcat("guest/", name, NULL);
    g_autofree char *volume_key = g_strdup_printf("volume/%s-0", name);
    g_autofree char *record_name = g_strconcat("record/", name, NULL);
    g_autofree char *spec_text =
        g_strdup_printf("{\"memory_mib\":2048,\"vcpus\":2,\"volumes\":[{\"image\":\"debian\"}],"
                        "\"nics\":[{\"network\":\"lan\",\"mac\":\"52:54:48:00:00:01\"}],"
                        "\"description\":\"web server %d of a customer\"}",
                        slot);
    g_autoptr(json_t) spec = json_text_parse(spec_text, -1, "spec", NULL);
    g_autoptr(Guest) guest = object_new(&guest_type);
    const char *nodes[] = {"n1", "n2", NULL};
    g_assert_true(guest_spec_from_json(spec, &guest->spec, NULL));
    guest->name = g_strdup(name);
    guest->uuid = ident_new_uuid();
    guest->created_at = ident_timestamp();
    guest->slot = slot;
    guest->nodes = g_strdupv((char **) nodes);
    fill_object(filler, guest_key, &guest_type, guest);
    Volume volume = {.version = 1, .guest = name, .size_bytes = 1 << 30, .image = (char *) "debian"};
    fill_object(filler, volume_key, &volume_type, &volume);
    Record record = {.generation = 3, .state = RECORD_RUNNING, .in_sync = {"n1", "n2"}, .owner = "n1"};
    g_strlcpy(record.owner_boot_id, "4f7c6a0e-6a51-4a5c-8c2b-7d9f0f8d3e10", sizeof(record.owner_boot_id));
    char *text = record_encode(&record);
    fill_text(filler, record_name, text);
    free(text);
    fill_status(filler, "n1", name);
    fill_status(filler, "n2", name);
}

/* crm_mon of that cluster. */
static gboolean crm_mon_run(const ProcessRunner *runner, const char *const *argv, const char *input G_GNUC_UNUSED,
                            int timeout_ms G_GNUC_UNUSED, ProcessResult *ret, GError **error G_GNUC_UNUSED)
{
    g_assert_cmpstr(argv[0], ==, "/usr/sbin/crm_mon");
    ret->stdout_text = g_strdup(runner->user_data);
    ret->stderr_text = g_strdup("");
    return TRUE;
}

static char *crm_mon_text(int guests)
{
    GString *xml =
        g_string_new("<pacemaker-result><summary><current_dc present=\"true\" name=\"n1\" with_quorum=\"true\"/>"
                     "</summary><nodes>");
    for (int i = 1; i <= 3; i++) {
        g_string_append_printf(xml, "<node name=\"n%d\" online=\"true\" unclean=\"false\"/>", i);
    }
    g_string_append(xml, "</nodes><resources>");
    for (int i = 1; i <= guests; i++) {
        g_string_append_printf(xml,
                               "<resource id=\"customer-web-%04d\" role=\"Started\" nodes_running_on=\"1\">"
                               "<node name=\"n1\"/></resource>",
                               i);
    }
    g_string_append(xml, "</resources></pacemaker-result>");
    return g_string_free(xml, FALSE);
}

/* --- calls from a thread, as the socket is served by the main context --- */

typedef struct {
    const char *path;
    json_t *local, *api;
    GError *error;
    gint done;
} Calls;

static gpointer call_status(gpointer data)
{
    Calls *calls = data;
    g_autoptr(AgentClient) client = agent_client_new(calls->path, -1);
    g_autoptr(json_t) arguments = json_object();
    AgentRequest request = {.request_id = "1", .user = "root", .verb = "status", .arguments = arguments};
    calls->local = local_call(calls->path, "status", NULL, CALL_TIMEOUT_MS, &calls->error);
    if (calls->local) {
        calls->api = agent_client_call(client, &request, CALL_TIMEOUT_MS, &calls->error);
    }
    g_atomic_int_set(&calls->done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static AgentSocket *serve(Fixture *fixture, const char *path)
{
    GError *error = NULL;
    AgentSocket *socket = agent_socket_new(&fixture->daemon, path, &error);
    g_assert_no_error(error);
    return socket;
}

/* As much as the largest supported cluster has goes through both clients in one piece. */
static void test_status_of_many_guests(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Filler filler = {.fixture = fixture, .txn = store_txn_new()};
    g_autofree char *path = g_build_filename(fixture->etcd->folder, "agent.sock", NULL);
    g_autofree char *xml = crm_mon_text(GUESTS);
    ProcessRunner runner = {.run = crm_mon_run, .user_data = xml};
    fixture->daemon.runner = &runner;
    for (int i = 1; i <= 3; i++) {
        fill_node(&filler, i);
    }
    for (int i = 1; i <= GUESTS; i++) {
        fill_guest(&filler, i);
    }
    flush(&filler);
    store_txn_free(filler.txn);
    fixture_load(fixture);
    AgentSocket *socket = serve(fixture, path);
    Calls calls = {.path = path};
    GThread *thread = g_thread_new("calls", call_status, &calls);
    while (!g_atomic_int_get(&calls.done)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_thread_join(thread);
    g_assert_no_error(calls.error);
    const json_t *guests = json_object_get(calls.api, "guests");
    g_assert_cmpuint(json_array_size(guests), ==, GUESTS);
    g_assert_cmpstr(json_string_value(json_object_get(json_object_get(json_array_get(guests, 999), "status"), "state")),
                    ==, "running");
    g_assert_true(json_equal(calls.local, calls.api));
    g_autofree char *text = json_text_from(calls.api);
    g_test_message("status of %d guests: %zu bytes", GUESTS, strlen(text));
    g_assert_cmpuint(strlen(text), >, JSON_TEXT_MAX_BYTES);       /* or this would test nothing */
    g_assert_cmpuint(strlen(text), <, JSON_ANSWER_MAX_BYTES / 4); /* room for guests with more volumes */
    json_decref(calls.local);
    json_decref(calls.api);
    agent_socket_free(socket);
}

/* --- events --- */

typedef struct {
    const char *path;
    gint64 since; /* -1: not given */
    gint watching;
    GPtrArray *texts;
    guint wanted;
    gint done;
} Watching;

static gpointer watch(gpointer data)
{
    Watching *watching = data;
    g_autoptr(AgentClient) client = agent_client_new(watching->path, -1);
    g_autoptr(json_t) arguments = json_object();
    if (watching->since >= 0) {
        json_object_set_new(arguments, "since", json_integer(watching->since));
    }
    AgentRequest request = {.request_id = "1", .user = "root", .verb = "events.watch", .arguments = arguments};
    GError *error = NULL;
    g_autoptr(AgentStream) stream = agent_client_watch(client, &request, CALL_TIMEOUT_MS, &error);
    g_assert_no_error(error);
    g_atomic_int_set(&watching->watching, 1);
    g_main_context_wakeup(NULL);
    while (watching->texts->len < watching->wanted) {
        json_t *event = NULL;
        AgentStreamResult result = agent_stream_next(stream, CALL_TIMEOUT_MS, -1, &event);
        g_assert_cmpint(result, !=, AGENT_STREAM_ENDED);
        if (result == AGENT_STREAM_EVENT) {
            g_ptr_array_add(watching->texts, g_strdup(json_string_value(json_object_get(event, "text"))));
            json_decref(event);
        }
    }
    g_atomic_int_set(&watching->done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static void until(gint *flag)
{
    while (!g_atomic_int_get(flag)) {
        g_main_context_iteration(NULL, TRUE);
    }
}

/* Without "since" only what happens from now on, with it what happened after that too. The fixture stays: the server's
 * threads notice some seconds later only that nobody reads their streams any more. */
static void test_events(void)
{
    static Fixture kept;
    Fixture *fixture = &kept;
    fixture_set_up(fixture, NULL);
    Daemon *daemon = &fixture->daemon;
    g_autofree char *path = g_build_filename(fixture->etcd->folder, "agent.sock", NULL);
    fixture_load(fixture);
    daemon_event(daemon, "test.event", "guest/web1", "old");
    fixture_catch_up(fixture);
    AgentSocket *socket = serve(fixture, path);
    Watching now = {.path = path, .since = -1, .wanted = 1}, all = {.path = path, .since = 0, .wanted = 2};
    now.texts = g_ptr_array_new_with_free_func(g_free);
    all.texts = g_ptr_array_new_with_free_func(g_free);
    GThread *now_thread = g_thread_new("now", watch, &now), *all_thread = g_thread_new("all", watch, &all);
    until(&now.watching);
    until(&all.watching);
    daemon_event(daemon, "test.event", "guest/web1", "new");
    until(&now.done);
    until(&all.done);
    g_thread_join(now_thread);
    g_thread_join(all_thread);
    g_assert_cmpstr(now.texts->pdata[0], ==, "new");
    g_assert_cmpstr(all.texts->pdata[0], ==, "old");
    g_assert_cmpstr(all.texts->pdata[1], ==, "new");
    g_ptr_array_unref(now.texts);
    g_ptr_array_unref(all.texts);
    agent_socket_free(socket);
    etcd_free(g_steal_pointer(&fixture->etcd));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/socket/status-of-many-guests", Fixture, NULL, fixture_set_up, test_status_of_many_guests,
               fixture_tear_down);
    g_test_add_func("/socket/events", test_events);
    return g_test_run();
}
