/* SPDX-License-Identifier: Apache-2.0
 * etcd.yaml of clusters of several sizes against golden files, and the rules of the tuning. */
#include "cluster/etcd_conf.h"
#include "common/error.h"

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

static GPtrArray *nodes_of(int count)
{
    GPtrArray *nodes = g_ptr_array_new_with_free_func((GDestroyNotify) node_free);
    for (int id = count; id >= 1; id--) {
        Node *node = object_new(&node_type);
        node->version = 1;
        node->id = id;
        node->name = g_strdup_printf("n%d", id);
        node->ring0 = g_strdup_printf("10.77.0.%d", id);
        node->voter = id <= CLUSTER_VOTERS_MAX;
        g_ptr_array_add(nodes, node);
    }
    return nodes;
}

static void test_golden(gconstpointer data)
{
    int count = GPOINTER_TO_INT(data);
    g_autoptr(GPtrArray) nodes = nodes_of(count);
    g_autofree char *initial_cluster = etcd_conf_initial_cluster(nodes, ETCD_PEER_PORT);
    const EtcdTuning tuning = {.heartbeat_ms = 500, .election_ms = 5000};
    EtcdConf conf = {.prefix = "",
                     .name = "n1",
                     .ring0 = "10.77.0.1",
                     .initial_cluster = initial_cluster,
                     .existing = count > 1,
                     .cluster_token = "demo-0123456789abcdef",
                     .tuning = count == 3 ? &tuning : NULL,
                     .client_port = ETCD_CLIENT_PORT,
                     .peer_port = ETCD_PEER_PORT};
    g_autofree char *text = etcd_conf_text(&conf);
    g_autofree char *name = g_strdup_printf("etcd-%d.yaml", count);
    assert_golden(name, text);
}

static void test_tuning(void)
{
    const struct {
        EtcdTuning tuning;
        const char *field; /* NULL: fine */
    } cases[] = {
        {{0, 0}, NULL},
        {{500, 5000}, NULL},
        {{500, 0}, "etcd.election_ms"},
        {{0, 5000}, "etcd.heartbeat_ms"},
        {{10, 1000}, "etcd.heartbeat_ms"},
        {{1000, 4000}, "etcd.election_ms"},
        {{1000, 60000}, "etcd.election_ms"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        gboolean ok = etcd_tuning_check(&cases[i].tuning, "etcd", &error);
        g_assert_cmpint(ok, ==, cases[i].field == NULL);
        if (cases[i].field) {
            g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
            g_assert_true(g_str_has_prefix(error->message, cases[i].field));
        }
    }
}

static void test_document(void)
{
    g_autoptr(GError) error = NULL;
    ClusterConfig config = {.version = 1,
                            .name = (char *) "demo",
                            .created_at = (char *) "2026-01-01T00:00:00.000Z",
                            .corosync = {5000},
                            .etcd = {500, 5000}};
    g_autofree char *text = cluster_config_to_text(&config);
    g_autoptr(ClusterConfig) back = cluster_config_from_text(text, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(back->name, ==, "demo");
    g_assert_cmpint(back->etcd.election_ms, ==, 5000);
    g_assert_null(cluster_config_from_text("{\"version\":2,\"name\":\"demo\"}", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    const int sizes[] = {1, 2, 3, 5, 16};
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *name = g_strdup_printf("/etcd-conf/golden/%d", sizes[i]);
        g_test_add_data_func(name, GINT_TO_POINTER(sizes[i]), test_golden);
    }
    g_test_add_func("/etcd-conf/tuning", test_tuning);
    g_test_add_func("/cluster-config/document", test_document);
    return g_test_run();
}
