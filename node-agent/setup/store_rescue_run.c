/* SPDX-License-Identifier: Apache-2.0
 * The rescue, step by step, in /var/lib/holdfast/etcd-rescue:
 *   copy     this node's data folder, made a cluster of one (rescue only), from which comes
 *   own.db   a snapshot (restore: the operator's), from which comes
 *   new      a data folder of a new cluster, in which the mark is written (cluster/store_rescue.h).
 * Only then names are exchanged: new <-> /var/lib/holdfast/etcd. So whoever reaches the new store finds it marked.
 *
 * The detour over a snapshot gives the new store another cluster id: a voter of the old one that comes back cannot
 * speak to it. Taking the snapshot from the folder's own database file would lose what etcd had acknowledged and not
 * yet written there; so etcd replays its log first, on the copy.
 *
 * The journal knows the inode of "new" once that is ready: whether the exchange has happened is seen, not remembered.
 */
#include "node-agent/setup/store_rescue_run.h"

#include "cluster/cluster_config.h"
#include "cluster/etcd_conf.h"
#include "cluster/store_rescue.h"
#include "cluster/store_snapshot.h"
#include "common/error.h"
#include "common/ident.h"
#include "node-agent/join.h"
#include "node-agent/setup/checks.h"
#include "node-agent/setup/member.h"
#include "node-agent/setup/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define WORK_PATH "/var/lib/holdfast/etcd-rescue"
#define JOURNAL_PATH "/var/lib/holdfast/store-rescue.json"
#define SYSTEMCTL "/usr/bin/systemctl"
#define ETCDCTL "/usr/bin/etcdctl"
#define ETCD_UNIT "holdfast-etcd.service"
#define COMMAND_TIMEOUT_MS 60000
#define COPY_TIMEOUT_MS 600000
#define CONNECT_TIMEOUT_S 2

typedef struct {
    gint64 version; /* 1 */
    StoreRescue rescue;
    gint64 new_inode; /* 0: not ready yet */
} Journal;

static const JsonField journal_fields[] = {
    {.name = "version", .kind = JSON_FIELD_INT, .offset = offsetof(Journal, version), .required = TRUE},
    {.name = "rescue", .kind = JSON_FIELD_STRUCT, .offset = offsetof(Journal, rescue), .sub = &store_rescue_type},
    {.name = "new_inode", .kind = JSON_FIELD_INT, .offset = offsetof(Journal, new_inode)},
    {0},
};
static const JsonStruct journal_type = {.size = sizeof(Journal), .fields = journal_fields};

typedef struct {
    const SetupContext *context;
    const RescueRequest *request;
    NodeConfig *config;
    Journal journal;
    char *work, *data; /* full paths */
} Rescue;

static void rescue_clear(Rescue *rescue)
{
    g_clear_pointer(&rescue->config, node_config_free);
    json_struct_clear(&journal_type, &rescue->journal);
    g_free(rescue->work);
    g_free(rescue->data);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Rescue, rescue_clear)

/* ---- what is there ---- */

static NodeConfig *voter_config(const SetupContext *context, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(NodeConfig) config = member_config_read(context, &problem);
    if (problem) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    if (!config || config->node_id == 0) {
        holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                            "this machine is no node of a cluster: do it on a node that had a voter of the store");
        return NULL;
    }
    if (!setup_exists(context, ETCD_CONF_PATH)) {
        holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                            "node '%s' has no voter of the store (%s is not there): do it on a node that has, the file "
                            "/etc/holdfast/voters names their addresses",
                            config->node, ETCD_CONF_PATH);
        return NULL;
    }
    return g_steal_pointer(&config);
}

/* Something accepts connections there. That counts as answering: an etcd that is up may have others behind it. */
static gboolean url_answers(const char *url)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_socket_client_set_enable_proxy(client, FALSE);
    g_socket_client_set_timeout(client, CONNECT_TIMEOUT_S);
    g_autoptr(GSocketConnection) connection =
        g_socket_client_connect_to_host(client, url + strlen("https://"), ETCD_CLIENT_PORT, NULL, NULL);
    return connection != NULL;
}

