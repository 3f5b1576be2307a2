/* SPDX-License-Identifier: Apache-2.0
 * Generator of etcd.yaml. A configuration file makes etcd ignore flags and environment, so everything is in it. Its
 * defaults are not always those of the flags: without enable-grpc-gateway in the file etcd 3.4 serves no JSON at all.
 */
#include "cluster/etcd_conf.h"

#include "cluster/node_config.h"

#define HEARTBEAT_DEFAULT_MS 100
#define ELECTION_DEFAULT_MS 1000
/* Far above what the product stores (a few kB per guest), and a bound on what a runaway client costs in memory. */
#define QUOTA_BYTES 1073741824

char *etcd_conf_peer_url(const char *ring0, int peer_port)
{
    return g_strdup_printf("https://%s:%d", ring0, peer_port);
}

static int node_compare(gconstpointer a, gconstpointer b)
{
    const Node *first = *(const Node *const *) a, *second = *(const Node *const *) b;
    return first->id < second->id ? -1 : first->id > second->id;
}

char *etcd_conf_initial_cluster(const GPtrArray *nodes, int peer_port)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();
    for (guint i = 0; i < nodes->len; i++) {
        g_ptr_array_add(sorted, nodes->pdata[i]);
    }
    g_ptr_array_sort(sorted, node_compare);
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < sorted->len; i++) {
        const Node *node = sorted->pdata[i];
        if (node->voter) {
            g_autofree char *url = etcd_conf_peer_url(node->ring0, peer_port);
            g_string_append_printf(text, "%s%s=%s", text->len ? "," : "", node->name, url);
        }
    }
    return g_string_free(text, FALSE);
}

static void append_security(GString *text, const char *section, const char *prefix)
{
    g_string_append_printf(text,
                           "%s:\n  cert-file: \"%s" NODE_CERT_FILE "\"\n  key-file: \"%s" NODE_KEY_FILE "\"\n"
                           "  trusted-ca-file: \"%s" NODE_CA_FILE "\"\n  client-cert-auth: true\n",
                           section, prefix, prefix, prefix);
}

char *etcd_conf_text(const EtcdConf *conf)
{
    g_autofree char *peer_url = etcd_conf_peer_url(conf->ring0, conf->peer_port);
    const EtcdTuning *tuning = conf->tuning;
    int heartbeat_ms = tuning && tuning->heartbeat_ms ? (int) tuning->heartbeat_ms : HEARTBEAT_DEFAULT_MS;
    int election_ms = tuning && tuning->election_ms ? (int) tuning->election_ms : ELECTION_DEFAULT_MS;
    GString *text = g_string_new(
        "# Written by Holdfast when this node became a member; etcd reads the initial-* keys only once.\n");
    g_string_append_printf(text, "name: \"%s\"\ndata-dir: \"%s" ETCD_DATA_PATH "\"\n", conf->name, conf->prefix);
    g_string_append_printf(text,
                           "listen-client-urls: \"unix://etcd.sock:0,https://%s:%d\"\n"
                           "advertise-client-urls: \"https://%s:%d\"\n",
                           conf->ring0, conf->client_port, conf->ring0, conf->client_port);
    g_string_append_printf(text, "listen-peer-urls: \"%s\"\ninitial-advertise-peer-urls: \"%s\"\n", peer_url, peer_url);
    g_string_append_printf(text,
                           "initial-cluster: \"%s\"\ninitial-cluster-state: \"%s\"\ninitial-cluster-token: \"%s\"\n",
                           conf->initial_cluster, conf->existing ? "existing" : "new", conf->cluster_token);
    g_string_append_printf(text, "heartbeat-interval: %d\nelection-timeout: %d\n", heartbeat_ms, election_ms);
    g_string_append_printf(text,
                           "pre-vote: true\nstrict-reconfig-check: true\nsnapshot-count: 10000\nmax-snapshots: 3\n"
                           "max-wals: 3\nquota-backend-bytes: %d\nauto-compaction-mode: \"periodic\"\n"
                           "auto-compaction-retention: \"1h\"\nenable-v2: false\n"
                           "enable-grpc-gateway: true\nlogger: \"zap\"\nlog-level: \"warn\"\n"
                           "log-outputs: [\"stderr\"]\n",
                           QUOTA_BYTES);
    append_security(text, "client-transport-security", conf->prefix);
    append_security(text, "peer-transport-security", conf->prefix);
    return g_string_free(text, FALSE);
}
