/* SPDX-License-Identifier: Apache-2.0
 * DRBD roles and data generations: who may write, and which copy counts. */
#include "common/error.h"
#include "storage/drbd_internal.h"

#include <stdio.h>
#include <string.h>

#define PROMOTE_TRIES 3
#define PROMOTE_TRY_TIMEOUT_MS                                                                                         \
    4000 /* the kernel asks the handler up to four times in one try, each answers within a second */
#define PROMOTE_PAUSE_US (400 * 1000)
#define SETTLE_TIMEOUT_US (2000 * 1000)
#define SECTOR 512
#define SETTLE_PAUSE_US (20 * 1000)
#define QUIET_PAUSE_US (300 * 1000)

static gboolean is(const char *word, const char *wanted)
{
    return strcmp(word, wanted) == 0;
}

static gboolean minor_call(const DrbdResource *r, int index, int timeout_ms, const char *verb, const char *option,
                           GError **error)
{
    g_autofree char *minor = g_strdup_printf("%d", guest_minor(r->guest, index));
    return process_call(r->runner, timeout_ms, NULL, error, DRBDSETUP, verb, minor, option, NULL);
}

static gboolean state_of(const DrbdResource *r, int index, DrbdState *ret, GError **error)
{
    return drbd_state_read(guest_minor(r->guest, index), ret, error);
}

static gboolean wrong_state(const DrbdResource *r, int index, const DrbdState *state, int code, const char *what,
                            GError **error)
{
    g_set_error(error, HOLDFAST_ERROR, code, "volume %d of guest '%s' %s (%s %s/%s %s/%s%s)", index, r->guest->name,
                what, state->present ? state->connection : "absent", state->role, state->peer_role, state->disk,
                state->peer_disk, state->suspended ? " frozen" : "");
    return FALSE;
}

/* ---- first data generation ---- */

static gboolean is_fresh_pair(const DrbdState *state)
{
    return state->present && is(state->connection, "Connected") && is(state->disk, "Inconsistent") &&
           is(state->peer_disk, "Inconsistent");
}

/* The peer answers a new-current-uuid in its own time. */
static gboolean wait_up_to_date_pair(const DrbdResource *r, int index, GError **error)
{
    gint64 end_us = g_get_monotonic_time() + SETTLE_TIMEOUT_US;
    DrbdState state;
    for (;;) {
        if (!state_of(r, index, &state, error)) {
            return FALSE;
        }
        if (drbd_state_is_up_to_date_pair(&state)) {
            return TRUE;
        }
        if (g_get_monotonic_time() > end_us) {
            return wrong_state(r, index, &state, HOLDFAST_ERROR_TIMEOUT, "did not become UpToDate on both nodes",
                               error);
        }
        g_usleep(SETTLE_PAUSE_US);
    }
}

/* Right only because both LVs come from a zeroing thin pool and nothing but DRBD ever wrote to them: both read zero
 * everywhere. The kernel agrees only while both sides carry the "just created" generation. */
