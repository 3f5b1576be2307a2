/* SPDX-License-Identifier: Apache-2.0
 * The handler's view of the outside: kernel, store, holdfastd and corosync. libc, jansson and libquorum only.
 *
 * All its paths begin with HANDLER_ROOT: "/", but in the build for the unit tests, which is another program. Nothing
 * that a caller could set moves them. */
#pragma once

#include "storage/record_codec.h"

#include <stdbool.h>
#include <stdint.h>

#ifndef HANDLER_ROOT
#define HANDLER_ROOT "/"
#endif

#define HANDLER_VOLUMES_MAX 16

/* What the node's manifest says of the guest. */
typedef struct {
    char guest[RECORD_NAME_MAX];
    char node[RECORD_NAME_MAX]; /* this host's name */
    char boot_id[RECORD_NAME_MAX];
    char peer[RECORD_NAME_MAX]; /* empty: one replica */
    uint32_t peer_id;           /* corosync node id */
    char address[64], peer_address[64];
    int port;
    int minors[HANDLER_VOLUMES_MAX];
    int n_minors;
} HandlerGuest;

bool handler_guest_read(const char *guest, HandlerGuest *out);
/* The guest that a DRBD minor belongs to. */
bool handler_guest_of_minor(int minor, HandlerGuest *out);

/* From /proc/drbd over all volumes of the guest. */
typedef struct {
    bool any_suspended;  /* I/O of a volume is frozen: a Primary lost its peer */
    bool any_primary;    /* this node is Primary of a volume */
    bool all_connected;  /* every minor is connected to its peer */
    bool any_connected;  /* some minor is */
    bool all_up_to_date; /* every local disk is UpToDate */
} HandlerDisks;
bool handler_disks_read(const HandlerGuest *guest, HandlerDisks *out);

/* Begin to cut the connection to the peer; returns at once, whatever becomes of it. */
void handler_disconnect_begin(const HandlerGuest *guest);

/* Linearizable read of the record, from the store's member here or, when it does not answer, through holdfastd from any
 * other; *revision is what a write must compare with. */
bool handler_record_read(const char *guest, Record *out, int64_t *revision);
/* Compare-and-set, the same two ways. False also when the outcome is unknown: read again. */
bool handler_record_write(const char *guest, const Record *record, int64_t revision);

/* The local holdfastd asks the peer's to outdate its replica: true only on its confirmation. */
bool handler_peer_outdated(const char *guest);

/* Corosync, two looks 300 ms apart: this partition is quorate and the peer is not in it. */
bool handler_peer_left_quorate_membership(uint32_t peer_id);
