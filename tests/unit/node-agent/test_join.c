/* SPDX-License-Identifier: Apache-2.0
 * Init, join and removal end to end, cut off at every moment that matters and taken up again. */
#include "tests/unit/node-agent/join_fixture.h"
#include "node-agent/node_remove.h"
#include "node-agent/setup/reset.h"

static void test_init_again(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Machine *machine = &fixture->machines[0];
    g_autoptr(GError) error = NULL;
    g_autoptr(Answers) answers = answers_of(machine, "n1", NULL);
    g_assert_true(answers_check(&machine->context, answers, NULL));
    g_autoptr(ClusterConfig) before = cluster_config_load(fixture->store, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(before->name, ==, "demo");
    g_assert_cmpint(before->corosync.token_ms, ==, 5000);

    /* A kill just before the commit mark: everything runs again and keeps what is there. */
    g_autofree char *mark = g_strconcat(machine->prefix, NODE_CONFIG_PATH, NULL);
    g_autofree char *ca_path = g_strconcat(machine->prefix, NODE_CA_FILE, NULL);
    g_autofree char *ca = file_read(ca_path, 65536, NULL);
    g_assert_cmpint(g_unlink(mark), ==, 0);
    g_assert_true(init_run(&machine->context, answers, &error));
    g_assert_no_error(error);
    g_autofree char *ca_after = file_read(ca_path, 65536, NULL);
    g_assert_cmpstr(ca, ==, ca_after);
    g_autoptr(ClusterConfig) after = cluster_config_load(fixture->store, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(before->created_at, ==, after->created_at);

    /* With the mark it only starts the daemons, and refuses to become somebody else or to be reset. */
    g_assert_true(init_run(&machine->context, answers, &error));
    g_free(answers->cluster);
    answers->cluster = g_strdup("other");
    g_assert_false(init_run(&machine->context, answers, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_false(reset_run(&machine->context, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);

    /* Without the mark, other values are refused and reset clears the way. */
    g_assert_cmpint(g_unlink(mark), ==, 0);
    g_assert_false(init_run(&machine->context, answers, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_true(reset_run(&machine->context, &error));
    g_assert_true(init_run(&machine->context, answers, &error));
    g_assert_no_error(error);
}

static void test_three_nodes(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *token2 = token_new(fixture);
    g_autofree char *token3 = token_new(fixture);
    join(fixture, 1, "n2", token2, &error);
    g_assert_no_error(error);
    g_assert_false(token_present(fixture, token2));
    g_assert_true(token_present(fixture, token3));
    join(fixture, 2, "n3", token3, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_voting_members(fixture), ==, 3);
    g_assert_nonnull(strstr(fixture->machines[0].calls->str, "/usr/sbin/corosync-cfgtool -R"));

    const char *const shared[] = {"/etc/corosync/authkey", "/etc/corosync/corosync.conf", NODE_CA_FILE,
                                  NODE_CA_KEY_FILE, NODE_VOTERS_PATH};
    for (gsize i = 0; i < G_N_ELEMENTS(shared); i++) {
        assert_same_file(fixture, 2, shared[i]);
    }
    g_autoptr(NodeConfig) config = member_config_read(&fixture->machines[2].context, &error);
    g_assert_no_error(error);
    g_assert_cmpint(config->node_id, ==, 3);
    g_assert_cmpstr(config->cluster, ==, "demo");

    /* The third member's store, over mutual TLS with the certificate it was given, and with one of three gone. */
    etcd_stop(&fixture->machines[1]);
    g_autoptr(Store) third = member_store(&fixture->machines[2].context, FALSE);
    g_assert_true(store_put(third, STORE_ROOT "test", "{}", -1, 0, NULL, &error));
    g_assert_no_error(error);

    /* Used up. */
    g_assert_false(join(fixture, 1, "n4", token2, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED); /* the machine is n2 */
}

static void test_remove(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    const SetupContext *context = &fixture->machines[0].context;
    g_autoptr(GError) error = NULL;
    g_autofree char *token2 = token_new(fixture);
    g_autofree char *token3 = token_new(fixture);
    g_assert_true(join(fixture, 1, "n2", token2, &error));
    g_assert_true(join(fixture, 2, "n3", token3, &error));
    g_assert_false(node_remove(context, fixture->store, "n1", "n9", FALSE, FALSE, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(node_remove(context, fixture->store, "n1", "n3", TRUE, FALSE, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);

    g_autoptr(Guest) guest = object_new(&guest_type);
    guest->version = 1;
    guest->name = g_strdup("web1");
    guest->uuid = g_strdup("u");
    guest->created_at = g_strdup("t");
    guest->slot = 1;
    guest->nodes = g_strsplit("n1,n3", ",", -1);
    guest->drbd_secret = g_strdup("00");
    guest->spec.vcpus = 1;
    guest->spec.memory_mib = 128;
    guest->spec.replicas = 2;
    g_autofree char *text = object_to_text(&guest_type, guest);
    g_assert_true(store_put(fixture->store, STORE_ROOT "guest/web1", text, 0, 0, NULL, NULL));
    for (int online = 0; online <= 1; online++) { /* whoever must free it first need not shut it down first */
        g_assert_false(node_remove(context, fixture->store, "n1", "n3", online, FALSE, &error));
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
        g_assert_nonnull(strstr(error->message, "web1"));
        g_clear_error(&error);
    }

    /* A guest that is being deleted does not keep a node that never comes back. */
    guest->deleting = TRUE;
    g_autofree char *deleting = object_to_text(&guest_type, guest);
    g_assert_true(store_put(fixture->store, STORE_ROOT "guest/web1", deleting, -1, 0, NULL, NULL));
    g_assert_false(node_remove(context, fixture->store, "n1", "n3", FALSE, FALSE, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    etcd_stop(&fixture->machines[2]);
    node_remove(context, fixture->store, "n1", "n3", FALSE, TRUE, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_voting_members(fixture), ==, 2);
    g_assert_null(store_get(fixture->store, STORE_ROOT "node/n3", NULL, NULL));
    g_autofree char *conf_path = g_strconcat(context->prefix, "/etc/corosync/corosync.conf", NULL);
    g_autofree char *conf = file_read(conf_path, 65536, NULL);
    g_assert_null(strstr(conf, "n3"));
    g_assert_nonnull(strstr(conf, "two_node: 1"));
}

/* Switched off at three moments; the machine's etcd is gone each time, as after a power cut. */
static void test_resume(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Machine *machine = &fixture->machines[1];
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    const char *const moments[] = {"restart holdfast-etcd.service", "restart corosync.service"};
    for (gsize i = 0; i < G_N_ELEMENTS(moments); i++) {
        machine->fail_on = g_strdup(moments[i]);
        g_assert_false(join(fixture, 1, "n2", token, &error));
        g_assert_nonnull(strstr(error->message, "switched off"));
        g_clear_error(&error);
        g_assert_true(token_present(fixture, token));
        etcd_stop(machine);
        g_clear_pointer(&machine->fail_on, g_free);
        /* A learner that is gone costs nothing: the first node goes on alone. */
        g_assert_true(store_put(fixture->store, STORE_ROOT "test", "{}", -1, 0, NULL, &error));
        g_assert_no_error(error);
    }
    /* The token is bound to n2 now. */
    g_assert_false(join(fixture, 2, "n3", token, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED);
    g_clear_error(&error);

    /* The worst moment: its etcd votes, node.json could not be written. Then nobody can write until the next attempt
     * starts it again. */
    g_autofree char *mark = g_strconcat(machine->prefix, NODE_CONFIG_PATH, NULL);
    machine->block_mark = TRUE;
    g_assert_false(join(fixture, 1, "n2", token, &error));
    g_assert_nonnull(strstr(error->message, "node.json"));
    g_clear_error(&error);
    etcd_stop(machine);
    machine->block_mark = FALSE;
    g_assert_cmpint(g_rmdir(mark), ==, 0);
    g_assert_false(store_put(fixture->store, STORE_ROOT "test", "{}", -1, 0, NULL, NULL));
    g_autoptr(Answers) answers = answers_of(machine, "n2", token);
    answers->join.address = g_strdup(fixture->machines[0].ring0);
    answers->join.token = g_strdup(token);
    g_assert_true(answers_check(&machine->context, answers, NULL));
    join_run_until_done(&machine->context, answers, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_voting_members(fixture), ==, 2);
    g_assert_false(token_present(fixture, token));
}

static void test_resume_to_the_end(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Machine *machine = &fixture->machines[1];
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    g_autofree char *other = token_new(fixture);
    machine->fail_on = g_strdup("restart holdfast-etcd.service");
    g_assert_false(join(fixture, 1, "n2", token, &error));
    g_clear_error(&error);
    /* Meanwhile nobody else gets in. */
    g_assert_false(join(fixture, 2, "n3", other, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY);
    g_assert_null(store_get(fixture->store, STORE_ROOT "node/n3", NULL, NULL));
    g_clear_error(&error);
    g_clear_pointer(&machine->fail_on, g_free);
    join(fixture, 1, "n2", token, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_voting_members(fixture), ==, 2);
    g_assert_false(token_present(fixture, token));
    /* Repeating a finished join changes nothing. */
    g_assert_true(join(fixture, 1, "n2", token, &error));
    g_assert_no_error(error);
    join(fixture, 2, "n3", other, &error);
    g_assert_no_error(error);
}

int main(int argc, char **argv)
{
    join_test_init(&argc, &argv);
    g_test_add("/join/init-again", Fixture, NULL, set_up, test_init_again, tear_down);
    g_test_add("/join/three-nodes", Fixture, NULL, set_up, test_three_nodes, tear_down);
    g_test_add("/join/remove", Fixture, NULL, set_up, test_remove, tear_down);
    g_test_add("/join/resume", Fixture, NULL, set_up, test_resume, tear_down);
    g_test_add("/join/resume-to-the-end", Fixture, NULL, set_up, test_resume_to_the_end, tear_down);
    return g_test_run();
}
