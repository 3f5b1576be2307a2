/* SPDX-License-Identifier: Apache-2.0
 * holdfastd: watches what the store wants and makes this node match it.
 *
 * Start: store, boot id, replicas; then READY, which is what pacemaker.service waits for. Guests run in units of their
 * own, so this process may be killed and restarted at any moment. */
#include "node-agent/daemon.h"
#include "node-agent/disk_care.h"
#include "node-agent/drbd_watch.h"
#include "node-agent/fence_secrets.h"
#include "node-agent/images.h"
#include "node-agent/join.h"
#include "node-agent/peer_verbs.h"
#include "node-agent/pool_care.h"
#include "node-agent/reconcile.h"
#include "node-agent/socket.h"
#include "vmm/engine.h"

#include "common/error.h"
#include "common/local_call.h"
#include "common/log.h"

#include <glib-unix.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define WORKER_THREADS 32
#define DRIVER_THREADS 64
#define CALLER_THREADS 16
#define TICK_S 3
#define LISTEN_RETRY_S 10
#define STORE_RETRY_US (G_USEC_PER_SEC)

typedef struct {
    Daemon *daemon;
    PeerCall *call;
    char *verb;
    json_t *arguments;
} CallJob;

static void kick_all(Daemon *daemon)
{
    g_autoptr(GPtrArray) guests = cache_list(daemon->cache, STORE_ROOT "guest/");
    g_autoptr(GPtrArray) operations = cache_objects(daemon->cache, &operation_type, "op/");
    daemon_kick_node(daemon);
    for (guint i = 0; i < guests->len; i++) {
        daemon_kick_guest(daemon, ((const StoreEntry *) guests->pdata[i])->key + strlen(STORE_ROOT "guest/"));
    }
    for (guint i = 0; i < operations->len; i++) {
        const Operation *operation = operations->pdata[i];
        if (operation->state == OPERATION_RUNNING && g_strcmp0(operation->node, daemon->config->node) == 0) {
            daemon_kick_operation(daemon, operation->id);
        }
    }
    daemon_kick_cluster(daemon);
}

/* Which work a changed key calls for. Another node's status of a guest concerns ours of the same guest. */
static void on_store_change(const char *key, gpointer user_data)
{
    Daemon *daemon = user_data;
    if (!key) {
        kick_all(daemon);
        return;
    }
    const char *name = key + strlen(STORE_ROOT);
    if (g_str_has_prefix(name, "guest/") || g_str_has_prefix(name, "record/")) {
        daemon_kick_guest(daemon, strchr(name, '/') + 1);
        daemon_kick_cluster(daemon);
    } else if (g_str_has_prefix(name, "volume/")) {
        g_autofree char *guest = g_strdup(name + strlen("volume/"));
        *strrchr(guest, '-') = '\0';
        daemon_kick_guest(daemon, guest);
    } else if (g_str_has_prefix(name, "status/") && strstr(name, "/guest/")) {
        daemon_kick_guest(daemon, strstr(name, "/guest/") + strlen("/guest/"));
        daemon_kick_cluster(daemon);
    } else if (g_str_has_prefix(name, "op/")) {
        daemon_kick_operation(daemon, name + strlen("op/"));
        daemon_kick_cluster(daemon);
    } else if (g_str_has_prefix(name, "node/") || g_str_has_prefix(name, "network/") ||
               g_str_has_prefix(name, "cluster/")) {
        daemon_kick_node(daemon);
        daemon_kick_cluster(daemon);
    } else if (g_str_has_prefix(name, "image/")) {
        daemon_kick_node(daemon);
    } else if (g_str_has_prefix(name, "fence/")) {
        daemon_kick_node(daemon); /* the files of its secrets */
        daemon_kick_cluster(daemon);
    } else if (g_str_has_prefix(name, "status/") && g_str_has_suffix(name, "/secrets")) {
        daemon_kick_cluster(daemon);
    }
}

static void on_membership(const MembershipView *view, gpointer user_data)
{
    Daemon *daemon = user_data;
    g_mutex_lock(&daemon->lock);
    daemon->view = *view;
    g_mutex_unlock(&daemon->lock);
    log_line(LOG_LEVEL_NOTICE, "membership: %s, %squorate, %u nodes, ring %" G_GUINT64_FORMAT,
             view->connected ? "connected" : "no corosync", view->quorate ? "" : "not ", view->n_nodes,
             view->ring_sequence);
    if (daemon->cache) {
        daemon_kick_cluster(daemon);
    }
}

static void call_answer(gpointer data, gpointer user_data G_GNUC_UNUSED)
{
    CallJob *job = data;
    g_autoptr(GError) error = NULL;
    json_t *result = peer_verb_run(job->daemon, job->verb, job->arguments, &error);
    peer_reply(job->call, result, error);
    json_decref(job->arguments);
    g_free(job->verb);
    g_free(job);
}

static void on_call(PeerCall *call, const char *verb, json_t *arguments, gpointer user_data)
{
    Daemon *daemon = user_data;
    CallJob *job = g_new0(CallJob, 1);
    *job = (CallJob){.daemon = daemon, .call = call, .verb = g_strdup(verb), .arguments = json_deep_copy(arguments)};
    g_thread_pool_push(daemon->callers, job, NULL);
}

static void on_members(const guint32 *nodes G_GNUC_UNUSED, guint n_nodes, gpointer user_data G_GNUC_UNUSED)
{
    log_line(LOG_LEVEL_INFO, "holdfastd is present on %u nodes", n_nodes);
}

static void on_drbd_change(const char *guest, gpointer user_data)
{
    daemon_kick_guest(user_data, guest);
}

