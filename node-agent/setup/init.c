/* SPDX-License-Identifier: Apache-2.0
 * The first node, step by step. Every step finds out by itself what an earlier attempt has done; node.json comes last.
 */
#include "node-agent/setup/init.h"

#include "cluster/corosync_conf.h"
#include "cluster/etcd_conf.h"
#include "common/error.h"
#include "common/ident.h"
#include "node-agent/join.h"
#include "node-agent/setup/authkey.h"
#include "node-agent/setup/checks.h"
#include "node-agent/setup/member.h"
#include "node-agent/setup/tls.h"

#include <string.h>

#define FIRST_NODE_ID 1
#define JOIN_TOKEN_TTL_S (24 * 3600)

static Node *first_node(const Answers *answers)
{
    Node *node = object_new(&node_type);
    node->version = 1;
    node->name = g_strdup(answers->node);
    node->id = FIRST_NODE_ID;
    node->ring0 = g_strdup(answers->ring0);
    node->ring1 = g_strdup(answers->ring1);
    node->voter = TRUE;
    return node;
}

static gboolean step_keys(const SetupContext *context, const Answers *answers, GError **error)
{
    setup_progress(context, "making the cluster's certificates and keys");
    if (!tls_ca_ensure(context, answers->cluster, error) || !tls_key_ensure(context, error)) {
        return FALSE;
    }
    g_autofree char *request = tls_request(context, answers->node, error);
    g_autofree char *certificate =
        request ? tls_sign(context, request, answers->node, answers->ring0, answers->ring1, FALSE, error) : NULL;
    return certificate && setup_write(context, NODE_CERT_FILE, certificate, -1, 0644, NULL, error) &&
           tls_qemu_folder(context, error) && authkey_ensure(context, error);
}

static gboolean step_files(const SetupContext *context, const Answers *answers, GPtrArray *nodes, GError **error)
{
    g_autofree char *conf = corosync_conf_text(answers->cluster, nodes, NULL, &answers->corosync);
    g_autofree char *voters = corosync_conf_voters_text(nodes, NULL, context->etcd_client_port);
    g_autofree char *initial_cluster = etcd_conf_initial_cluster(nodes, context->etcd_peer_port);
    g_autofree char *random = setup_random_hex(8);
    g_autofree char *cluster_token = g_strdup_printf("%s-%s", answers->cluster, random);
    return setup_write(context, COROSYNC_CONF_PATH, conf, -1, 0644, NULL, error) &&
           setup_write(context, NODE_VOTERS_PATH, voters, -1, 0644, NULL, error) &&
           member_etcd_write(context, answers, initial_cluster, FALSE, cluster_token, &answers->etcd, error);
}

static gboolean step_daemons(const SetupContext *context, Store *store, GError **error)
{
    const guint32 own_id = FIRST_NODE_ID;
    setup_progress(context, "starting etcd and corosync");
    return member_unit_restart(context, "holdfast-etcd.service", FALSE, error) &&
           member_unit_restart(context, "corosync.service", FALSE, error) &&
           member_wait_store(context, store, NULL, NULL, error) &&
           member_wait_corosync(context, &own_id, 1, NULL, NULL, error);
}

static void txn_put_object(StoreTxn *txn, const char *kind, const char *name, const JsonStruct *type,
                           gconstpointer object)
{
    g_autofree char *key = g_strconcat(STORE_ROOT, kind, "/", name, NULL);
    g_autofree char *text = object_to_text(type, object);
    store_txn_put(txn, key, text, 0);
}

static void txn_put_fence(StoreTxn *txn, const Answers *answers)
{
    if (answers->fence.agent) {
        FenceDevice device = {.version = 1,
                              .node = answers->node,
                              .agent = answers->fence.agent,
                              .parameters = answers->fence.parameters};
        txn_put_object(txn, "fence", answers->node, &fence_device_type, &device);
    }
}

/* TRUE when an earlier attempt wrote the objects already. */
static gboolean objects_present(Store *store, const char *cluster, gboolean *ret_present, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(ClusterConfig) config = cluster_config_load(store, &problem);
    *ret_present = config != NULL;
    if (config && strcmp(config->name, cluster) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "cluster: the store here is of cluster '%s', not '%s': give up the earlier set-up with "
                    "`holdfast-setup reset`",
                    config->name, cluster);
        return FALSE;
    }
    if (!config && !g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    return TRUE;
}

static gboolean step_objects(const SetupContext *context, Store *store, const Answers *answers, const Node *node,
                             GError **error)
{
    gboolean present = FALSE;
    setup_progress(context, "writing the cluster's first objects");
    if (!objects_present(store, answers->cluster, &present, error)) {
        return FALSE;
    }
    if (present) {
        return TRUE;
    }
    g_autofree char *now = ident_timestamp();
    ClusterConfig config = {.version = 1,
                            .name = answers->cluster,
                            .created_at = now,
                            .corosync = answers->corosync,
                            .etcd = answers->etcd};
    g_autofree char *config_text = cluster_config_to_text(&config);
    g_autoptr(StoreTxn) txn = store_txn_new();
    store_txn_if_revision(txn, CLUSTER_CONFIG_KEY, 0);
    store_txn_put(txn, CLUSTER_CONFIG_KEY, config_text, 0);
    txn_put_object(txn, "node", node->name, &node_type, node);
    txn_put_fence(txn, answers);
    for (guint i = 0; answers->networks && i < answers->networks->len; i++) {
        const Network *network = answers->networks->pdata[i];
        txn_put_object(txn, "network", network->name, &network_type, network);
    }
    return store_txn_commit(store, txn, NULL, error);
}

/* Leased, so not part of the transaction; present ones are kept. */
static gboolean step_tokens(Store *store, const Answers *answers, GError **error)
{
    for (char **token = answers->join_tokens; token && *token; token++) {
        if (!join_token_put(store, *token, JOIN_TOKEN_TTL_S, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean begin(const SetupContext *context, const Answers *answers, GError **error)
{
    if (!member_check_machine(context, answers, error) || !member_journal_begin(context, answers, error) ||
        !check_hostname_set(context, answers->node, error)) {
        return FALSE;
    }
    setup_progress(context, "preparing storage on %s", answers->storage_device);
    return context->pool_create(context->runner, answers->storage_device, error);
}

gboolean init_run(const SetupContext *context, const Answers *answers, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(NodeConfig) present = member_config_read(context, &problem);
    if (problem) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    if (present) {
        setup_progress(context, "this machine is node '%s' of cluster '%s'", present->node, present->cluster);
        return member_config_same(present, answers, error) && member_start_rest(context, answers, error);
    }
    g_autoptr(Node) node = first_node(answers);
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    g_ptr_array_add(nodes, node);
    if (!begin(context, answers, error) || !step_keys(context, answers, error) ||
        !step_files(context, answers, nodes, error)) {
        return FALSE;
    }
    g_autoptr(Store) store = member_store(context, TRUE);
    if (!step_daemons(context, store, error) || !step_objects(context, store, answers, node, error) ||
        !step_tokens(store, answers, error) ||
        !member_config_write(context, answers, answers->cluster, FIRST_NODE_ID, error)) {
        return FALSE;
    }
    setup_progress(context, "node '%s' is the first of cluster '%s'", answers->node, answers->cluster);
    return member_start_rest(context, answers, error);
}
