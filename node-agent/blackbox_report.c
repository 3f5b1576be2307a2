/* SPDX-License-Identifier: Apache-2.0
 * An incident in words and JSON: what is known, how long it took, and what is not known. */
#include "node-agent/blackbox_incident.h"

#include <string.h>

#define WINDOW_BEFORE_US (60 * (gint64) G_USEC_PER_SEC)
#define WINDOW_AFTER_US (5 * (gint64) G_USEC_PER_SEC)
#define WINDOW_MAX_US (1800 * (gint64) G_USEC_PER_SEC)
#define TIMELINE_MAX 800
#define OWN_TEXTS_MAX 8

static const char *const reason_names[] = {
    [INCIDENT_SILENT] = "silent",     [INCIDENT_PANIC] = "panic",     [INCIDENT_WATCHDOG] = "watchdog",
    [INCIDENT_SHUTDOWN] = "shutdown", [INCIDENT_CUT_OFF] = "cut-off", [INCIDENT_FENCED] = "fenced",
    [INCIDENT_RESET] = "reset",       [INCIDENT_LEFT] = "left",
};

static char *time_text(gint64 at_us)
{
    g_autoptr(GDateTime) seconds = g_date_time_new_from_unix_utc(at_us / G_USEC_PER_SEC);
    g_autofree char *text = seconds ? g_date_time_format(seconds, "%Y-%m-%dT%H:%M:%S") : NULL;
    return g_strdup_printf("%s.%03dZ", text ? text : "?", (int) (at_us % G_USEC_PER_SEC / 1000));
}

static gint64 ms(gint64 us)
{
    return us / 1000;
}

static void set_time(json_t *object, const char *name, gint64 at_us)
{
    if (at_us) {
        g_autofree char *text = time_text(at_us);
        json_object_set_new(object, name, json_string(text));
    }
}

static void set_text(json_t *object, const char *name, const char *text)
{
    if (text) {
        json_object_set_new(object, name, json_string(text));
    }
}

/* From a to b in whole milliseconds, when both are known. Parts of a whole add up: both ends are rounded, not the
 * difference. */
static void set_ms(json_t *object, const char *name, gint64 a_us, gint64 b_us)
{
    if (a_us && b_us) {
        json_object_set_new(object, name, json_integer(MAX(ms(b_us) - ms(a_us), 0)));
    }
}

/* --- the reason
 * -------------------------------------------------------------------------------------------------------------- */

static char *reason_text(const Incident *incident)
{
    const char *node = incident->node;
    switch ((IncidentReason) incident->reason) {
    case INCIDENT_PANIC:
        return g_strdup_printf("the kernel of %s broke down: %s", node, incident->panic);
    case INCIDENT_WATCHDOG:
        return g_strdup_printf("a watchdog reset %s: %s", node, incident->watchdog);
    case INCIDENT_SHUTDOWN:
        return g_strdup_printf("%s was shut down in order: %s", node, incident->shutdown);
    case INCIDENT_CUT_OFF:
        return g_strdup_printf("%s lived but was cut off from the others%s, then it was reset by fencing", node,
                               incident->no_quorum ? " and had no quorum" : "");
    case INCIDENT_FENCED:
        return g_strdup_printf("%s was a member and was reset by fencing: %s%s", node,
                               incident->disk  ? "it asked for that itself, since its disk hung under a guest"
                               : incident->why ? incident->why
                                               : "asked for by ",
                               incident->disk || incident->why ? ""
                               : incident->fence_client        ? incident->fence_client
                                                               : "somebody");
    case INCIDENT_RESET:
        return g_strdup_printf("%s began to boot again by itself, without a word before: kernel panic, watchdog, reset "
                               "button or a short loss of power",
                               node);
    case INCIDENT_LEFT:
        return g_strdup_printf("%s left the membership and came back without a reset", node);
    case INCIDENT_SILENT:
        break;
    }
    return g_strdup_printf("%s fell silent, without shutdown or panic messages: its power was lost or the machine "
                           "stopped dead",
                           node);
}

static void evidence_add(json_t *list, const char *format, const char *text)
{
    if (text) {
        g_autofree char *line = g_strdup_printf("%s%s", format, text);
        json_array_append_new(list, json_string(line));
    }
}

