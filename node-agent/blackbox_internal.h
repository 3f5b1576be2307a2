/* SPDX-License-Identifier: Apache-2.0
 * What the files of the black box share.
 *
 * The stream, one JSON object a line over mutual TLS (join_wire.h), the node that logs is the client:
 *
 *   C: {"v":1,"blackbox":"n1","t":T}           S: {"v":1,"have":{"boot","mono_us"},"t":T,"u":T}
 *   C: {"t":T,"offset_us":N,"lines":[...]}     S: {"t":T,"u":T}    lines may be empty: a sign of life
 *   S: {"error":{"code","message"}} instead of an answer; the connection then ends.
 *
 * Every message waits for its answer: that is the flow control, and each pair is a measurement of the clocks. t in an
 * answer is when the question came, u when the answer went (microseconds, wall clock of who writes it). offset_us is
 * the server's clock minus the client's, as the client has measured it. */
#pragma once

#include "node-agent/blackbox.h"
#include "node-agent/blackbox_ring.h"
#include "node-agent/blackbox_tail.h"

#include <gio/gio.h>

#define BLACKBOX_WIRE_VERSION 1
#define BLACKBOX_WIRE_LINE_MAX_BYTES (128u * 1024)
#define BLACKBOX_BATCH_LINES 48

/* Sign of life of one peer. */
typedef struct {
    gint64 heard_us;
    GCancellable *stream; /* of the connection that feeds its ring; NULL: none */
} BlackboxSign;

struct Blackbox {
    gint
        references; /* atomic: the owner's, and one of each listener's signal handler, which may be starting just now */
    const BlackboxConfig *config;
    BlackboxTail *tail;
    GTlsDatabase *authority; /* NULL until it could be read */
    GTlsCertificate *certificate;
    GMainContext *main_context;
    GPtrArray *services; /* main context's thread */
    gint stopping;       /* atomic */
    GCancellable *cancellable;
    GThread *journal;
    GMutex lock;
    GCond idle;
    GHashTable *rings;   /* lock; node -> BlackboxRing, never removed */
    GHashTable *signs;   /* lock; node -> BlackboxSign */
    GHashTable *senders; /* journal thread; node -> BlackboxSender */
    guint visits;        /* lock; connections being served */
};

void blackbox_ref(Blackbox *box);
void blackbox_unref(Blackbox *box);
gboolean blackbox_stopping(Blackbox *box);
/* Sleep unless the black box is being stopped. */
void blackbox_pause(Blackbox *box, int ms);
/* Ring of a node whose name was checked. */
BlackboxRing *blackbox_ring(Blackbox *box, const char *node);
/* Delete old files of nodes that are no longer in the cluster. */
void blackbox_prune(Blackbox *box);
/* Certificates, read once; FAILED while they cannot be. */
gboolean blackbox_tls_load(Blackbox *box, GError **error);
/* The common name the other end's certificate gives it. NULL: none. Caller frees. */
char *blackbox_tls_peer_name(GTlsConnection *tls);

/* Threads. */
gpointer blackbox_journal_run(gpointer box);
typedef struct {
    Blackbox *box;
    char *peer;
    gint ended; /* atomic: its thread may be joined */
    GThread *thread;
} BlackboxSender;
/* Have a sender to `peer`; a dead one is replaced. */
void blackbox_tend(Blackbox *box, const char *peer);
gpointer blackbox_sender_run(gpointer sender); /* ends when the peer is no longer in the cluster */

/* Server's offset to us out of one exchange: ours t0 and t3, theirs t1 and t2. */
gint64 blackbox_clock_offset(gint64 t0, gint64 t1, gint64 t2, gint64 t3);
/* The best of the last few measurements: that of the shortest round trip. */
typedef struct {
    gint64 offset_us[8], round_us[8];
    guint n;
} BlackboxClock;
void blackbox_clock_add(BlackboxClock *clock, gint64 t0, gint64 t1, gint64 t2, gint64 t3);
gboolean blackbox_clock_best(const BlackboxClock *clock, gint64 *ret_offset_us);
