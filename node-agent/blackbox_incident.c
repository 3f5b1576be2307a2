/* SPDX-License-Identifier: Apache-2.0
 * From lines in their order to incidents: one walk over them per node. */
#include "node-agent/blackbox_incident.h"

#include <string.h>

#define ECHO_US (10 * (gint64) G_USEC_PER_SEC) /* a slow daemon may report a loss when the node is back already */
#define EVIDENCE_US                                                                                                    \
    (120 * (gint64) G_USEC_PER_SEC)             /* how long before the loss a word of the node counts as its cause */
#define SIGN_US (900 * (gint64) G_USEC_PER_SEC) /* an older sign of life says nothing about when it was lost */
#define ALIVE_US (2 * (gint64) G_USEC_PER_SEC)  /* a line so long after the loss: it lived on */
#define GIVEN_UP_US (3600 * (gint64) G_USEC_PER_SEC)

/* --- one incident
 * ------------------------------------------------------------------------------------------------------------ */

static void guest_free(gpointer data)
{
    IncidentGuest *guest = data;
    g_free(guest->name);
    g_free(guest->from);
    g_free(guest->to);
    g_free(guest->steps);
    g_free(guest->failure);
    g_free(guest);
}

void incident_free(Incident *incident)
{
    if (!incident) {
        return;
    }
    char *owned[] = {incident->id,           incident->boot,        incident->why,       incident->decided_on,
                     incident->device,       incident->fenced_by,   incident->fence_for, incident->fence_result,
                     incident->confirmed_by, incident->power_error, incident->panic,     incident->hung,
                     incident->disk,         incident->watchdog,    incident->shutdown,  incident->fence_client};
    for (gsize i = 0; i < G_N_ELEMENTS(owned); i++) {
        g_free(owned[i]);
    }
    g_ptr_array_unref(incident->guests);
    g_ptr_array_unref(incident->gaps);
    g_free(incident);
}

/* The walk over all entries for one node. */
typedef struct {
    const char *node;
    GPtrArray *found;        /* of Incident */
    Incident *open;          /* owned by `found` */
    char *boot;              /* of the node's newest line so far; owned */
    gint64 sign_us, line_us; /* newest sign of life, newest line */
    gint64 suspected_us;
    GPtrArray *words; /* of IncidentEntry, borrowed: since the last incident: facts the node said of itself,
                       * gaps, and disks frozen for want of it */
} Walk;

static void first_time(gint64 *place, gint64 at_us)
{
    *place = *place ? *place : at_us;
}

static void first_text(char **place, const char *text)
{
    if (!*place) {
        *place = g_strdup(text);
    }
}

static IncidentGuest *guest_of(Incident *incident, const char *name)
{
    for (guint i = 0; i < incident->guests->len; i++) {
        IncidentGuest *guest = incident->guests->pdata[i];
        if (g_str_equal(guest->name, name)) {
            return guest;
        }
    }
    IncidentGuest *guest = g_new0(IncidentGuest, 1);
    guest->name = g_strdup(name);
    g_ptr_array_add(incident->guests, guest);
    return guest;
}

static IncidentGuest *guest_known(const Incident *incident, const char *name)
{
    for (guint i = 0; name && i < incident->guests->len; i++) {
        IncidentGuest *guest = incident->guests->pdata[i];
        if (g_str_equal(guest->name, name)) {
            return guest;
        }
    }
    return NULL;
}

static char **word_place(Incident *incident, FactKind kind)
{
    switch (kind) {
    case FACT_PANIC:
        return &incident->panic;
    case FACT_HUNG:
        return &incident->hung;
    case FACT_DISK_SHOT:
        return &incident->disk;
    case FACT_WATCHDOG:
        return &incident->watchdog;
    case FACT_SHUTDOWN:
        return &incident->shutdown;
    default:
        return NULL;
    }
}