gboolean drbd_skip_initial_sync(const DrbdResource *r, GError **error)
{
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState state;
        if (!state_of(r, i, &state, error)) {
            return FALSE;
        }
        if (drbd_state_is_up_to_date_pair(&state)) {
            continue;
        }
        if (!is_fresh_pair(&state)) {
            return wrong_state(r, i, &state, HOLDFAST_ERROR_REFUSED,
                               "is not fresh on both nodes, its first sync cannot be skipped", error);
        }
        if (!minor_call(r, i, DRBD_CALL_TIMEOUT_MS, "new-current-uuid", "--clear-bitmap=yes", error) ||
            !wait_up_to_date_pair(r, i, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean drbd_force_initial(const DrbdResource *r, GError **error)
{
    if (r->peer) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s' has two replicas: never forced",
                    r->guest->name);
        return FALSE;
    }
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState state;
        if (!state_of(r, i, &state, error)) {
            return FALSE;
        }
        if (state.present && is(state.disk, "UpToDate")) {
            continue;
        }
        if (!state.present || !is(state.disk, "Inconsistent") || !is(state.connection, "StandAlone")) {
            return wrong_state(r, i, &state, HOLDFAST_ERROR_REFUSED, "is not a fresh single replica", error);
        }
        if (!minor_call(r, i, DRBD_CALL_TIMEOUT_MS, "primary", "--force=yes", error) ||
            !minor_call(r, i, DRBD_CALL_TIMEOUT_MS, "secondary", NULL, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- roles ---- */

/* Without these options DRBD itself would let stale data start; whoever set the resource up otherwise, it is not
 * promoted. */
static gboolean options_must_be_safe(const DrbdResource *r, GError **error)
{
    DrbdShow show;
    if (!drbd_show(r, &show, error)) {
        return FALSE;
    }
    for (int i = 0; i < r->n_volumes; i++) {
        gboolean unsafe = r->peer && (!show.protocol_c || !show.volumes[i].fencing);
        if (unsafe || show.volumes[i].minor != guest_minor(r->guest, i)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                        "volume %d of guest '%s' is not set up as a Holdfast replica (minor %d, %s): take the resource "
                        "down and let "
                        "it be set up again",
                        i, r->guest->name, show.volumes[i].minor,
                        unsafe ? "fencing or protocol is not the safe one" : "another one is expected");
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean volume_promote(const DrbdResource *r, int index, gboolean *ret_changed, int *tries_left, GError **error)
{
    DrbdState state;
    if (!state_of(r, index, &state, error)) {
        return FALSE;
    }
    if (state.present && is(state.role, "Primary")) {
        return TRUE;
    }
    if (!state.present || is(state.disk, "Diskless") || is(state.disk, "Failed") || is(state.disk, "Inconsistent") ||
        is(state.disk, "Outdated")) {
        return wrong_state(r, index, &state, HOLDFAST_ERROR_REFUSED,
                           "cannot be promoted: its disk does not hold current data", error);
    }
    /* Right after the peer's death the first try fails once the ping timed out (exit 11 or 17 after about 0.7 s). */
    for (;;) {
        *ret_changed = TRUE;
        g_autoptr(GError) problem = NULL;
        if (minor_call(r, index, PROMOTE_TRY_TIMEOUT_MS, "primary", NULL, &problem)) {
            return TRUE;
        }
        if (--*tries_left <= 0 || holdfast_error_code(problem) == HOLDFAST_ERROR_TIMEOUT) {
            g_propagate_prefixed_error(error, g_steal_pointer(&problem),
                                       "volume %d of guest '%s' was not promoted: ", index, r->guest->name);
            return FALSE;
        }
        g_usleep(PROMOTE_PAUSE_US);
    }
}

gboolean drbd_promote(const DrbdResource *r, GError **error)
{
    gboolean changed[GUEST_VOLUMES_MAX] = {FALSE};
    int tries_left = PROMOTE_TRIES;
    if (!options_must_be_safe(r, error)) {
        return FALSE;
    }
    for (int i = 0; i < r->n_volumes; i++) {
        if (volume_promote(r, i, &changed[i], &tries_left, error)) {
            continue;
        }
        for (int undo = i; undo >= 0; undo--) {
            if (changed[undo]) {
                minor_call(r, undo, DRBD_CALL_TIMEOUT_MS, "secondary", NULL, NULL);
            }
        }
        return FALSE;
    }
    return TRUE;
}

gboolean drbd_demote(const DrbdResource *r, GError **error)
{
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState state;
        if (!state_of(r, i, &state, error)) {
            return FALSE;
        }
        if (!state.present || !is(state.role, "Primary")) {
            continue;
        }
        /* drbd_set_role() waits uninterruptibly for requests in flight, under a lock the fence-peer handler's answer
         * needs. */
        if (state.suspended) {
            return wrong_state(r, i, &state, HOLDFAST_ERROR_BUSY,
                               "cannot be demoted: its I/O is frozen until the peer's fate is known", error);
        }
        if (!minor_call(r, i, DRBD_CALL_TIMEOUT_MS, "secondary", NULL, error) || !state_of(r, i, &state, error)) {
            return FALSE;
        }
        if (is(state.role, "Primary")) {
            return wrong_state(r, i, &state, HOLDFAST_ERROR_BUSY, "is still Primary after its demotion", error);
        }
    }
    return TRUE;
}

gboolean drbd_disk_waits(const DrbdResource *r)
{
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState before = {0}, after = {0};
        if (!state_of(r, i, &before, NULL) || before.local_pending == 0) {
            continue;
        }
        g_usleep(QUIET_PAUSE_US);
        if (state_of(r, i, &after, NULL) && after.local_pending > 0 && after.local_done == before.local_done) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean drbd_must_be_apart(const DrbdResource *r, GError **error)
{
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState state;
        if (!state_of(r, i, &state, error)) {
            return FALSE;
        }
        if (state.present && (is(state.role, "Primary") || drbd_state_is_connected(&state))) {
            return wrong_state(r, i, &state, HOLDFAST_ERROR_REFUSED, "is Primary or connected", error);
        }
    }
    return TRUE;
}

gboolean drbd_outdate(const DrbdResource *r, gboolean noted, GError **error)
{
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState state;
        if (!state_of(r, i, &state, error)) {
            return FALSE;
        }
        if (!state.present && noted) {
            continue;
        }
        if (!state.present || is(state.role, "Primary") || drbd_state_is_connected(&state)) {
            return wrong_state(r, i, &state, HOLDFAST_ERROR_REFUSED,
                               "cannot be outdated: it is absent, Primary or connected", error);
        }
        if (is(state.disk, "Outdated") || is(state.disk, "Inconsistent") || is(state.disk, "Diskless") ||
            is(state.disk, "Failed")) {
            continue; /* cannot be promoted as it is; that a lost disk stays so is the caller's to see to */
        }
        if (!minor_call(r, i, DRBD_CALL_TIMEOUT_MS, "outdate", NULL, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- comparing and choosing between copies ---- */

gboolean drbd_verify_begin(const DrbdResource *r, int index, gint64 start, gint64 end, GError **error)
{
    g_autofree char *minor = g_strdup_printf("%d", guest_minor(r->guest, index));
    g_autofree char *from = g_strdup_printf("--start=%" G_GINT64_FORMAT, start / SECTOR);
    g_autofree char *to = g_strdup_printf("--stop=%" G_GINT64_FORMAT, end / SECTOR);
    return process_call(r->runner, DRBD_CALL_TIMEOUT_MS, NULL, error, DRBDSETUP, "verify", minor, from, to, NULL);
}

/* The generation that it had in common with the other copy is kept beside its own ("CURRENT:BITMAP:..."): from then on
 * DRBD sees two copies that went apart, and takes neither for the newer one. */
static gboolean has_own_generation(const DrbdResource *r, int index, gboolean *ret, GError **error)
{
    g_autofree char *minor = g_strdup_printf("%d", guest_minor(r->guest, index));
    g_autofree char *text = NULL;
    guint64 current = 0, bitmap = 0;
    if (!process_call(r->runner, DRBD_CALL_TIMEOUT_MS, &text, error, DRBDSETUP, "get-gi", minor, NULL)) {
        return FALSE;
    }
    if (sscanf(text, "%" G_GINT64_MODIFIER "x:%" G_GINT64_MODIFIER "x:", &current, &bitmap) != 2) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_FAILED, "drbdsetup get-gi %s says '%s'", minor, text);
    }
    *ret = bitmap != 0;
    return TRUE;
}

gboolean drbd_force_stale(const DrbdResource *r, GError **error)
{
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState state;
        if (!state_of(r, i, &state, error)) {
            return FALSE;
        }
        gboolean primary = state.present && is(state.role, "Primary");
        gboolean current = is(state.disk, "UpToDate") || is(state.disk, "Consistent");
        gboolean own_generation = FALSE;
        /* Primary here: we were killed between the two calls below. */
        if (!state.present || drbd_state_is_connected(&state) ||
            (!primary && !current && !is(state.disk, "Outdated"))) {
            return wrong_state(r, i, &state, HOLDFAST_ERROR_REFUSED, "is no whole copy that stands alone", error);
        }
        if (!primary && current && !has_own_generation(r, i, &own_generation, error)) {
            return FALSE;
        }
        if (!primary && current && own_generation) {
            continue; /* a second force would make DRBD forget what the copies have in common */
        }
        if ((!primary && !minor_call(r, i, PROMOTE_TRY_TIMEOUT_MS, "primary", "--force=yes", error)) ||
            !minor_call(r, i, DRBD_CALL_TIMEOUT_MS, "secondary", NULL, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean drbd_invalidate(const DrbdResource *r, GError **error)
{
    for (int i = 0; i < r->n_volumes; i++) {
        DrbdState state;
        if (!state_of(r, i, &state, error)) {
            return FALSE;
        }
        if (state.present && is(state.disk, "Inconsistent")) {
            continue;
        }
        if (!state.present || is(state.role, "Primary") || drbd_state_is_connected(&state)) {
            return wrong_state(r, i, &state, HOLDFAST_ERROR_REFUSED,
                               "cannot be thrown away: it is absent, Primary or connected", error);
        }
        if (!minor_call(r, i, DRBD_CALL_TIMEOUT_MS, "invalidate", NULL, error)) {
            return FALSE;
        }
    }
    return TRUE;
}
