/* SPDX-License-Identifier: Apache-2.0
 * This node as a whole: lease, boot id, status, bridges, corosync.conf, and the replicas that must be up before
 * Pacemaker asks. */
#include "node-agent/reconcile.h"

#include "cluster/corosync_conf.h"
#include "cluster/etcd_conf.h"
#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/lock.h"
#include "common/log.h"
#include "node-agent/disk_care.h"
#include "node-agent/fence_secrets.h"
#include "node-agent/images.h"
#include "node-agent/pool_care.h"
#include "node-agent/replica_join.h"
#include "node-agent/setup/context.h"
#include "node-agent/store_care.h"
#include "node-agent/witness.h"
#include "vmm/network.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FENCE_PEER_HELPER "/usr/lib/holdfast/holdfast-fence-peer"
#define CONNECT_WAIT_MS 5000
#define LOCK_TIMEOUT_MS 5000
#define VOTER_TIMEOUT_MS 2000
/* lvs and its like are not run more often than this for the figures of a node. */
#define STATUS_EVERY_US (30 * G_USEC_PER_SEC)

static gboolean boot_document_put(Daemon *daemon, gboolean left, GError **error)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "boot/", daemon->config->node, NULL);
    NodeBoot boot = {.version = 1, .boot_id = (char *) ident_boot_id(), .left = left};
    g_autofree char *text = object_to_text(&node_boot_type, &boot);
    return store_put(daemon->store, key, text, -1, 0, NULL, error);
}

gboolean reconcile_register_boot(Daemon *daemon, GError **error)
{
    return boot_document_put(daemon, FALSE, error);
}

void reconcile_mark_left(Daemon *daemon)
{
    g_auto(ProcessResult) result = {0};
    const char *argv[] = {"/usr/bin/systemctl", "is-system-running", NULL};
    /* Exit status is not 0 while stopping: only the word counts. */
    if (daemon->runner->run(daemon->runner, argv, NULL, 5000, &result, NULL) &&
        g_str_has_prefix(result.stdout_text, "stopping")) {
        boot_document_put(daemon, TRUE, NULL);
    }
}

static void bridges_ensure(Daemon *daemon)
{
    g_autoptr(GPtrArray) networks = cache_objects(daemon->cache, &network_type, "network/");
    for (guint i = 0; i < networks->len; i++) {
        const Network *network = networks->pdata[i];
        g_autoptr(GError) error = NULL;
        if (!network_bridge_ensure(daemon->runner, network->name, network->interface, (int) network->vlan, &error)) {
            log_line(LOG_LEVEL_WARNING, "network '%s': %s", network->name, error->message);
        }
    }
}

void reconcile_resume_replicas(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    if (!drbd_module_prepare(daemon->runner, FENCE_PEER_HELPER, &error)) {
        log_line(LOG_LEVEL_ERROR, "DRBD: %s", error->message);
        return;
    }
    bridges_ensure(daemon);
    g_auto(GStrv) guests = manifest_list(NULL);
    gint64 deadline_us = g_get_monotonic_time() + CONNECT_WAIT_MS * 1000;
    for (char **guest = guests; guest && *guest; guest++) {
        g_autoptr(GError) problem = NULL;
        g_autoptr(Manifest) manifest = manifest_read(*guest, &problem);
        if (!manifest) {
            log_line(LOG_LEVEL_ERROR, "guest '%s': %s", *guest, problem->message);
            continue;
        }
        VolumeSet set = guest_volume_set(daemon->runner, manifest);
        set.peer_absent =
            TRUE; /* no waiting per guest: one common deadline below, or many absent peers would keep us from READY */
        LOCK_AUTO int lock = lock_take(*guest, LOCK_TIMEOUT_MS, &problem);
        if (lock < 0) {
            log_line(LOG_LEVEL_WARNING, "guest '%s': %s", *guest, problem->message);
            continue;
        }
        if (!volume_set_activate(&set, &problem)) {
            log_line(LOG_LEVEL_WARNING, "guest '%s': replica not up: %s", *guest, problem->message);
        }
        while (!problem && !volume_set_is_connected(&set) && g_get_monotonic_time() < deadline_us) {
            g_usleep(100 * 1000);
        }
    }
}

static gint64 meminfo_mib(const char *content, const char *field)
{
    const char *line = strstr(content, field);
    long long kib = 0;
    return line && sscanf(line + strlen(field), ": %lld", &kib) == 1 ? kib / 1024 : 0;
}

/* NULL, or what is wrong with this node's own member of the store: the rest of the cluster would not notice it, until
 * one more voter is lost. */
