/* SPDX-License-Identifier: Apache-2.0
 * Joining, step by step. Until node.json is written nothing here is more than a prepared machine: every step is
 * repeated from the start by the next attempt, and the members go on where they were because the token is bound to this
 * node's name. */
#include "node-agent/setup/join_run.h"

#include "cluster/corosync_conf.h"
#include "cluster/etcd_conf.h"
#include "common/error.h"
#include "node-agent/join.h"
#include "node-agent/join_wire.h"
#include "node-agent/setup/authkey.h"
#include "node-agent/setup/checks.h"
#include "node-agent/setup/join_client.h"
#include "node-agent/setup/member.h"
#include "node-agent/setup/nss.h"
#include "node-agent/setup/tls.h"

#include <string.h>

#define PAUSE_MAX_MS 15000

/* An earlier attempt may have been cut off when this node's etcd voted already: the members then may have no majority
 * without it, and could not even look at the token. */
static gboolean resume_etcd(const SetupContext *context, GError **error)
{
    return !setup_exists(context, ETCD_DATA_PATH "/member") ||
           member_unit_restart(context, "holdfast-etcd.service", FALSE, error);
}

/* A witness keeps its host name, and has no storage: the machine may serve others too. */
static gboolean begin_node(const SetupContext *context, const Answers *answers, GError **error)
{
    if (!check_hostname_set(context, answers->node, error)) {
        return FALSE;
    }
    setup_progress(context, "preparing storage on %s", answers->storage_device);
    return context->pool_create(context->runner, answers->storage_device, error);
}

static gboolean begin(const SetupContext *context, const Answers *answers, GError **error)
{
    return member_check_machine(context, answers, error) && member_journal_begin(context, answers, error) &&
           (answers->role == ANSWERS_WITNESS || begin_node(context, answers, error)) &&
           tls_key_ensure(context, error) && resume_etcd(context, error);
}

static JoinBundle *step_request(const SetupContext *context, JoinClient *client, const Answers *answers, GError **error)
{
    g_autofree char *csr = tls_request(context, answers->node, error);
    if (!csr) {
        return NULL;
    }
    JoinRequest request = {.node = answers->node,
                           .ring0 = answers->ring0,
                           .ring1 = answers->ring1,
                           .csr = csr,
                           .witness = answers->role == ANSWERS_WITNESS,
                           .fence = answers->fence};
    setup_progress(context, "asking to be let in as '%s'", answers->node);
    return join_client_request(client, &request, error);
}

static gboolean bundle_check(const JoinBundle *bundle, const Answers *answers, GError **error)
{
    if (answers->cluster && strcmp(answers->cluster, bundle->cluster) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "cluster: the members at %s are cluster '%s', not '%s': check the address", answers->join.address,
                    bundle->cluster, answers->cluster);
        return FALSE;
    }
    if (bundle->voter && !bundle->etcd_initial_cluster) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "the member's answer lacks etcd_initial_cluster");
        return FALSE;
    }
    if (answers->role == ANSWERS_NODE &&
        (!bundle->ca_key || !bundle->authkey || !bundle->corosync_conf || bundle->node_id < 1)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "the member's answer is not one for a node");
        return FALSE;
    }
    return TRUE;
}

static gboolean install_node(const SetupContext *context, const JoinBundle *bundle, GError **error)
{
    return setup_write(context, NODE_CA_KEY_FILE, bundle->ca_key, -1, 0600, NULL, error) &&
           tls_qemu_folder(context, error) && authkey_install(context, bundle->authkey, error) &&
           setup_write(context, COROSYNC_CONF_PATH, bundle->corosync_conf, -1, 0644, NULL, error);
}

static gboolean step_install(const SetupContext *context, const JoinBundle *bundle, const Answers *answers,
                             GError **error)
{
    setup_progress(context, "installing what cluster '%s' sent", bundle->cluster);
    return setup_write(context, NODE_CA_FILE, bundle->ca, -1, 0644, NULL, error) &&
           setup_write(context, NODE_CERT_FILE, bundle->cert, -1, 0644, NULL, error) &&
           (answers->role == ANSWERS_WITNESS ? nss_qnetd_make(context, error) : install_node(context, bundle, error)) &&
           setup_write(context, NODE_VOTERS_PATH, bundle->voters, -1, 0644, NULL, error) &&
           (!bundle->voter || member_etcd_write(context, answers, bundle->etcd_initial_cluster, TRUE, bundle->cluster,
                                                &bundle->tuning.etcd, error));
}

static gboolean ping(gpointer client, GError **error)
{
    return join_client_say(client, "ping", error);
}

/* etcd runs as a learner, which answers no reads and costs the cluster nothing should this machine be switched off now.
 */
