/* SPDX-License-Identifier: Apache-2.0
 * Lines of events2 (user/v84/drbdsetup.c of drbd-utils 9.22 prints them):
 *
 *     TIME ACTION OBJECT name:R [peer-node-id:0] [conn-name:peer] [volume:V] [minor:M] FIELD:VALUE...
 *
 * A change names only the fields that differ. Every object has its states and, on any line, statistics. */
#include "storage/drbd_events.h"

#include "common/error.h"

#include <string.h>

#define LINE_MAX_BYTES 1024
#define FIELDS_MAX 4

static const char *const roles[] = {"Primary", "Secondary", "Unknown", NULL};
static const char *const disks[] = {"Diskless", "Attaching", "Failed",     "Negotiating", "Inconsistent",
                                    "Outdated", "DUnknown",  "Consistent", "UpToDate",    NULL};
/* drbdsetup shows 8.4's one connection state as version 9's two: up to "Connected" it is the connection's, from "Off"
 * on the replication's. */
static const char *const connections[] = {
    "StandAlone",    "Disconnecting", "Unconnected", "Timeout",   "BrokenPipe", "NetworkFailure",
    "ProtocolError", "TearDown",      "Connecting",  "Connected", NULL};
static const char *const replications[] = {"Off",         "Established", "StartingSyncS", "StartingSyncT",
                                           "WFBitMapS",   "WFBitMapT",   "WFSyncUUID",    "SyncSource",
                                           "SyncTarget",  "VerifyS",     "VerifyT",       "PausedSyncS",
                                           "PausedSyncT", "Ahead",       "Behind",        NULL};

/* Why something is held up: one of these, or several with commas. */
static const char *const reasons[] = {"no", "user", "no-data", "fencing", "peer", "dependency", NULL};

typedef struct {
    const char *name;
    const char *const *words;
    gboolean quiet; /* kept, but no change that is told */
} StateField;

/* An object without states: its lines are understood and ignored. Roles are quiet: a hand-over changes nothing else,
 * and in its standstill a woken reconcile would only be in the way. */
static const struct {
    const char *name;
    gboolean has_volume;
    StateField states[FIELDS_MAX];
} objects[] = {
    {"resource", FALSE, {{"role", roles, TRUE}, {"suspended", reasons, FALSE}}},
    {"connection", FALSE, {{"connection", connections, FALSE}, {"role", roles, TRUE}}},
    {"device", TRUE, {{"disk", disks, FALSE}}},
    {"peer-device",
     TRUE,
     {{"replication", replications, FALSE}, {"peer-disk", disks, FALSE}, {"resync-suspended", reasons, FALSE}}},
    {"helper", FALSE, {{NULL, NULL, FALSE}}},
};

/* One object of the table, and one line while it is read. */
typedef struct {
    guint type; /* index into objects[] */
    char *resource;
    int volume;
    char *values[FIELDS_MAX]; /* by the index of states[]; NULL: not told */
    gboolean seen;            /* in the present dump */
} DrbdObject;

struct DrbdEvents {
    GHashTable *objects; /* "device/hf-web1/0" -> DrbdObject */
};

static void object_free_it(gpointer data)
{
    DrbdObject *object = data;
    for (guint i = 0; i < FIELDS_MAX; i++) {
        g_free(object->values[i]);
    }
    g_free(object->resource);
    g_free(object);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DrbdObject, object_free_it)

DrbdEvents *drbd_events_new(void)
{
    DrbdEvents *events = g_new0(DrbdEvents, 1);
    events->objects = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, object_free_it);
    return events;
}

void drbd_events_free(DrbdEvents *events)
{
    g_hash_table_unref(events->objects);
    g_free(events);
}

static char *object_key(const char *type, const char *resource, int volume)
{
    return g_strdup_printf("%s/%s/%d", type, resource, volume);
}

void drbd_events_begin(DrbdEvents *events)
{
    GHashTableIter iter;
    gpointer object;
    g_hash_table_iter_init(&iter, events->objects);
    while (g_hash_table_iter_next(&iter, NULL, &object)) {
        ((DrbdObject *) object)->seen = FALSE;
    }
}

static gboolean not_a_line(const char *what, const char *line, GError **error)
{
    g_autofree char *shown = g_utf8_make_valid(line, MIN((gssize) strlen(line), 200));
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "events2: %s: '%s'", what, shown);
    return FALSE;
}

/* "2026-11-21T14:29:48.408062+00:00" */
static gboolean is_timestamp(const char *word)
{
    static const char pattern[] = "dddd-dd-ddTdd:dd:dd.dddddd+dd:dd";
    for (gsize i = 0; i < sizeof(pattern); i++) {
        gboolean fits = pattern[i] == 'd'   ? g_ascii_isdigit(word[i])
                        : pattern[i] == '+' ? word[i] == '+' || word[i] == '-'
                                            : word[i] == pattern[i];
        if (!fits) {
            return FALSE;
        }
    }
    return TRUE;
}

static int object_type(const char *word)
{
    for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
        if (strcmp(objects[i].name, word) == 0) {
            return (int) i;
        }
    }
    return -1;
}

static gboolean value_ok(const StateField *field, const char *value)
{
    if (field->words != reasons) {
        return g_strv_contains(field->words, value);
    }
    g_auto(GStrv) each = g_strsplit(value, ",", -1);
    gboolean ok = each[0] != NULL;
    for (int i = 0; each[i]; i++) {
        ok &= g_strv_contains(reasons, each[i]);
    }
    return ok;
}

