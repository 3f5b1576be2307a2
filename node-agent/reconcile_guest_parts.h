/* SPDX-License-Identifier: Apache-2.0
 * What the files about one guest on this node share. */
#pragma once

#include "cluster/manifest.h"
#include "node-agent/daemon.h"
#include "storage/lost_copy.h"
#include "storage/record.h"
#include "storage/volume.h"

typedef struct {
    Daemon *daemon;
    Manifest *manifest;
    VolumeSet set;
    gboolean have_record;
    Record record;
    gint64 guest_revision; /* of the document that the manifest was made from */
    LostCopy lost;
} GuestWork;

/* What the other replica's node says; NULL: nothing. */
GuestStatus *reconcile_peer_status(const GuestWork *work);

/* Every volume is connected and UpToDate on both nodes while somebody writes to it: the two copies are one. */
gboolean reconcile_copies_are_equal(const GuestWork *work, gboolean *ret_primary_here);

/* What the running owner writes into the in-sync record by what DRBD says of its peer (reconcile_record.c). FALSE: it
 * has to be done and could not be, or is waited for. */
gboolean reconcile_mark_known_stale_peer(GuestWork *work);
gboolean reconcile_mark_own_lost_disk(GuestWork *work);
gboolean reconcile_clear_after_resync(GuestWork *work);