static gboolean step_etcd(const SetupContext *context, JoinClient *client, const JoinBundle *bundle, GError **error)
{
    if (!join_client_say(client, "ready", error)) {
        return FALSE;
    }
    if (!bundle->voter) {
        return TRUE;
    }
    setup_progress(context, "starting etcd");
    return member_unit_restart(context, "holdfast-etcd.service", FALSE, error);
}

/* From the promotion on the cluster counts on this node's etcd, so as little as possible lies between it and node.json,
 * with which etcd starts at boot. */
static gboolean step_vote(const SetupContext *context, JoinClient *client, const JoinBundle *bundle, GError **error)
{
    setup_progress(context, "waiting for the store");
    if (bundle->voter && !join_client_say(client, "started", error)) {
        return FALSE;
    }
    g_autoptr(Store) store = member_store(context, bundle->voter);
    return member_wait_store(context, store, ping, client, error);
}

static gboolean step_corosync(const SetupContext *context, JoinClient *client, const JoinBundle *bundle, GError **error)
{
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(guint32));
    guint32 own = (guint32) bundle->node_id;
    g_array_append_val(ids, own);
    for (guint i = 0; i < bundle->members->len; i++) {
        const JoinMember *member = bundle->members->pdata[i];
        guint32 id = (guint32) member->id;
        g_array_append_val(ids, id);
    }
    setup_progress(context, "starting corosync");
    return member_unit_restart(context, "corosync.service", FALSE, error) &&
           member_wait_corosync(context, (const guint32 *) (const void *) ids->data, ids->len, ping, client, error);
}

/* corosync of a node, the quorum server of a witness. */
static gboolean step_membership(const SetupContext *context, JoinClient *client, const JoinBundle *bundle,
                                const Answers *answers, GError **error)
{
    if (answers->role == ANSWERS_NODE) {
        return step_corosync(context, client, bundle, error);
    }
    setup_progress(context, "starting the quorum server");
    return member_unit_restart(context, "corosync-qnetd.service", TRUE, error);
}

/* The token of a join whose last word was lost: this node is a member now and may delete it by itself. */
static gboolean token_drop(const SetupContext *context, const Answers *answers, GError **error)
{
    g_autofree char *id = NULL, *secret = NULL;
    if (!join_token_split(answers->join.token, "join.token", &id, &secret, error)) {
        return FALSE;
    }
    g_autofree char *key = g_strconcat(JOIN_TOKEN_PREFIX, id, NULL);
    g_autoptr(GError) problem = NULL;
    g_autoptr(Store) store = member_store(context, FALSE);
    if (store_delete(store, key, -1, &problem) || g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        return TRUE;
    }
    setup_progress(context, "the token could not be deleted now and will expire: %s", problem->message);
    return TRUE;
}

static gboolean finish_again(const SetupContext *context, const Answers *answers, const NodeConfig *present,
                             GError **error)
{
    setup_progress(context, "this machine is '%s' of cluster '%s'", present->node, present->cluster);
    return member_config_same(present, answers, error) && member_start_rest(context, answers, error) &&
           token_drop(context, answers, error);
}

gboolean join_run(const SetupContext *context, const Answers *answers, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(NodeConfig) present = member_config_read(context, &problem);
    if (problem) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    if (present) {
        return finish_again(context, answers, present, error);
    }
    if (!begin(context, answers, error)) {
        return FALSE;
    }
    g_autoptr(JoinClient) client =
        join_client_open(answers->join.address, context->join_port, answers->join.token, error);
    g_autoptr(JoinBundle) bundle = client ? step_request(context, client, answers, error) : NULL;
    if (!bundle || !bundle_check(bundle, answers, error) || !step_install(context, bundle, answers, error) ||
        !step_etcd(context, client, bundle, error) || !step_membership(context, client, bundle, answers, error) ||
        !step_vote(context, client, bundle, error) ||
        !member_config_write(context, answers, bundle->cluster, bundle->node_id, error)) {
        return FALSE;
    }
    setup_progress(context, "'%s' is a member of cluster '%s'", answers->node, bundle->cluster);
    if (!join_client_say(client, "done", &problem)) {
        token_drop(context, answers, NULL);
    }
    return member_start_rest(context, answers, error);
}

gboolean join_run_until_done(const SetupContext *context, const Answers *answers, GError **error)
{
    for (int pause_ms = context->poll_ms;; pause_ms = MIN(2 * pause_ms, PAUSE_MAX_MS)) {
        g_autoptr(GError) problem = NULL;
        if (join_run(context, answers, &problem)) {
            return TRUE;
        }
        if (!holdfast_error_retryable(holdfast_error_code(problem))) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        setup_progress(context, "not yet (%s); trying again in %d s", problem->message, (pause_ms + 999) / 1000);
        g_usleep((gulong) pause_ms * 1000);
    }
}
