/* SPDX-License-Identifier: Apache-2.0
 * `holdfast incident`: what happened when a node was lost, fenced or reset. */
#include "webui-api/cli/cli.h"
#include "webui-api/cli/table.h"

#include <stdio.h>
#include <string.h>

/* "12:03:04.567" of a time stamp; dates are in the heading. Caller frees. */
static char *clock_of(const char *time)
{
    const char *clock = time ? strchr(time, 'T') : NULL;
    return clock ? g_strndup(clock + 1, strcspn(clock + 1, "Z")) : g_strdup("-");
}

/* A duration of the object, NULL when it is not known. Caller frees. */
static char *duration(const json_t *object, const char *name)
{
    return json_object_get(object, name) ? units_from_ms(cli_number(object, name)) : NULL;
}

static char *guests_moved(const json_t *incident)
{
    GString *text = g_string_new(NULL);
    size_t i;
    json_t *guest;
    json_array_foreach (cli_get(incident, "guests"), i, guest) {
        if (g_strcmp0(cli_text(guest, "what"), "moved") == 0) {
            const char *name = cli_text(guest, "name"), *to = cli_text(guest, "to");
            g_string_append_printf(text, "%s%s to %s", text->len ? ", " : "", name ? name : "?", to ? to : "nowhere");
        }
    }
    return g_string_free(text, text->len == 0);
}

static gboolean run_list(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("incidents", NULL);
    g_autoptr(json_t) incidents = cli_fetch(cli, path, error);
    if (!incidents || cli_print_json(cli, incidents)) {
        return incidents != NULL;
    }
    g_autoptr(CliTable) table = table_new("ID", "NODE", "BEGAN", "STATE", "WHY", ">OUTAGE", "GUESTS MOVED", NULL);
    size_t i;
    json_t *incident;
    json_array_foreach (incidents, i, incident) {
        g_autofree char *outage = duration(incident, "outage_ms");
        g_autofree char *guests = guests_moved(incident);
        table_add(table, cli_text(incident, "id"), cli_text(incident, "node"), cli_text(incident, "began_at"),
                  cli_text(incident, "state"), cli_text(incident, "reason.kind"), outage, guests);
    }
    g_autofree char *text = table_format(table, cli->colour);
    fputs(text, stdout);
    return TRUE;
}

static void print_texts(const char *heading, const json_t *texts)
{
    size_t i;
    json_t *text;
    json_array_foreach (texts, i, text) {
        g_autofree char *clean = g_strdup(json_string_value(text) ? json_string_value(text) : "?");
        g_strdelimit(clean, "\033\n", '?');
        cli_print("%s%s\n", i == 0 ? heading : "              ", clean);
    }
}

static void print_fence(const json_t *fence)
{
    if (json_object_get(fence, "asked_at")) {
        const char *names[] = {"why", "decided_on", "device", "done_by", "confirmed_by"};
        const char *labels[] = {"because", "decided on", "device", "used by", "confirmed by"};
        g_autoptr(GString) text = g_string_new(NULL);
        for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
            const char *value = cli_text(fence, names[i]);
            if (value) {
                g_string_append_printf(text, "%s%s %s", text->len ? ", " : "", labels[i], value);
            }
        }
        g_autofree char *took = duration(fence, "duration_ms");
        g_string_append_printf(text, ", %s%s", took ? "took " : "not ended", took ? took : "");
        if (cli_number(fence, "failed_tries") > 0) {
            g_string_append_printf(text, ", %" G_GINT64_FORMAT " failed tries", cli_number(fence, "failed_tries"));
        }
        cli_print_field("Fencing", text->str);
    } else {
        cli_print_field("Fencing", "none seen");
    }
}

static void print_phases(const json_t *incident)
{
    g_autoptr(GString) text = g_string_new(NULL);
    size_t i;
    json_t *phase;
    json_array_foreach (cli_get(incident, "phases"), i, phase) {
        g_autofree char *took = units_from_ms(cli_number(phase, "ms"));
        const char *name = cli_text(phase, "name");
        g_string_append_printf(text, "%s%s %s", text->len ? " + " : "", name ? name : "?", took);
    }
    g_autofree char *total = duration(incident, "outage_ms");
    g_string_append_printf(text, " = %s", total ? total : "?");
    cli_print_field("Outage", text->str);
}

