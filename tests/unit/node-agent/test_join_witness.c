/* SPDX-License-Identifier: Apache-2.0
 * A witness joins two nodes, cut off and taken up again, and is taken out. certutil and pk12util are played by the
 * fixture's runner, all else is real. */
#include "cluster/corosync_conf.h"
#include "node-agent/join_witness.h"
#include "node-agent/setup/nss.h"
#include "node-agent/setup/reset.h"
#include "tests/unit/node-agent/join_fixture.h"

#define W 2 /* the machine that is the witness */

static gboolean join_as_witness(Fixture *fixture, const char *token, GError **error)
{
    Machine *machine = &fixture->machines[W];
    g_autoptr(Answers) answers = g_new0(Answers, 1);
    answers->version = 1;
    answers->action = ANSWERS_JOIN;
    answers->role = ANSWERS_WITNESS;
    answers->node = g_strdup("w1");
    answers->ring0 = g_strdup(machine->ring0);
    answers->join.address = g_strdup(fixture->machines[0].ring0);
    answers->join.token = g_strdup(token);
    return answers_check(&machine->context, answers, error) && join_run(&machine->context, answers, error);
}

static void two_nodes(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    join(fixture, 1, "n2", token, &error);
    g_assert_no_error(error);
}

static Witness *stored(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    Witness *witness = NULL;
    g_assert_true(witness_load(fixture->store, &witness, NULL, &error));
    g_assert_no_error(error);
    return witness;
}

static gboolean on_witness(Fixture *fixture, const char *path)
{
    return setup_exists(&fixture->machines[W].context, path);
}

