/* SPDX-License-Identifier: Apache-2.0
 * Generator of corosync.conf. One key per line: corosync refuses `node { name: x }` on a single line. */
#include "cluster/corosync_conf.h"

#include "cluster/node_config.h"
#include "common/error.h"
#include "common/file.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define RELOAD_STAMP_PATH "/run/holdfast/corosync-reload"
#define RELOAD_TIMEOUT_MS 20000

typedef struct {
    guint nodes_max;
    int token_ms, coefficient_ms;
} TokenDefault;

/* Token by size: short enough for a fail-over within ten seconds, long enough for a ring of that many. */
static const TokenDefault token_defaults[] = {{2, 1000, 0}, {7, 1000, 60}, {16, 1500, 60}, {G_MAXUINT, 2000, 60}};

static int node_compare(gconstpointer a, gconstpointer b)
{
    const Node *first = *(const Node *const *) a, *second = *(const Node *const *) b;
    return first->id < second->id ? -1 : first->id > second->id;
}

static GPtrArray *nodes_sorted(const GPtrArray *nodes)
{
    GPtrArray *sorted = g_ptr_array_new();
    for (guint i = 0; i < nodes->len; i++) {
        g_ptr_array_add(sorted, nodes->pdata[i]);
    }
    g_ptr_array_sort(sorted, node_compare);
    return sorted;
}

static gboolean node_has_ring1(const Node *node)
{
    return node->ring1 && strcmp(node->ring1, node->ring0) != 0;
}

/* A second link only when every node has one: corosync wants the same links everywhere. */
static gboolean nodes_have_ring1(const GPtrArray *nodes)
{
    gboolean all = nodes->len > 0;
    for (guint i = 0; i < nodes->len; i++) {
        all = all && node_has_ring1(nodes->pdata[i]);
    }
    return all;
}

static void append_link(GString *text, int link, int priority)
{
    g_string_append_printf(text, "    interface {\n        linknumber: %d\n        knet_link_priority: %d\n    }\n",
                           link, priority);
}

static TokenDefault token_of(guint n_nodes, const CorosyncTuning *tuning)
{
    if (tuning && tuning->token_ms > 0) {
        return (TokenDefault){.token_ms = (int) tuning->token_ms};
    }
    const TokenDefault *size = token_defaults;
    while (n_nodes > size->nodes_max) {
        size++;
    }
    return *size;
}

static void append_totem(GString *text, const char *cluster, TokenDefault token, gboolean two_links)
{
    g_string_append_printf(
        text,
        "totem {\n    version: 2\n    cluster_name: %s\n    transport: knet\n    crypto_cipher: aes256\n"
        "    crypto_hash: sha256\n    token: %d\n    token_coefficient: %d\n"
        "    token_retransmits_before_loss_const: 10\n    link_mode: passive\n",
        cluster, token.token_ms, token.coefficient_ms);
    append_link(text, 0, 2);
    if (two_links) {
        append_link(text, 1, 1);
    }
    g_string_append(text, "}\n\n");
}

static void append_nodelist(GString *text, const GPtrArray *nodes, gboolean two_links)
{
    g_string_append(text, "nodelist {\n");
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        g_string_append_printf(text, "    node {\n        name: %s\n        nodeid: %d\n        ring0_addr: %s\n",
                               node->name, (int) node->id, node->ring0);
        if (two_links) {
            g_string_append_printf(text, "        ring1_addr: %s\n", node->ring1);
        }
        g_string_append(text, "    }\n");
    }
    g_string_append(text, "}\n\n");
}

/* The quorum server notices a dead node 1.2 * timeout after its last word, and corosync waits sync_timeout for its
 * verdict before it says who is quorate: so the second must be well above the first, and both add to a fail-over. The
 * daemons' own defaults (10 s, 30 s) are for tokens of 5 s and more. */
static void append_device(GString *text, const Witness *witness, TokenDefault token)
{
    int timeout_ms = CLAMP(2 * token.token_ms, 2000, 10000);
    g_string_append_printf(text,
                           "    device {\n        model: net\n        votes: 1\n        timeout: %d\n"
                           "        sync_timeout: %d\n        net {\n            host: %s\n"
                           "            algorithm: ffsplit\n            tls: required\n        }\n    }\n",
                           timeout_ms, 2 * timeout_ms, witness->address);
}