/* Client URLs of the other voters. NULL: the list of them cannot be read. */
static char **other_voters(const SetupContext *context, const NodeConfig *config, GError **error)
{
    g_autofree char *own = g_strdup_printf("https://%s:%d", config->ring0, context->etcd_client_port);
    g_autofree char *text = setup_read(context, NODE_VOTERS_PATH, error);
    if (!text) {
        return NULL;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(GStrvBuilder) others = g_strv_builder_new();
    for (char **line = lines; *line; line++) {
        g_strstrip(*line);
        if (g_str_has_prefix(*line, "https://") && strcmp(*line, own) != 0) {
            g_strv_builder_add(others, *line);
        }
    }
    return g_strv_builder_end(others);
}

static gboolean majority_answers(const SetupContext *context)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(Store) store = member_store(context, TRUE);
    g_autoptr(StoreEntry) entry = store_get(store, CLUSTER_CONFIG_KEY, NULL, &problem);
    return entry || g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
}

/* Of the local member, which tells it also without a majority, but not before it has had one since its start. 0: not
 * known. */
static gint64 own_revision(const SetupContext *context)
{
    g_autofree char *endpoint = g_strdup_printf("--endpoints=unix://%s" STORE_LOCAL_SOCKET, context->prefix);
    g_autofree char *text = NULL;
    long long revision = 0;
    /* Not as JSON: it would have ids above what a signed 64 bit integer holds. */
    if (!process_call(context->runner, COMMAND_TIMEOUT_MS, &text, NULL, ETCDCTL, endpoint, "endpoint", "status", "-w",
                      "fields", NULL)) {
        return 0;
    }
    const char *field = strstr(text, "\"Revision\" : ");
    return field && sscanf(field, "\"Revision\" : %lld", &revision) == 1 ? revision : 0;
}

char *rescue_look_text(const SetupContext *context, GError **error)
{
    g_autoptr(NodeConfig) config = voter_config(context, error);
    if (!config) {
        return NULL;
    }
    g_auto(GStrv) others = other_voters(context, config, error);
    if (!others) {
        return NULL;
    }
    gint64 revision = own_revision(context);
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "cluster   %s\nthis node %s (%s), ", config->cluster, config->node, config->ring0);
    if (revision > 0) {
        g_string_append_printf(text, "its copy of the store is at revision %" G_GINT64_FORMAT "\n", revision);
    } else {
        g_string_append(text, "its etcd does not answer: revision unknown\n");
    }
    g_string_append_printf(text, "majority  %s\n", majority_answers(context) ? "ANSWERS" : "does not answer");
    for (char **url = others; *url; url++) {
        g_string_append_printf(text, "voter     %s %s\n", *url, url_answers(*url) ? "ANSWERS" : "does not answer");
    }
    return g_string_free(text, FALSE);
}

static gboolean others_are_silent(const Rescue *rescue, GError **error)
{
    g_auto(GStrv) others = other_voters(rescue->context, rescue->config, error);
    if (!others) {
        return FALSE;
    }
    for (char **url = others; *url; url++) {
        if (url_answers(*url)) {
            return holdfast_error_fail(
                error, HOLDFAST_ERROR_REFUSED,
                "etcd at %s answers, and two stores would be worse than none: on that node run `holdfast "
                "store leave`, or switch it off",
                *url);
        }
    }
    return TRUE;
}

static gboolean request_is_meant(const Rescue *rescue, GError **error)
{
    const RescueRequest *request = rescue->request;
    if (g_strcmp0(request->confirm, rescue->config->cluster) != 0) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "--confirm: must be the name of this cluster, as `holdfast-setup status` shows it");
    }
    if (!request->others_gone) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_REFUSED,
            "--others-gone: say so only when every other voter is switched off, destroyed, or has left with "
            "`holdfast store leave`: one that goes on with the old store could start guests a second time");
    }
    return TRUE;
}

static gboolean check(const Rescue *rescue, GError **error)
{
    if (!request_is_meant(rescue, error)) {
        return FALSE;
    }
    if (rescue->request->snapshot && !store_snapshot_check(rescue->request->snapshot, error)) {
        return FALSE;
    }
    if (!rescue->request->snapshot && majority_answers(rescue->context)) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "the store answers with a majority: there is nothing to rescue");
    }
    return others_are_silent(rescue, error);
}

/* ---- journal ---- */

static gboolean journal_write(const Rescue *rescue, GError **error)
{
    g_autoptr(json_t) object = json_struct_encode(&journal_type, &rescue->journal);
    g_autofree char *text = json_text_from(object);
    return setup_write(rescue->context, JOURNAL_PATH, text, -1, 0600, NULL, error);
}

