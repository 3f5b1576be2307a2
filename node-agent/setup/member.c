/* SPDX-License-Identifier: Apache-2.0
 * Common steps of init and join. */
#include "node-agent/setup/member.h"

#include "cluster/etcd_conf.h"
#include "common/error.h"
#include "node-agent/setup/checks.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEMCTL "/usr/bin/systemctl"
#define SYSTEMCTL_TIMEOUT_MS 120000
#define STORE_TIMEOUT_MS 3000
#define MEMBERSHIP_TIMEOUT_MS 2000

gboolean member_check_machine(const SetupContext *context, const Answers *answers, GError **error)
{
    if (!check_root(context, error) || !check_address_here(context, answers->ring0, "ring0", error)) {
        return FALSE;
    }
    return answers->role == ANSWERS_WITNESS ||
           (check_address_here(context, answers->ring1, "ring1", error) &&
            check_device(context, answers->storage_device, "storage_device", error));
}

/* What must not change between two attempts. */
static char *journal_text(const Answers *answers)
{
    g_autoptr(json_t) journal = json_pack(
        "{s:i,s:s,s:s*,s:s*,s:s,s:s,s:s,s:s*}", "version", 1, "action",
        answers->action == ANSWERS_INIT ? "init" : "join", "role", answers->role == ANSWERS_WITNESS ? "witness" : NULL,
        "cluster", answers->action == ANSWERS_INIT ? answers->cluster : NULL, "node", answers->node, "ring0",
        answers->ring0, "ring1", answers->ring1, "storage_device", answers->storage_device);
    return json_text_from(journal);
}

gboolean member_journal_begin(const SetupContext *context, const Answers *answers, GError **error)
{
    g_autofree char *text = journal_text(answers);
    g_autofree char *present = setup_read(context, SETUP_JOURNAL_PATH, NULL);
    if (!present) {
        return setup_write(context, SETUP_JOURNAL_PATH, text, -1, 0600, NULL, error);
    }
    if (strcmp(present, text) != 0) {
        g_set_error(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
            "another set-up was begun here and not finished (%s): repeat it with the same values, or give it up with "
            "`holdfast-setup reset`",
            present);
        return FALSE;
    }
    setup_progress(context, "going on with the set-up that was begun before");
    return TRUE;
}

NodeConfig *member_config_read(const SetupContext *context, GError **error)
{
    g_autoptr(GError) problem = NULL;
    const char *path = setup_exists(context, NODE_WITNESS_PATH) ? NODE_WITNESS_PATH : NODE_CONFIG_PATH;
    g_autofree char *text = setup_read(context, path, &problem);
    if (!text) {
        if (!g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&problem));
        }
        return NULL;
    }
    g_autoptr(json_t) object = json_text_parse(text, -1, path, error);
    g_autoptr(NodeConfig) config = g_new0(NodeConfig, 1);
    if (!object || !json_struct_decode(object, &node_config_type, path, config, error)) {
        return NULL;
    }
    return g_steal_pointer(&config);
}

gboolean member_config_same(const NodeConfig *present, const Answers *answers, GError **error)
{
    gboolean witness = present->node_id == 0;
    if (witness == (answers->role == ANSWERS_WITNESS) && strcmp(present->node, answers->node) == 0 &&
        strcmp(present->ring0, answers->ring0) == 0 &&
        (!answers->cluster || strcmp(present->cluster, answers->cluster) == 0)) {
        return TRUE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                "this machine is %s '%s' of cluster '%s' already: remove it there first (`holdfast node remove %s`), "
                "then reinstall it",
                witness ? "witness" : "node", present->node, present->cluster, present->node);
    return FALSE;
}

gboolean member_config_write(const SetupContext *context, const Answers *answers, const char *cluster, gint64 node_id,
                             GError **error)
{
    NodeConfig config = {.version = 1,
                         .cluster = (char *) cluster,
                         .node = answers->node,
                         .node_id = node_id,
                         .ring0 = answers->ring0,
                         .ring1 = answers->ring1,
                         .storage_device = answers->storage_device};
    g_autoptr(json_t) object = json_struct_encode(&node_config_type, &config);
    g_autofree char *text = json_text_from(object);
    const char *path = answers->role == ANSWERS_WITNESS ? NODE_WITNESS_PATH : NODE_CONFIG_PATH;
    return setup_write(context, path, text, -1, 0644, NULL, error);
}

/* etcd runs as its own user and refuses a data folder others may read. */
static gboolean etcd_folder(const SetupContext *context, const char *path, GError **error)
{
    g_autofree char *folder = setup_path(context, path);
    if (g_mkdir_with_parents(folder, 0755) != 0 || chmod(folder, 0700) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot make folder %s", folder);
    }
    struct passwd entry, *found = NULL;
    char buffer[16384];
    if (context->testing || getpwnam_r("etcd", &entry, buffer, sizeof(buffer), &found) != 0 || !found) {
        return TRUE;
    }
    return chown(folder, found->pw_uid, found->pw_gid) == 0 ||
           holdfast_error_set_errno(error, errno, "cannot give %s to etcd", folder);
}