/* What the node itself said, shortly before or in the same life afterwards. */
static void take_word(Incident *incident, const IncidentEntry *entry)
{
    const BlackboxLine *line = entry->line;
    if (line->kind == BLACKBOX_GAP) {
        g_ptr_array_add(incident->gaps, g_strdup(line->text));
        return;
    }
    incident->unclean |= entry->fact->kind == FACT_UNCLEAN;
    if (g_strcmp0(line->boot, incident->boot) != 0) {
        return;
    }
    char **place = word_place(incident, entry->fact->kind);
    if (place) {
        first_text(place, line->text);
    }
    incident->no_quorum |= entry->fact->kind == FACT_NO_QUORUM;
}

/* --- facts about the node, said by others
 * ------------------------------------------------------------------------------------ */

static gboolean opens(FactKind kind)
{
    return kind == FACT_LOST || kind == FACT_WILL_FENCE || kind == FACT_FENCE_ASKED;
}

static void take_fence(Incident *incident, const IncidentEntry *entry)
{
    const Fact *fact = entry->fact;
    switch (fact->kind) {
    case FACT_WILL_FENCE:
        first_time(&incident->decided_us, entry->at_us);
        first_text(&incident->why, fact->why);
        first_text(&incident->decided_on, entry->node);
        break;
    case FACT_FENCE_ASKED:
        first_time(&incident->asked_us, entry->at_us);
        break;
    case FACT_FENCE_DEVICE:
        if (fact->number == 0) {
            first_text(&incident->device, fact->device);
        } else {
            incident->shots_failed++;
        }
        break;
    case FACT_FENCE_FAILED:
        incident->shots_failed++;
        break;
    case FACT_FENCE_DONE:
        if (g_str_has_prefix(fact->why, "OK")) {
            first_time(&incident->fenced_us, entry->at_us);
            first_text(&incident->fenced_by, fact->by);
            first_text(&incident->fence_for, fact->to);
            first_text(&incident->fence_client, fact->from);
            g_clear_pointer(&incident->fence_result, g_free);
        } else if (!incident->fenced_us) {
            g_free(incident->fence_result);
            incident->fence_result = g_strdup(fact->why);
        }
        break;
    case FACT_CONFIRMED:
        first_text(&incident->confirmed_by, fact->by);
        break;
    default:
        break;
    }
}

static void take_node(Incident *incident, const IncidentEntry *entry)
{
    switch (entry->fact->kind) {
    case FACT_LOST:
        incident->noticed = TRUE;
        first_time(&incident->lost_us, entry->at_us);
        break;
    case FACT_POWERED_ON:
        first_time(&incident->powered_on_us, entry->at_us);
        g_clear_pointer(&incident->power_error, g_free);
        break;
    case FACT_POWER_FAILED:
        first_text(&incident->power_error, entry->fact->why);
        break;
    case FACT_MEMBER:
        first_time(&incident->member_us, entry->at_us);
        break;
    default:
        take_fence(incident, entry);
    }
}

/* --- facts about guests
 * ------------------------------------------------------------------------------------------------------ */

static void take_replica(Incident *incident, const IncidentEntry *entry)
{
    const Fact *fact = entry->fact;
    if (g_strcmp0(fact->node, incident->node) != 0) {
        return;
    }
    IncidentGuest *guest = guest_of(incident, fact->guest);
    first_text(&guest->to, guest->moved ? NULL : entry->node);
    if (fact->kind == FACT_FROZEN) {
        first_time(&guest->frozen_us, entry->at_us);
    } else if (fact->kind == FACT_MARKED) {
        first_time(&guest->marked_us, entry->at_us);
        guest->generation = MAX(guest->generation, fact->number);
    } else {
        first_time(&guest->protected_us, entry->at_us);
    }
}

