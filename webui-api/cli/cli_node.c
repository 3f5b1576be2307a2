/* SPDX-License-Identifier: Apache-2.0
 * `holdfast node ...`. */
#include "webui-api/cli/cli.h"
#include "webui-api/cli/view.h"

static gboolean run_list(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("nodes", NULL);
    g_autoptr(json_t) nodes = cli_fetch(cli, path, error);
    if (!nodes || cli_print_json(cli, nodes)) {
        return nodes != NULL;
    }
    g_autofree char *text = view_nodes(nodes, cli->output == CLI_OUTPUT_WIDE, cli->colour);
    cli_print("%s", text);
    return TRUE;
}

static gboolean run_show(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("nodes", cli->words[0], NULL);
    g_autoptr(json_t) node = cli_fetch(cli, path, error);
    if (!node || cli_print_json(cli, node)) {
        return node != NULL;
    }
    gboolean known = json_is_object(cli_get(node, "status"));
    g_autofree char *fencing = view_fencing(cli_get(node, "fencing"));
    g_autofree char *total = units_from_mib(cli_number(node, "status.memory_mib"));
    g_autofree char *left = units_from_mib(cli_number(node, "status.memory_free_mib"));
    g_autofree char *memory = known ? g_strdup_printf("%s free of %s", left, total) : g_strdup("unknown");
    cli_print_field("Node", cli_text(node, "name"));
    cli_print_field("State", view_node_state(node));
    cli_print_field("DC", cli_true(node, "dc") ? "yes" : "no");
    cli_print_field("Agent", cli_true(node, "agent") ? "answers" : "DOWN: see `systemctl status holdfastd` there");
    cli_print_field("Fencing", fencing);
    cli_print_field("Fence agent", cli_text(node, "fencing.agent"));
    cli_print_field("Proven at", cli_text(node, "fencing.proven_at"));
    cli_print_field("Networks", cli_text(node, "ring0"));
    cli_print_field("", cli_text(node, "ring1"));
    cli_print_field("Memory", memory);
    cli_print_field("KVM", !known                         ? "unknown"
                           : cli_true(node, "status.kvm") ? "yes"
                                                          : "NO: guests are emulated, slowly");
    g_autofree char *pool = known ? view_pool(node) : g_strdup("unknown");
    cli_print_field("Pool", pool);
    cli_print_field("Pool state", cli_text(node, "status.pool_condition"));
    cli_print_field("Disk", cli_text(node, "status.disk_condition"));
    cli_print_field("Version", cli_text(node, "status.product_version"));
    cli_print_field("Note", cli_text(node, "status.condition"));
    return TRUE;
}

static gboolean act(Cli *cli, const char *action, json_t *body, GError **error)
{
    g_autofree char *path = cli_path("nodes", cli->words[0], "actions", action, NULL);
    return cli_operate(cli, "POST", path, body, error);
}

static gboolean run_standby(Cli *cli, GError **error)
{
    return act(cli, "standby", NULL, error);
}

static gboolean run_online(Cli *cli, GError **error)
{
    return act(cli, "online", NULL, error);
}

static gboolean run_remove(Cli *cli, GError **error)
{
    g_autoptr(json_t) body = cli_flag(cli, "gone") ? json_pack("{s:b}", "gone", 1) : NULL;
    return act(cli, "remove", body, error);
}

static const CliOption remove_options[] = {
    {"gone", '\0', CLI_OPTION_FLAG, NULL, "it is off for good: build its replicas anew on other nodes first"},
    {.name = NULL},
};

const CliCommand cli_node_commands[] = {
    {"node", "list", "", 0, 0, NULL, "the nodes, their health and fencing", run_list},
    {"node", "show", "NAME", 1, 1, NULL, "one node in detail", run_show},
    {"node", "standby", "NAME", 1, 1, NULL, "move all guests away and keep them away", run_standby},
    {"node", "online", "NAME", 1, 1, NULL, "let it carry guests again", run_online},
    {"node", "remove", "NAME", 1, 1, remove_options, "take it, or the witness, out of the cluster", run_remove},
    {.noun = NULL},
};
