/* SPDX-License-Identifier: Apache-2.0
 * The black box inside holdfastd: its configuration, and its listeners on both rings. */
#include "node-agent/blackbox.h"
#include "node-agent/daemon.h"

#include "common/log.h"

#define LISTEN_RETRY_S 10

static GPtrArray *peers(gpointer user_data)
{
    Daemon *daemon = user_data;
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    GPtrArray *found = g_ptr_array_new();
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        if (g_str_equal(node->name, daemon->config->node)) {
            continue;
        }
        BlackboxPeer *peer = g_new0(BlackboxPeer, 1);
        gboolean two = node->ring1 && g_strcmp0(node->ring1, node->ring0) != 0;
        peer->name = g_strdup(node->name);
        peer->addresses[0] = g_strdup(two ? node->ring1 : node->ring0);
        peer->addresses[1] = two ? g_strdup(node->ring0) : NULL;
        g_ptr_array_add(found, peer);
    }
    return found;
}

typedef struct {
    Blackbox *box;
    const char *address;
    gboolean said;
} Listener;

/* An address that is taken or not there yet is tried again: guests do not wait for it. */
static gboolean listen_try(gpointer user_data)
{
    Listener *listener = user_data;
    g_autoptr(GError) error = NULL;
    if (blackbox_listen(listener->box, listener->address, NULL, &error)) {
        return G_SOURCE_REMOVE;
    }
    if (!listener->said) {
        log_line(LOG_LEVEL_WARNING, "black box: peers cannot stream to this node: %s", error->message);
    }
    listener->said = TRUE;
    return G_SOURCE_CONTINUE;
}

static void listen_on(Blackbox *box, const char *address)
{
    Listener *listener = g_new0(Listener, 1); /* for the life of the process */
    *listener = (Listener){.box = box, .address = address};
    if (listen_try(listener) == G_SOURCE_CONTINUE) {
        g_timeout_add_seconds(LISTEN_RETRY_S, listen_try, listener);
    }
}

void daemon_blackbox_begin(Daemon *daemon)
{
    static BlackboxConfig config;
    config = (BlackboxConfig){.node = daemon->config->node,
                              .folder = BLACKBOX_FOLDER,
                              .ca_file = NODE_CA_FILE,
                              .certificate_file = NODE_CERT_FILE,
                              .key_file = NODE_KEY_FILE,
                              .port = BLACKBOX_PORT,
                              .ring_bytes = BLACKBOX_RING_BYTES,
                              .tail_bytes = 1024 * 1024,
                              .quiet_ms = 2000,
                              .patience_ms = 10000,
                              .retry_ms = 1000,
                              .retry_max_ms = 30000,
                              .peers = peers,
                              .user_data = daemon};
    daemon->blackbox = blackbox_new(&config);
    listen_on(daemon->blackbox, daemon->config->ring0);
    if (daemon->config->ring1 && g_strcmp0(daemon->config->ring1, daemon->config->ring0) != 0) {
        listen_on(daemon->blackbox, daemon->config->ring1);
    }
    blackbox_start(daemon->blackbox);
}