static void take_move(Incident *incident, const IncidentEntry *entry)
{
    const Fact *fact = entry->fact;
    IncidentGuest *guest = guest_known(incident, fact->guest);
    if (g_strcmp0(fact->from, incident->node) != 0 || (guest && guest->started_us)) {
        return;
    }
    guest = guest_of(incident, fact->guest);
    guest->moved = TRUE;
    first_text(&guest->from, fact->from);
    if (fact->kind == FACT_CLAIMED) {
        first_time(&guest->claimed_us, entry->at_us);
        guest->generation = MAX(guest->generation, fact->number);
    }
    const char *to = fact->kind == FACT_CLAIMED ? entry->node : fact->to;
    if (to) {
        g_free(guest->to);
        guest->to = g_strdup(to);
    }
}

static void take_start(Incident *incident, const IncidentEntry *entry)
{
    const Fact *fact = entry->fact;
    IncidentGuest *guest = guest_known(incident, fact->guest);
    if (!guest || !guest->moved || guest->started_us) {
        return;
    }
    if (fact->kind == FACT_START_ASKED) {
        first_time(&guest->asked_us, entry->at_us);
    } else if (fact->kind == FACT_STARTED) {
        guest->started_us = entry->at_us;
        guest->steps = g_strdup(fact->why);
        g_free(guest->to);
        guest->to = g_strdup(entry->node);
    } else {
        g_free(guest->failure);
        guest->failure = g_strdup(fact->why);
    }
}

static void take_guest(Incident *incident, const IncidentEntry *entry)
{
    switch (entry->fact->kind) {
    case FACT_FROZEN:
    case FACT_MARKED:
    case FACT_PROTECTED:
        take_replica(incident, entry);
        break;
    case FACT_MOVE:
    case FACT_CLAIMED:
        take_move(incident, entry);
        break;
    case FACT_START_ASKED:
    case FACT_STARTED:
    case FACT_START_FAILED:
        take_start(incident, entry);
        break;
    default:
        break;
    }
}

/* --- the walk
 * ---------------------------------------------------------------------------------------------------------------- */

static Incident *incident_open(Walk *walk, gint64 at_us, gboolean noticed)
{
    Incident *incident = g_new0(Incident, 1);
    incident->node = walk->node;
    incident->boot = g_strdup(walk->boot);
    incident->noticed = noticed;
    incident->detected_us = at_us;
    incident->suspected_us = walk->suspected_us && at_us - walk->suspected_us < EVIDENCE_US ? walk->suspected_us : 0;
    incident->heard = walk->sign_us && at_us - walk->sign_us < SIGN_US;
    incident->begin_us = incident->heard          ? MIN(walk->sign_us, at_us)
                         : incident->suspected_us ? incident->suspected_us
                                                  : at_us;
    incident->last_line_us = walk->line_us;
    incident->guests = g_ptr_array_new_with_free_func(guest_free);
    incident->gaps = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < walk->words->len; i++) {
        const IncidentEntry *word = walk->words->pdata[i];
        if (at_us - word->at_us > EVIDENCE_US) {
            continue;
        }
        if (word->fact && word->fact->kind == FACT_FROZEN) {
            take_replica(incident, word); /* DRBD misses a peer sooner than corosync does */
        } else {
            take_word(incident, word);
        }
    }
    g_ptr_array_set_size(walk->words, 0);
    g_ptr_array_add(walk->found, incident);
    walk->open = incident;
    return incident;
}

/* Its first line of another life than before. */
static void walk_reboot(Walk *walk, const IncidentEntry *entry)
{
    Incident *open = walk->open;
    /* After its return the life it came back in may still come to light; anything later is another reset. */
    gboolean back = open && open->member_us && (open->reboot_us || entry->at_us > open->member_us + EVIDENCE_US);
    if (!open || back) {
        open = incident_open(walk, entry->at_us, FALSE);
    }
    first_time(&open->reboot_us, entry->at_us);
    open->booted_us = entry->at_us; /* of several the last: in that life it came back */
}

/* It still lived when somebody asked for its fencing: the outage had not begun before. A node that was lost first may
 * live too, cut off: there the outage is counted from when the others heard of it last. */