static gboolean journal_read(Rescue *rescue, GError **error)
{
    g_autofree char *text =
        setup_exists(rescue->context, JOURNAL_PATH) ? setup_read(rescue->context, JOURNAL_PATH, error) : NULL;
    if (!text) {
        return !setup_exists(rescue->context, JOURNAL_PATH);
    }
    g_autoptr(json_t) object = json_text_parse(text, -1, JOURNAL_PATH, error);
    return object && json_struct_decode(object, &journal_type, JOURNAL_PATH, &rescue->journal, error);
}

/* The new data folder stands where etcd looks for it. */
static gboolean is_exchanged(const Rescue *rescue)
{
    struct stat status;
    return rescue->journal.new_inode > 0 && stat(rescue->data, &status) == 0 &&
           (gint64) status.st_ino == rescue->journal.new_inode;
}

static StoreRescueKind wanted_kind(const RescueRequest *request)
{
    return request->snapshot ? STORE_RESCUE_RESTORED : STORE_RESCUE_MAJORITY_LOST;
}

static void journal_begin(Rescue *rescue)
{
    StoreRescue *mark = &rescue->journal.rescue;
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y%m%dT%H%M%SZ");
    g_autofree char *random = setup_random_hex(4);
    json_struct_clear(&journal_type, &rescue->journal);
    rescue->journal.version = 1;
    mark->version = 1;
    mark->id = g_strdup_printf("%s-%s", time, random);
    mark->kind = (int) wanted_kind(rescue->request);
    mark->node = g_strdup(rescue->config->node);
    mark->at = ident_timestamp();
}

/* What was exchanged and not finished is finished by the same command, not by the other one: that would tell its
 * operator of something that was not done. */
static gboolean is_same_kind(const Rescue *rescue, GError **error)
{
    gboolean restoring = rescue->journal.rescue.kind == STORE_RESCUE_RESTORED;
    return rescue->journal.rescue.kind == (int) wanted_kind(rescue->request) ||
           holdfast_error_fail(
               error, HOLDFAST_ERROR_REFUSED,
               "a %s was begun here at %s and is not finished: run `holdfast store %s` to its end first",
               restoring ? "restore" : "rescue", rescue->journal.rescue.at, restoring ? "restore" : "rescue");
}

/* ---- steps up to the exchange: nothing that was there is changed ---- */

static gboolean run(const Rescue *rescue, int timeout_ms, const char *const *argv, GError **error)
{
    return process_run_ok(rescue->context->runner, argv, NULL, timeout_ms, NULL, error);
}

static gboolean remove_tree(const Rescue *rescue, const char *path, GError **error)
{
    const char *argv[] = {"/bin/rm", "-rf", "--one-file-system", "--", path, NULL};
    return run(rescue, COPY_TIMEOUT_MS, argv, error);
}

static gboolean work_begin(const Rescue *rescue, GError **error)
{
    const char *stop[] = {SYSTEMCTL, "stop", ETCD_UNIT, NULL};
    setup_progress(rescue->context, "stopping etcd here; what is there stays as it is until all is ready");
    if (!run(rescue, COMMAND_TIMEOUT_MS, stop, error) || !remove_tree(rescue, rescue->work, error)) {
        return FALSE;
    }
    return g_mkdir_with_parents(rescue->work, 0700) == 0 ||
           holdfast_error_set_errno(error, errno, "cannot make folder %s", rescue->work);
}

/* This node's own data, its log replayed, as a snapshot file. Caller frees the path. */
static char *own_snapshot(const Rescue *rescue, GError **error)
{
    const SetupContext *context = rescue->context;
    g_autofree char *copy = g_build_filename(rescue->work, "copy", NULL);
    g_auto(StorePrivate) etcd = {0};
    const char *argv[] = {"/bin/cp", "-a", "--", rescue->data, copy, NULL};
    setup_progress(context, "copying the data folder and making the copy a store of one");
    if (!run(rescue, COPY_TIMEOUT_MS, argv, error) ||
        !store_private_start(context, rescue->config, rescue->work, "copy", TRUE, &etcd, error)) {
        return NULL;
    }
    setup_progress(context, "taking everything out of the copy");
    g_autoptr(StoreSnapshot) taken = store_snapshot_take(context->runner, rescue->work, etcd.socket, error);
    return taken && store_private_stop(context, &etcd, error) ? g_build_filename(rescue->work, taken->name, NULL)
                                                              : NULL;
}