static json_t *evidence(const Incident *incident)
{
    json_t *list = json_array();
    evidence_add(list, "kernel: ", incident->panic);
    evidence_add(list, "kernel: ", incident->hung);
    evidence_add(list, "disk: ", incident->disk);
    evidence_add(list, "watchdog: ", incident->watchdog);
    evidence_add(list, "shutdown: ", incident->shutdown);
    evidence_add(list, "Pacemaker: ", incident->why);
    evidence_add(list, "the node had no quorum", incident->no_quorum ? "" : NULL);
    evidence_add(list, "its journal was not closed in order", incident->unclean ? "" : NULL);
    if (incident->last_line_us > incident->detected_us && incident->noticed) {
        g_autofree char *at = time_text(incident->last_line_us);
        evidence_add(list, "the node still logged at ", at);
    }
    if (incident->reboot_us && incident->fenced_us && incident->reboot_us < incident->fenced_us) {
        g_autofree char *at = time_text(incident->reboot_us);
        evidence_add(list, "it booted before fencing had ended, at ", at);
    }
    return list;
}

static json_t *reason(const Incident *incident)
{
    g_autofree char *text = reason_text(incident);
    gboolean certain = incident->reason != INCIDENT_SILENT && incident->reason != INCIDENT_RESET;
    return json_pack("{s:s,s:s,s:b,s:o}", "kind", reason_names[incident->reason], "text", text, "certain", certain,
                     "evidence", evidence(incident));
}

/* --- how long it took
 * -------------------------------------------------------------------------------------------------------- */

static gint64 last_start_us(const Incident *incident)
{
    gint64 last_us = 0;
    for (guint i = 0; i < incident->guests->len; i++) {
        const IncidentGuest *guest = incident->guests->pdata[i];
        last_us = guest->moved ? MAX(last_us, guest->started_us) : last_us;
    }
    return last_us;
}

/* One after the other without holes, so that they add up to the outage. */
static json_t *phases(const Incident *incident, gint64 *ret_outage_ms)
{
    const struct {
        const char *name;
        gint64 end_us;
    } steps[] = {{"notice", incident->detected_us},
                 {"decide", incident->asked_us},
                 {"fence", incident->fenced_us},
                 {"start guests", last_start_us(incident)}};
    json_t *list = json_array();
    gint64 at_ms = ms(incident->begin_us);
    for (gsize i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (steps[i].end_us) {
            gint64 end_ms = MAX(ms(steps[i].end_us), at_ms);
            json_array_append_new(list,
                                  json_pack("{s:s,s:I}", "name", steps[i].name, "ms", (json_int_t) (end_ms - at_ms)));
            at_ms = end_ms;
        }
    }
    *ret_outage_ms = at_ms - ms(incident->begin_us);
    return list;
}

/* --- the parts
 * --------------------------------------------------------------------------------------------------------------- */

static const char *state_of(const Incident *incident)
{
    return incident->end_us ? "over" : incident->given_up ? "given up" : "open";
}

static json_t *fence(const Incident *incident)
{
    json_t *object = json_object();
    set_time(object, "decided_at", incident->decided_us);
    set_text(object, "decided_on", incident->decided_on);
    set_text(object, "why", incident->why);
    set_time(object, "asked_at", incident->asked_us);
    set_text(object, "asked_by", incident->fence_client);
    set_text(object, "asked_on", incident->fence_for);
    set_text(object, "device", incident->device);
    set_text(object, "done_by", incident->fenced_by);
    set_time(object, "done_at", incident->fenced_us);
    set_text(object, "confirmed_by", incident->confirmed_by);
    set_text(object, "error", incident->fence_result);
    set_ms(object, "duration_ms", incident->asked_us, incident->fenced_us);
    json_object_set_new(object, "failed_tries", json_integer(incident->shots_failed));
    return object;
}

static json_t *guest_view(const Incident *incident, const IncidentGuest *guest)
{
    json_t *object = json_pack("{s:s,s:s}", "name", guest->name, "what", guest->moved ? "moved" : "lost a replica");
    set_text(object, "from", guest->from);
    set_text(object, guest->moved ? "to" : "on", guest->to);
    if (guest->generation) {
        json_object_set_new(object, "generation", json_integer(guest->generation));
    }
    set_time(object, "start_asked_at", guest->asked_us);
    set_time(object, "claimed_at", guest->claimed_us);
    set_time(object, "started_at", guest->started_us);
    set_ms(object, "start_ms", guest->asked_us, guest->started_us);
    set_text(object, "steps", guest->steps);
    if (guest->moved) {
        set_ms(object, "outage_ms", incident->begin_us, guest->started_us);
    }
    set_text(object, "failure", guest->started_us ? NULL : guest->failure);
    set_time(object, "frozen_at", guest->frozen_us);
    set_ms(object, "frozen_ms", guest->frozen_us, guest->marked_us);
    set_time(object, "in_sync_at", guest->protected_us);
    return object;
}

