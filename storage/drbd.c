/* SPDX-License-Identifier: Apache-2.0
 * Setting DRBD resources up and taking them down.
 *
 * drbdsetup-84 and drbdmeta are driven directly, without drbdadm and its files, so what drbdadm does in between is done
 * here: `drbdmeta check-resize` and `apply-al` before an attach (after a crash the attach fails otherwise), and
 * `drbdsetup check-resize` after it (it notes the backing device's size, without which metadata at the old end of a
 * grown LV is not found).
 *
 * create-md runs without --force on purpose: with standard input not a terminal drbdmeta then refuses to write over
 * metadata or data it recognises, so the kernel of the rule "never over existing metadata" does not rest on our own
 * look alone. */
#include "common/error.h"
#include "common/file.h"
#include "storage/drbd_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define DRBDMETA "/sbin/drbdmeta"
#define META_TIMEOUT_MS 60000 /* create-md writes the bitmap: 32 KiB per GiB */
#define DOWN_TIMEOUT_MS 10000
#define FORCE_TIMEOUT_MS 2000 /* it waits for the disk; what matters has happened by then */
#define DISCONNECT_WAIT_US (2 * G_USEC_PER_SEC)
#define DISCONNECT_PAUSE_US (50 * 1000)
#define HELPER_PARAMETER "/sys/module/drbd/parameters/usermode_helper"

char *drbd_resource_name(const Guest *guest)
{
    return g_strconcat("hf-", guest->name, NULL);
}

static gboolean helper_is(const char *helper_path)
{
    g_autofree char *text = file_read(HELPER_PARAMETER, 4096, NULL);
    return text && strcmp(g_strchomp(text), helper_path) == 0;
}

gboolean drbd_module_prepare(const ProcessRunner *runner, const char *helper_path, GError **error)
{
    if (access(HELPER_PARAMETER, F_OK) != 0 &&
        !process_call(runner, 30000, NULL, error, "/sbin/modprobe", "drbd", NULL)) {
        return FALSE;
    }
    if (helper_is(helper_path)) {
        return TRUE;
    }
    int fd = open(HELPER_PARAMETER, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return holdfast_error_set_errno(error, errno, "cannot set DRBD's helper (%s)", HELPER_PARAMETER);
    }
    ssize_t put = write(fd, helper_path, strlen(helper_path));
    int err = errno;
    close(fd);
    if (put < 0) {
        return holdfast_error_set_errno(error, err, "cannot set DRBD's helper (%s)", HELPER_PARAMETER);
    }
    if (!helper_is(helper_path)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                    "DRBD's helper (%s) is not %s although it was set: no guest may start without it", HELPER_PARAMETER,
                    helper_path);
        return FALSE;
    }
    return TRUE;
}

gboolean drbd_show(const DrbdResource *r, DrbdShow *ret, GError **error)
{
    g_autofree char *name = drbd_resource_name(r->guest);
    const char *argv[] = {DRBDSETUP, "show", name, NULL};
    g_auto(ProcessResult) result = {0};
    if (!r->runner->run(r->runner, argv, NULL, DRBD_CALL_TIMEOUT_MS, &result, error)) {
        return FALSE;
    }
    gboolean missing = result.exit_status != 0 && (strstr(result.stderr_text, "No such device") ||
                                                   strstr(result.stderr_text, "No such resource") ||
                                                   strstr(result.stderr_text, "not in the kernel"));
    if (result.exit_status != 0 && !missing) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "cannot look at DRBD resource %s: %s", name,
                    g_strchomp(result.stderr_text));
        return FALSE;
    }
    drbd_show_parse(missing ? "" : result.stdout_text, ret);
    return TRUE;
}

/* ---- metadata ---- */

static gboolean is_attached(const DrbdState *state)
{
    return state->present && strcmp(state->disk, "Diskless") != 0;
}

/* apply-al is also the look: 0 = metadata is there (and its activity log applied), "No valid meta data found" = none.
 * Everything else is an error and never taken for "none": a busy or unreadable LV may hold data. */
