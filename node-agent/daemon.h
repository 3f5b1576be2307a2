/* SPDX-License-Identifier: Apache-2.0
 * What every part of holdfastd shares. Set up by main.c before any thread starts, constant afterwards but for what a
 * lock guards. */
#pragma once

#include "cluster/membership.h"
#include "cluster/node_config.h"
#include "cluster/pacemaker.h"
#include "cluster/peer.h"
#include "common/worker.h"
#include "node-agent/blackbox.h"
#include "node-agent/cache.h"

#define DAEMON_VERSION "0.1.0"

/* The situation of a guest at its last full round. */
typedef struct {
    char *text;
    gint64 at_us;
} GuestSettled;

typedef struct GuestResync GuestResync; /* resync.c */
typedef struct DiskCare DiskCare;       /* disk_care.c */
typedef struct PoolCare PoolCare;       /* pool_care.c */

typedef struct {
    NodeConfig *config;
    const ProcessRunner *runner;
    Store *store;
    Cache *cache;
    Membership *membership; /* main context only; others use daemon_view() */
    Peer *peer;
    Worker *worker;  /* the level-triggered loops */
    Worker *drivers; /* operations, which may take an hour: they must not keep the loops from running */
    GMainLoop *loop;
    GThreadPool *callers; /* peer calls are answered here */
    Blackbox *blackbox;
    DiskCare *disks; /* NULL: nobody looks */
    PoolCare *pool;  /* NULL: nobody looks */

    gint64 status_at_us;       /* "node" task only: when this node's figures were last published */
    GHashTable *agents_absent; /* "cluster" task only: node -> gint64, since when its holdfastd is out of the group */
    char *projected_basis; /* "cluster" task only: what the CIB was last made from, and when; NULL: not by this node */
    gint64 projected_at_us;
    char *looked_basis; /* "cluster" task only: the store's part when Pacemaker was last looked at, and when */
    gint64 looked_at_us;
    gboolean looked_in_charge; /* it was for this node to act on what was seen: the DC or the judge */

    gint64 device_started_us; /* "node" task only: when corosync-qdevice was last started */
    gint64 witness_looked_us; /* "witness" task only, and the looks in a row without an answer */
    int witness_misses;
    char *rescue_id; /* "node" task only: of the store as it was first seen, "" never rescued; NULL: not seen yet */

    GMutex lock;
    MembershipView view;                   /* lock */
    gint64 lease;                          /* lock; 0: none yet */
    gboolean witness_device, witness_etcd; /* lock; its vote is in corosync here, its etcd answers */
    gboolean status_due;                   /* lock; this node's figures shall be published at the next look */
    gint64 snapshot_due_us;                /* lock; of the store here, monotonic; 0: not known yet */
    GHashTable *published;                 /* lock; status key -> text last written under the lease */
    GHashTable *settled;                   /* lock; guest -> GuestSettled */
    GHashTable *leave_looked;              /* lock; guest -> gint64, when its lost disk was last thought of */
    GHashTable *resyncs;                   /* lock; guest -> GuestResync */
    GMutex pacemaker_lock;
    char *pacemaker_xml;    /* pacemaker_lock; crm_mon's last answer, shared by callers within PACEMAKER_AGE_MS */
    gint64 pacemaker_at_us; /* pacemaker_lock */
} Daemon;

MembershipView daemon_view(Daemon *daemon);
gboolean daemon_node_online(Daemon *daemon, const char *node); /* member of our corosync partition */

/* The holdfastd of a node id is in the group now. Without corosync nobody is, not even we. */
gboolean daemon_agent_present(Daemon *daemon, guint32 id);
/* TRUE when the holdfastd of `node` has been out of the group for longer than a restart takes, by the looks of the
 * "cluster" task, the only one that may ask: what it was doing falls to others. Never while we are out of the group
 * ourselves. A node that left the cluster for good is gone too. */
gboolean daemon_agent_gone(Daemon *daemon, const char *node);
/* One node judges the operations: the DC, or when its holdfastd is not there, of those that are the one with the
 * smallest id. In a quorate partition only. */
gboolean daemon_is_judge(Daemon *daemon, const PacemakerStatus *status);

/* Pacemaker's status, asked for now. NULL, UNAVAILABLE: Pacemaker is not running here. Caller frees. */
PacemakerStatus *daemon_pacemaker(Daemon *daemon, GError **error);
gboolean daemon_is_dc(Daemon *daemon, const PacemakerStatus *status);

/* Leased status documents: written only when different from the last, again after a lost lease. */
gboolean daemon_publish(Daemon *daemon, const char *key, const char *text, GError **error);
/* This node's figures have changed so that people should see them now. Any thread. */
void daemon_status_due(Daemon *daemon);
/* Take this node's status of a guest back. Without the store it goes with the lease. */
void daemon_unpublish(Daemon *daemon, const char *guest);
/* Whether status/<this node>/<name> stands under the present lease. */
gboolean daemon_published(Daemon *daemon, const char *name);
gboolean daemon_lease_keep(Daemon *daemon, GError **error);

/* Kick background work by name. */
void daemon_kick_guest(Daemon *daemon, const char *guest);
void daemon_kick_cluster(Daemon *daemon); /* what the DC does: projection, deletions, operations */
void daemon_kick_node(Daemon *daemon);    /* and a look at the witness */
void daemon_kick_operation(Daemon *daemon, const char *id);

/* Stream to the peers and keep what they stream (blackbox_daemon.c); in the main thread, once the cache is loaded. */
void daemon_blackbox_begin(Daemon *daemon);

/* Call another node's holdfastd by name. */
json_t *daemon_peer_call(Daemon *daemon, const char *node, const char *verb, json_t *arguments, int timeout_ms,
                         GError **error);

/* Note something that happened, for `holdfast events` and the log. `kind` e.g. "guest.started"; `object` e.g.
 * "guest/web1". */
void daemon_event(Daemon *daemon, const char *kind, const char *object, const char *format, ...) G_GNUC_PRINTF(4, 5);
