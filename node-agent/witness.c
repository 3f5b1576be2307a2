/* SPDX-License-Identifier: Apache-2.0
 * Following the witness. */
#include "node-agent/witness.h"

#include "cluster/cluster_config.h"
#include "cluster/quorum_device.h"
#include "common/error.h"
#include "common/log.h"
#include "node-agent/setup/context.h"
#include "node-agent/setup/nss.h"

#define SYSTEMCTL "/usr/bin/systemctl"
#define SYSTEMCTL_TIMEOUT_MS 20000
#define QDEVICE_UNIT "corosync-qdevice.service"
#define START_EVERY_US (10 * G_USEC_PER_SEC)
#define LOOK_EVERY_US (6 * G_USEC_PER_SEC)
#define LOOK_TIMEOUT_MS 2000
#define MISSES_TO_BE_AWAY 2 /* a leader being elected is no absence */

Witness *witness_of(Daemon *daemon)
{
    return cache_object(daemon->cache, &witness_type, "cluster/witness", NULL);
}

static void device_start(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    process_call(daemon->runner, SYSTEMCTL_TIMEOUT_MS, NULL, NULL, SYSTEMCTL, "reset-failed", QDEVICE_UNIT, NULL);
    if (!nss_qdevice_ensure(setup_context_default(), daemon->config->cluster, &error) ||
        !process_call(daemon->runner, SYSTEMCTL_TIMEOUT_MS, NULL, &error, SYSTEMCTL, "start", "--no-block",
                      QDEVICE_UNIT, NULL)) {
        log_line(LOG_LEVEL_WARNING, "the witness's vote: %s", error->message);
    } else {
        log_line(LOG_LEVEL_NOTICE, "the witness votes: " QDEVICE_UNIT " is started");
    }
}

static void device_stop(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    if (process_call(daemon->runner, SYSTEMCTL_TIMEOUT_MS, NULL, &error, SYSTEMCTL, "stop", QDEVICE_UNIT, NULL)) {
        log_line(LOG_LEVEL_NOTICE, "no witness votes: " QDEVICE_UNIT " is stopped");
    } else {
        log_line(LOG_LEVEL_WARNING, "the witness's vote: %s", error->message);
    }
}

static void witness_note(Daemon *daemon, gboolean *member, gboolean value, const char *what)
{
    g_mutex_lock(&daemon->lock);
    gboolean changed = *member != value;
    *member = value;
    g_mutex_unlock(&daemon->lock);
    if (changed) {
        log_line(LOG_LEVEL_NOTICE, "witness: %s %s", what, value ? "is there" : "is not there");
    }
}

void witness_follow_device(Daemon *daemon, const Witness *witness, guint n_nodes)
{
    QuorumDevice device = {0};
    gboolean wanted = witness_votes(witness, n_nodes);
    gint64 now_us = g_get_monotonic_time();
    if (!quorum_device_query(&device, NULL)) {
        return;
    }
    witness_note(daemon, &daemon->witness_device, device.voting, "its vote");
    if (!wanted && device.registered) {
        device_stop(daemon);
    } else if (wanted && !device.registered &&
               (daemon->device_started_us == 0 || now_us - daemon->device_started_us > START_EVERY_US)) {
        daemon->device_started_us = now_us;
        device_start(daemon);
    }
}

/* A read that a majority has to confirm, through its member alone. */
static gboolean etcd_answers(const Witness *witness)
{
    const SetupContext *context = setup_context_default();
    g_autofree char *url = g_strdup_printf("https://%s:%d", witness->address, context->etcd_client_port);
    char *endpoints[] = {url, NULL};
    StoreConfig config = {.endpoints = endpoints,
                          .ca_file = (char *) NODE_CA_FILE,
                          .cert_file = (char *) NODE_CERT_FILE,
                          .key_file = (char *) NODE_KEY_FILE,
                          .timeout_ms = LOOK_TIMEOUT_MS};
    g_autoptr(Store) store = store_new(&config);
    g_autoptr(StoreEntry) entry = store_get(store, CLUSTER_CONFIG_KEY, NULL, NULL);
    return entry != NULL;
}

void witness_look(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    Daemon *daemon = user_data;
    g_autoptr(Witness) witness = witness_of(daemon);
    gint64 now_us = g_get_monotonic_time();
    if (!witness || (daemon->witness_looked_us != 0 && now_us - daemon->witness_looked_us < LOOK_EVERY_US)) {
        return;
    }
    gboolean answers = !witness->voter || etcd_answers(witness);
    daemon->witness_misses = answers ? 0 : daemon->witness_misses + 1;
    if (answers || daemon->witness_misses >= MISSES_TO_BE_AWAY) {
        witness_note(daemon, &daemon->witness_etcd, answers, "its etcd");
    }
    daemon->witness_looked_us = g_get_monotonic_time();
}

Reserve witness_reserve(Daemon *daemon)
{
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    g_autoptr(Witness) witness = witness_of(daemon);
    gboolean ready = witness && witness->ready;
    Reserve reserve = {.nodes = nodes->len,
                       .have_witness = ready,
                       .witness_counts = witness_votes(witness, nodes->len),
                       .witness_voter = ready && witness->voter};
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        gboolean present = daemon_node_online(daemon, node->name);
        reserve.nodes_present += present;
        reserve.node_voters += node->voter;
        reserve.node_voters_present += node->voter && present;
    }
    g_mutex_lock(&daemon->lock);
    reserve.witness_device = daemon->witness_device;
    reserve.witness_etcd = daemon->witness_etcd;
    g_mutex_unlock(&daemon->lock);
    return reserve;
}

json_t *witness_view(Daemon *daemon)
{
    g_autoptr(Witness) witness = witness_of(daemon);
    if (!witness) {
        return json_null();
    }
    Reserve reserve = witness_reserve(daemon);
    return json_pack("{s:s,s:s,s:b,s:b,s:b}", "name", witness->name, "address", witness->address, "ready",
                     witness->ready, "voting", reserve.witness_counts && reserve.witness_device, "store",
                     reserve.witness_voter && reserve.witness_etcd);
}
