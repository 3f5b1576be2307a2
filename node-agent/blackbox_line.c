/* SPDX-License-Identifier: Apache-2.0
 * Codec of black box lines and the filter over the journal. */
#include "node-agent/blackbox_line.h"

#include "common/error.h"

#include <string.h>

#define SOURCE_MAX_BYTES 40
#define BOOT_LENGTH 32

static const char *const kind_names[] = {"log", "gap", "clock", "heard", NULL};

/* Short names: a ring file is mostly these. */
static const JsonField line_fields[] = {
    {.name = "k",
     .kind = JSON_FIELD_ENUM,
     .offset = offsetof(BlackboxLine, kind),
     .required = TRUE,
     .names = kind_names},
    {.name = "b", .kind = JSON_FIELD_STRING, .offset = offsetof(BlackboxLine, boot), .required = TRUE},
    {.name = "m", .kind = JSON_FIELD_INT, .offset = offsetof(BlackboxLine, mono_us), .min = 0, .max = G_MAXINT64},
    {.name = "t", .kind = JSON_FIELD_INT, .offset = offsetof(BlackboxLine, time_us), .min = 0, .max = G_MAXINT64 / 4},
    {.name = "o",
     .kind = JSON_FIELD_INT,
     .offset = offsetof(BlackboxLine, offset_us),
     .min = -G_MAXINT64 / 4,
     .max = G_MAXINT64 / 4},
    {.name = "p", .kind = JSON_FIELD_INT, .offset = offsetof(BlackboxLine, priority), .min = 0, .max = 7},
    {.name = "s", .kind = JSON_FIELD_STRING, .offset = offsetof(BlackboxLine, source), .required = TRUE},
    {.name = "x", .kind = JSON_FIELD_STRING, .offset = offsetof(BlackboxLine, text), .required = TRUE},
    {0},
};
static const JsonStruct line_type = {.size = sizeof(BlackboxLine), .fields = line_fields};

static void line_clear(gpointer line)
{
    json_struct_clear(&line_type, line);
}

/* "password=x", "passwd: x": the value becomes "***". */
static void blank_passwords(GString *text)
{
    static const char *const words[] = {"passwd", "password", "secret"};
    for (gsize w = 0; w < G_N_ELEMENTS(words); w++) {
        for (char *found = text->str; (found = strcasestr(found, words[w])) != NULL;) {
            char *value = found + strlen(words[w]);
            value += strspn(value, "'\"");
            if (*value != '=' && *value != ':') {
                found = value;
                continue;
            }
            value += 1 + strspn(value + 1, " '\"");
            gsize length = strcspn(value, " ,;'\"");
            gssize at = value - text->str;
            g_string_erase(text, at, (gssize) length);
            g_string_insert(text, at, "***");
            found = text->str + at + 3;
        }
    }
}

static char *clean(const char *text, gsize max_bytes)
{
    g_autofree char *valid = g_utf8_make_valid(text, (gssize) strnlen(text, 4 * max_bytes));
    for (char *c = valid; *c; c++) {
        if (g_ascii_iscntrl(*c)) {
            *c = ' ';
        }
    }
    g_autoptr(GString) out = g_string_new(g_strstrip(valid));
    blank_passwords(out);
    if (out->len > max_bytes) {
        const char *end = NULL;
        g_utf8_validate(out->str, (gssize) max_bytes, &end); /* not through the middle of a character */
        g_string_truncate(out, (gsize) (end - out->str));
    }
    return g_strdup(out->str);
}

static BlackboxLine *line_alloc(void)
{
    BlackboxLine *line = g_atomic_rc_box_new0(BlackboxLine);
    line->priority = 5;
    return line;
}

BlackboxLine *blackbox_line_new(BlackboxKind kind, const char *boot, gint64 mono_us, gint64 time_us, int priority,
                                const char *source, const char *text)
{
    BlackboxLine *line = line_alloc();
    line->kind = kind;
    line->boot = g_strdup(boot);
    line->mono_us = mono_us;
    line->time_us = time_us;
    line->priority = CLAMP(priority, 0, 7);
    line->source = clean(source, SOURCE_MAX_BYTES);
    line->text = clean(text, BLACKBOX_TEXT_MAX_BYTES);
    return line;
}

BlackboxLine *blackbox_line_ref(BlackboxLine *line)
{
    return g_atomic_rc_box_acquire(line);
}

void blackbox_line_unref(BlackboxLine *line)
{
    if (line) {
        g_atomic_rc_box_release_full(line, line_clear);
    }
}

json_t *blackbox_line_to_json(const BlackboxLine *line)
{
    json_t *object = json_struct_encode(&line_type, line);
    if (line->kind != BLACKBOX_CLOCK) {
        json_object_del(object, "o");
    }
    return object;
}

