/* SPDX-License-Identifier: Apache-2.0
 * `holdfast network ...`. */
#include "common/error.h"
#include "webui-api/cli/cli.h"
#include "webui-api/cli/table.h"

static gboolean run_list(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("networks", NULL);
    g_autoptr(json_t) networks = cli_fetch(cli, path, error);
    if (!networks || cli_print_json(cli, networks)) {
        return networks != NULL;
    }
    g_autoptr(CliTable) table = table_new("NAME", "INTERFACE", "VLAN", NULL);
    for (size_t i = 0; i < json_array_size(networks); i++) {
        const json_t *network = json_array_get(networks, i);
        const char *interface = cli_text(network, "interface");
        gint64 vlan = cli_number(network, "vlan");
        g_autofree char *tag = vlan ? g_strdup_printf("%" G_GINT64_FORMAT, vlan) : g_strdup("untagged");
        table_add(table, cli_text(network, "name"), interface ? interface : "isolated", tag);
    }
    g_autofree char *text = table_format(table, cli->colour);
    cli_print("%s", text);
    return TRUE;
}

static gboolean run_create(Cli *cli, GError **error)
{
    gint64 vlan = 0;
    const char *vlan_text = cli_option(cli, "vlan");
    if (vlan_text && !g_ascii_string_to_signed(vlan_text, 10, 0, 4094, &vlan, NULL)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "--vlan: must be 0 to 4094, not '%s'", vlan_text);
        return FALSE;
    }
    g_autoptr(json_t) body = json_pack("{s:s, s:s?, s:I}", "name", cli->words[0], "interface",
                                       cli_option(cli, "interface"), "vlan", (json_int_t) vlan);
    g_autofree char *path = cli_path("networks", NULL);
    g_autoptr(json_t) network = cli_http_request(cli->http, "POST", path, body, error);
    if (network && !cli_print_json(cli, network)) {
        cli_print("network %s is created\n", cli->words[0]);
    }
    return network != NULL;
}

static gboolean run_delete(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("networks", cli->words[0], NULL);
    g_autoptr(json_t) result = cli_http_request(cli->http, "DELETE", path, NULL, error);
    if (result && !cli_print_json(cli, result)) {
        cli_print("network %s is deleted\n", cli->words[0]);
    }
    return result != NULL;
}

static const CliOption create_options[] = {
    {"interface", '\0', CLI_OPTION_VALUE, "NAME", "physical interface on every node; none: an isolated network"},
    {"vlan", '\0', CLI_OPTION_VALUE, "ID", "VLAN tag on that interface"},
    {.name = NULL},
};

const CliCommand cli_network_commands[] = {
    {"network", "list", "", 0, 0, NULL, "the networks guests can be on", run_list},
    {"network", "create", "NAME", 1, 1, create_options, "make a network", run_create},
    {"network", "delete", "NAME", 1, 1, NULL, "remove a network no guest uses", run_delete},
    {.noun = NULL},
};
