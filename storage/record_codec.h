/* SPDX-License-Identifier: Apache-2.0
 * The in-sync record of one guest, the document that decides who may start it (key record/<guest>), and the pure rules
 * over it.
 *
 * libc and jansson only: the fence-peer handler uses it too and must not bring GLib. Nothing here does I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_NODES_MAX 2
#define RECORD_NAME_MAX 64

typedef enum {
    RECORD_NEW,     /* volumes not initialised yet: nobody may start */
    RECORD_STOPPED, /* owner stopped cleanly, or nobody ran it yet */
    RECORD_RUNNING, /* owner claimed it and may be writing */
} RecordState;

typedef struct {
    int64_t generation;
    RecordState state;
    char in_sync[RECORD_NODES_MAX][RECORD_NAME_MAX]; /* empty string: unused place */
    char owner[RECORD_NAME_MAX];                     /* last node that claimed; empty: nobody yet */
    char owner_boot_id[RECORD_NAME_MAX];             /* kernel boot id of the owner at the claim */
    char handover_to[RECORD_NAME_MAX];               /* node of a live hand-over under way, or empty */
    char handover_id[RECORD_NAME_MAX];
    /* Id of the store's rescue or restore that this record has not been confirmed after, or empty: it may be older than
     * the truth, so nothing starts from it and nobody edits it (docs/decisions/0006-store-rescue.md). */
    char unconfirmed[RECORD_NAME_MAX];
} Record;

/* JSON text -> record. false when it is not a valid version 1 record; `reason` (size bytes) says why. */
bool record_decode(const char *text, Record *out, char *reason, size_t reason_size);
/* Record -> JSON text; malloc'ed, caller frees. NULL only out of memory. */
char *record_encode(const Record *record);

bool record_is_in_sync(const Record *record, const char *node);

/* What the claiming node knows; each must be true only when proven. */
typedef struct {
    const char *node, *boot_id;
    bool owner_rebooted; /* the owner's node registered another boot id since */
    bool owner_fenced; /* quorate membership here is without the owner's node and Pacemaker holds it for cleanly down */
    bool peer_proves_stop; /* DRBD: connected, peer Secondary, both UpToDate */
    bool peer_up_to_date;  /* DRBD: connected and the peer's disk is UpToDate: it may stay in the set */
    const char *peer;      /* the other replica's node, or NULL */
} RecordClaimFacts;

/* Rule "start claims": fill *out with generation+1, owner = node, state running; the peer stays in sync only while
 * connected and up to date. false with a reason for people when the claim is not allowed. */
bool record_claim(const Record *record, const RecordClaimFacts *facts, Record *out, char *reason, size_t reason_size);

/* Rule "mark": *out = generation+1 without `peer`. Allowed only for the running owner `node` of this boot that is in
 * sync itself, and not while handover_to stands (only its commit or rollback may change the record then). */
bool record_mark(const Record *record, const char *node, const char *boot_id, const char *peer, Record *out,
                 char *reason, size_t reason_size);
/* What an owner that lost its own disk knows; each must be true only when proven. */
typedef struct {
    const char *node, *boot_id, *peer;
    bool own_disk_lost;   /* DRBD: some volume's local disk is Failed or Diskless */
    bool peer_up_to_date; /* DRBD, every volume: connected and the peer's disk is UpToDate */
} RecordSelfFacts;
/* Rule "mark self": the running owner lost its own disk and is served by the peer's: *out = generation+1 with the peer
 * alone in sync. From then on the owner can only hand over or stop. The same record when it says so already. */
bool record_mark_self(const Record *record, const RecordSelfFacts *facts, Record *out, char *reason,
                      size_t reason_size);
/* Rule "clear": both disks are UpToDate on every volume again (a completed resync, in either direction): the running
 * owner puts both nodes in at generation+1. */
bool record_clear(const Record *record, const char *node, const char *boot_id, const char *peer, Record *out,
                  char *reason, size_t reason_size);
/* Clean stop by its owner. A no-op copy (generation unchanged) when `node` is not the owner. */
bool record_stop(const Record *record, const char *node, const char *boot_id, Record *out, char *reason,
                 size_t reason_size);
/* Live hand-over: begin (by the running owner, to a node in sync), commit (owner = target), rollback (handover fields
 * cleared). */
bool record_handover_begin(const Record *record, const char *node, const char *boot_id, const char *to, const char *id,
                           Record *out, char *reason, size_t reason_size);
bool record_handover_commit(const Record *record, const char *id, const char *to_boot_id, Record *out, char *reason,
                            size_t reason_size);
bool record_handover_rollback(const Record *record, const char *id, Record *out, char *reason, size_t reason_size);

/* ---- after a rescue or restore of the store ---- */

/* Rule "doubt": the record may be older than the truth from now on; `id` is the rescue's. */
bool record_doubt(const Record *record, const char *id, Record *out, char *reason, size_t reason_size);
/* Rule "renew": the guest runs on `node` and DRBD lets it write (`writes_here`: its VMM runs, every volume is Primary
 * with its own disk UpToDate and not frozen), so it is this node's: *out = generation+1, running, owner = node, `node`
 * alone in sync. The peer comes back in by the rule "clear". */
bool record_renew(const Record *record, const char *node, const char *boot_id, bool writes_here, Record *out,
                  char *reason, size_t reason_size);
/* Rule "confirm": an operator says that `node` has the current copy and nobody runs the guest: *out = generation+1,
 * stopped, `node` alone in sync. The caller has proven that nobody runs it. */
bool record_confirm(const Record *record, const char *node, Record *out, char *reason, size_t reason_size);

/* Rule "override": an operator gives up the copies that the record names besides, and what only they have, for the one
 * on `node`, which is stale, or named and yet held for Outdated by DRBD: *out = generation+1, stopped, `node` alone in
 * sync. `generation` is what the decision was made on. The caller has proven that nobody runs it and that none of those
 * copies can be had. Not for a record in doubt ("confirm"). */
bool record_override(const Record *record, int64_t generation, const char *node, Record *out, char *reason,
                     size_t reason_size);
