/* SPDX-License-Identifier: Apache-2.0
 * corosync.conf for clusters of several sizes against golden files, and the level-triggered file on a node. */
#include "cluster/corosync_conf.h"
#include "cluster/node_config.h"
#include "common/error.h"
#include "common/file.h"

#include <glib/gstdio.h>
#include <string.h>

/* GOLDEN_WRITE=1 writes the files anew: read the difference before committing it. */
static void assert_golden(const char *name, const char *text)
{
    g_autofree char *path = g_build_filename("tests/unit/cluster/golden", name, NULL);
    if (g_getenv("GOLDEN_WRITE")) {
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
    }
    g_autofree char *expected = NULL;
    g_assert_true(g_file_get_contents(path, &expected, NULL, NULL));
    g_assert_cmpstr(text, ==, expected);
}

static GPtrArray *nodes_of(int count, gboolean two_links)
{
    GPtrArray *nodes = g_ptr_array_new_with_free_func((GDestroyNotify) node_free);
    for (int id = count; id >= 1; id--) { /* in the wrong order on purpose */
        Node *node = object_new(&node_type);
        node->version = 1;
        node->id = id;
        node->name = g_strdup_printf("n%d", id);
        node->ring0 = g_strdup_printf("10.77.0.%d", id);
        node->ring1 = two_links ? g_strdup_printf("10.77.1.%d", id) : g_strdup(node->ring0);
        node->voter = id <= 5;
        g_ptr_array_add(nodes, node);
    }
    return nodes;
}

static void test_golden(gconstpointer data)
{
    int count = GPOINTER_TO_INT(data);
    g_autoptr(GPtrArray) nodes = nodes_of(count, TRUE);
    g_autofree char *text = corosync_conf_text("demo", nodes, NULL, NULL);
    g_autofree char *name = g_strdup_printf("corosync-%d.conf", count);
    assert_golden(name, text);
}

static void test_one_link_tuned(void)
{
    const CorosyncTuning tuning = {.token_ms = 5000};
    g_autoptr(GPtrArray) nodes = nodes_of(3, FALSE);
    g_autofree char *text = corosync_conf_text("demo", nodes, NULL, &tuning);
    assert_golden("corosync-3-one-link-tuned.conf", text);
    /* One node without a second network: nobody gets the second link. */
    g_autoptr(GPtrArray) mixed = nodes_of(3, TRUE);
    Node *first = mixed->pdata[0];
    g_free(first->ring1);
    first->ring1 = NULL;
    g_autofree char *mixed_text = corosync_conf_text("demo", mixed, NULL, &tuning);
    g_assert_cmpstr(text, ==, mixed_text);
}

/* The witness's vote: among an even number of nodes, once it is ready; where it is, two_node is not. */
static void test_witness(void)
{
    Witness witness = {.version = 1, .name = (char *) "w1", .address = (char *) "10.77.0.90", .voter = TRUE};
    const CorosyncTuning slow = {.token_ms = 5000};
    g_autoptr(GPtrArray) two = nodes_of(2, TRUE), three = nodes_of(3, TRUE);
    g_autofree char *not_ready = corosync_conf_text("demo", two, &witness, NULL);
    assert_golden("corosync-2.conf", not_ready);
    witness.ready = TRUE;
    g_autofree char *text = corosync_conf_text("demo", two, &witness, NULL);
    assert_golden("corosync-2-witness.conf", text);
    g_assert_null(strstr(text, "two_node"));
    g_autofree char *odd = corosync_conf_text("demo", three, &witness, NULL);
    assert_golden("corosync-3.conf", odd);

    /* corosync must not give up before the quorum server can have noticed a dead node, whatever the token. */
    g_autofree char *slow_text = corosync_conf_text("demo", two, &witness, &slow);
    g_assert_nonnull(strstr(slow_text, "        timeout: 10000\n        sync_timeout: 20000\n"));

    g_autofree char *voters = corosync_conf_voters_text(two, &witness, 2379);
    g_assert_cmpstr(voters, ==, "https://10.77.0.1:2379\nhttps://10.77.0.2:2379\nhttps://10.77.0.90:2379\n");
    witness.voter = FALSE;
    g_autofree char *without = corosync_conf_voters_text(two, &witness, 2379);
    g_assert_null(strstr(without, "10.77.0.90"));
}