static void test_join(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Machine *machine = &fixture->machines[W];
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    /* With one node there is nothing to witness yet: to be tried again. */
    g_assert_false(join_as_witness(fixture, token, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    g_assert_null(stored(fixture));

    two_nodes(fixture);
    join_as_witness(fixture, token, &error);
    g_assert_no_error(error);
    g_autoptr(Witness) witness = stored(fixture);
    g_assert_cmpstr(witness->name, ==, "w1");
    g_assert_cmpstr(witness->address, ==, machine->ring0);
    g_assert_true(witness->ready && witness->voter);
    g_assert_cmpuint(count_voting_members(fixture), ==, 3);
    g_assert_false(token_present(fixture, token));
    g_assert_null(store_get(fixture->store, STORE_ROOT "node/w1", NULL, NULL));

    /* It has what it needs and no more: no key to make certificates with, no way into the membership. */
    g_assert_true(on_witness(fixture, NODE_WITNESS_PATH));
    g_assert_true(on_witness(fixture, NSS_QNETD_PATH));
    g_assert_false(on_witness(fixture, NODE_CONFIG_PATH));
    g_assert_false(on_witness(fixture, NODE_CA_KEY_FILE));
    g_assert_false(on_witness(fixture, SETUP_AUTHKEY_PATH));
    g_assert_false(on_witness(fixture, COROSYNC_CONF_PATH));
    g_assert_nonnull(strstr(machine->calls->str, "restart corosync-qnetd.service"));
    g_assert_null(strstr(machine->calls->str, "corosync.service"));
    g_assert_null(strstr(machine->calls->str, "pacemaker"));
    g_autofree char *certificate = setup_path(&machine->context, NODE_CERT_FILE);
    g_autofree char *names = NULL;
    g_assert_true(process_call(process_runner_default(), 10000, &names, NULL, "/usr/bin/openssl", "x509", "-in",
                               certificate, "-noout", "-ext", "subjectAltName", NULL));
    g_assert_nonnull(strstr(names, "DNS:" NSS_QNETD_NAME));

    /* One of two nodes gone: the store goes on, through the witness too. */
    etcd_stop(&fixture->machines[1]);
    g_autoptr(Store) own = member_store(&machine->context, TRUE);
    g_assert_true(store_put(own, STORE_ROOT "test", "{}", -1, 0, NULL, &error));
    g_assert_no_error(error);

    /* Again: nothing happens. Giving up a finished set-up is refused, its state is told. */
    g_assert_true(join_as_witness(fixture, token, &error));
    g_assert_false(reset_run(&machine->context, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_autofree char *status = reset_status_text(&machine->context, NULL);
    g_assert_nonnull(strstr(status, "witness  w1"));
}

static void test_resume(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Machine *machine = &fixture->machines[W];
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    const char *const moments[] = {"restart holdfast-etcd.service", "restart corosync-qnetd.service"};
    two_nodes(fixture);
    for (gsize i = 0; i < G_N_ELEMENTS(moments); i++) {
        machine->fail_on = g_strdup(moments[i]);
        g_assert_false(join_as_witness(fixture, token, &error));
        g_assert_nonnull(strstr(error->message, "switched off"));
        g_clear_error(&error);
        etcd_stop(machine);
        g_clear_pointer(&machine->fail_on, g_free);
        g_autoptr(Witness) witness = stored(fixture);
        g_assert_false(witness->ready); /* so corosync does not count it */
        g_assert_true(store_put(fixture->store, STORE_ROOT "test", "{}", -1, 0, NULL, &error));
        g_assert_no_error(error);
    }
    join_as_witness(fixture, token, &error);
    g_assert_no_error(error);
    g_autoptr(Witness) witness = stored(fixture);
    g_assert_true(witness->ready);
    g_assert_cmpuint(count_voting_members(fixture), ==, 3);
}

static void test_refused(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    two_nodes(fixture);
    g_assert_true(store_put(fixture->store, WITNESS_KEY, "{\"version\":1,\"name\":\"w9\",\"address\":\"10.0.0.9\"}", 0,
                            0, NULL, NULL));
    g_assert_false(join_as_witness(fixture, token, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_EXISTS);
    g_assert_nonnull(strstr(error->message, "w9"));
    g_clear_error(&error);
    g_assert_true(store_delete(fixture->store, WITNESS_KEY, -1, NULL));

    /* An odd number of nodes has no use for one. */
    g_assert_true(store_put(fixture->store, STORE_ROOT "node/n3",
                            "{\"version\":1,\"name\":\"n3\",\"id\":3,\"ring0\":\"10.0.0.3\"}", 0, 0, NULL, NULL));
    g_assert_false(join_as_witness(fixture, token, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_assert_nonnull(strstr(error->message, "3 nodes"));
    g_assert_null(stored(fixture));
}

static gboolean membership_alone(int timeout_ms G_GNUC_UNUSED, MembershipView *ret, GError **error G_GNUC_UNUSED)
{
    *ret = (MembershipView){.connected = TRUE, .quorate = TRUE, .n_nodes = 1, .nodes = {1}};
    return TRUE;
}

static void test_remove(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    SetupContext context = fixture->machines[0].context;
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    two_nodes(fixture);
    g_assert_true(join_as_witness(fixture, token, &error));
    g_assert_false(witness_remove(&context, fixture->store, "w2", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);

    /* Without the other node the witness is half of the majority. */
    context.membership = membership_alone;
    g_assert_false(witness_remove(&context, fixture->store, "w1", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_autoptr(Witness) untouched = stored(fixture);
    g_assert_true(untouched->ready);

    context.membership = fixture->machines[0].context.membership;
    /* The member that let it in may be about to give the lock back. */
    while (!witness_remove(&context, fixture->store, "w1", &error) &&
           g_error_matches(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY)) {
        g_clear_error(&error);
        g_usleep(50 * 1000);
    }
    g_assert_no_error(error);
    g_assert_null(stored(fixture));
    g_assert_cmpuint(count_voting_members(fixture), ==, 2);
    g_autofree char *conf = setup_read(&context, COROSYNC_CONF_PATH, NULL);
    g_assert_nonnull(strstr(conf, "two_node: 1"));
    g_assert_null(strstr(conf, "device {"));
    g_autofree char *voters = setup_read(&context, NODE_VOTERS_PATH, NULL);
    g_assert_null(strstr(voters, fixture->machines[W].ring0));
}

int main(int argc, char **argv)
{
    join_test_init(&argc, &argv);
    g_test_add("/join-witness/join", Fixture, NULL, set_up, test_join, tear_down);
    g_test_add("/join-witness/resume", Fixture, NULL, set_up, test_resume, tear_down);
    g_test_add("/join-witness/refused", Fixture, NULL, set_up, test_refused, tear_down);
    g_test_add("/join-witness/remove", Fixture, NULL, set_up, test_remove, tear_down);
    return g_test_run();
}
