/* SPDX-License-Identifier: Apache-2.0
 * When a node that is gone for good may be given up: never while it may run, never with what only it has. */
#include "node-agent/node_gone.h"
#include "node-agent/operation.h"
#include "node-agent/verbs.h"

#include "common/error.h"
#include "storage/record.h"
#include "tests/unit/node-agent/daemon_fixture.h"

#include <stdlib.h>
#include <string.h>

static char *old_nodes[] = {"n1", "n2", NULL};

static Record record_of(const char *in_sync)
{
    Record record = {.generation = 7, .state = RECORD_RUNNING, .owner = "n1", .owner_boot_id = "b1"};
    g_auto(GStrv) names = g_strsplit(in_sync, " ", -1);
    for (guint i = 0; names[i] && i < RECORD_NODES_MAX; i++) {
        g_strlcpy(record.in_sync[i], names[i], RECORD_NAME_MAX);
    }
    return record;
}

static void test_obstacles(void)
{
    Guest guest = {.name = "web1", .nodes = old_nodes};
    Record record = record_of("n1");
    const struct {
        const char *in_sync;
        RecordState state;
        const char *owner, *says;
    } cases[] = {
        {"n1", RECORD_RUNNING, "n1", NULL},
        {"n1 n2", RECORD_RUNNING, "n1", NULL}, /* being recorded just now */
        {"n2", RECORD_RUNNING, "n2", "its only current copy is on n2"},
        {"n2", RECORD_STOPPED, "n2", "its only current copy is on n2"},
        {"n1 n2", RECORD_RUNNING, "n2", "does not run on n1"},
        {"n1 n2", RECORD_STOPPED, "n1", "does not run on n1"},
        {"", RECORD_NEW, "", "never completed"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        record = record_of(cases[i].in_sync);
        record.state = cases[i].state;
        g_strlcpy(record.owner, cases[i].owner, RECORD_NAME_MAX);
        g_autofree char *text = node_gone_obstacle(&guest, &record, "n2");
        g_assert_true(!text == !cases[i].says);
        g_assert_true(!text || strstr(text, cases[i].says));
    }
    record = record_of("n1");
    g_autofree char *unknown = node_gone_obstacle(&guest, NULL, "n2");
    g_assert_nonnull(strstr(unknown, "cannot be read"));
    g_strlcpy(record.unconfirmed, "r1", RECORD_NAME_MAX);
    g_autofree char *doubted = node_gone_obstacle(&guest, &record, "n2");
    g_assert_nonnull(strstr(doubted, "in doubt"));
    char *single[] = {"n2", NULL};
    guest.nodes = single;
    record = record_of("n2");
    g_autofree char *only = node_gone_obstacle(&guest, &record, "n2");
    g_assert_nonnull(strstr(only, "only current copy"));
    guest.deleting = TRUE;
    g_assert_null(node_gone_obstacle(&guest, &record, "n2"));
}

/* ---- the check, over a real store; Pacemaker's program is recorded ---- */

#define STATE(attributes) "<node_state uname=\"n2\" " attributes "/>"
#define DOWN STATE("in_ccm=\"false\" crmd=\"offline\" join=\"down\" expected=\"down\"")
#define CRASHED STATE("in_ccm=\"false\" crmd=\"offline\" join=\"down\" expected=\"member\"")

static const char *state;

static gboolean cibadmin_run(const ProcessRunner *runner G_GNUC_UNUSED, const char *const *argv,
                             const char *input G_GNUC_UNUSED, int timeout_ms G_GNUC_UNUSED, ProcessResult *ret,
                             GError **error G_GNUC_UNUSED)
{
    g_assert_true(g_str_has_suffix(argv[0], "/cibadmin"));
    *ret = (ProcessResult){.stdout_text = g_strdup(state), .stderr_text = g_strdup("")};
    return TRUE;
}

static const ProcessRunner runner = {.run = cibadmin_run};

static void put_node(Fixture *fixture, const char *name, gint64 id)
{
    g_autoptr(Node) node = object_new(&node_type);
    g_autofree char *key = g_strconcat("node/", name, NULL);
    node->name = g_strdup(name);
    node->ring0 = g_strdup("192.0.2.1");
    node->id = id;
    fixture_put(fixture, key, &node_type, node);
}

static void put_guest(Fixture *fixture, const char *name, gint64 slot, const char *in_sync, gboolean deleting)
{
    g_autoptr(Guest) guest = object_new(&guest_type);
    g_autofree char *key = g_strconcat("guest/", name, NULL);
    g_autofree char *record_at = record_key(name);
    Record record = record_of(in_sync);
    guest->name = g_strdup(name);
    guest->uuid = g_strdup("u");
    guest->slot = slot;
    guest->spec.vcpus = 1;
    guest->spec.memory_mib = 64;
    guest->spec.replicas = 2;
    guest->nodes = g_strdupv(old_nodes);
    guest->deleting = deleting;
    fixture_put(fixture, key, &guest_type, guest);
    char *text = record_encode(&record);
    put(fixture->daemon.store, record_at, text);
    free(text);
}

static void put_image(Fixture *fixture, const char *name, const char *holders)
{
    g_autoptr(Image) image = object_new(&image_type);
    g_autofree char *key = g_strconcat("image/", name, NULL);
    image->name = g_strdup(name);
    image->size_bytes = 1;
    image->nodes = g_strsplit(holders, " ", -1);
    fixture_put(fixture, key, &image_type, image);
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture_set_up(fixture, data);
    fixture->daemon.runner = &runner;
    fixture->daemon.view = (MembershipView){.connected = TRUE, .quorate = TRUE, .n_nodes = 2, .nodes = {1, 3}};
    state = DOWN;
    fixture_load(fixture);
    put_node(fixture, "n1", 1);
    put_node(fixture, "n2", 2);
    put_node(fixture, "n3", 3);
    put_guest(fixture, "web1", 1, "n1", FALSE);
    put_image(fixture, "debian", "n2 n1");
    fixture_catch_up(fixture);
}

static void assert_refused(Fixture *fixture, const char *node, int code, const char *says)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(node_gone_check(&fixture->daemon, node, &error));
    g_assert_error(error, HOLDFAST_ERROR, code);
    if (!strstr(error->message, says)) {
        g_assert_cmpstr(error->message, ==, says);
    }
}

