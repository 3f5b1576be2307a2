/* SPDX-License-Identifier: Apache-2.0
 * The progress of resyncs, for people. */
#include "node-agent/resync.h"

#include "storage/drbd.h"
#include "storage/resync_rate.h"

#include <string.h>

/* Each publication is a durable write in the store and wakes every node. */
#define PUBLISH_EVERY_US (5 * G_USEC_PER_SEC)

typedef struct {
    gboolean shown;
    gint64 permille, left_s, out_of_sync_kib;
} Figures;

struct GuestResync {
    ResyncRate rates[GUEST_VOLUMES_MAX];
    Figures figures[GUEST_VOLUMES_MAX]; /* as published last */
    gint64 published_us;
};

static gboolean is_due(const GuestResync *resync)
{
    return g_get_monotonic_time() - resync->published_us > PUBLISH_EVERY_US;
}

static gboolean is_resyncing(const DrbdState *state)
{
    return state->present && state->resync_permille < 1000;
}

gboolean resync_look(Daemon *daemon, const Guest *guest)
{
    DrbdState states[GUEST_VOLUMES_MAX] = {0};
    gboolean any = FALSE, due = FALSE;
    gint64 now_us = g_get_monotonic_time();
    for (guint i = 0; i < guest->spec.volumes->len && i < GUEST_VOLUMES_MAX; i++) {
        any |= drbd_state_read(guest_minor(guest, (int) i), &states[i], NULL) && is_resyncing(&states[i]);
    }
    g_mutex_lock(&daemon->lock);
    GuestResync *resync = g_hash_table_lookup(daemon->resyncs, guest->name);
    if (!any) {
        g_hash_table_remove(daemon->resyncs, guest->name);
    } else if (!resync) {
        resync = g_new0(GuestResync, 1);
        g_hash_table_insert(daemon->resyncs, g_strdup(guest->name), resync);
    }
    for (guint i = 0; any && i < GUEST_VOLUMES_MAX; i++) {
        if (is_resyncing(&states[i])) {
            resync_rate_add(&resync->rates[i], now_us / 1000, states[i].out_of_sync_kib);
        } else {
            resync->rates[i].n = 0;
            resync->figures[i].shown = FALSE;
        }
    }
    due = any && is_due(resync);
    g_mutex_unlock(&daemon->lock);
    return due;
}

/* A status that differs wakes the loops of its guest on both nodes. While such a loop waits for something else it
 * publishes in each round, and figures that always differ would keep it going without a pause. */
static void figures_fill(GuestResync *resync, gboolean due, VolumeStatus *status)
{
    Figures *figures = &resync->figures[status->index];
    if (due || !figures->shown) {
        *figures = (Figures){.shown = TRUE,
                             .permille = status->resync_permille,
                             .left_s = resync_rate_left_s(&resync->rates[status->index]),
                             .out_of_sync_kib = status->out_of_sync_kib};
    }
    status->resync_permille = figures->permille;
    status->resync_left_s = figures->left_s;
    status->out_of_sync_kib = figures->out_of_sync_kib;
}

void resync_fill(Daemon *daemon, const char *guest, GPtrArray *statuses)
{
    g_mutex_lock(&daemon->lock);
    GuestResync *resync = g_hash_table_lookup(daemon->resyncs, guest);
    gboolean due = resync && is_due(resync);
    for (guint i = 0; i < statuses->len; i++) {
        VolumeStatus *status = statuses->pdata[i];
        if (status->resync_permille >= 1000) {
            status->out_of_sync_kib = 0; /* without the peer each write changes it */
        } else if (resync) {
            figures_fill(resync, due, status);
        }
    }
    if (due) {
        resync->published_us = g_get_monotonic_time();
    }
    g_mutex_unlock(&daemon->lock);
}

static char *time_left(gint64 left_s)
{
    if (left_s <= 0) {
        return g_strdup("");
    }
    if (left_s < 10) {
        return g_strdup(", a few seconds left");
    }
    if (left_s < 90) {
        return g_strdup_printf(", about %" G_GINT64_FORMAT " s left", (left_s + 2) / 5 * 5);
    }
    if (left_s < 90 * 60) {
        return g_strdup_printf(", about %" G_GINT64_FORMAT " min left", (left_s + 30) / 60);
    }
    return g_strdup_printf(", about %" G_GINT64_FORMAT " h left", (left_s + 1800) / 3600);
}

char *resync_text(const VolumeStatus *status)
{
    if (status->resync_permille >= 1000) {
        return NULL;
    }
    int percent = (int) status->resync_permille / 10;
    if (status->connection && g_str_has_prefix(status->connection, "PausedSync")) {
        return g_strdup_printf("resync paused at %d %%", percent);
    }
    g_autofree char *left = time_left(status->resync_left_s);
    return g_strdup_printf("resync %d %%%s", percent, left);
}

char *resync_text_of_guest(Daemon *daemon, const Guest *guest)
{
    char *text = NULL;
    gint64 lowest = 1000;
    for (char **node = guest->nodes; node && *node; node++) {
        g_autofree char *key = g_strdup_printf("status/%s/guest/%s", *node, guest->name);
        g_autoptr(GuestStatus) status = cache_object(daemon->cache, &guest_status_type, key, NULL);
        for (guint i = 0; status && i < status->volumes->len; i++) {
            const VolumeStatus *volume = status->volumes->pdata[i];
            if (volume->resync_permille < lowest) {
                lowest = volume->resync_permille;
                g_free(text);
                text = resync_text(volume);
            }
        }
    }
    return text;
}
