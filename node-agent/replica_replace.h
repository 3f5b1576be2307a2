/* SPDX-License-Identifier: Apache-2.0
 * A guest gets a new replica in the place of one whose node is gone, or is to be emptied (docs/decisions/0009).
 *
 * It is decided on the node that runs the guest, which alone knows that its own copy is whole, and done by one
 * transaction: the record without the old replica, at a new generation, and the guest with its new nodes. Everything
 * after it is level-triggered: the new node builds (reconcile_guest), the running one connects to it, DRBD copies, and
 * the running one writes it into the record. */
#pragma once

#include "cluster/manifest.h"
#include "node-agent/daemon.h"
#include "storage/record_codec.h"

typedef struct {
    const Guest *guest;
    const Record *record;       /* from a majority */
    const char *node, *boot_id; /* this one, which keeps its replica */
    const char *from, *to;
    gboolean quorate;
    gboolean from_present, to_present; /* in the membership */
    gboolean disks_whole;              /* every volume is Primary here, UpToDate, and not frozen */
    gboolean unprotected;              /* the operator knows that there is one copy until the new one is complete */
} ReplaceFacts;

/* Whether it may be done now; *ret_after: the record then. Pure. REFUSED, BUSY or UNAVAILABLE, with what to do. */
gboolean replica_replace_decide(const ReplaceFacts *facts, Record *ret_after, GError **error);

/* Plan it and have it done: the operation's view. `to` NULL: the planner's choice. Blocks. */
json_t *replica_replace_begin(Daemon *daemon, const Guest *guest, const char *from, const char *to,
                              gboolean unprotected, GError **error);
/* The peer verb "replica.replace" {guest, from, to, unprotected, reasons}: on the node that runs the guest. */
json_t *replica_replace_here(Daemon *daemon, const Manifest *manifest, const json_t *arguments, GError **error);

/* How far a replacement is, by what is stored and what the nodes report. */
typedef struct {
    gboolean complete;   /* the new replica is in the record */
    gboolean superseded; /* another request put it elsewhere */
    gint64 done, total;  /* bytes */
    char *stage;         /* caller frees */
} ReplaceProgress;

/* Pure. `keeper`, `joining`: what the two nodes say, NULL: nothing. */
ReplaceProgress replica_replace_progress(const Guest *guest, const Record *record, const char *to,
                                         const GuestStatus *keeper, const GuestStatus *joining);
