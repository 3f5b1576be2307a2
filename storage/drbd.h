/* SPDX-License-Identifier: Apache-2.0
 * DRBD 8.4 (the kernel's own module) through drbdsetup-84 and drbdmeta, and its state from /proc/drbd and events2. One
 * resource per guest, one minor per volume. Only the safe options of storage/README.md: protocol C, fencing
 * resource-and-stonith, on-io-error call-local-io-error. */
#pragma once

#include "cluster/objects.h"
#include "common/process.h"

/* One line of /proc/drbd. Text is DRBD's own words. */
typedef struct {
    gboolean present; /* the minor is configured */
    char connection[24], role[16], peer_role[16], disk[16], peer_disk[16];
    gboolean suspended;  /* I/O frozen */
    int resync_permille; /* 1000 when not resyncing */
    gint64 out_of_sync_kib;
    gint64 local_pending; /* DRBD's uses of the disk here that have not ended */
    guint64 local_done;   /* counts what did end: any other number than before is progress */
} DrbdState;

/* State of one minor from text in the format of /proc/drbd. Pure. */
void drbd_state_parse(const char *proc_text, int minor, DrbdState *ret);
/* Reads /proc/drbd; not loaded module = not present. */
gboolean drbd_state_read(int minor, DrbdState *ret, GError **error);
/* In this connection state both sides know each other's state. */
gboolean drbd_state_is_connected(const DrbdState *state);
gboolean drbd_state_is_up_to_date_pair(const DrbdState *state); /* connected (not resyncing), both UpToDate */

typedef struct {
    const ProcessRunner *runner;
    const Guest *guest;
    int n_volumes;
    const char *node, *peer;            /* peer NULL: one replica */
    const char *address, *peer_address; /* IPv4 of the replication network */
} DrbdResource;

gboolean drbd_module_prepare(const ProcessRunner *runner, const char *helper_path,
                             GError **error); /* modprobe, usermode_helper verified */
/* Each converges and is idempotent; each looks at the present state first. */
gboolean drbd_metadata_create(const DrbdResource *r, int index, const char *lv_path,
                              GError **error); /* only if there is none: never over existing metadata */
gboolean drbd_attach(const DrbdResource *r, int index, const char *lv_path,
                     GError **error); /* new-resource, new-minor, apply-al, attach */
/* Connect with r->peer. A connection that is set up with another node is ended first, but only for a peer that is built
 * anew (guest->joining): else REFUSED; BUSY while the other one is still needed. */
gboolean drbd_connect(const DrbdResource *r, GError **error);
/* Whether the kernel's connection, up or trying, is with another node or of another time than `r` says: then what DRBD
 * says of its peer says nothing about r->peer. */
gboolean drbd_peer_is_other(const DrbdResource *r, gboolean *ret, GError **error);
gboolean drbd_disconnect(const DrbdResource *r, GError **error);
/* Cut the connection of a Secondary, unlike an orderly disconnect so that the Primary freezes until that is recorded.
 * Not while its disk hangs: drbdsetup would wait for the disk, and every other drbdsetup of this node for that one. Had
 * it begun when its time was up that is as good. REFUSED while Primary. */
gboolean drbd_disconnect_force(const DrbdResource *r, GError **error);
gboolean drbd_skip_initial_sync(
    const DrbdResource *r,
    GError **error); /* new-current-uuid --clear-bitmap on every volume: both sides fresh and connected */
gboolean drbd_force_initial(const DrbdResource *r,
                            GError **error); /* one replica, fresh: primary --force then secondary */
gboolean drbd_promote(
    const DrbdResource *r,
    GError **error); /* all volumes; at most 3 tries over about 3 s; what was promoted is demoted again on failure */
gboolean drbd_demote(const DrbdResource *r, GError **error);
/* REFUSED while connected or Primary, and while a volume is absent, unless a note keeps this copy from starting
 * (`noted`): a Secondary without disk and connection is "Unconfigured" to DRBD, which looks the same as absent. */
gboolean drbd_outdate(const DrbdResource *r, gboolean noted, GError **error);
/* Begin to compare [start, end) of a volume with the peer's copy, in bytes, multiples of 4 KiB; while that runs the
 * connection is "VerifyS". What differs is counted in DrbdState.out_of_sync_kib and is not changed. */
gboolean drbd_verify_begin(const DrbdResource *r, int index, gint64 start, gint64 end, GError **error);
/* A copy that stands alone becomes UpToDate, whole as it is, with a data generation of its own: what the copy that was
 * current has more is given up, and DRBD will not take that one for the newer one. REFUSED when a volume is
 * half-written, connected or Primary elsewhere. Once done it is not done again. */
gboolean drbd_force_stale(const DrbdResource *r, GError **error);
/* Throw away what this copy has: every block comes from the peer at the next connection. REFUSED while connected or
 * Primary. */
gboolean drbd_invalidate(const DrbdResource *r, GError **error);
/* Some volume's disk has work and ends none of it just now: a drbdsetup that writes would wait for it. Looks for 0.3 s.
 */
gboolean drbd_disk_waits(const DrbdResource *r);
/* No volume is Primary here or connected: what a note says of this copy nobody can contradict. REFUSED otherwise. */
gboolean drbd_must_be_apart(const DrbdResource *r, GError **error);
gboolean drbd_resize(const DrbdResource *r, int index, GError **error);
gboolean drbd_down(const DrbdResource *r, GError **error); /* REFUSED while Primary or open */