static gboolean is_harmless(const char *text, gsize max_bytes)
{
    if (strlen(text) > max_bytes) {
        return FALSE;
    }
    for (const char *c = text; *c; c++) {
        if (g_ascii_iscntrl(*c)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean boot_is_valid(const BlackboxLine *line)
{
    if (line->kind == BLACKBOX_CLOCK || line->kind == BLACKBOX_HEARD) {
        return line->boot[0] == '\0';
    }
    return strlen(line->boot) == BOOT_LENGTH && strspn(line->boot, "0123456789abcdef") == BOOT_LENGTH;
}

BlackboxLine *blackbox_line_from_json(const json_t *object, GError **error)
{
    g_autoptr(BlackboxLine) line = line_alloc();
    if (!json_struct_decode(object, &line_type, "line", line, error)) {
        return NULL;
    }
    if (!boot_is_valid(line) || !is_harmless(line->source, SOURCE_MAX_BYTES) ||
        !is_harmless(line->text, BLACKBOX_TEXT_MAX_BYTES)) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                            "line: b, s or x is not what a node would send");
        return NULL;
    }
    return g_steal_pointer(&line);
}

void blackbox_place_set(BlackboxPlace *place, const char *boot, gint64 mono_us)
{
    g_strlcpy(place->boot, boot, sizeof(place->boot));
    place->mono_us = mono_us;
}

gboolean blackbox_place_covers(const BlackboxPlace *place, const BlackboxLine *line)
{
    return g_str_equal(place->boot, line->boot) && line->mono_us <= place->mono_us;
}

/* --- the filter
 * -------------------------------------------------------------------------------------------------------------- */

/* What matters of each source: everything up to a priority, and whatever contains one of the words. */
typedef struct {
    const char *source;
    int priority; /* -1: the words alone */
    const char *const *words;
} Wanted;

static const char *const corosync_words[] = {"is down", "is up", "no active links", NULL};
static const char *const kernel_words[] = {
    "conn( ",      "disk( ",        "role( ",     "susp( ",        "helper command", "Resync done", "Began resync",
    "Split-Brain", "PingAck",       "panic",      "Oops",          "BUG:",           "blocked for", "lockup",
    "stall",       "watchdog",      "I/O error",  "Out of memory", "Link is",        "link is",     "reboot: ",
    "Power down",  "Linux version", "Call Trace", "Machine check", "Hardware Error", NULL};
static const char *const etcd_words[] = {"\"level\":\"error\"",
                                         "\"level\":\"fatal\"",
                                         "\"level\":\"panic\"",
                                         "elected leader",
                                         "lost leader",
                                         "became leader",
                                         "new election",
                                         "lost TCP streaming",
                                         "peer became inactive",
                                         "peer became active",
                                         NULL};
static const char *const systemd_words[] = {
    "corosync.service", "pacemaker.service", "holdfast",        "Startup finished",
    "target Shutdown",  "System Shutdown",   "System Reboot",   "System Power Off",
    "shutdown.target",  "reboot.target",     "poweroff.target", "Rebooting",
    "Powering off",     "Shutting down",     "watchdog",        NULL};
static const char *const logind_words[] = {"will ", "rebooting", "powering", "halting", "Power key", NULL};
static const char *const journald_words[] = {"Journal started", "Journal stopped", "uncleanly shut down",
                                             "Missed ",         "Suppressed",      NULL};
static const char *const noise[] = {
    "DeprecationWarning", "from pipes import", "Service engine loaded", "Unhandled WRMSR",
    "Unhandled RDMSR",    "membership cache",  "Requesting local exec", NULL};

static const Wanted wanted[] = {
    {"corosync", 5, corosync_words},
    {"pacemakerd", 5, NULL},
    {"pacemaker-based", 4, NULL},
    {"pacemaker-controld", 5, NULL},
    {"pacemaker-fenced", 5, NULL},
    {"pacemaker-schedulerd", 5, NULL},
    {"pacemaker-attrd", 4, NULL},
    {"pacemaker-execd", 5, NULL},
    {"holdfastd", 7, NULL},
    {"holdfast-ocf", 7, NULL},
    {"holdfast-fence-peer", 7, NULL},
    {"holdfast-setup", 7, NULL},
    {"holdfast-api", 4, NULL},
    {"fence_holdfast_manual", 7, NULL},
    {"sbd", 7, NULL},
    {"watchdog", 7, NULL},
    {"kernel", 4, kernel_words},
    {"etcd", -1, etcd_words},
    {"systemd", 3, systemd_words},
    {"systemd-shutdown", 7, NULL},
    {"systemd-logind", -1, logind_words},
    {"systemd-journald", -1, journald_words},
};

static gboolean contains_one(const char *text, const char *const *words)
{
    for (; words && *words; words++) {
        if (strstr(text, *words)) {
            return TRUE;
        }
    }
    return FALSE;
}

const char *const *blackbox_sources(void)
{
    static const char *names[G_N_ELEMENTS(wanted) + 1];
    static gsize once = 0;
    if (g_once_init_enter(&once)) {
        for (gsize i = 0; i < G_N_ELEMENTS(wanted); i++) {
            names[i] = wanted[i].source;
        }
        g_once_init_leave(&once, 1);
    }
    return names;
}

gboolean blackbox_wanted(const char *source, int priority, const char *text)
{
    for (gsize i = 0; i < G_N_ELEMENTS(wanted); i++) {
        if (g_str_equal(wanted[i].source, source)) {
            return (priority <= wanted[i].priority || contains_one(text, wanted[i].words)) &&
                   !contains_one(text, noise);
        }
    }
    return FALSE;
}

char *blackbox_text_of(const char *source, const char *message)
{
    g_autoptr(json_t) object = g_str_equal(source, "etcd") ? json_text_parse(message, -1, "etcd", NULL) : NULL;
    const char *level = json_string_value(json_object_get(object, "level"));
    const char *text = json_string_value(json_object_get(object, "msg"));
    return level && text ? g_strdup_printf("%s: %s", level, text) : g_strdup(message);
}