static void test_voters(void)
{
    g_autoptr(GPtrArray) nodes = nodes_of(6, TRUE);
    g_autofree char *text = corosync_conf_voters_text(nodes, NULL, 2379);
    g_assert_cmpstr(text, ==,
                    "https://10.77.0.1:2379\nhttps://10.77.0.2:2379\nhttps://10.77.0.3:2379\nhttps://10.77.0.4:2379\n"
                    "https://10.77.0.5:2379\n");
}

typedef struct {
    int calls, exit_status;
} Reload;

static gboolean reload_run(const ProcessRunner *runner, const char *const *argv, const char *input G_GNUC_UNUSED,
                           int timeout_ms G_GNUC_UNUSED, ProcessResult *ret, GError **error G_GNUC_UNUSED)
{
    Reload *reload = runner->user_data;
    g_assert_cmpstr(argv[0], ==, "/usr/sbin/corosync-cfgtool");
    g_assert_cmpstr(argv[1], ==, "-R");
    reload->calls++;
    ret->exit_status = reload->exit_status;
    ret->stdout_text = g_strdup("");
    ret->stderr_text = g_strdup("");
    return TRUE;
}

static void test_reconcile(void)
{
    g_autofree char *prefix = g_dir_make_tmp("holdfast-conf-XXXXXX", NULL);
    g_autofree char *conf_path = g_strconcat(prefix, COROSYNC_CONF_PATH, NULL);
    g_autofree char *voters_path = g_strconcat(prefix, NODE_VOTERS_PATH, NULL);
    ClusterConfig config = {.version = 1, .name = (char *) "demo"};
    Reload reload = {0};
    const ProcessRunner runner = {.run = reload_run, .user_data = &reload};
    g_autoptr(GPtrArray) two = nodes_of(2, TRUE), three = nodes_of(3, TRUE), none = nodes_of(0, TRUE);
    g_autoptr(GError) error = NULL;
    gboolean changed = FALSE;

    g_assert_true(corosync_conf_reconcile(prefix, &runner, &config, two, NULL, 2379, &changed, &error));
    g_assert_true(changed);
    g_assert_cmpint(reload.calls, ==, 1);
    g_assert_true(corosync_conf_reconcile(prefix, &runner, &config, two, NULL, 2379, &changed, &error));
    g_assert_false(changed);
    g_assert_cmpint(reload.calls, ==, 1);

    /* A reload that failed is done again although the file is right already. */
    reload.exit_status = 1;
    g_assert_false(corosync_conf_reconcile(prefix, &runner, &config, three, NULL, 2379, &changed, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    g_clear_error(&error);
    reload.exit_status = 0;
    g_assert_true(corosync_conf_reconcile(prefix, &runner, &config, three, NULL, 2379, &changed, &error));
    g_assert_false(changed);
    g_assert_cmpint(reload.calls, ==, 3);
    g_autofree char *voters = file_read(voters_path, 65536, NULL);
    g_assert_nonnull(strstr(voters, "https://10.77.0.3:2379\n"));

    /* No nodes at all is never right. */
    g_autofree char *before = file_read(conf_path, 65536, NULL);
    g_assert_false(corosync_conf_reconcile(prefix, &runner, &config, none, NULL, 2379, &changed, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_autofree char *after = file_read(conf_path, 65536, NULL);
    g_assert_cmpstr(before, ==, after);
    g_assert_true(process_call(process_runner_default(), 10000, NULL, NULL, "/bin/rm", "-rf", "--", prefix, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    const int sizes[] = {1, 2, 3, 5, 16, 17};
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *name = g_strdup_printf("/corosync-conf/golden/%d", sizes[i]);
        g_test_add_data_func(name, GINT_TO_POINTER(sizes[i]), test_golden);
    }
    g_test_add_func("/corosync-conf/one-link-tuned", test_one_link_tuned);
    g_test_add_func("/corosync-conf/voters", test_voters);
    g_test_add_func("/corosync-conf/witness", test_witness);
    g_test_add_func("/corosync-conf/reconcile", test_reconcile);
    return g_test_run();
}