static char *voter_problem(void)
{
    char *endpoints[] = {(char *) "unix:" STORE_LOCAL_SOCKET, NULL};
    StoreConfig config = {.endpoints = endpoints, .timeout_ms = VOTER_TIMEOUT_MS};
    g_autoptr(GError) error = NULL;
    if (!g_file_test(ETCD_CONF_PATH, G_FILE_TEST_EXISTS)) {
        return NULL; /* no voter */
    }
    g_autoptr(Store) local = store_new(&config);
    g_autoptr(StoreEntry) ignored = store_get(local, STORE_ROOT "cluster/config", NULL, &error);
    if (!error || g_error_matches(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        return NULL;
    }
    return g_strdup_printf("its member of the store does not answer: see 'journalctl -u holdfast-etcd' there (%s)",
                           error->message);
}

static gboolean status_is_due(Daemon *daemon)
{
    gint64 now_us = g_get_monotonic_time();
    g_mutex_lock(&daemon->lock);
    gboolean due = daemon->status_due;
    daemon->status_due = FALSE;
    g_mutex_unlock(&daemon->lock);
    due = due || daemon->status_at_us == 0 || now_us - daemon->status_at_us > STATUS_EVERY_US ||
          !daemon_published(daemon, "node");
    if (due) {
        daemon->status_at_us = now_us;
    }
    return due;
}

static void status_publish(Daemon *daemon)
{
    g_autoptr(NodeStatus) status = object_new(&node_status_type);
    g_autoptr(GError) error = NULL;
    g_autofree char *meminfo = NULL;
    status->version = 1;
    status->node = g_strdup(daemon->config->node);
    status->boot_id = g_strdup(ident_boot_id());
    status->product_version = g_strdup(DAEMON_VERSION);
    status->cpus = sysconf(_SC_NPROCESSORS_ONLN);
    status->kvm = access("/dev/kvm", R_OK | W_OK) == 0;
    if (g_file_get_contents("/proc/meminfo", &meminfo, NULL, NULL)) {
        status->memory_mib = meminfo_mib(meminfo, "MemTotal");
        /* Rounded, or every publication would differ. */
        status->memory_free_mib = meminfo_mib(meminfo, "MemAvailable") / 64 * 64;
    }
    status->disk_condition = disk_care_text(daemon);
    if (pool_care_fill_status(daemon, status, &error)) {
        g_autofree char *voter = voter_problem();
        status->condition = g_strdup(voter ? voter : "");
    } else {
        status->condition = g_strdup(error->message);
    }
    g_autofree char *key = g_strdup_printf(STORE_ROOT "status/%s/node", daemon->config->node);
    g_autofree char *text = object_to_text(&node_status_type, status);
    g_clear_error(&error);
    if (!daemon_publish(daemon, key, text, &error)) {
        log_line(LOG_LEVEL_WARNING, "status of this node not published: %s", error->message);
    }
}

/* A corosync.conf without this node would take it out of the cluster: an empty or foreign list is a fault of the
 * store's content, not an order. */
static gboolean nodes_include_self(const GPtrArray *nodes, const char *self)
{
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        if (g_str_equal(node->name, self)) {
            return TRUE;
        }
    }
    return FALSE;
}

static void corosync_follow(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    g_autoptr(ClusterConfig) config = cache_object(daemon->cache, &cluster_config_type, "cluster/config", NULL);
    g_autoptr(Witness) witness = witness_of(daemon);
    gboolean changed = FALSE;
    /* A list from before the truth would take nodes out of the membership. */
    if (!config || !nodes_include_self(nodes, daemon->config->node) || store_care_is_held(daemon)) {
        return;
    }
    if (!corosync_conf_reconcile("", daemon->runner, config, nodes, witness, setup_context_default()->etcd_client_port,
                                 &changed, &error)) {
        log_line(LOG_LEVEL_WARNING, "corosync.conf: %s", error->message);
        return;
    }
    if (changed) {
        log_line(LOG_LEVEL_NOTICE, "corosync.conf now has %u nodes%s", nodes->len,
                 witness_votes(witness, nodes->len) ? " and the witness" : "");
    }
    witness_follow_device(daemon, witness, nodes->len);
}

void reconcile_node(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    Daemon *daemon = user_data;
    g_autoptr(GError) error = NULL;
    if (!daemon_lease_keep(daemon, &error)) {
        log_line(LOG_LEVEL_WARNING, "store: %s", error->message);
        return;
    }
    store_care_follow(daemon);
    corosync_follow(daemon);
    fence_secrets_follow(daemon);
    bridges_ensure(daemon);
    images_collect(daemon);
    replica_leftovers_follow(daemon);
    if (status_is_due(daemon)) {
        status_publish(daemon);
    }
}
