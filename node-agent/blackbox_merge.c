/* SPDX-License-Identifier: Apache-2.0
 * All nodes' lines in one order, by the keeper's clock. */
#include "node-agent/blackbox_incident.h"

#include <string.h>

static void entry_free(gpointer data)
{
    IncidentEntry *entry = data;
    blackbox_line_unref(entry->line);
    fact_free(entry->fact);
    g_free(entry);
}

IncidentLog *incident_log_new(GHashTable *ids)
{
    IncidentLog *log = g_new0(IncidentLog, 1);
    log->entries = g_ptr_array_new_with_free_func(entry_free);
    log->ids = ids;
    return log;
}

void incident_log_free(IncidentLog *log)
{
    if (log) {
        g_ptr_array_unref(log->entries);
        g_free(log);
    }
}

static const char *node_name(guint id, gpointer user_data)
{
    const IncidentLog *log = user_data;
    return log->ids ? g_hash_table_lookup(log->ids, GUINT_TO_POINTER(id)) : NULL;
}

static gboolean is_log(const BlackboxLine *line)
{
    return line->kind == BLACKBOX_LOG;
}

/* The keeper's time of each line. Lines before the first clock mark are corrected by that one. */
static gint64 *corrected_times(const GPtrArray *lines)
{
    gint64 *times = g_new0(gint64, lines->len + 1);
    gint64 offset_us = 0;
    for (guint i = lines->len; i > 0; i--) {
        const BlackboxLine *line = lines->pdata[i - 1];
        offset_us = line->kind == BLACKBOX_CLOCK ? line->offset_us : offset_us;
    }
    for (guint i = 0; i < lines->len; i++) {
        const BlackboxLine *line = lines->pdata[i];
        offset_us = line->kind == BLACKBOX_CLOCK ? line->offset_us : offset_us;
        times[i] = line->time_us + (line->boot[0] != '\0' ? offset_us : 0);
    }
    /* A clock that was set back must not turn the order of one life around. */
    gint64 later_us = G_MAXINT64;
    const char *boot = "";
    for (guint i = lines->len; i > 0; i--) {
        const BlackboxLine *line = lines->pdata[i - 1];
        if (line->boot[0] != '\0') {
            later_us = g_str_equal(boot, line->boot) ? later_us : G_MAXINT64;
            boot = line->boot;
            times[i - 1] = later_us = MIN(times[i - 1], later_us);
        }
    }
    return times;
}

/* First or last line of a life: they tell when it began and ended. */
static gboolean is_edge(const GPtrArray *lines, guint at)
{
    const BlackboxLine *line = lines->pdata[at];
    const char *before = NULL, *after = NULL;
    for (guint i = at; i > 0 && !before; i--) {
        const BlackboxLine *other = lines->pdata[i - 1];
        before = is_log(other) ? other->boot : NULL;
    }
    for (guint i = at + 1; i < lines->len && !after; i++) {
        const BlackboxLine *other = lines->pdata[i];
        after = is_log(other) ? other->boot : NULL;
    }
    return is_log(line) && (g_strcmp0(before, line->boot) != 0 || g_strcmp0(after, line->boot) != 0);
}

void incident_log_add(IncidentLog *log, const char *node, const GPtrArray *lines, gint64 from_us, gint64 to_us)
{
    g_autofree gint64 *times = corrected_times(lines);
    for (guint i = 0; i < lines->len; i++) {
        BlackboxLine *line = lines->pdata[i];
        g_autoptr(Fact) fact = fact_read(line, node_name, log);
        if (!fact && line->kind != BLACKBOX_GAP && line->kind != BLACKBOX_HEARD &&
            !(is_log(line) && times[i] >= from_us && times[i] <= to_us) && !is_edge(lines, i)) {
            continue;
        }
        IncidentEntry *entry = g_new0(IncidentEntry, 1);
        entry->node = g_intern_string(node);
        entry->at_us = times[i];
        entry->line = blackbox_line_ref(line);
        entry->fact = g_steal_pointer(&fact);
        g_ptr_array_add(log->entries, entry);
    }
}

void incident_log_heard(IncidentLog *log, const char *node, gint64 at_us)
{
    IncidentEntry *entry = g_new0(IncidentEntry, 1);
    entry->node = g_intern_string(node);
    entry->at_us = at_us;
    entry->line = blackbox_line_new(BLACKBOX_HEARD, "", 0, at_us, 6, "blackbox", "");
    g_ptr_array_add(log->entries, entry);
}

static gint compare_entries(gconstpointer a, gconstpointer b)
{
    const IncidentEntry *one = *(IncidentEntry *const *) a, *other = *(IncidentEntry *const *) b;
    if (one->at_us != other->at_us) {
        return one->at_us < other->at_us ? -1 : 1;
    }
    gint order = strcmp(one->node, other->node);
    return order ? order : (one->line->mono_us > other->line->mono_us) - (one->line->mono_us < other->line->mono_us);
}

void incident_log_sort(IncidentLog *log)
{
    g_ptr_array_sort(log->entries, compare_entries);
}