/* A field that is no state of this object is statistics. */
static gboolean field_take(DrbdObject *object, const char *name, const char *value)
{
    const StateField *states = objects[object->type].states;
    if (strcmp(name, "name") == 0) {
        gboolean ok = !object->resource && *value;
        object->resource = object->resource ? object->resource : g_strdup(value);
        return ok;
    }
    if (strcmp(name, "volume") == 0) {
        guint64 volume;
        gboolean ok = object->volume < 0 && g_ascii_string_to_unsigned(value, 10, 0, 65535, &volume, NULL);
        object->volume = ok ? (int) volume : -1;
        return ok;
    }
    for (guint i = 0; i < FIELDS_MAX && states[i].name; i++) {
        if (strcmp(states[i].name, name) == 0) {
            if (object->values[i] || !value_ok(&states[i], value)) {
                return FALSE;
            }
            object->values[i] = g_strdup(value);
        }
    }
    return TRUE;
}

/* The words after ACTION and OBJECT. */
static gboolean fields_take(DrbdObject *object, char *const *words)
{
    for (; *words; words++) {
        const char *colon = strchr(*words, ':');
        if (!colon || colon == *words) {
            return FALSE;
        }
        g_autofree char *name = g_strndup(*words, (gsize) (colon - *words));
        if (!field_take(object, name, colon + 1)) {
            return FALSE;
        }
    }
    return object->resource && (object->volume >= 0) == objects[object->type].has_volume;
}

/* What is told goes over what was known. TRUE: something differs. */
static gboolean object_merge(DrbdObject *known, DrbdObject *told)
{
    gboolean differs = FALSE;
    for (guint i = 0; i < FIELDS_MAX; i++) {
        if (told->values[i] && g_strcmp0(told->values[i], known->values[i]) != 0) {
            g_free(known->values[i]);
            known->values[i] = g_steal_pointer(&told->values[i]);
            differs |= !objects[known->type].states[i].quiet;
        }
    }
    known->seen = TRUE;
    return differs;
}

static gboolean table_apply(DrbdEvents *events, DrbdObject *told, gboolean destroy)
{
    g_autofree char *key = object_key(objects[told->type].name, told->resource, told->volume);
    DrbdObject *known = g_hash_table_lookup(events->objects, key);
    if (destroy) {
        return g_hash_table_remove(events->objects, key);
    }
    if (known) {
        return object_merge(known, told);
    }
    known = g_new0(DrbdObject, 1);
    *known = (DrbdObject){.type = told->type, .resource = g_strdup(told->resource), .volume = told->volume};
    g_hash_table_insert(events->objects, g_steal_pointer(&key), known);
    object_merge(known, told);
    return TRUE;
}

static gboolean line_apply(DrbdEvents *events, char *const *words, DrbdEventKind *ret, char **ret_resource,
                           const char *line, GError **error)
{
    static const char *const actions[] = {"exists", "create", "change", "destroy", "call", "response", NULL};
    int type = words[1] ? object_type(words[1]) : -1;
    if (type < 0 || !g_strv_contains(actions, words[0])) {
        return not_a_line("neither action nor object is known", line, error);
    }
    g_autoptr(DrbdObject) told = g_new0(DrbdObject, 1);
    *told = (DrbdObject){.type = (guint) type, .volume = -1};
    if (strcmp(objects[type].name, "helper") == 0) {
        return TRUE; /* a handler is called or has answered: what it changes comes as a line of its own */
    }
    if (!fields_take(told, words + 2)) {
        return not_a_line("truncated or with a value that is not known", line, error);
    }
    if (table_apply(events, told, strcmp(words[0], "destroy") == 0)) {
        *ret = DRBD_EVENT_CHANGED;
        *ret_resource = g_strdup(told->resource);
    }
    return TRUE;
}

gboolean drbd_events_line(DrbdEvents *events, const char *line, DrbdEventKind *ret, char **ret_resource, GError **error)
{
    *ret = DRBD_EVENT_NOTHING;
    *ret_resource = NULL;
    if (strlen(line) > LINE_MAX_BYTES) {
        return not_a_line("longer than any line it prints", line, error);
    }
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    guint n_words = g_strv_length(words);
    if (n_words == 3 && strcmp(words[0], "-") == 0 && strcmp(words[1], "skipped") == 0) {
        *ret = DRBD_EVENT_LOST;
        return TRUE;
    }
    if (n_words < 3 || !is_timestamp(words[0])) {
        return not_a_line("no time in front", line, error);
    }
    if (n_words == 3 && strcmp(words[1], "exists") == 0 && strcmp(words[2], "-") == 0) {
        *ret = DRBD_EVENT_DUMP_END;
        return TRUE;
    }
    return line_apply(events, words + 1, ret, ret_resource, line, error);
}

GPtrArray *drbd_events_sweep(DrbdEvents *events)
{
    GPtrArray *resources = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, events->objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const DrbdObject *object = value;
        if (object->seen) {
            continue;
        }
        if (!g_ptr_array_find_with_equal_func(resources, object->resource, g_str_equal, NULL)) {
            g_ptr_array_add(resources, g_strdup(object->resource));
        }
        g_hash_table_iter_remove(&iter);
    }
    return resources;
}

const char *drbd_events_word(const DrbdEvents *events, const char *object, const char *resource, int volume,
                             const char *field)
{
    g_autofree char *key = object_key(object, resource, volume);
    const DrbdObject *found = g_hash_table_lookup(events->objects, key);
    for (guint i = 0; found && i < FIELDS_MAX && objects[found->type].states[i].name; i++) {
        if (strcmp(objects[found->type].states[i].name, field) == 0) {
            return found->values[i];
        }
    }
    return NULL;
}
