/* SPDX-License-Identifier: Apache-2.0
 * The typed objects of the store, one JSON document each, and their codecs (objects_json.c). Every key is STORE_ROOT
 * kind/name.
 *
 * One number, the guest's slot (1..4000, unique in the cluster by the key slot/<n>), gives every other number of a
 * guest, so they cannot collide: DRBD minor slot*16+volume, DRBD port 7800+slot, uid 200000+slot, tap hf<slot>n<i>, MAC
 * 52:54:48:<slot hi>:<slot lo>:<i>. */
#pragma once

#include "common/json.h"

#include <glib.h>

#define GUEST_VOLUMES_MAX 16
#define GUEST_NICS_MAX 8
#define GUEST_REPLICAS_MAX 2
#define GUEST_SLOT_MAX 4000
#define GUEST_RELATIONS_MAX 8 /* names in each of its lists of other guests */
#define GUEST_RESTART_LIMIT 3 /* the defaults of restart_limit and restart_window_s */
#define GUEST_RESTART_WINDOW_S 300

typedef enum { GUEST_ENGINE_AUTO, GUEST_ENGINE_KVM, GUEST_ENGINE_QEMU } GuestEngine;
typedef enum { GUEST_DESIRED_STOPPED, GUEST_DESIRED_RUNNING } GuestDesired;

typedef struct {
    char *network; /* name of a Network */
    char *mac;     /* "52:54:48:..", given by the planner when absent */
} GuestNic;

/* What the user asked for: the "spec" of the API. Decoded with defaults preset by guest_spec_init(). */
typedef struct {
    gint64 vcpus;       /* 1..64 */
    gint64 memory_mib;  /* 32..1048576 */
    int engine;         /* GuestEngine */
    int desired;        /* GuestDesired, JSON "desired_state" */
    gint64 replicas;    /* 1 or 2 */
    gint64 priority;    /* 0..1000, higher is recovered first */
    GPtrArray *volumes; /* of GuestVolumeSpec, 1..16, the first is booted */
    GPtrArray *nics;    /* of GuestNic, 0..8 */
    char *description;
    /* How it is recovered (docs/decisions/0005). Absent from the document while at the default, so that a node which
     * does not know these fields can still read a guest that does not use them. */
    char **start_after;         /* guests that start first when both are to be started; nothing more */
    char **keep_apart;          /* guests on whose node it is not started while it has the choice */
    gboolean keep_apart_strict; /* rather not run at all than on the node of one of keep_apart */
    char **keep_together;       /* guests on whose node it is started when it has the choice */
    gint64 restart_limit;       /* failures on one node before it goes to the other; 0: GUEST_RESTART_LIMIT */
    gint64 restart_window_s;    /* after this long without one they are forgotten; 0: GUEST_RESTART_WINDOW_S */
} GuestSpec;

typedef struct {
    gint64 size_mib; /* 4..67108864, multiple of 4; 0 with an image: the image's size rounded up */
    char *image;     /* name of an Image to fill it with, or NULL: empty */
} GuestVolumeSpec;

/* The guest as stored at guest/<name>. */
typedef struct {
    gint64 version; /* 1 */
    char *name;
    char *uuid;
    char *created_at;
    gboolean deleting; /* set by delete; the last node to clean up removes the keys */
    GuestSpec spec;
    /* decided by the planner in the creating transaction */
    gint64 slot;
    char **nodes;         /* replica nodes, 1 or 2; nodes[0] initialises */
    char *drbd_secret;    /* hex, 32 characters; never shown by the API */
    char *preferred_node; /* NULL, or where Pacemaker shall hand it over to (migrate); cleared when it got there */
    /* While a replica is built anew on one of `nodes` (docs/decisions/0009): which, and the id that its new volumes are
     * tagged with, so that no volume of before is taken for one of them. Absent otherwise, and gone in the transaction
     * that writes the node into the in-sync record. */
    char *joining, *joining_id;
} Guest;

/* volume/<guest>-<index>: sizes change (grow), so each is a document of its own. */
typedef struct {
    gint64 version; /* 1 */
    char *guest;
    gint64 index;      /* 0..15 */
    gint64 size_bytes; /* usable size, multiple of 4 MiB */
    char *image;       /* filled from, NULL: empty */
} Volume;

