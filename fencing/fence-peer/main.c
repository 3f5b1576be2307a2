/* SPDX-License-Identifier: Apache-2.0
 * DRBD's usermode helper: the fence-peer handler that records who is in sync before frozen I/O goes on.
 *
 * This program stands between a lost replica and an acknowledged write. Its one rule: leave DRBD frozen rather than
 * guess. The kernel resumes I/O only on exit codes 4, 5 and 7; everything else, a crash included, keeps it frozen. It
 * runs while disks may be hung, so it uses libc and the store's unix socket only, locks its memory, and works with
 * holdfastd dead whenever corosync alone can prove the peer's absence.
 *
 * Two situations call it as fence-peer (DRBD 8.4 gives no other hint than the freeze flag in /proc/drbd):
 * - a Primary lost its peer and froze: write generation+1 without the peer, then exit. It waits as long as it takes.
 * - a Secondary is being promoted without its peer: the OCF agent has claimed the record already; answer at once from
 * it, since drbdsetup holds the resource's lock meanwhile. In doubt: failure, the agent tries again.
 *
 * And one as local-io-error: a disk below DRBD failed here (local_io_error.c). */
#include "fencing/fence-peer/io.h"
#include "fencing/fence-peer/local_io_error.h"
#include "storage/split_brain.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* DRBD 8.4 exit codes of a fence-peer handler; every other value means "broken handler": I/O stays frozen, promotion
 * fails. */
enum {
    PEER_OUTDATED = 4,
    PEER_DOWN_LOCAL_UP_TO_DATE = 5,
    PEER_FENCED = 7,
    STAY_FROZEN = 1,
};

#define RESOURCE_PREFIX "hf-"
#define SPLIT_BRAIN_FOLDER HANDLER_ROOT "run/holdfast/split-brain"
#define RETRY_MS 200
#define SAY_EVERY 50 /* retries between two log lines of a handler that waits */

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* One try to write the mark. The record is read anew each time, so an unknown outcome resolves itself: our own mark,
 * once there, is marked again at a higher generation, which is harmless. */
static bool mark_peer(const HandlerGuest *guest)
{
    Record record, next;
    int64_t revision;
    char reason[200];
    if (!handler_record_read(guest->guest, &record, &revision)) {
        return false;
    }
    if (record.state == RECORD_NEW && !record.unconfirmed[0]) {
        return true; /* being created: nobody may start it, so nothing hangs on who is in sync */
    }
    if (!record_mark(&record, guest->node, guest->boot_id, guest->peer, &next, reason, sizeof(reason))) {
        syslog(LOG_WARNING, "guest '%s': cannot record %s as out of sync: %s", guest->guest, guest->peer, reason);
        return false;
    }
    if (!handler_record_write(guest->guest, &next, revision)) {
        return false;
    }
    syslog(LOG_NOTICE, "guest '%s': generation %lld, %s is out of sync", guest->guest, (long long) next.generation,
           guest->peer);
    return true;
}

/* A record in doubt takes no mark: then the peer's copy is not made unusable for nothing either. */
static bool record_takes_marks(const HandlerGuest *guest)
{
    Record record;
    int64_t revision;
    return handler_record_read(guest->guest, &record, &revision) && !record.unconfirmed[0];
}

static int frozen_primary(const HandlerGuest *guest)
{
    syslog(LOG_WARNING, "guest '%s': lost replica on %s, I/O is frozen until that is recorded", guest->guest,
           guest->peer);
    for (unsigned tries = 0;; tries++) {
        HandlerDisks disks;
        if (handler_disks_read(guest, &disks) && disks.all_connected) {
            syslog(LOG_NOTICE, "guest '%s': %s is connected again, nothing to record", guest->guest, guest->peer);
            return STAY_FROZEN; /* the connection itself unfreezes */
        }
        /* Without a whole copy of our own the peer's is the only one, and must stay in the record. */
        if (!handler_disks_read(guest, &disks) || !disks.all_up_to_date) {
            if (tries % SAY_EVERY == 0) {
                syslog(LOG_ERR, "guest '%s': still frozen: the disk here is not UpToDate, only %s has all data",
                       guest->guest, guest->peer);
            }
        } else if (handler_peer_left_quorate_membership(guest->peer_id)) {
            if (mark_peer(guest)) {
                return PEER_DOWN_LOCAL_UP_TO_DATE;
            }
        } else if (record_takes_marks(guest) && handler_peer_outdated(guest->guest) && mark_peer(guest)) {
            return PEER_OUTDATED;
        }
        if (tries % SAY_EVERY == SAY_EVERY - 1) {
            syslog(
                LOG_WARNING,
                "guest '%s': still frozen: %s neither left a quorate membership nor confirmed to be outdated, or the "
                "store has no majority",
                guest->guest, guest->peer);
        }
        pause_ms(RETRY_MS);
    }
}

