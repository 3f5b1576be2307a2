/* SPDX-License-Identifier: Apache-2.0
 * The durable local note "this node's copy of guest G must not be trusted": its disk failed, and what was written after
 * that is on the other node only. Written by DRBD's handler (or by holdfastd for it), honoured by the start claim,
 * taken away by holdfastd.
 *
 * DRBD's own metadata cannot say it: the disk it would have to be written to is the one that failed. So after a reboot
 * the copy would look as good as before.
 *
 * One file per failure, LOST_COPY_ROOT/GUEST/BOOT_ID.MINOR.TIME, so that whoever takes notes away takes exactly those
 * it judged, never one that came meanwhile. Text for people inside. libc only: the fence-peer handler uses it. `root`
 * is LOST_COPY_ROOT everywhere but in tests. */
#pragma once

#include <stdbool.h>

#define LOST_COPY_ROOT "/var/lib/holdfast/lost-copy"
#define LOST_COPY_NAMES_MAX 16
#define LOST_COPY_NAME_SIZE 128

typedef struct {
    bool stands;   /* there is a note, or the folder could not be read */
    bool held;     /* one is of this boot and was not released: nothing may be attached */
    bool released; /* an operator released every one of them */
    bool full;     /* one is of a write that found no room in the pool: it holds until there is room, in any boot */
    int minor;     /* of one of them, of a held one when there is any; -1 when not known */
    int n_names;   /* notes seen, at most LOST_COPY_NAMES_MAX; the others wait for the next look */
    char names[LOST_COPY_NAMES_MAX][LOST_COPY_NAME_SIZE];
} LostCopy;

void lost_copy_look(const char *root, const char *guest, const char *boot_id, LostCopy *ret);

typedef enum {
    LOST_COPY_WAIT,   /* neither attach nor connect */
    LOST_COPY_ATTACH, /* attach, connect and resync; the note stays */
    LOST_COPY_REMOVE, /* take away the notes that were looked at: the copy is as good as any */
} LostCopyStep;

/* What is known besides the notes, looked at after them. */
typedef struct {
    bool has_peer;     /* two replicas */
    bool copies_equal; /* DRBD: every volume connected and UpToDate on both nodes, somebody is Primary */
    bool record_known; /* the record was read from a majority; then whom it calls in sync: */
    bool named, peer_named;
} LostCopyFacts;

/* What may be done with a copy whose disk failed. Pure; ATTACH when no note stands. */
LostCopyStep lost_copy_decide(const LostCopy *lost, const LostCopyFacts *facts);

/* Write one note: on return true it is on disk, and so is its folder. */
bool lost_copy_note(const char *root, const char *guest, int minor, const char *boot_id);

/* An operator says that the disk works again: the notes stay, but none of those in `seen` forbids attaching any more.
 */
bool lost_copy_release(const char *root, const char *guest, const LostCopy *seen);

/* The pool was full when these notes were written, those of this boot not before `since_s` (seconds of the wall clock):
 * the disk is not at fault. */
bool lost_copy_blame_full(const char *root, const char *guest, const LostCopy *seen, const char *boot_id,
                          long long since_s);
/* There is room again: notes of a full pool do not forbid attaching any more. Unlike an operator's release this says
 * nothing about which copy is good. */
bool lost_copy_room_again(const char *root, const char *guest, const LostCopy *seen);

/* Take the notes in `seen` away, durably. */
bool lost_copy_remove(const char *root, const char *guest, const LostCopy *seen);