static void unknown_add(json_t *list, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void unknown_add(json_t *list, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    json_array_append_new(list, json_string(text));
}

static json_t *unknown(const Incident *incident)
{
    json_t *list = json_array();
    const char *node = incident->node;
    if (incident->reason == INCIDENT_SILENT || incident->reason == INCIDENT_RESET) {
        unknown_add(list, "why %s stopped: nothing it said tells; its BMC's event log may", node);
    }
    if (!incident->boot) {
        unknown_add(list, "what %s knew: no line of that life is kept on this node", node);
    } else if (!incident->heard) {
        unknown_add(list, "the last seconds of %s: nothing was heard from it for a quarter of an hour before", node);
    }
    for (guint i = 0; i < incident->gaps->len && i < OWN_TEXTS_MAX; i++) {
        unknown_add(list, "%s: %s", node, (const char *) incident->gaps->pdata[i]);
    }
    if (incident->asked_us && !incident->fenced_us) {
        unknown_add(list, "whether fencing %s has succeeded: no node that is heard here said so", node);
    }
    for (guint i = 0; i < incident->guests->len; i++) {
        const IncidentGuest *guest = incident->guests->pdata[i];
        if (guest->moved && !guest->started_us) {
            unknown_add(list, "when guest %s started again: no start was seen", guest->name);
        } else if (guest->moved) {
            unknown_add(list, "when the services inside guest %s answered: its machine's start is the last thing seen",
                        guest->name);
        }
    }
    return list;
}

json_t *incident_summary(const Incident *incident)
{
    gint64 outage_ms = 0;
    json_t *object = json_pack("{s:s,s:s,s:s,s:o}", "id", incident->id, "node", incident->node, "state",
                               state_of(incident), "reason", reason(incident));
    set_time(object, "began_at", incident->begin_us);
    set_time(object, "ended_at", incident->end_us);
    set_ms(object, "duration_ms", incident->begin_us, incident->end_us);
    json_object_set_new(object, "phases", phases(incident, &outage_ms));
    json_object_set_new(object, "outage_ms", json_integer(outage_ms));
    json_t *guests = json_array();
    for (guint i = 0; i < incident->guests->len; i++) {
        json_array_append_new(guests, guest_view(incident, incident->guests->pdata[i]));
    }
    json_object_set_new(object, "guests", guests);
    return object;
}

static json_t *recovery(const Incident *incident, const IncidentGuest *guest)
{
    json_t *object = json_pack("{s:s,s:s,s:s}", "incident", incident->id, "reason", reason_names[incident->reason],
                               "from", guest->from ? guest->from : incident->node);
    set_time(object, "began_at", incident->begin_us);
    set_text(object, "to", guest->to);
    set_time(object, "started_at", guest->started_us);
    set_ms(object, "recovery_ms", incident->detected_us, guest->started_us);
    set_ms(object, "outage_ms", incident->begin_us, guest->started_us);
    set_text(object, "failure", guest->started_us ? NULL : guest->failure);
    return object;
}

json_t *incident_recoveries(const GPtrArray *incidents, const char *name, guint max)
{
    json_t *list = json_array();
    for (guint i = incidents->len; i > 0; i--) {
        const Incident *incident = incidents->pdata[i - 1];
        for (guint g = 0; g < incident->guests->len && json_array_size(list) < max; g++) {
            const IncidentGuest *guest = incident->guests->pdata[g];
            if (guest->moved && strcmp(guest->name, name) == 0) {
                json_array_append_new(list, recovery(incident, guest));
            }
        }
    }
    return list;
}

/* --- the whole
 * --------------------------------------------------------------------------------------------------------------- */

static const char *milestone(const Incident *incident, const IncidentEntry *entry)
{
    const Fact *fact = entry->fact;
    if (!fact || (fact->node && g_strcmp0(fact->node, incident->node) != 0 && !fact->guest)) {
        return NULL;
    }
    static const char *const words[] = {
        [FACT_SUSPECT] = "suspected",
        [FACT_LOST] = "lost",
        [FACT_MEMBER] = "member again",
        [FACT_WILL_FENCE] = "decided",
        [FACT_FENCE_ASKED] = "fencing",
        [FACT_FENCE_DEVICE] = "device answered",
        [FACT_FENCE_FAILED] = "shot failed",
        [FACT_FENCE_DONE] = "fenced",
        [FACT_CONFIRMED] = "confirmed off",
        [FACT_MOVE] = "guest moves",
        [FACT_START_ASKED] = "guest starts",
        [FACT_CLAIMED] = "guest claimed",
        [FACT_STARTED] = "guest runs",
        [FACT_START_FAILED] = "start failed",
        [FACT_FROZEN] = "guest frozen",
        [FACT_MARKED] = "replica out",
        [FACT_PROTECTED] = "replica in sync",
        [FACT_POWERED_ON] = "powered on",
        [FACT_POWER_FAILED] = "power failed",
        [FACT_PANIC] = "panic",
        [FACT_HUNG] = "hung",
        [FACT_DISK_SHOT] = "disk hangs",
        [FACT_WATCHDOG] = "watchdog",
        [FACT_SHUTDOWN] = "shutdown",
        [FACT_NO_QUORUM] = "no quorum",
        [FACT_UNCLEAN] = "unclean journal",
    };
    return words[fact->kind];
}

static json_t *timeline_entry(const Incident *incident, const IncidentEntry *entry)
{
    g_autofree char *at = time_text(entry->at_us);
    gint64 after_ms = ms(entry->at_us) - ms(incident->begin_us);
    json_t *object = json_pack("{s:s,s:I,s:s,s:s,s:s}", "time", at, "ms", (json_int_t) after_ms, "node", entry->node,
                               "source", entry->line->source, "text", entry->line->text);
    set_text(object, "what", milestone(incident, entry));
    json_object_set_new(object, "dead",
                        json_boolean(entry->node == incident->node && incident->boot &&
                                     g_str_equal(entry->line->boot, incident->boot)));
    return object;
}

void incident_window(const Incident *incident, gint64 now_us, gint64 *ret_from_us, gint64 *ret_to_us)
{
    *ret_from_us = incident->begin_us - WINDOW_BEFORE_US;
    *ret_to_us = incident->end_us ? incident->end_us + WINDOW_AFTER_US : now_us;
    *ret_to_us = MIN(*ret_to_us, incident->detected_us + WINDOW_MAX_US);
}

/* The lines of the window; when they are too many, those that say something first. */
static json_t *timeline(const Incident *incident, const IncidentLog *log, gint64 now_us, guint *ret_left_out)
{
    gint64 from_us, to_us;
    guint total = 0, facts = 0, others = 0;
    json_t *list = json_array();
    incident_window(incident, now_us, &from_us, &to_us);
    for (int pass = 0; pass < 2; pass++) {
        for (guint i = 0; i < log->entries->len; i++) {
            const IncidentEntry *entry = log->entries->pdata[i];
            gboolean own = entry->node == incident->node && entry->at_us <= incident->detected_us;
            gboolean counts = entry->fact || own; /* the lost node's last words come before other nodes' chatter */
            if (entry->at_us < from_us || entry->at_us > to_us || entry->line->kind > BLACKBOX_GAP) {
                continue;
            }
            if (pass == 0) {
                total++;
                facts += counts ? 1 : 0;
                continue;
            }
            guint room = TIMELINE_MAX - MIN(facts, TIMELINE_MAX);
            if ((counts || others++ < room) && json_array_size(list) < TIMELINE_MAX) {
                json_array_append_new(list, timeline_entry(incident, entry));
            }
        }
    }
    *ret_left_out = total - (guint) json_array_size(list);
    return list;
}

json_t *incident_report(const Incident *incident, const IncidentLog *log)
{
    guint left_out = 0;
    json_t *object = incident_summary(incident);
    set_text(object, "boot_id", incident->boot);
    set_time(object, "last_heard_at", incident->heard ? incident->begin_us : 0);
    set_time(object, "suspected_at", incident->suspected_us);
    set_time(object, "detected_at", incident->noticed ? incident->detected_us : 0);
    json_object_set_new(object, "fence", fence(incident));
    json_t *back = json_object();
    set_time(back, "powered_on_at", incident->powered_on_us);
    set_text(back, "power_error", incident->power_error);
    set_time(back, "booted_at", incident->booted_us);
    set_time(back, "member_at", incident->member_us);
    json_object_set_new(object, "return", back);
    json_object_set_new(object, "not_known", unknown(incident));
    json_object_set_new(object, "timeline", timeline(incident, log, G_MAXINT64 / 2, &left_out));
    json_object_set_new(object, "lines_left_out", json_integer(left_out));
    return object;
}