static gboolean on_tick(gpointer user_data)
{
    kick_all(user_data);
    return G_SOURCE_CONTINUE;
}

static void engines_warm_up(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    Daemon *daemon = user_data;
    for (const VmmEngine *const *engine = vmm_engines; *engine; engine++) {
        g_autoptr(GError) error = NULL;
        if (!(*engine)->warm_up(daemon->runner, access("/dev/kvm", R_OK | W_OK) == 0, &error)) {
            log_line(LOG_LEVEL_NOTICE, "%s is not warm, the first start of a guest takes longer: %s", (*engine)->name,
                     error->message);
        }
    }
}

static gboolean on_signal(gpointer user_data)
{
    Daemon *daemon = user_data;
    g_main_loop_quit(daemon->loop);
    return G_SOURCE_CONTINUE;
}

/* The store may still be electing: keep trying, systemd's start time-out is the limit. */
static void load_until_done(Daemon *daemon)
{
    for (;;) {
        g_autoptr(GError) error = NULL;
        if (reconcile_register_boot(daemon, &error) && cache_load(daemon->cache, &error) &&
            daemon_lease_keep(daemon, &error)) {
            return;
        }
        log_line(LOG_LEVEL_WARNING, "waiting for the store: %s", error->message);
        sd_notifyf(0, "STATUS=waiting for the store: %s", error->message);
        g_usleep(STORE_RETRY_US);
    }
}

/* Letting nodes join must never keep guests from being looked after: a port that is taken is tried again. */
static gboolean join_listen(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    if (!join_server_new(setup_context_default(), daemon->store, daemon->config, &error)) {
        log_line(LOG_LEVEL_WARNING, "nodes cannot join through this one: %s", error->message);
        return FALSE;
    }
    return TRUE;
}

static gboolean join_listen_again(gpointer user_data)
{
    return join_listen(user_data) ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static gboolean images_serve_again(gpointer user_data)
{
    return images_serve(user_data) ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static void guest_settled_free(gpointer data)
{
    GuestSettled *settled = data;
    g_free(settled->text);
    g_free(settled);
}

static gboolean daemon_open(Daemon *daemon, GError **error)
{
    g_mutex_init(&daemon->lock);
    g_mutex_init(&daemon->pacemaker_lock);
    daemon->runner = process_runner_default();
    daemon->published = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->agents_absent = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->settled = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, guest_settled_free);
    daemon->leave_looked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->resyncs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->config = node_config_read(error);
    daemon->store = daemon->config ? store_new_for_node(error) : NULL;
    if (!daemon->store) {
        return FALSE;
    }
    daemon->loop = g_main_loop_new(NULL, FALSE);
    daemon->worker = worker_new(WORKER_THREADS, daemon);
    daemon->drivers = worker_new(DRIVER_THREADS, daemon);
    daemon->callers = g_thread_pool_new(call_answer, daemon, CALLER_THREADS, FALSE, NULL);
    daemon->cache = cache_new(daemon->store, on_store_change, daemon);
    return TRUE;
}

static int daemon_serve(Daemon *daemon, GError **error)
{
    static const PeerEvents events = {.on_call = on_call, .on_members = on_members};
    reconcile_resume_replicas(daemon);
    load_until_done(daemon);
    fence_secrets_write(daemon);
    daemon->membership = membership_new(NULL, on_membership, daemon);
    daemon->peer = peer_new(NULL, (guint32) daemon->config->node_id, &events, daemon);
    daemon_blackbox_begin(daemon);
    disk_care_begin(daemon, daemon->config->disk_hang_s);
    pool_care_begin(daemon);
    if (!agent_socket_new(daemon, LOCAL_CALL_SOCKET, error)) {
        return EXIT_FAILURE;
    }
    if (!join_listen(daemon)) {
        g_timeout_add_seconds(LISTEN_RETRY_S, join_listen_again, daemon);
    }
    if (!images_serve(daemon)) {
        g_timeout_add_seconds(LISTEN_RETRY_S, images_serve_again, daemon);
    }
    g_unix_signal_add(SIGTERM, on_signal, daemon);
    g_unix_signal_add(SIGINT, on_signal, daemon);
    g_timeout_add_seconds(TICK_S, on_tick, daemon);
    on_tick(daemon);
    drbd_watch_start(NULL, on_drbd_change, daemon);
    log_line(LOG_LEVEL_NOTICE, "holdfastd " DAEMON_VERSION " on %s of cluster '%s' is ready", daemon->config->node,
             daemon->config->cluster);
    sd_notify(0, "READY=1\nSTATUS=serving");
    worker_kick(daemon->drivers, "warm-up", engines_warm_up);
    g_main_loop_run(daemon->loop);
    sd_notify(0, "STOPPING=1");
    reconcile_mark_left(daemon);
    /* Work under way in other threads is level-triggered and continues after the next start: leave without waiting for
     * it. */
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    static Daemon daemon; /* zeroed; threads outlive main's frame at exit */
    if (argc > 1) {
        g_printerr("usage: %s\nholdfastd takes no arguments; it is started by holdfastd.service.\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (!daemon_open(&daemon, &error)) {
        log_line(LOG_LEVEL_ERROR, "%s", error->message);
        return EXIT_FAILURE;
    }
    int code = daemon_serve(&daemon, &error);
    if (error) {
        log_line(LOG_LEVEL_ERROR, "%s", error->message);
    }
    /* Other threads still run, some inside TLS: exit() would take the libraries' state away under them. */
    fflush(NULL);
    _exit(code);
}
