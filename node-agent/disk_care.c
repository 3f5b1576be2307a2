/* SPDX-License-Identifier: Apache-2.0
 * Disks that hang.
 *
 * Two signs. The probe is the node's: its own small volume in the pool, written and read all the time, also when no
 * guest does anything. DRBD's counters are a volume's: requests at the disk, and none of them ends. What follows is
 * disk_judge()'s; a copy that gives way does so in its guest's reconcile, the shot is here. Everything is measured anew
 * after a restart of holdfastd. */
#include "node-agent/disk_care.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "node-agent/disk_probe.h"
#include "storage/drbd.h"
#include "storage/pool.h"
#include "storage/record.h"
#include "storage/stall.h"

#include <string.h>

#define PROBE_PROGRAM "/usr/lib/holdfast/holdfast-disk-probe"
#define PROBE_DEVICE "/dev/" POOL_VG "/" POOL_PROBE_LV
#define PROBE_INTERVAL_MS "5000"
#define SHOT_TIMEOUT_S 60
/* A shot that failed is tried again, but not in every round. */
#define SHOT_EVERY_US (120 * G_USEC_PER_SEC)

typedef struct {
    Stall stalls[GUEST_VOLUMES_MAX];
    DiskVerdict verdict;
    gboolean primary;
    gboolean seen; /* in this look */
} GuestDisk;

struct DiskCare {
    Daemon *daemon;
    gint64 hang_s;
    Stall probe_stall; /* "disks" task only, as what follows */
    gint64 shot_us;    /* when a shot was last asked for */
    GMutex lock;
    DiskProbe *probe;   /* lock; NULL: its volume is not there yet */
    GHashTable *guests; /* lock; name -> GuestDisk */
    gboolean hangs;     /* lock */
    char *since;        /* lock; for people, NULL: all is well */
    char *probe_error;  /* lock; likewise */
    char *waits;        /* lock; the guests whose I/O hangs here, for people */
};

void disk_care_begin(Daemon *daemon, gint64 hang_s)
{
    DiskCare *care = g_new0(DiskCare, 1);
    care->daemon = daemon;
    care->hang_s = hang_s > 0 ? hang_s : DISK_HANG_S;
    g_mutex_init(&care->lock);
    care->guests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->disks = care;
}

void disk_care_end(Daemon *daemon)
{
    DiskCare *care = g_steal_pointer(&daemon->disks);
    if (care->probe) {
        disk_probe_stop(care->probe);
    }
    g_hash_table_unref(care->guests);
    g_mutex_clear(&care->lock);
    g_free(care->since);
    g_free(care->probe_error);
    g_free(care->waits);
    g_free(care);
}

static gboolean probe_begin(gpointer user_data)
{
    static const char *const argv[] = {PROBE_PROGRAM, PROBE_DEVICE, PROBE_INTERVAL_MS, NULL};
    DiskCare *care = user_data;
    DiskProbe *probe = care->probe ? NULL : disk_probe_start(argv); /* only here it is set */
    g_mutex_lock(&care->lock);
    care->probe = probe ? probe : care->probe;
    g_mutex_unlock(&care->lock);
    return G_SOURCE_REMOVE;
}

void disk_care_probe_ready(Daemon *daemon)
{
    if (daemon->disks) {
        g_idle_add(probe_begin, daemon->disks);
    }
}

/* ---- one look ---- */

static gint64 probe_look(DiskCare *care, gint64 now_us)
{
    g_mutex_lock(&care->lock);
    DiskProbe *probe = care->probe;
    g_mutex_unlock(&care->lock);
    if (!probe) {
        return 0;
    }
    DiskProbeSaid said = disk_probe_said(probe);
    g_mutex_lock(&care->lock);
    if (said.error[0] && !care->probe_error) {
        log_line(LOG_LEVEL_ERROR, "the probe of this node's pool fails: %s", said.error);
    }
    g_free(care->probe_error);
    care->probe_error = said.error[0] ? g_strdup(said.error) : NULL;
    g_mutex_unlock(&care->lock);
    return stall_look(&care->probe_stall, said.pending, said.rounds, now_us);
}

static gboolean fencing_is_proven(Daemon *daemon)
{
    g_autofree char *key = g_strconcat("fence/", daemon->config->node, NULL);
    g_autoptr(FenceDevice) device = cache_object(daemon->cache, &fence_device_type, key, NULL);
    return device && device->state == FENCE_PROVEN;
}