static void test_surely_off(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(node_gone_check(&fixture->daemon, "n2", &error));
    g_assert_no_error(error);
    assert_refused(fixture, "n3", HOLDFAST_ERROR_REFUSED, "name: node 'n3' is online");
    assert_refused(fixture, "n1", HOLDFAST_ERROR_REFUSED, "name: node 'n1' is online");
    state = CRASHED; /* and not fenced */
    assert_refused(fixture, "n2", HOLDFAST_ERROR_REFUSED, "'holdfast fence confirm n2'");
    state = DOWN;
    fixture->daemon.view.quorate = FALSE;
    assert_refused(fixture, "n2", HOLDFAST_ERROR_UNAVAILABLE, "quorate");
}

/* All of it is named at once, and a guest that is being deleted is none of it. */
static void test_obstacles_named(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    put_guest(fixture, "db1", 2, "n2", FALSE);
    put_guest(fixture, "old1", 3, "n2", TRUE);
    put_image(fixture, "rare", "n2");
    fixture_catch_up(fixture);
    assert_refused(fixture, "n2", HOLDFAST_ERROR_REFUSED,
                   "name: node 'n2' is not given up: guest 'db1': its only current copy is on n2: bring the node back, "
                   "or give the guest up with 'holdfast guest delete db1'; image 'rare': its only copy is on n2: "
                   "'holdfast image delete rare'");
    g_autoptr(json_t) arguments = json_pack("{s:s,s:b}", "name", "n2", "gone", 1);
    g_autoptr(GError) error = NULL;
    g_assert_null(verb_run(&fixture->daemon, "node.remove", arguments, "t", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_assert_null(operation_running_on(&fixture->daemon, "node/n2"));
}

static void test_accepted(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(json_t) arguments = json_pack("{s:s,s:b}", "name", "n2", "gone", 1);
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) operation = verb_run(&fixture->daemon, "node.remove", arguments, "t", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(json_string_value(json_object_get(operation, "kind")), ==, "node.remove");
    g_assert_cmpstr(json_string_value(json_object_get(operation, "node")), ==, "n1"); /* who drives it */
    fixture_catch_up(fixture);
    g_assert_null(verb_run(&fixture->daemon, "node.remove", arguments, "t", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/node-gone/obstacles", test_obstacles);
    g_test_add("/node-gone/surely-off", Fixture, NULL, set_up, test_surely_off, fixture_tear_down);
    g_test_add("/node-gone/obstacles-named", Fixture, NULL, set_up, test_obstacles_named, fixture_tear_down);
    g_test_add("/node-gone/accepted", Fixture, NULL, set_up, test_accepted, fixture_tear_down);
    return g_test_run();
}