static void walk_lives(Walk *walk, gint64 at_us)
{
    Incident *open = walk->open;
    if (open && !open->noticed && !open->reboot_us && !open->member_us) {
        open->begin_us = MAX(open->begin_us, MIN(at_us, open->detected_us));
        open->heard = TRUE;
    }
}

/* A line of the node itself. */
static void walk_own(Walk *walk, const IncidentEntry *entry)
{
    const BlackboxLine *line = entry->line;
    if (walk->boot && !g_str_equal(walk->boot, line->boot)) {
        walk_reboot(walk, entry);
    } else if (walk->open && g_strcmp0(line->boot, walk->open->boot) == 0) {
        walk->open->last_line_us = MAX(walk->open->last_line_us, entry->at_us);
        walk_lives(walk, entry->at_us);
    }
    if (g_strcmp0(walk->boot, line->boot) != 0) {
        g_free(walk->boot);
        walk->boot = g_strdup(line->boot);
    }
    walk->sign_us = walk->line_us = entry->at_us;
}

/* What counts for an incident that may follow. */
static void walk_word(Walk *walk, const IncidentEntry *entry)
{
    if (!walk->open || walk->open->member_us) {
        g_ptr_array_add(walk->words, (gpointer) entry);
    } else if (entry->node == walk->node) {
        take_word(walk->open, entry);
    }
}

static void walk_about(Walk *walk, const IncidentEntry *entry)
{
    FactKind kind = entry->fact->kind;
    if (kind == FACT_SUSPECT && entry->at_us - walk->suspected_us > EVIDENCE_US) {
        walk->suspected_us = entry->at_us; /* the first of a row */
    }
    gboolean echo = kind == FACT_LOST && walk->open && entry->at_us - walk->open->member_us < ECHO_US;
    if (opens(kind) && !echo && (!walk->open || walk->open->member_us)) {
        incident_open(walk, entry->at_us, kind == FACT_LOST);
    }
    if (walk->open) {
        take_node(walk->open, entry);
    }
}

static void walk_entry(Walk *walk, const IncidentEntry *entry)
{
    gboolean own = entry->node == walk->node;
    if (own && entry->line->kind == BLACKBOX_LOG) {
        walk_own(walk, entry);
    }
    if (own && entry->line->kind == BLACKBOX_HEARD) {
        walk->sign_us = MAX(walk->sign_us, entry->at_us);
        walk_lives(walk, entry->at_us);
    }
    gboolean frozen = entry->fact && entry->fact->kind == FACT_FROZEN;
    if (own ? !frozen && (entry->fact || entry->line->kind == BLACKBOX_GAP)
            : frozen && g_strcmp0(entry->fact->node, walk->node) == 0) {
        walk_word(walk, entry);
    }
    if (!own && entry->fact && g_strcmp0(entry->fact->node, walk->node) == 0) {
        walk_about(walk, entry);
    }
    if (entry->fact && entry->fact->guest && walk->open) {
        take_guest(walk->open, entry);
    }
}

/* --- verdicts
 * ---------------------------------------------------------------------------------------------------------------- */

static IncidentReason judge(const Incident *incident)
{
    gboolean fenced = incident->asked_us || incident->fenced_us;
    if (incident->shutdown) {
        return INCIDENT_SHUTDOWN;
    }
    if (incident->panic) {
        return INCIDENT_PANIC;
    }
    if (incident->watchdog) {
        return INCIDENT_WATCHDOG;
    }
    if (fenced && (!incident->lost_us || (incident->asked_us && incident->asked_us < incident->lost_us))) {
        return INCIDENT_FENCED;
    }
    if (incident->reboot_us && (!incident->noticed || !fenced || incident->reboot_us < incident->fenced_us)) {
        return INCIDENT_RESET;
    }
    if (fenced && (incident->no_quorum || incident->last_line_us > incident->detected_us + ALIVE_US)) {
        return INCIDENT_CUT_OFF;
    }
    if (!fenced && incident->member_us && !incident->reboot_us) {
        return INCIDENT_LEFT;
    }
    return INCIDENT_SILENT;
}

