/* SPDX-License-Identifier: Apache-2.0
 * A disk failed below DRBD on this node.
 *
 * On a Secondary the danger is that nobody is told in time. DRBD answers a write that failed here with a negative
 * acknowledgement; the Primary then acknowledges it to the guest all the same and goes on without freezing, while the
 * record still calls this copy in sync. So the error is turned into a lost connection: the Primary freezes, its
 * fence-peer handler records us as out, and only then writes go on. DRBD calls us before it tells the peer of the
 * failed disk (after_state_ch() in drbd_state.c), so the Primary cannot take it for a known loss and skip the freeze.
 *
 * The writes acknowledged between the error and the cut (some tens of milliseconds) are covered by the note: as long as
 * it stands this copy does not start, whatever the record says (storage/lost_copy.h). The cut is begun first, because
 * the note goes to the system's disk, which may be the very one that fails and hangs; every moment until the cut makes
 * more such writes.
 *
 * On a Primary the peer has every write and serves us from now on: the note alone, and the connection stays. */
#include "fencing/fence-peer/local_io_error.h"

#include "fencing/fence-peer/io.h"
#include "storage/lost_copy.h"

#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#define LOST_COPY_FOLDER HANDLER_ROOT "var/lib/holdfast/lost-copy"
#define CUT_WAIT_MS 1000
#define CUT_POLL_MS 20
#define CLOSE_MS 100
#define NOTE_TRIES 5

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void note(const HandlerGuest *guest, int minor)
{
    for (int tries = 0; tries < NOTE_TRIES; tries++) {
        if (lost_copy_note(LOST_COPY_FOLDER, guest->guest, minor, guest->boot_id)) {
            return;
        }
        pause_ms(CUT_POLL_MS);
    }
    syslog(LOG_ERR, "guest '%s': the failed disk could not be noted in %s: %m", guest->guest, LOST_COPY_FOLDER);
}

static void wait_for_cut(const HandlerGuest *guest)
{
    HandlerDisks disks;
    for (int waited_ms = 0; waited_ms < CUT_WAIT_MS; waited_ms += CUT_POLL_MS) {
        if (handler_disks_read(guest, &disks) && !disks.any_connected) {
            pause_ms(CLOSE_MS); /* "Disconnecting" shows before the socket is closed */
            return;
        }
        pause_ms(CUT_POLL_MS);
    }
    syslog(LOG_ERR, "guest '%s': still connected to %s after %d ms", guest->guest, guest->peer, CUT_WAIT_MS);
}

void local_io_error(const char *device)
{
    HandlerGuest guest;
    HandlerDisks disks = {0};
    int minor;
    if (sscanf(device, "minor-%d", &minor) != 1 || !handler_guest_of_minor(minor, &guest)) {
        syslog(LOG_ERR, "disk error on %s, which belongs to no guest here", device);
        return;
    }
    /* A role that cannot be read counts as Secondary: a Primary cut off by mistake freezes, and loses nothing. */
    handler_disks_read(&guest, &disks);
    bool cut = guest.peer[0] != '\0' && !disks.any_primary;
    syslog(LOG_ERR, "guest '%s': the disk under minor %d failed here%s", guest.guest, minor,
           cut                     ? "; cutting the connection, so that it is recorded"
           : guest.peer[0] != '\0' ? ", the replica on the peer serves the guest"
                                   : ", and there is no other replica");
    if (cut) {
        handler_disconnect_begin(&guest);
    }
    note(&guest, minor);
    if (cut) {
        wait_for_cut(&guest);
    }
}