static gboolean metadata_apply(const DrbdResource *r, int index, const char *lv_path, gboolean *ret_present,
                               GError **error)
{
    g_autofree char *minor = g_strdup_printf("%d", guest_minor(r->guest, index));
    const char *argv[] = {DRBDMETA, minor, "v08", lv_path, "internal", "apply-al", NULL};
    g_auto(ProcessResult) result = {0};
    if (!r->runner->run(r->runner, argv, NULL, META_TIMEOUT_MS, &result, error)) {
        return FALSE;
    }
    *ret_present = result.exit_status == 0;
    if (*ret_present || strstr(result.stderr_text, "No valid meta data found") ||
        strstr(result.stdout_text, "No valid meta data found")) {
        return TRUE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "cannot read DRBD metadata on %s: %s", lv_path,
                g_strchomp(result.stderr_text));
    return FALSE;
}

gboolean drbd_metadata_create(const DrbdResource *r, int index, const char *lv_path, GError **error)
{
    int number = guest_minor(r->guest, index);
    DrbdState state;
    gboolean present = FALSE;
    if (!drbd_state_read(number, &state, error)) {
        return FALSE;
    }
    if (is_attached(&state)) {
        return TRUE;
    }
    if (!metadata_apply(r, index, lv_path, &present, error)) {
        return FALSE;
    }
    if (present) {
        return TRUE;
    }
    g_autofree char *minor = g_strdup_printf("%d", number);
    return process_call(r->runner, META_TIMEOUT_MS, NULL, error, DRBDMETA, minor, "v08", lv_path, "internal",
                        "create-md", NULL);
}

/* ---- attach ---- */

/* fencing: a resource without any peer has nobody who could hold newer data and nobody to fence, and with
 * resource-and-stonith the kernel would call fence-peer at every promotion because the (never existing) peer's disk is
 * unknown. Only there dont-care is safe; drbd_promote() refuses a two-replica resource without resource-and-stonith. */
static gboolean disk_attach(const DrbdResource *r, const char *minor, const char *lv_path, GError **error)
{
    const char *fencing = r->peer ? "--fencing=resource-and-stonith" : "--fencing=dont-care";
    return process_call(r->runner, DRBD_CALL_TIMEOUT_MS * 2, NULL, error, DRBDSETUP, "attach", minor, lv_path, lv_path,
                        "internal", "--on-io-error=call-local-io-error", fencing, "--al-updates=yes",
                        "--discard-zeroes-if-aligned=yes", "--rs-discard-granularity=65536", "--c-plan-ahead=20",
                        "--c-fill-target=2048", "--c-max-rate=204800", "--c-min-rate=10240", NULL);
}

static gboolean volume_attach(const DrbdResource *r, int index, const char *lv_path, GError **error)
{
    gboolean present = FALSE;
    g_autofree char *minor = g_strdup_printf("%d", guest_minor(r->guest, index));
    if (!process_call(r->runner, META_TIMEOUT_MS, NULL, error, DRBDMETA, minor, "v08", lv_path, "internal",
                      "check-resize", NULL) ||
        !metadata_apply(r, index, lv_path, &present, error)) {
        return FALSE;
    }
    if (!present) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "replica lost: %s has no DRBD metadata, and making it anew would make an empty disk out of it",
                    lv_path);
        return FALSE;
    }
    return disk_attach(r, minor, lv_path, error) &&
           process_call(r->runner, DRBD_CALL_TIMEOUT_MS, NULL, error, DRBDSETUP, "check-resize", minor, NULL);
}

gboolean drbd_attach(const DrbdResource *r, int index, const char *lv_path, GError **error)
{
    int number = guest_minor(r->guest, index);
    g_autofree char *name = drbd_resource_name(r->guest);
    g_autofree char *minor = g_strdup_printf("%d", number);
    g_autofree char *volume = g_strdup_printf("%d", index);
    DrbdShow show;
    if (!drbd_show(r, &show, error)) {
        return FALSE;
    }
    /* on-no-data-accessible suspend-io: with no good copy in reach the guest waits instead of seeing errors. */
    if (!show.exists && !process_call(r->runner, DRBD_CALL_TIMEOUT_MS, NULL, error, DRBDSETUP, "new-resource", name,
                                      "--on-no-data-accessible=suspend-io", NULL)) {
        return FALSE;
    }
    if (show.volumes[index].minor >= 0 && show.volumes[index].minor != number) {
        g_set_error(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
            "DRBD resource %s is set up with minor %d where %d is expected: is it an earlier guest of this name?", name,
            show.volumes[index].minor, number);
        return FALSE;
    }
    if (show.volumes[index].minor < 0 && !process_call(r->runner, DRBD_CALL_TIMEOUT_MS, NULL, error, DRBDSETUP,
                                                       "new-minor", name, minor, volume, NULL)) {
        return FALSE;
    }
    return show.volumes[index].attached || volume_attach(r, index, lv_path, error);
}