static void print_guests(const json_t *incident)
{
    g_autoptr(CliTable) table =
        table_new("GUEST", "WHAT", "FROM", "TO", ">GENERATION", "STARTED", ">OUTAGE", "IN SYNC", "STEPS", NULL);
    size_t i;
    json_t *guest;
    json_array_foreach (cli_get(incident, "guests"), i, guest) {
        g_autofree char *generation = json_object_get(guest, "generation")
                                          ? g_strdup_printf("%" G_GINT64_FORMAT, cli_number(guest, "generation"))
                                          : NULL;
        g_autofree char *started = clock_of(cli_text(guest, "started_at"));
        g_autofree char *in_sync = clock_of(cli_text(guest, "in_sync_at"));
        g_autofree char *outage = duration(guest, json_object_get(guest, "frozen_ms") ? "frozen_ms" : "outage_ms");
        const char *to = cli_text(guest, "to");
        const char *steps = cli_text(guest, "steps");
        table_add(table, cli_text(guest, "name"), cli_text(guest, "what"), cli_text(guest, "from"),
                  to ? to : cli_text(guest, "on"), generation, started, outage, in_sync,
                  steps ? steps : cli_text(guest, "failure"));
    }
    if (i > 0) {
        g_autofree char *text = table_format(table, FALSE);
        cli_print("\n%s", text);
    }
}

/* Seconds from the beginning, node, what it means, what was said. Lines of the life that ended have a "*". */
static void print_timeline(const json_t *incident, gboolean all)
{
    size_t i;
    json_t *entry;
    cli_print("\n   seconds  node    what            line (* = the lost node's own last words)\n");
    json_array_foreach (cli_get(incident, "timeline"), i, entry) {
        const char *what = cli_text(entry, "what"), *node = cli_text(entry, "node");
        const char *source = cli_text(entry, "source"), *text = cli_text(entry, "text");
        if (!all && !what && !cli_true(entry, "dead")) {
            continue;
        }
        g_autofree char *clean = g_strdup(text ? text : "");
        g_strdelimit(clean, "\033\n", '?');
        cli_print("%10.3f %c%-7s %-15s %s: %s\n", (double) cli_number(entry, "ms") / 1000.0,
                  cli_true(entry, "dead") ? '*' : ' ', node ? node : "-", what ? what : "", source ? source : "-",
                  clean);
    }
    if (cli_number(incident, "lines_left_out") > 0) {
        cli_print("(%" G_GINT64_FORMAT " lines were left out)\n", cli_number(incident, "lines_left_out"));
    }
}

static gboolean run_show(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("incidents", cli->words[0], NULL);
    g_autoptr(json_t) incident = cli_fetch(cli, path, error);
    if (!incident || cli_print_json(cli, incident)) {
        return incident != NULL;
    }
    const char *certain = cli_true(incident, "reason.certain") ? "" : " (as far as evidence tells)";
    const char *why = cli_text(incident, "reason.text");
    g_autofree char *reason = g_strconcat(why ? why : "?", certain, NULL);
    cli_print_field("Incident", cli_text(incident, "id"));
    cli_print_field("Node", cli_text(incident, "node"));
    cli_print_field("State", cli_text(incident, "state"));
    cli_print_field("Reason", reason);
    print_texts("Evidence:     ", cli_get(incident, "reason.evidence"));
    cli_print_field("Last heard", cli_text(incident, "last_heard_at"));
    cli_print_field("Noticed", cli_text(incident, "detected_at"));
    print_fence(cli_get(incident, "fence"));
    print_phases(incident);
    cli_print_field("Powered on", cli_text(incident, "return.powered_on_at"));
    cli_print_field("Member again", cli_text(incident, "return.member_at"));
    cli_print_field("Over", cli_text(incident, "ended_at"));
    print_texts("Not known:    ", cli_get(incident, "not_known"));
    cli_print_field("Seen from", cli_text(incident, "seen_from"));
    print_guests(incident);
    print_timeline(incident, cli_flag(cli, "all") || cli->output == CLI_OUTPUT_WIDE);
    return TRUE;
}

static const CliOption show_options[] = {
    {"all", 'a', CLI_OPTION_FLAG, NULL, "every line kept of that time, not only those that mean something"},
    {.name = NULL},
};

const CliCommand cli_incident_commands[] = {
    {"incident", "list", "", 0, 0, NULL, "nodes lost, fenced or reset, as far back as this node remembers", run_list},
    {"incident", "show", "ID", 1, 1, show_options, "what happened, in order, how long it took, and why", run_show},
    {.noun = NULL},
};
