/* SPDX-License-Identifier: Apache-2.0
 * The black box: what this node logs goes to every peer as it happens, and what the peers log is kept here, so that a
 * dead node's last seconds survive it.
 *
 *   journald -> journal thread -> own ring file, tail in memory -> one sender thread per peer -> TLS -> their ring
 * files
 *
 * All of it runs in threads of its own, apart from accepting connections, and nothing else waits for it. */
#pragma once

#include "node-agent/blackbox_line.h"

#define BLACKBOX_PORT 7421
#define BLACKBOX_FOLDER "/var/lib/holdfast/blackbox"
#define BLACKBOX_RING_BYTES (4u * 1024 * 1024)

typedef struct {
    char *name;
    char *addresses[3]; /* in order of preference, NULL-terminated; owned */
} BlackboxPeer;
void blackbox_peer_free(BlackboxPeer *peer);

/* Everything is borrowed and must outlive the black box. */
typedef struct {
    const char *node;
    const char *folder;
    const char *ca_file, *certificate_file, *key_file;
    int port;
    gsize ring_bytes, tail_bytes;
    int quiet_ms;               /* a sender says at least so often that it lives */
    int patience_ms;            /* how long one end waits for the other */
    int retry_ms, retry_max_ms; /* back-off of a sender */
    /* The other nodes of the cluster as of now; any thread. Caller owns the array of BlackboxPeer. */
    GPtrArray *(*peers)(gpointer user_data);
    gpointer user_data;
} BlackboxConfig;

typedef struct Blackbox Blackbox;

Blackbox *blackbox_new(const BlackboxConfig *config);
/* Stops every thread and waits for it. In the thread of blackbox_listen(). */
void blackbox_free(Blackbox *box);

/* Accept peers' streams on one address, in the caller's thread-default main context; once per address. port 0 in the
 * configuration: any free one, in *ret_port (may be NULL). */
gboolean blackbox_listen(Blackbox *box, const char *address, int *ret_port, GError **error);
/* Begin to read the journal and to stream to the peers. */
void blackbox_start(Blackbox *box);

/* Take a line of this node into its own ring and to the peers. What the journal thread calls. Any thread. */
void blackbox_take(Blackbox *box, BlackboxLine *line);

/* Every kept line of every node, node by node, oldest first within each. Any thread. */
typedef void (*BlackboxVisit)(const char *node, BlackboxLine *line, gpointer user_data);
void blackbox_each(Blackbox *box, BlackboxVisit visit, gpointer user_data);
/* When a line or a sign of life of `node` came last, by this node's wall clock; 0: not since this daemon started. */
gint64 blackbox_heard_us(Blackbox *box, const char *node);
/* Lines of `node` that cannot be kept just now because the disk is full. */
guint blackbox_lost(Blackbox *box, const char *node);