/* ---- network ---- */

static void endpoints(const DrbdResource *r, char **ret_local, char **ret_remote)
{
    int port = guest_drbd_port(r->guest);
    *ret_local = g_strdup_printf("ipv4:%s:%d", r->address, port);
    *ret_remote = g_strdup_printf("ipv4:%s:%d", r->peer_address, port);
}

/* What is not shown is not held against it: a text that a newer drbdsetup prints otherwise must not cut connections. */
static gboolean is_set_up_with(const DrbdShow *show, const DrbdResource *r, const char *remote)
{
    return (!show->remote[0] || strcmp(show->remote, remote) == 0) &&
           (!show->secret[0] || g_strcmp0(show->secret, r->guest->drbd_secret) == 0);
}

/* A replica is given a new peer only when that one is built anew (guest->joining). DRBD 8.4 keeps one bitmap for one
 * peer: an old replica that came back into this place could be taken for nearly equal by its data generations, with the
 * bits of the blocks that it lacks cleared meanwhile for another. While the old peer is what the guest depends on it is
 * not left either. */
static gboolean may_leave_peer(const DrbdResource *r, const DrbdShow *show, GError **error)
{
    if (g_strcmp0(r->guest->joining, r->peer) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "guest '%s': the replica on %s is set up with the one at %s and not with that on %s, and no new "
                    "replica is being built there: it is left as it is",
                    r->guest->name, r->node, show->remote, r->peer);
        return FALSE;
    }
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState state;
        if (!drbd_state_read(guest_minor(r->guest, i), &state, error)) {
            return FALSE;
        }
        gboolean primary = strcmp(state.role, "Primary") == 0;
        const char *why = state.suspended                                  ? "its I/O is frozen"
                          : primary && strcmp(state.disk, "UpToDate") != 0 ? "its own disk is not UpToDate"
                          : strcmp(state.peer_role, "Primary") == 0        ? "that one is Primary"
                                                                           : NULL;
        if (why) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                        "guest '%s': volume %d on %s is not parted from the replica at %s: %s", r->guest->name, i,
                        r->node, show->remote, why);
            return FALSE;
        }
    }
    return TRUE;
}

/* `disconnect` returns a moment before the kernel has forgotten the addresses. */
static gboolean wait_unconfigured(const DrbdResource *r, GError **error)
{
    gint64 end_us = g_get_monotonic_time() + DISCONNECT_WAIT_US;
    DrbdShow show;
    for (;;) {
        if (!drbd_show(r, &show, error)) {
            return FALSE;
        }
        if (!show.net) {
            return TRUE;
        }
        if (g_get_monotonic_time() > end_us) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
                        "guest '%s': DRBD does not let go of the replica at %s", r->guest->name, show.remote);
            return FALSE;
        }
        g_usleep(DISCONNECT_PAUSE_US);
    }
}

static gboolean leave_peer(const DrbdResource *r, const DrbdShow *show, const char *local, GError **error)
{
    return may_leave_peer(r, show, error) &&
           process_call(r->runner, DRBD_CALL_TIMEOUT_MS, NULL, error, DRBDSETUP, "disconnect", local, show->remote,
                        NULL) &&
           wait_unconfigured(r, error);
}

gboolean drbd_peer_is_other(const DrbdResource *r, gboolean *ret, GError **error)
{
    g_autofree char *local = NULL;
    g_autofree char *remote = NULL;
    DrbdShow show;
    *ret = FALSE;
    if (!r->peer) {
        return TRUE;
    }
    if (!drbd_show(r, &show, error)) {
        return FALSE;
    }
    endpoints(r, &local, &remote);
    *ret = show.net && !is_set_up_with(&show, r, remote);
    return TRUE;
}