/* node/<name>: membership, written by init and join. */
typedef struct {
    gint64 version; /* 1 */
    char *name;
    gint64 id;   /* corosync nodeid, 1.. */
    char *ring0; /* IPv4 on the cluster network: corosync link 0, etcd, join, migration fall-back */
    char *ring1; /* IPv4 on the replication network: corosync link 1, DRBD, migration; NULL: ring0 */
    gboolean voter;
    gboolean leaving; /* set by remove */
} Node;

/* boot/<node>: the life of the machine, written by its holdfastd before Pacemaker may start anything. */
typedef struct {
    gint64 version; /* 1 */
    char *boot_id;  /* of the kernel */
    gboolean left;  /* it was shut down in order: nobody shall power it on */
} NodeBoot;

/* verified/<guest>: how the last comparison of its two copies ended. */
typedef struct {
    gint64 version; /* 1 */
    char *guest;
    char *at;
    gint64 differing_kib; /* 0: the copies are the same */
} Verification;

/* image/<name>. The bytes are raw files /var/lib/holdfast/images/<name>.raw on the nodes in `nodes`: the one it was
 * imported on, and those that fetched it since to fill a guest's volume. A file elsewhere is none, and is removed. */
typedef struct {
    gint64 version; /* 1 */
    char *name;
    gint64 size_bytes;
    char *sha256;
    char **nodes;
    char *created_at;
} Image;

/* network/<name>: a bridge hf-<name> on every node. */
typedef struct {
    gint64 version;  /* 1 */
    char *name;      /* at most 12 characters */
    char *interface; /* physical interface name on every node, e.g. "lan0"; NULL: isolated bridge */
    gint64 vlan;     /* 0: untagged, 1..4094 */
} Network;

/* fence/<node>: its first-level fence device and whether it was proven by a real shot. */
typedef enum { FENCE_UNPROVEN, FENCE_PROVING, FENCE_PROVEN } FenceState;
typedef struct {
    gint64 version; /* 1 */
    char *node;
    char *agent;       /* "fence_ipmilan", ... any agent in /usr/sbin */
    char **parameters; /* "name=value"; passwords are never shown by the API */
    int state;         /* FenceState */
    char *proven_at;   /* RFC 3339 */
    gint64 proven_ms;  /* how long the shot took until power was reported off */
    char *detail;      /* last result for people */
    gint64 revision;   /* not in the document: its mod_revision, where somebody needs it (0: not looked up) */
} FenceDevice;

/* op/<id>: a long operation as the API shows it. Terminal states are kept by a lease of one day. */
typedef enum { OPERATION_RUNNING, OPERATION_SUCCEEDED, OPERATION_FAILED, OPERATION_CANCELLED } OperationState;
typedef struct {
    gint64 version; /* 1 */
    char *id;
    char *kind;         /* "guest.create", "guest.migrate", ... */
    char *target;       /* "guest/web1" */
    int state;          /* OperationState */
    char *stage;        /* for people: "waiting for n2 to create its replica" */
    gint64 done, total; /* progress in `unit`; total 0: unknown */
    char *unit;
    char *argument; /* e.g. the destination node of a migration */
    char *node;     /* who is driving it, when somebody must */
    char *created_at, *ended_at;
    gint64 duration_ms; /* of the whole, when ended */
    gint64 downtime_ms; /* migrations */
    char *error;        /* text, when failed */
    char *error_code;
    gboolean cancel_requested;
} Operation;

/* status/<node>/guest/<name>: what one node sees of one guest; leased, so it vanishes with the node. */
typedef struct {
    gint64 index;
    char *role; /* "Primary", "Secondary", "Unknown" (DRBD's words) */
    char *disk; /* "UpToDate", "Inconsistent", ..., "absent" before creation */
    char *peer_disk;
    char *connection;       /* "Connected", "WFConnection", "SyncSource", ..., "StandAlone" */
    gboolean suspended;     /* I/O is frozen */
    gint64 resync_permille; /* 0..1000; 1000 when not resyncing */
    gint64 resync_left_s;   /* at the rate of the last seconds; 0: not resyncing, or not known */
    gint64 out_of_sync_kib; /* of a resync under way */
    char *gate;             /* "open", "closed", "absent" */
    /* While a volume grows these pass from its old size to its new one, in this order. */
    gint64 backing_bytes; /* of the logical volume under DRBD; 0: none */
    gint64 size_bytes;    /* usable here, at most the volume's size; 0: no disk */
    gint64 guest_bytes;   /* as the VMM here shows it to the guest; 0: no VMM */
} VolumeStatus;