char *corosync_conf_text(const char *cluster, const GPtrArray *nodes, const Witness *witness,
                         const CorosyncTuning *tuning)
{
    g_autoptr(GPtrArray) sorted = nodes_sorted(nodes);
    gboolean two_links = nodes_have_ring1(sorted);
    TokenDefault token = token_of(sorted->len, tuning);
    GString *text =
        g_string_new("# Written by Holdfast from the nodes of the cluster; changes here are overwritten.\n");
    append_totem(text, cluster, token, two_links);
    append_nodelist(text, sorted, two_links);
    g_string_append(text, "quorum {\n    provider: corosync_votequorum\n");
    if (witness_votes(witness, sorted->len)) {
        append_device(text, witness, token);
    } else if (sorted->len == 2) {
        /* It implies wait_for_all, which must not be written here: corosync would then keep it when a witness comes. */
        g_string_append(text, "    two_node: 1\n");
    }
    g_string_append(text, "}\n\nsystem {\n    sched_rr: yes\n}\n\n"
                          "logging {\n    to_stderr: no\n    to_logfile: no\n    to_syslog: yes\n}\n");
    return g_string_free(text, FALSE);
}

char *corosync_conf_voters_text(const GPtrArray *nodes, const Witness *witness, int etcd_client_port)
{
    g_autoptr(GPtrArray) sorted = nodes_sorted(nodes);
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < sorted->len; i++) {
        const Node *node = sorted->pdata[i];
        if (node->voter) {
            g_string_append_printf(text, "https://%s:%d\n", node->ring0, etcd_client_port);
        }
    }
    if (witness && witness->ready && witness->voter) {
        g_string_append_printf(text, "https://%s:%d\n", witness->address, etcd_client_port);
    }
    return g_string_free(text, FALSE);
}

/* TRUE on success; *changed is only ever set to TRUE. */
static gboolean file_follow(const char *path, const char *text, gboolean *changed, GError **error)
{
    g_autofree char *present = file_read(path, 1024 * 1024, NULL);
    if (g_strcmp0(present, text) == 0) {
        return TRUE;
    }
    *changed = TRUE;
    return file_write_durable(path, text, -1, 0644, error);
}

/* The stamp is there from before the file changes until corosync has read it, so a crash in between loses nothing. */
static gboolean conf_follow(const char *prefix, const char *text, gboolean *changed, GError **error)
{
    g_autofree char *path = g_strconcat(prefix, COROSYNC_CONF_PATH, NULL);
    g_autofree char *stamp = g_strconcat(prefix, RELOAD_STAMP_PATH, NULL);
    g_autofree char *present = file_read(path, 1024 * 1024, NULL);
    if (g_strcmp0(present, text) == 0) {
        return TRUE;
    }
    return file_write_durable(stamp, "", 0, 0600, error) && file_follow(path, text, changed, error);
}

gboolean corosync_conf_reconcile(const char *prefix, const ProcessRunner *runner, const ClusterConfig *config,
                                 const GPtrArray *nodes, const Witness *witness, int etcd_client_port,
                                 gboolean *ret_changed, GError **error)
{
    g_autofree char *conf = corosync_conf_text(config->name, nodes, witness, &config->corosync);
    g_autofree char *voters = corosync_conf_voters_text(nodes, witness, etcd_client_port);
    g_autofree char *voters_path = g_strconcat(prefix, NODE_VOTERS_PATH, NULL);
    g_autofree char *stamp = g_strconcat(prefix, RELOAD_STAMP_PATH, NULL);
    gboolean changed = FALSE;
    if (nodes->len == 0) {
        /* An empty snapshot is a mistake of the caller or a store being restored; an empty node list would stop the
         * cluster. */
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "nodes: none in the store, corosync.conf stays as it is");
        return FALSE;
    }
    if (!file_follow(voters_path, voters, &changed, error) || !conf_follow(prefix, conf, &changed, error)) {
        return FALSE;
    }
    if (ret_changed) {
        *ret_changed = changed;
    }
    if (g_access(stamp, F_OK) != 0) {
        return TRUE;
    }
    if (!process_call(runner, RELOAD_TIMEOUT_MS, NULL, error, "/usr/sbin/corosync-cfgtool", "-R", NULL)) {
        g_prefix_error(error, "corosync.conf was written but not read by corosync: ");
        return FALSE;
    }
    g_unlink(stamp);
    return TRUE;
}