gboolean drbd_connect(const DrbdResource *r, GError **error)
{
    DrbdShow show;
    if (!r->peer) {
        return TRUE;
    }
    if (!drbd_show(r, &show, error)) {
        return FALSE;
    }
    g_autofree char *name = drbd_resource_name(r->guest);
    g_autofree char *local = NULL;
    g_autofree char *remote = NULL;
    endpoints(r, &local, &remote);
    if (show.net && is_set_up_with(&show, r, remote)) {
        return TRUE;
    }
    if (show.net && !leave_peer(r, &show, local, error)) {
        return FALSE;
    }
    g_autofree char *secret = g_strconcat("--shared-secret=", r->guest->drbd_secret, NULL);
    /* The peer is found dead after ping-int 2 s + ping-timeout 0.5 s, a hanging one after timeout 1.5 s x ko-count 3.
     * The kernel wants timeout < ping-int and < connect-int. No automatic split-brain repair ever: DRBD would choose by
     * its own generations, not by the record. */
    return process_call(r->runner, DRBD_CALL_TIMEOUT_MS, NULL, error, DRBDSETUP, "connect", name, local, remote,
                        "--protocol=C", "--timeout=15", "--connect-int=3", "--ping-int=2", "--ping-timeout=5",
                        "--ko-count=3", "--cram-hmac-alg=sha256", secret, "--after-sb-0pri=disconnect",
                        "--after-sb-1pri=disconnect", "--after-sb-2pri=disconnect", "--rr-conflict=disconnect",
                        "--verify-alg=crc32c", NULL);
}

gboolean drbd_disconnect(const DrbdResource *r, GError **error)
{
    DrbdShow show;
    if (!r->peer) {
        return TRUE;
    }
    if (!drbd_show(r, &show, error)) {
        return FALSE;
    }
    if (!show.net) {
        return TRUE;
    }
    g_autofree char *local = NULL;
    g_autofree char *remote = NULL;
    endpoints(r, &local, &remote);
    return process_call(r->runner, DRBD_CALL_TIMEOUT_MS, NULL, error, DRBDSETUP, "disconnect", local,
                        show.remote[0] ? show.remote : remote, NULL);
}

gboolean drbd_disconnect_force(const DrbdResource *r, GError **error)
{
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState state;
        if (!drbd_state_read(guest_minor(r->guest, i), &state, error)) {
            return FALSE;
        }
        if (state.present && strcmp(state.role, "Primary") == 0) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED, "guest '%s' is Primary here: it is not cut off",
                                       r->guest->name);
        }
    }
    g_autofree char *local = NULL;
    g_autofree char *remote = NULL;
    g_autoptr(GError) problem = NULL;
    endpoints(r, &local, &remote);
    if (process_call(r->runner, FORCE_TIMEOUT_MS, NULL, &problem, DRBDSETUP, "disconnect", "--force=yes", local, remote,
                     NULL) ||
        holdfast_error_code(problem) == HOLDFAST_ERROR_TIMEOUT) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

/* ---- size, and the end ---- */

gboolean drbd_resize(const DrbdResource *r, int index, GError **error)
{
    /* Not --assume-clean: the old metadata lies inside the new area and differs between the nodes. */
    g_autofree char *minor = g_strdup_printf("%d", guest_minor(r->guest, index));
    return process_call(r->runner, DRBD_CALL_TIMEOUT_MS * 2, NULL, error, DRBDSETUP, "resize", minor, NULL) &&
           process_call(r->runner, DRBD_CALL_TIMEOUT_MS, NULL, error, DRBDSETUP, "check-resize", minor, NULL);
}

gboolean drbd_down(const DrbdResource *r, GError **error)
{
    g_autofree char *name = drbd_resource_name(r->guest);
    DrbdShow show;
    if (!drbd_show(r, &show, error)) {
        return FALSE;
    }
    if (!show.exists) {
        return TRUE;
    }
    /* `down` would demote by itself what nobody holds open; a Primary here is a mistake of the caller's. */
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState state;
        if (!drbd_state_read(guest_minor(r->guest, i), &state, error)) {
            return FALSE;
        }
        if (state.present && (strcmp(state.role, "Primary") == 0 || state.suspended)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "DRBD resource %s is %s: stop the guest first",
                        name, state.suspended ? "frozen" : "Primary here");
            return FALSE;
        }
    }
    return process_call(r->runner, DOWN_TIMEOUT_MS, NULL, error, DRBDSETUP, "down", name, NULL);
}