static gboolean record_names(Daemon *daemon, const Guest *guest, const char *peer)
{
    Record record;
    char reason[200];
    g_autofree char *key = record_key(guest->name);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    return entry && record_decode(entry->value, &record, reason, sizeof(reason)) && record.state == RECORD_RUNNING &&
           !record.handover_to[0] && !record.unconfirmed[0] && g_str_equal(record.owner, daemon->config->node) &&
           g_str_equal(record.owner_boot_id, ident_boot_id()) && record_is_in_sync(&record, peer);
}

/* DRBD's part of a guest's facts. `frozen` volumes wait for their peer's fate, not for a disk. */
static DiskFacts volumes_look(GuestDisk *disk, const Guest *guest, gint64 now_us)
{
    DiskFacts facts = {.other_whole = TRUE};
    for (guint i = 0; i < guest->spec.volumes->len && i < GUEST_VOLUMES_MAX; i++) {
        DrbdState state = {0};
        gboolean known = drbd_state_read(guest_minor(guest, (int) i), &state, NULL) && state.present;
        gboolean pending = known && state.local_pending > 0 && !state.suspended;
        facts.volume_us = MAX(facts.volume_us, stall_look(&disk->stalls[i], pending, state.local_done, now_us));
        facts.primary |= known && g_str_equal(state.role, "Primary");
        facts.other_whole &=
            known && g_str_equal(state.connection, "Connected") && g_str_equal(state.peer_disk, "UpToDate");
    }
    return facts;
}

static void verdict_tell(DiskCare *care, const char *guest, DiskVerdict before, DiskVerdict now)
{
    static const char *const words[] = {"the disk answers", "the disk hangs", "the disk hangs: this copy drops out",
                                        "the disk hangs: this node is to be shot"};
    log_move("disk of guest", guest, words[before], words[now],
             now == DISK_WELL ? "its I/O goes on" : "no request of it has ended for too long");
    daemon_kick_guest(care->daemon, guest);
}

static DiskVerdict guest_look(DiskCare *care, const Guest *guest, gint64 probe_us, gint64 now_us)
{
    Daemon *daemon = care->daemon;
    const char *peer = guest_peer_node(guest, daemon->config->node);
    g_mutex_lock(&care->lock);
    GuestDisk *disk = g_hash_table_lookup(care->guests, guest->name);
    if (!disk) {
        disk = g_new0(GuestDisk, 1);
        g_hash_table_insert(care->guests, g_strdup(guest->name), disk);
    }
    GuestDisk copy = *disk;
    g_mutex_unlock(&care->lock);
    DiskFacts facts = volumes_look(&copy, guest, now_us);
    facts.probe_us = probe_us;
    facts.other_whole = facts.other_whole && peer && daemon_view(daemon).quorate && daemon_node_online(daemon, peer) &&
                        record_names(daemon, guest, peer) && fencing_is_proven(daemon);
    DiskVerdict before = copy.verdict;
    copy.verdict = disk_judge(&facts, care->hang_s);
    copy.primary = facts.primary;
    copy.seen = TRUE;
    g_mutex_lock(&care->lock);
    *disk = copy; /* only this task removes */
    g_mutex_unlock(&care->lock);
    if (before != copy.verdict) {
        verdict_tell(care, guest->name, before, copy.verdict);
    }
    return copy.verdict;
}

static gboolean not_seen(gpointer name G_GNUC_UNUSED, gpointer value, gpointer user_data G_GNUC_UNUSED)
{
    GuestDisk *disk = value;
    gboolean gone = !disk->seen;
    disk->seen = FALSE;
    return gone;
}

static void shoot_self(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    Daemon *daemon = user_data;
    g_autoptr(GError) error = NULL;
    if (!pacemaker_fence(daemon->runner, daemon->config->node, SHOT_TIMEOUT_S, &error)) {
        log_line(LOG_LEVEL_ERROR, "this node's disk hangs, and the shot that would free its guests failed: %s",
                 error->message);
    }
}

static void shot_ask(DiskCare *care, const char *guest, gint64 now_us)
{
    if (care->shot_us && now_us - care->shot_us < SHOT_EVERY_US) {
        return;
    }
    care->shot_us = now_us;
    g_autofree char *object = g_strconcat("node/", care->daemon->config->node, NULL);
    daemon_event(care->daemon, "node.disk_shot", object,
                 "its disk has hung for %" G_GINT64_FORMAT
                 " s under guest %s, whose other copy is whole: it asks to be "
                 "shot, so that the guest goes on there",
                 2 * care->hang_s, guest);
    worker_kick(care->daemon->drivers, "shot", shoot_self);
}