static gboolean new_folder(const Rescue *rescue, const char *snapshot, GError **error)
{
    const SetupContext *context = rescue->context;
    const NodeConfig *config = rescue->config;
    g_autofree char *target = g_build_filename(rescue->work, "new", NULL);
    g_autofree char *peer_url = etcd_conf_peer_url(config->ring0, context->etcd_peer_port);
    g_autofree char *cluster = g_strdup_printf("%s=%s", config->node, peer_url);
    g_autofree char *token = g_strdup_printf("%s-%s", config->cluster, rescue->journal.rescue.id);
    const char *argv[] = {ETCDCTL,
                          "snapshot",
                          "restore",
                          snapshot,
                          "--name",
                          config->node,
                          "--data-dir",
                          target,
                          "--initial-cluster",
                          cluster,
                          "--initial-advertise-peer-urls",
                          peer_url,
                          "--initial-cluster-token",
                          token,
                          NULL};
    setup_progress(context, "making a new data folder from %s", snapshot);
    return run(rescue, COPY_TIMEOUT_MS, argv, error);
}

static gboolean is_this_cluster(const Rescue *rescue, Store *store, GError **error)
{
    g_autoptr(ClusterConfig) config = cluster_config_load(store, error);
    if (!config) {
        return FALSE;
    }
    return strcmp(config->name, rescue->config->cluster) == 0 ||
           holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                               "that is the store of cluster '%s', and this is a node of '%s'", config->name,
                               rescue->config->cluster);
}

static gboolean revision_read(Rescue *rescue, Store *store, GError **error)
{
    g_autoptr(GPtrArray) nodes = store_list(store, STORE_ROOT "node/", &rescue->journal.rescue.revision, error);
    return nodes != NULL;
}

/* The mark, while nobody else reaches the store. */
static gboolean mark(Rescue *rescue, GError **error)
{
    static const char *const forget[] = {JOIN_TOKEN_PREFIX, JOIN_LOCK_KEY, NULL};
    g_auto(StorePrivate) etcd = {0};
    setup_progress(rescue->context, "marking every in-sync record as unconfirmed");
    return store_private_start(rescue->context, rescue->config, rescue->work, "new", FALSE, &etcd, error) &&
           is_this_cluster(rescue, etcd.store, error) && revision_read(rescue, etcd.store, error) &&
           store_rescue_mark(etcd.store, &rescue->journal.rescue, forget, error) &&
           store_private_stop(rescue->context, &etcd, error);
}

/* On the disk, etcd's, and known to the journal by its inode. */
static gboolean make_ready(Rescue *rescue, GError **error)
{
    g_autofree char *target = g_build_filename(rescue->work, "new", NULL);
    const char *own[] = {"/bin/chown", "-R", "etcd:etcd", "--", target, NULL};
    const char *sync[] = {"/bin/sync", "-f", target, NULL};
    struct stat status;
    if ((!rescue->context->testing && !run(rescue, COMMAND_TIMEOUT_MS, own, error)) ||
        !run(rescue, COPY_TIMEOUT_MS, sync, error)) {
        return FALSE;
    }
    if (chmod(target, 0700) != 0 || stat(target, &status) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot look at %s", target);
    }
    rescue->journal.new_inode = (gint64) status.st_ino;
    return journal_write(rescue, error);
}

static gboolean prepare(Rescue *rescue, GError **error)
{
    g_autofree char *snapshot = NULL;
    journal_begin(rescue);
    if (!journal_write(rescue, error) || !work_begin(rescue, error)) {
        return FALSE;
    }
    snapshot = rescue->request->snapshot ? g_strdup(rescue->request->snapshot) : own_snapshot(rescue, error);
    return snapshot && new_folder(rescue, snapshot, error) && mark(rescue, error) && make_ready(rescue, error);
}

/* ---- the exchange, and what follows it ---- */

/* One rename: at no moment is the data folder missing, or etcd, started by a reboot then, would begin an empty store.
 */