/* 0: not over. A guest whose only replica was there has nothing to come into sync with. */
static gint64 end_of(const Incident *incident)
{
    gint64 end_us = incident->member_us;
    for (guint i = 0; i < incident->guests->len && end_us; i++) {
        const IncidentGuest *guest = incident->guests->pdata[i];
        gint64 needed[] = {guest->moved ? guest->started_us : end_us,
                           guest->moved || guest->marked_us ? guest->protected_us : end_us};
        for (gsize n = 0; n < G_N_ELEMENTS(needed) && end_us; n++) {
            end_us = needed[n] ? MAX(end_us, needed[n]) : 0;
        }
    }
    return end_us;
}

static void conclude(Walk *walk, gint64 now_us)
{
    for (guint i = 0; i < walk->found->len; i++) {
        Incident *incident = walk->found->pdata[i];
        gboolean last = i + 1 == walk->found->len;
        incident->reason = judge(incident);
        incident->end_us = end_of(incident);
        if (!incident->end_us && !last) {
            incident->end_us = ((const Incident *) walk->found->pdata[i + 1])->begin_us; /* another one took over */
        }
        incident->given_up =
            !incident->member_us && (incident->power_error || now_us - incident->detected_us > GIVEN_UP_US);
        /* The life that ended is the same for whoever looks; times differ by the clocks. */
        g_autofree char *life = incident->boot ? g_strndup(incident->boot, 8)
                                               : g_strdup_printf("%" G_GINT64_FORMAT, incident->detected_us / 60000000);
        guint number = 1;
        for (guint k = 0; k < i; k++) {
            number += g_strcmp0(((const Incident *) walk->found->pdata[k])->boot, incident->boot) == 0 ? 1 : 0;
        }
        incident->id = number > 1 ? g_strdup_printf("%s-%s-%u", walk->node, life, number)
                                  : g_strdup_printf("%s-%s", walk->node, life);
    }
}

static gint compare_incidents(gconstpointer a, gconstpointer b)
{
    const Incident *one = *(Incident *const *) a, *other = *(Incident *const *) b;
    return (one->detected_us > other->detected_us) - (one->detected_us < other->detected_us);
}

static GHashTable *subjects(const IncidentLog *log)
{
    GHashTable *nodes = g_hash_table_new(g_direct_hash, g_direct_equal);
    for (guint i = 0; i < log->entries->len; i++) {
        const IncidentEntry *entry = log->entries->pdata[i];
        g_hash_table_add(nodes, (gpointer) entry->node);
        if (entry->fact && entry->fact->node && opens(entry->fact->kind)) {
            g_hash_table_add(nodes, (gpointer) g_intern_string(entry->fact->node));
        }
    }
    return nodes;
}

GPtrArray *incident_find(const IncidentLog *log, gint64 now_us)
{
    GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify) incident_free);
    g_autoptr(GHashTable) nodes = subjects(log);
    GHashTableIter iter;
    gpointer node;
    g_hash_table_iter_init(&iter, nodes);
    while (g_hash_table_iter_next(&iter, &node, NULL)) {
        g_autoptr(GPtrArray) found = g_ptr_array_new();
        g_autoptr(GPtrArray) words = g_ptr_array_new();
        Walk walk = {.node = node, .found = found, .words = words};
        for (guint i = 0; i < log->entries->len; i++) {
            walk_entry(&walk, log->entries->pdata[i]);
        }
        conclude(&walk, now_us);
        g_free(walk.boot);
        g_ptr_array_extend_and_steal(all, g_steal_pointer(&found));
    }
    g_ptr_array_sort(all, compare_incidents);
    return all;
}