typedef struct {
    gint64 version; /* 1 */
    char *node, *guest;
    char *boot_id;
    gboolean ready;     /* replica is set up here: volumes attached, gates exist, bridges exist */
    gboolean gone;      /* deletion finished here */
    char *vmm;          /* "running", "paused", "incoming", "stopped" */
    char *condition;    /* "" or what is wrong, for people */
    GPtrArray *volumes; /* of VolumeStatus */
} GuestStatus;

/* status/<node>/node: leased. */
#define NODE_RESERVE_MIB 512 /* of a node's memory, for itself */
typedef struct {
    gint64 version; /* 1 */
    char *node, *boot_id, *product_version;
    gint64 memory_mib, memory_free_mib, cpus;
    gint64 pool_size_mib, pool_used_permille, pool_metadata_permille;
    gint64 pool_reserve_mib; /* free in the volume group: given to the pool when it is nearly full */
    char *pool_level;        /* "ok", "warning", "critical", "full", "broken"; "" not known */
    char *pool_condition;    /* "" or what the level means, for people */
    char *disk_condition;    /* "" or how its disk hangs or fails */
    gboolean kvm;            /* /dev/kvm works here */
    char *condition;         /* "" or what is wrong */
} NodeStatus;

extern const JsonStruct guest_spec_type, guest_type, volume_type, node_type, node_boot_type, verification_type,
    image_type, network_type, fence_device_type, operation_type, guest_status_type, volume_status_type,
    node_status_type;

/* Allocate, or release with everything in it; one pair serves all types: object_free(&guest_type, guest). */
gpointer object_new(const JsonStruct *type);
void object_free(const JsonStruct *type, gpointer object);
void guest_free(Guest *guest);
void volume_free(Volume *volume);
void node_free(Node *node);
void node_boot_free(NodeBoot *boot);
void verification_free(Verification *verification);
void image_free(Image *image);
void network_free(Network *network);
void fence_device_free(FenceDevice *device);
void operation_free(Operation *operation);
void guest_status_free(GuestStatus *status);
void node_status_free(NodeStatus *status);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Guest, guest_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Volume, volume_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Node, node_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeBoot, node_boot_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Verification, verification_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Image, image_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Network, network_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FenceDevice, fence_device_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Operation, operation_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestStatus, guest_status_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeStatus, node_status_free)

/* Text of a document and back. Decoding rejects a newer `version` (UNSUPPORTED) and whatever json_struct_decode()
 * rejects; `what` begins the error text. The result is freed with object_free(type, ...). */
char *object_to_text(const JsonStruct *type, gconstpointer object);
gpointer object_from_text(const JsonStruct *type, const char *text, const char *what, GError **error);

/* Spec from user JSON: defaults, decode, then every rule that needs no cluster state. Errors name the field
 * ("spec.memory_mib: ..."). */
gboolean guest_spec_from_json(const json_t *json, GuestSpec *out, GError **error);
gboolean network_check(const Network *network, GError **error);
/* A network as a user gives it, without a version; `interface` may be null. On error *out may be partly set: free it.
 */
gboolean network_from_json(const json_t *json, Network *out, GError **error);

/* Derived numbers (see above). */
int guest_minor(const Guest *guest, int volume_index);
int guest_drbd_port(const Guest *guest);
int guest_uid(const Guest *guest);
char *guest_tap_name(const Guest *guest, int nic_index);         /* caller frees */
char *guest_default_mac(gint64 slot, int nic_index);             /* caller frees */
char *guest_lv_name(const char *guest_name, int volume_index);   /* "hf-web1-0"; caller frees */
char *guest_gate_name(const char *guest_name, int volume_index); /* "hfgate-web1-0", under /dev/mapper; caller frees */
gboolean guest_on_node(const Guest *guest, const char *node_name);
/* The other replica's node, or NULL with one replica. Borrowed. */
const char *guest_peer_node(const Guest *guest, const char *node_name);
