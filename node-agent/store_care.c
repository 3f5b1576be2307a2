/* SPDX-License-Identifier: Apache-2.0
 * Snapshots by schedule, and the hold after a rescue. */
#include "node-agent/store_care.h"

#include "cluster/etcd_conf.h"
#include "cluster/store_rescue.h"
#include "common/error.h"
#include "common/log.h"

#include <string.h>
#include <unistd.h>

#define LOCAL_SOCKET "/run/holdfast-etcd/etcd.sock:0"
#define RETRY_S 300

static const JsonField store_snapshot_status_fields[] = {
    {.name = "version", .kind = JSON_FIELD_INT, .offset = offsetof(StoreSnapshotStatus, version), .required = TRUE},
    {.name = "node", .kind = JSON_FIELD_STRING, .offset = offsetof(StoreSnapshotStatus, node), .required = TRUE},
    {.name = "at", .kind = JSON_FIELD_STRING, .offset = offsetof(StoreSnapshotStatus, at)},
    {.name = "time_s", .kind = JSON_FIELD_INT, .offset = offsetof(StoreSnapshotStatus, time_s)},
    {.name = "error", .kind = JSON_FIELD_STRING, .offset = offsetof(StoreSnapshotStatus, error)},
    {0},
};
const JsonStruct store_snapshot_status_type = {.size = sizeof(StoreSnapshotStatus),
                                               .fields = store_snapshot_status_fields};

static gint64 now_s(void)
{
    return g_get_real_time() / G_USEC_PER_SEC;
}

gint64 store_care_due_s(gint64 newest_s, gint64 now)
{
    gint64 age_s = now - newest_s;
    return newest_s == 0 || age_s < 0 || age_s >= STORE_SNAPSHOT_EVERY_S ? 0 : STORE_SNAPSHOT_EVERY_S - age_s;
}

char *store_care_snapshot_problem(const char *node, const StoreSnapshotStatus *status, gint64 now)
{
    const char *why = status && status->error ? status->error : NULL;
    if (!status) {
        return NULL; /* its holdfastd is away, which is said already */
    }
    if (!status->at) {
        return g_strdup_printf("node %s has no snapshot of the store%s%s", node, why ? ": " : "", why ? why : "");
    }
    if (now - status->time_s > STORE_SNAPSHOT_OLD_S) {
        return g_strdup_printf("the newest snapshot of the store on node %s is of %s%s%s", node, status->at,
                               why ? ": " : "", why ? why : "");
    }
    return NULL;
}

static gboolean has_voter(void)
{
    return access(ETCD_CONF_PATH, F_OK) == 0;
}

static StoreSnapshot *newest(void)
{
    g_autoptr(GPtrArray) snapshots = store_snapshot_list(STORE_SNAPSHOT_PATH);
    return snapshots->len > 0 ? g_ptr_array_steal_index(snapshots, 0) : NULL;
}

static void status_publish(Daemon *daemon, const char *problem)
{
    g_autoptr(StoreSnapshot) last = newest();
    g_autoptr(GError) error = NULL;
    StoreSnapshotStatus status = {.version = 1,
                                  .node = daemon->config->node,
                                  .at = last ? last->at : NULL,
                                  .time_s = last ? last->time_s : 0,
                                  .error = (char *) problem};
    g_autofree char *key = g_strdup_printf(STORE_ROOT "status/%s/snapshot", daemon->config->node);
    g_autofree char *text = object_to_text(&store_snapshot_status_type, &status);
    if (!daemon_publish(daemon, key, text, &error)) {
        log_line(LOG_LEVEL_WARNING, "status of the snapshots here not published: %s", error->message);
    }
}

static json_t *snapshot_view(const StoreSnapshot *snapshot)
{
    return json_pack("{s:s,s:s,s:I,s:I}", "name", snapshot->name, "at", snapshot->at, "revision",
                     (json_int_t) snapshot->revision, "size_bytes", (json_int_t) snapshot->size_bytes);
}

json_t *store_care_list(Daemon *daemon)
{
    g_autoptr(GPtrArray) snapshots = store_snapshot_list(STORE_SNAPSHOT_PATH);
    json_t *list = json_array();
    for (guint i = 0; i < snapshots->len; i++) {
        json_array_append_new(list, snapshot_view(snapshots->pdata[i]));
    }
    return json_pack("{s:s,s:o}", "node", daemon->config->node, "snapshots", list);
}