/* What people see. Returns whether it changed. */
static gboolean told_set(DiskCare *care, gboolean hangs, const char *waits)
{
    g_mutex_lock(&care->lock);
    gboolean changed = hangs != care->hangs;
    care->hangs = hangs;
    if (changed) {
        g_free(care->since);
        care->since = hangs ? ident_timestamp() : NULL;
    }
    g_free(care->waits);
    care->waits = g_strdup(waits);
    g_mutex_unlock(&care->lock);
    return changed;
}

void disk_care_look(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    disk_care_look_at(user_data, g_get_monotonic_time());
}

void disk_care_look_at(Daemon *daemon, gint64 now_us)
{
    DiskCare *care = daemon->disks;
    if (!care) {
        return;
    }
    gint64 probe_us = probe_look(care, now_us);
    DiskFacts node = {.probe_us = probe_us};
    gboolean hangs = disk_judge(&node, care->hang_s) != DISK_WELL;
    g_autoptr(GPtrArray) guests = cache_objects(daemon->cache, &guest_type, "guest/");
    g_autoptr(GString) waits = g_string_new(NULL);
    for (guint i = 0; i < guests->len; i++) {
        const Guest *guest = guests->pdata[i];
        if (!guest_on_node(guest, daemon->config->node)) {
            continue;
        }
        DiskVerdict verdict = guest_look(care, guest, probe_us, now_us);
        if (verdict != DISK_WELL) {
            hangs = TRUE;
            g_string_append_printf(waits, "%s%s", waits->len ? ", " : "", guest->name);
        }
        if (verdict == DISK_SHOOT) {
            shot_ask(care, guest->name, now_us);
        }
    }
    g_mutex_lock(&care->lock);
    g_hash_table_foreach_remove(care->guests, not_seen, NULL);
    g_mutex_unlock(&care->lock);
    if (told_set(care, hangs, waits->str)) {
        g_autofree char *object = g_strconcat("node/", daemon->config->node, NULL);
        daemon_status_due(daemon);
        daemon_event(daemon, hangs ? "node.disk_hangs" : "node.disk_answers", object, "%s",
                     hangs ? "its disk does not answer, and says no error either" : "its disk answers again");
    }
}

/* ---- for others ---- */

DiskVerdict disk_care_verdict(Daemon *daemon, const char *guest)
{
    DiskCare *care = daemon->disks;
    if (!care) {
        return DISK_WELL;
    }
    g_mutex_lock(&care->lock);
    const GuestDisk *disk = g_hash_table_lookup(care->guests, guest);
    DiskVerdict verdict = disk ? disk->verdict : DISK_WELL;
    g_mutex_unlock(&care->lock);
    return verdict;
}

gboolean disk_care_hangs(Daemon *daemon)
{
    DiskCare *care = daemon->disks;
    if (!care) {
        return FALSE;
    }
    g_mutex_lock(&care->lock);
    gboolean hangs = care->hangs;
    g_mutex_unlock(&care->lock);
    return hangs;
}

char *disk_care_text(Daemon *daemon)
{
    DiskCare *care = daemon->disks;
    char *text = NULL;
    if (!care) {
        return NULL;
    }
    g_mutex_lock(&care->lock);
    if (care->hangs) {
        text = g_strdup_printf(
            "its disk hangs without an error, noticed at %s; guests concerned: %s. Copies here drop out after "
            "%" G_GINT64_FORMAT
            " s so that their guests go on; a guest that runs here hangs with the disk, and after %" G_GINT64_FORMAT
            " s the node is shot if the guest's other copy is whole. See to the disk, or switch the node off; "
            "docs/runbook/disk-hangs.md",
            care->since, care->waits && *care->waits ? care->waits : "none", care->hang_s, 2 * care->hang_s);
    } else if (care->probe_error) {
        text = g_strdup_printf("the probe of its pool fails (%s): its guests' disks may fail likewise; see 'dmesg' "
                               "there; docs/runbook/disk-hangs.md",
                               care->probe_error);
    }
    g_mutex_unlock(&care->lock);
    return text;
}