/* The agent's claim is the permission: it is ours, of this boot, and the peer is out. Then even a merely Consistent
 * disk is the newest (exit 7); without it neither 5 nor 7 may be said, since 7 would declare a stale disk UpToDate. */
static int promotion(const HandlerGuest *guest, const HandlerDisks *disks)
{
    Record record;
    int64_t revision;
    if (!handler_record_read(guest->guest, &record, &revision)) {
        syslog(LOG_WARNING, "guest '%s': promotion refused: the store did not answer", guest->guest);
        return STAY_FROZEN;
    }
    bool ours = record.state == RECORD_RUNNING && strcmp(record.owner, guest->node) == 0 &&
                strcmp(record.owner_boot_id, guest->boot_id) == 0 && record.handover_to[0] == '\0';
    if (!ours || !record_is_in_sync(&record, guest->node) || record_is_in_sync(&record, guest->peer)) {
        syslog(LOG_WARNING, "guest '%s': promotion refused: no valid claim by this node without %s in the record",
               guest->guest, guest->peer);
        return STAY_FROZEN;
    }
    return disks->all_up_to_date ? PEER_DOWN_LOCAL_UP_TO_DATE : PEER_FENCED;
}

static int fence_peer(const char *resource)
{
    HandlerGuest guest;
    HandlerDisks disks;
    if (strncmp(resource, RESOURCE_PREFIX, strlen(RESOURCE_PREFIX)) != 0) {
        syslog(LOG_WARNING, "fence-peer for '%s', which is not a resource of Holdfast: left alone", resource);
        return STAY_FROZEN;
    }
    while (!handler_guest_read(resource + strlen(RESOURCE_PREFIX), &guest)) {
        syslog(LOG_ERR, "resource '%s': cannot read its manifest, staying frozen", resource);
        pause_ms(1000);
    }
    if (guest.peer[0] == '\0' || !handler_disks_read(&guest, &disks)) {
        return STAY_FROZEN;
    }
    return disks.any_suspended ? frozen_primary(&guest) : promotion(&guest, &disks);
}

/* Both copies were written to apart from each other; DRBD has dropped the connection. holdfastd goes on from the note
 * (node-agent/copy_choice.h). */
static void split_brain(const char *device)
{
    HandlerGuest guest;
    int minor;
    if (sscanf(device, "minor-%d", &minor) != 1 || !handler_guest_of_minor(minor, &guest)) {
        syslog(LOG_ERR, "split brain on %s, which belongs to no guest here", device);
        return;
    }
    syslog(LOG_ERR, "guest '%s': the copies here and on %s went different ways (split brain)", guest.guest, guest.peer);
    if (!split_brain_note(SPLIT_BRAIN_FOLDER, guest.guest)) {
        syslog(LOG_ERR, "guest '%s': that could not be noted in " SPLIT_BRAIN_FOLDER ": %m", guest.guest);
    }
}

int main(int argc, char **argv)
{
    openlog("holdfast-fence-peer", LOG_PID, LOG_DAEMON);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        syslog(LOG_WARNING, "cannot lock memory: %m");
    }
    if (argc != 3) {
        fprintf(
            stderr,
            "usage: holdfast-fence-peer EVENT RESOURCE|minor-N\nCalled by the DRBD kernel module, not by people.\n");
        return 2;
    }
    if (strcmp(argv[1], "fence-peer") == 0) {
        int code = fence_peer(argv[2]);
        syslog(LOG_NOTICE, "fence-peer %s: exit %d", argv[2], code);
        return code;
    }
    if (strcmp(argv[1], "local-io-error") == 0) {
        local_io_error(argv[2]);
        return 0; /* DRBD does not care */
    }
    if (strcmp(argv[1], "split-brain") == 0) {
        split_brain(argv[2]);
        return 0;
    }
    syslog(LOG_INFO, "DRBD event %s on %s", argv[1], argv[2]);
    return 0;
}