/* One at a time: two would write the same temporary file. */
static StoreSnapshot *take(Daemon *daemon, GError **error)
{
    static GMutex one;
    g_mutex_lock(&one);
    StoreSnapshot *snapshot = store_snapshot_take(daemon->runner, STORE_SNAPSHOT_PATH, LOCAL_SOCKET, error);
    g_mutex_unlock(&one);
    return snapshot;
}

json_t *store_care_take(Daemon *daemon, GError **error)
{
    if (!has_voter()) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED, "node %s has no voter of the store",
                    daemon->config->node);
        return NULL;
    }
    g_autoptr(StoreSnapshot) snapshot = take(daemon, error);
    if (!snapshot) {
        return NULL;
    }
    status_publish(daemon, NULL);
    json_t *view = snapshot_view(snapshot);
    json_object_set_new(view, "node", json_string(daemon->config->node));
    return view;
}

static void snapshot_task(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    Daemon *daemon = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreSnapshot) snapshot = take(daemon, &error);
    if (error) {
        log_line(LOG_LEVEL_WARNING, "no snapshot of the store could be taken here: %s", error->message);
    }
    status_publish(daemon, error ? error->message : NULL);
    g_mutex_lock(&daemon->lock);
    daemon->snapshot_due_us =
        g_get_monotonic_time() + (gint64) (snapshot ? STORE_SNAPSHOT_EVERY_S : RETRY_S) * G_USEC_PER_SEC;
    g_mutex_unlock(&daemon->lock);
}

static void snapshot_follow(Daemon *daemon)
{
    gint64 now_us = g_get_monotonic_time();
    if (!has_voter()) {
        return;
    }
    if (!daemon_published(daemon, "snapshot")) {
        status_publish(daemon, NULL);
    }
    g_mutex_lock(&daemon->lock);
    if (daemon->snapshot_due_us == 0) {
        g_autoptr(StoreSnapshot) last = newest();
        daemon->snapshot_due_us = now_us + store_care_due_s(last ? last->time_s : 0, now_s()) * G_USEC_PER_SEC;
    }
    gboolean due = now_us >= daemon->snapshot_due_us;
    if (due) {
        daemon->snapshot_due_us = G_MAXINT64; /* until the task has ended */
    }
    g_mutex_unlock(&daemon->lock);
    if (due) {
        worker_kick(daemon->worker, "snapshot", snapshot_task);
    }
}

/* The revisions of a rescued store begin where the one it was made from ended, which may be long before what the cache
 * has seen: its watch would wait for them in silence. So holdfastd starts anew; guests are not touched by that. */
static void rescue_follow(Daemon *daemon)
{
    g_autoptr(StoreRescue) rescue = NULL;
    if (!store_rescue_load(daemon->store, &rescue, NULL)) {
        return;
    }
    const char *id = rescue ? rescue->id : "";
    if (!daemon->rescue_id) {
        daemon->rescue_id = g_strdup(id);
    } else if (!g_str_equal(daemon->rescue_id, id)) {
        log_line(LOG_LEVEL_NOTICE, "this is another store than before (%s): holdfastd starts anew",
                 *id ? id : "never rescued");
        g_main_loop_quit(daemon->loop);
    }
}

void store_care_follow(Daemon *daemon)
{
    rescue_follow(daemon);
    snapshot_follow(daemon);
}

static StoreRescue *held(Daemon *daemon)
{
    g_autoptr(StoreRescue) rescue = cache_object(daemon->cache, &store_rescue_type, "cluster/rescued", NULL);
    return rescue && !rescue->confirmed_at ? g_steal_pointer(&rescue) : NULL;
}

gboolean store_care_is_held(Daemon *daemon)
{
    g_autoptr(StoreRescue) rescue = held(daemon);
    return rescue != NULL;
}

void store_care_problems(Daemon *daemon, json_t *problems)
{
    g_autoptr(StoreRescue) rescue = held(daemon);
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    if (rescue) {
        json_array_append_new(
            problems,
            json_sprintf(
                "the store was %s (%s): membership and Pacemaker's configuration stay as they are; compare nodes, "
                "fence devices and guests with the truth, then 'holdfast store confirm --confirm %s'",
                store_rescue_word(rescue), rescue->at, daemon->config->cluster));
    }
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        g_autofree char *key = g_strdup_printf("status/%s/snapshot", node->name);
        StoreSnapshotStatus *status = cache_object(daemon->cache, &store_snapshot_status_type, key, NULL);
        g_autofree char *text = node->voter ? store_care_snapshot_problem(node->name, status, now_s()) : NULL;
        if (text) {
            json_array_append_new(problems, json_string(text));
        }
        object_free(&store_snapshot_status_type, status);
    }
}
