/* SPDX-License-Identifier: Apache-2.0
 * Verbs on incidents: read from what the black box kept on this node, anew for every question. */
#include "node-agent/blackbox_incident.h"
#include "node-agent/blackbox.h"
#include "node-agent/verbs.h"

#include "common/error.h"

#define LIST_MAX 100
#define RECOVERIES_MAX 5
#define LIST_GUESTS_MAX 1500 /* together: an answer has at most 1 MiB */

/* One question at a time: each may read 4 MiB of every node. */
static GMutex reading;

/* Lines come node by node; each node's are put into the log when the next one's begin. */
typedef struct {
    IncidentLog *log;
    Blackbox *box;
    char *node;
    GPtrArray *lines;
    gint64 from_us, to_us;
} Collector;

static void collector_flush(Collector *collector)
{
    if (collector->node) {
        incident_log_add(collector->log, collector->node, collector->lines, collector->from_us, collector->to_us);
        gint64 heard_us = blackbox_heard_us(collector->box, collector->node);
        if (heard_us) {
            incident_log_heard(collector->log, collector->node, heard_us);
        }
    }
    g_ptr_array_set_size(collector->lines, 0);
    g_clear_pointer(&collector->node, g_free);
}

static void on_line(const char *node, BlackboxLine *line, gpointer user_data)
{
    Collector *collector = user_data;
    if (g_strcmp0(collector->node, node) != 0) {
        collector_flush(collector);
        collector->node = g_strdup(node);
    }
    g_ptr_array_add(collector->lines, blackbox_line_ref(line));
}

static GHashTable *node_ids(Daemon *daemon)
{
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    GHashTable *ids = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        g_hash_table_insert(ids, GUINT_TO_POINTER((guint) node->id), g_strdup(node->name));
    }
    return ids;
}

/* What incidents are made of, and every line between the two moments. */
static IncidentLog *collect(Daemon *daemon, GHashTable *ids, gint64 from_us, gint64 to_us)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func((GDestroyNotify) blackbox_line_unref);
    IncidentLog *log = incident_log_new(ids);
    Collector collector = {.log = log, .box = daemon->blackbox, .lines = lines, .from_us = from_us, .to_us = to_us};
    blackbox_each(daemon->blackbox, on_line, &collector);
    collector_flush(&collector);
    incident_log_sort(log);
    return log;
}

/* Newest first. */
static json_t *incident_list(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    g_mutex_lock(&reading);
    g_autoptr(GHashTable) ids = node_ids(call->daemon);
    g_autoptr(IncidentLog) log = collect(call->daemon, ids, 0, -1);
    g_mutex_unlock(&reading);
    g_autoptr(GPtrArray) incidents = incident_find(log, g_get_real_time());
    json_t *list = json_array();
    guint n_guests = 0;
    for (guint i = incidents->len; i > 0 && json_array_size(list) < LIST_MAX; i--) {
        const Incident *incident = incidents->pdata[i - 1];
        n_guests += incident->guests->len;
        if (n_guests > LIST_GUESTS_MAX && json_array_size(list) > 0) {
            break;
        }
        json_array_append_new(list, incident_summary(incident));
    }
    return list;
}

static Incident *find(const GPtrArray *incidents, const char *id)
{
    for (guint i = 0; i < incidents->len; i++) {
        Incident *incident = incidents->pdata[i];
        if (g_str_equal(incident->id, id)) {
            return incident;
        }
    }
    return NULL;
}

/* Lines that are being lost at this moment are said: whoever reads the report should know. */
static void add_losses(Daemon *daemon, json_t *report, GHashTable *ids)
{
    GHashTableIter iter;
    gpointer node;
    g_hash_table_iter_init(&iter, ids);
    while (g_hash_table_iter_next(&iter, NULL, &node)) {
        guint lost = blackbox_lost(daemon->blackbox, node);
        if (lost > 0) {
            g_autofree char *text = g_strdup_printf(
                "%u lines of %s: they cannot be kept on this node, see the log of holdfastd", lost, (char *) node);
            json_array_append_new(json_object_get(report, "not_known"), json_string(text));
        }
    }
}

static json_t *incident_show(const VerbCall *call, GError **error)
{
    const char *id = verb_string(call, "id", error);
    if (!id) {
        return NULL;
    }
    gint64 from_us, to_us, now_us = g_get_real_time();
    g_mutex_lock(&reading);
    g_autoptr(GHashTable) ids = node_ids(call->daemon);
    g_autoptr(IncidentLog) sketch = collect(call->daemon, ids, 0, -1);
    g_autoptr(GPtrArray) incidents = incident_find(sketch, now_us);
    const Incident *incident = find(incidents, id);
    if (!incident) {
        g_mutex_unlock(&reading);
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND,
                    "id: there is no incident '%s' in what this node keeps; 'holdfast incident list' shows them", id);
        return NULL;
    }
    incident_window(incident, now_us, &from_us, &to_us);
    g_autoptr(IncidentLog) log = collect(call->daemon, ids, from_us, to_us);
    g_mutex_unlock(&reading);
    json_t *report = incident_report(incident, log);
    json_object_set_new(report, "seen_from", json_string(call->daemon->config->node));
    add_losses(call->daemon, report, ids);
    return report;
}

/* Derived like the incidents they are part of, so a list of guests does not ask for it: one guest's page does. */
static json_t *guest_recoveries(const VerbCall *call, GError **error)
{
    g_autoptr(Guest) guest = verb_object(call, &guest_type, "guest", NULL, error);
    if (!guest) {
        return NULL;
    }
    g_mutex_lock(&reading);
    g_autoptr(GHashTable) ids = node_ids(call->daemon);
    g_autoptr(IncidentLog) log = collect(call->daemon, ids, 0, -1);
    g_mutex_unlock(&reading);
    g_autoptr(GPtrArray) incidents = incident_find(log, g_get_real_time());
    return incident_recoveries(incidents, guest->name, RECOVERIES_MAX);
}

const Verb verbs_incident[] = {
    {"guest.recoveries", guest_recoveries},
    {"incident.list", incident_list},
    {"incident.show", incident_show},
    {NULL, NULL},
};
