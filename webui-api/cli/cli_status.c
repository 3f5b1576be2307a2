/* SPDX-License-Identifier: Apache-2.0
 * `holdfast status`: the page for 3 a.m. What is wrong and what to do comes first, then nodes, then guests. */
#include "webui-api/cli/cli.h"
#include "webui-api/cli/view.h"

#include <string.h>

static guint count_true(const json_t *array, const char *dotted)
{
    guint n = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        n += cli_true(json_array_get(array, i), dotted);
    }
    return n;
}

static void print_witness(const json_t *status)
{
    const json_t *witness = cli_get(status, "witness");
    if (json_is_object(witness)) {
        gboolean votes = cli_true(witness, "voting"), store = cli_true(witness, "store");
        cli_print("  Witness %s at %s: %s\n", cli_text(witness, "name"), cli_text(witness, "address"),
                  votes && store ? "votes"
                  : votes        ? "votes, but its etcd is away"
                                 : "does not vote");
    }
}

static void print_head(const Cli *cli, const json_t *status)
{
    const char *red = cli->colour ? "\033[1;31m" : "", *plain = cli->colour ? "\033[0m" : "";
    const json_t *nodes = cli_get(status, "nodes"), *guests = cli_get(status, "guests");
    gboolean quorate = cli_true(status, "quorate"), armed = cli_true(status, "ha_armed");
    const char *dc = cli_text(status, "dc");
    cli_print("Cluster %s, seen from %s\n", cli_text(status, "cluster"), cli_text(status, "node"));
    cli_print("  Quorum  %s%s%s\n", quorate ? "" : red, quorate ? "yes" : "NO: this side may not start or move guests",
              quorate ? "" : plain);
    cli_print("  DC      %s\n", dc ? dc : "none: nobody decides about fail-over now");
    cli_print("  HA      %s%s%s\n", armed ? "" : red,
              armed ? "armed" : "NOT ARMED: a dead node's guests wait for an operator", armed ? "" : plain);
    cli_print("  Nodes   %u of %zu online\n", count_true(nodes, "online"), json_array_size(nodes));
    print_witness(status);
    cli_print("  Guests  %u of %zu protected\n", count_true(guests, "status.protected"), json_array_size(guests));
}

static void add_remedy(GPtrArray *remedies, char *text)
{
    g_ptr_array_add(remedies, text);
}

static void node_remedies(GPtrArray *remedies, const json_t *node)
{
    const char *name = cli_text(node, "name"), *fencing = cli_text(node, "fencing.state");
    name = name ? name : "?";
    if (json_is_false(cli_get(node, "clean"))) {
        add_remedy(remedies,
                   g_strdup_printf(
                       "%s: if fencing does not succeed, switch its power off by hand, then `holdfast fence confirm %s "
                       "--confirm %s`",
                       name, name, name));
    } else if (!cli_true(node, "online")) {
        add_remedy(remedies, g_strdup_printf("%s is offline: look at its console, power and cluster network", name));
    } else if (!cli_true(node, "agent")) {
        add_remedy(remedies, g_strdup_printf("%s: `systemctl status holdfastd` there (its guests keep running)", name));
    } else if (cli_true(node, "standby")) {
        add_remedy(
            remedies,
            g_strdup_printf("%s is in standby: `holdfast node online %s` when it may carry guests again", name, name));
    }
    if (!cli_true(node, "online")) {
        return; /* its fencing cannot be proven now */
    }
    if (!fencing) {
        add_remedy(remedies,
                   g_strdup_printf("%s has no fence device: `holdfast fence set %s AGENT key=value...`", name, name));
    } else if (strcmp(fencing, "unproven") == 0) {
        add_remedy(remedies,
                   g_strdup_printf("%s: `holdfast fence prove %s` (it powers the node off and on once)", name, name));
    }
}

static void guest_remedies(GPtrArray *remedies, const json_t *guest)
{
    const char *name = cli_text(guest, "name");
    name = name ? name : "?";
    const json_t *conditions = cli_get(guest, "status.conditions");
    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const char *text = json_string_value(json_array_get(conditions, i));
        add_remedy(remedies, g_strdup_printf("guest %s: %s", name, text ? text : "?"));
    }
    if (strcmp(view_guest_state(guest), "failed") == 0) {
        add_remedy(remedies,
                   g_strdup_printf("guest %s failed: `holdfast guest show %s`, then `holdfast guest start %s`", name,
                                   name, name));
    }
}

static void print_lines(const char *heading, const char *mark, const GPtrArray *lines)
{
    cli_print("\n%s (%u)\n", heading, lines->len);
    for (guint i = 0; i < lines->len; i++) {
        g_autofree char *line = g_strdup(lines->pdata[i]);
        g_strdelimit(line, "\033\n", ' ');
        cli_print("  %s %s\n", mark, line);
    }
}

static void print_problems(const json_t *status)
{
    const json_t *problems = cli_get(status, "problems"), *nodes = cli_get(status, "nodes"),
                 *guests = cli_get(status, "guests");
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) remedies = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < json_array_size(problems); i++) {
        const char *text = json_string_value(json_array_get(problems, i));
        g_ptr_array_add(lines, g_strdup(text ? text : "?"));
    }
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        node_remedies(remedies, json_array_get(nodes, i));
    }
    for (size_t i = 0; i < json_array_size(guests); i++) {
        guest_remedies(remedies, json_array_get(guests, i));
    }
    if (lines->len > 0) {
        print_lines("Problems", "!", lines);
    }
    if (remedies->len > 0) {
        print_lines("To do", "-", remedies);
    }
    if (lines->len == 0 && remedies->len == 0) {
        cli_print("\nNo problems.\n");
    }
}

static gboolean run_status(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("status", NULL);
    g_autoptr(json_t) status = cli_fetch(cli, path, error);
    if (!status || cli_print_json(cli, status)) {
        return status != NULL;
    }
    gboolean wide = cli->output == CLI_OUTPUT_WIDE;
    g_autofree char *nodes = view_nodes(cli_get(status, "nodes"), wide, cli->colour);
    g_autofree char *guests = view_guests(cli_get(status, "guests"), wide, cli->colour);
    print_head(cli, status);
    print_problems(status);
    cli_print("\n%s", nodes);
    if (json_array_size(cli_get(status, "guests")) > 0) {
        cli_print("\n%s", guests);
    } else {
        cli_print("\nNo guests yet: `holdfast guest create NAME --memory 512 --image IMAGE`\n");
    }
    return TRUE;
}

const CliCommand cli_status_commands[] = {
    {"status", NULL, "", 0, 0, NULL, "the whole cluster on one page: problems, nodes, guests", run_status},
    {.noun = NULL},
};