gboolean member_etcd_write(const SetupContext *context, const Answers *answers, const char *initial_cluster,
                           gboolean existing, const char *cluster_token, const EtcdTuning *tuning, GError **error)
{
    EtcdConf conf = {.prefix = context->prefix,
                     .name = answers->node,
                     .ring0 = answers->ring0,
                     .initial_cluster = initial_cluster,
                     .existing = existing,
                     .cluster_token = cluster_token,
                     .tuning = tuning,
                     .client_port = context->etcd_client_port,
                     .peer_port = context->etcd_peer_port};
    g_autofree char *text = etcd_conf_text(&conf);
    return etcd_folder(context, ETCD_DATA_PATH, error) &&
           setup_write(context, ETCD_CONF_PATH, text, -1, 0644, NULL, error);
}

gboolean member_unit_restart(const SetupContext *context, const char *unit, gboolean wait, GError **error)
{
    const char *argv[] = {SYSTEMCTL, "restart", unit, wait ? NULL : "--no-block", NULL};
    /* A unit that failed too often on an earlier attempt is not started again without this. */
    process_call(context->runner, SYSTEMCTL_TIMEOUT_MS, NULL, NULL, SYSTEMCTL, "reset-failed", unit, NULL);
    if (!process_run_ok(context->runner, argv, NULL, SYSTEMCTL_TIMEOUT_MS, NULL, error)) {
        g_prefix_error(error, "%s did not start, see `journalctl -u %s`: ", unit, unit);
        return FALSE;
    }
    return TRUE;
}

gboolean member_start_rest(const SetupContext *context, const Answers *answers, GError **error)
{
    if (answers->role == ANSWERS_WITNESS) {
        return process_call(context->runner, SYSTEMCTL_TIMEOUT_MS, NULL, error, SYSTEMCTL, "start", "--no-block",
                            "holdfast.target", NULL);
    }
    return process_call(context->runner, SYSTEMCTL_TIMEOUT_MS, NULL, error, SYSTEMCTL, "start", "--no-block",
                        "holdfast.target", "holdfastd.service", "pacemaker.service", "holdfast-api.service", NULL);
}

static char **voters_endpoints(const SetupContext *context)
{
    g_autofree char *text = setup_read(context, NODE_VOTERS_PATH, NULL);
    return g_strsplit(text ? g_strstrip(text) : "", "\n", -1);
}

Store *member_store(const SetupContext *context, gboolean local)
{
    g_autofree char *socket = g_strdup_printf("unix:%s" STORE_LOCAL_SOCKET, context->prefix);
    g_auto(GStrv) voters = voters_endpoints(context);
    char *own[] = {socket, NULL};
    g_autofree char *ca = setup_path(context, NODE_CA_FILE);
    g_autofree char *certificate = setup_path(context, NODE_CERT_FILE);
    g_autofree char *key = setup_path(context, NODE_KEY_FILE);
    StoreConfig config = {.endpoints = local ? own : voters,
                          .ca_file = ca,
                          .cert_file = certificate,
                          .key_file = key,
                          .timeout_ms = STORE_TIMEOUT_MS};
    return store_new(&config);
}

static gboolean pause_between(const SetupContext *context, MemberBetween between, gpointer user_data, GError **error)
{
    g_usleep((gulong) context->poll_ms * 1000);
    return !between || between(user_data, error);
}

gboolean member_wait_store(const SetupContext *context, Store *store, MemberBetween between, gpointer user_data,
                           GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) context->wait_ms * 1000;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        g_autoptr(StoreEntry) entry = store_get(store, CLUSTER_CONFIG_KEY, NULL, &problem);
        if (entry || g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
            return TRUE;
        }
        if (g_get_monotonic_time() > deadline_us) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                        "the store did not come up, see `journalctl -u holdfast-etcd`: %s", problem->message);
            return FALSE;
        }
        if (!pause_between(context, between, user_data, error)) {
            return FALSE;
        }
    }
}

static gboolean view_has_all(const MembershipView *view, const guint32 *ids, guint n_ids)
{
    gboolean all = view->connected && view->quorate;
    for (guint i = 0; all && i < n_ids; i++) {
        gboolean found = FALSE;
        for (guint j = 0; j < view->n_nodes && !found; j++) {
            found = view->nodes[j] == ids[i];
        }
        all = found;
    }
    return all;
}

gboolean member_wait_corosync(const SetupContext *context, const guint32 *ids, guint n_ids, MemberBetween between,
                              gpointer user_data, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) context->wait_ms * 1000;
    for (;;) {
        MembershipView view = {0};
        g_autoptr(GError) problem = NULL;
        gboolean known = context->membership(MEMBERSHIP_TIMEOUT_MS, &view, &problem);
        if (known && view_has_all(&view, ids, n_ids)) {
            return TRUE;
        }
        if (g_get_monotonic_time() > deadline_us) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                        "corosync did not reach all %u nodes (%s): check both cluster networks and see `journalctl -u "
                        "corosync`",
                        n_ids,
                        !known         ? problem->message
                        : view.quorate ? "some are missing"
                                       : "no quorum");
            return FALSE;
        }
        if (!pause_between(context, between, user_data, error)) {
            return FALSE;
        }
    }
}