static gboolean exchange(const Rescue *rescue, GError **error)
{
    g_autofree char *target = g_build_filename(rescue->work, "new", NULL);
    setup_progress(rescue->context, "putting the new store in place");
    if (g_mkdir_with_parents(rescue->data, 0700) != 0 ||
        renameat2(AT_FDCWD, target, AT_FDCWD, rescue->data, RENAME_EXCHANGE) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot exchange %s and %s", target, rescue->data);
    }
    const char *sync[] = {"/bin/sync", "-f", rescue->data, NULL};
    return run(rescue, COPY_TIMEOUT_MS, sync, error);
}

static gboolean keep_old(const Rescue *rescue, GError **error)
{
    g_autofree char *old = g_build_filename(rescue->work, "new", NULL);
    g_autofree char *kept = g_strdup_printf("%s.before-%s", rescue->data, rescue->journal.rescue.id);
    if (g_access(old, F_OK) != 0) {
        return TRUE; /* done before */
    }
    if (rename(old, kept) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot keep %s as %s", old, kept);
    }
    setup_progress(rescue->context, "the old data folder is kept as %s", kept);
    return TRUE;
}

static gboolean voters_write(const Rescue *rescue, GError **error)
{
    g_autofree char *text =
        g_strdup_printf("https://%s:%d\n", rescue->config->ring0, rescue->context->etcd_client_port);
    return setup_write(rescue->context, NODE_VOTERS_PATH, text, -1, 0644, NULL, error);
}

static gboolean finish(const Rescue *rescue, GError **error)
{
    const SetupContext *context = rescue->context;
    const char *restart[] = {SYSTEMCTL, "try-restart", "--no-block", "holdfastd.service", NULL};
    g_autofree char *journal = setup_path(context, JOURNAL_PATH);
    g_autoptr(Store) store = member_store(context, TRUE);
    if (!keep_old(rescue, error) || !voters_write(rescue, error)) {
        return FALSE;
    }
    setup_progress(context, "starting etcd");
    /* holdfastd began with another store: what it knows of revisions does not fit this one. */
    if (!member_unit_restart(context, ETCD_UNIT, TRUE, error) ||
        !member_wait_store(context, store, NULL, NULL, error) || !run(rescue, COMMAND_TIMEOUT_MS, restart, error) ||
        !remove_tree(rescue, rescue->work, error)) {
        return FALSE;
    }
    setup_progress(context,
                   "the store is back with one voter, made at revision %" G_GINT64_FORMAT
                   ". Next: compare `holdfast node list`, `holdfast fence list` and `holdfast guest list` with the "
                   "truth, then `holdfast store confirm --confirm %s`",
                   rescue->journal.rescue.revision, rescue->config->cluster);
    return g_unlink(journal) == 0 || holdfast_error_set_errno(error, errno, "cannot remove %s", journal);
}

/* Nothing was exchanged: the store that was there goes on, and what was made beside it goes. Always FALSE. */
static gboolean give_up(const Rescue *rescue, GError **error)
{
    const char *start[] = {SYSTEMCTL, "start", "--no-block", ETCD_UNIT, NULL};
    if (!is_exchanged(rescue)) {
        gboolean ok = remove_tree(rescue, rescue->work, NULL) && run(rescue, COMMAND_TIMEOUT_MS, start, NULL);
        g_prefix_error(error,
                       "nothing was changed%s: ", ok ? "" : ", but etcd is stopped: start holdfast-etcd.service");
    }
    return FALSE;
}

gboolean rescue_run(const SetupContext *context, const RescueRequest *request, GError **error)
{
    g_auto(Rescue) rescue = {.context = context, .request = request};
    rescue.work = setup_path(context, WORK_PATH);
    rescue.data = setup_path(context, ETCD_DATA_PATH);
    if (!check_root(context, error) || !(rescue.config = voter_config(context, error)) ||
        !journal_read(&rescue, error)) {
        return FALSE;
    }
    if (is_exchanged(&rescue)) {
        if (!request_is_meant(&rescue, error) || !is_same_kind(&rescue, error)) {
            return FALSE;
        }
        setup_progress(context, "going on with the rescue that was begun before");
        return finish(&rescue, error);
    }
    if (!check(&rescue, error)) {
        return FALSE;
    }
    /* Once more right before the exchange: what was made ready took minutes. */
    if (!prepare(&rescue, error) || !others_are_silent(&rescue, error) || !exchange(&rescue, error)) {
        return give_up(&rescue, error);
    }
    return finish(&rescue, error);
}
