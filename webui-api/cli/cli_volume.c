/* SPDX-License-Identifier: Apache-2.0
 * `holdfast volume ...`. */
#include "webui-api/cli/cli.h"
#include "webui-api/cli/view.h"

static gboolean run_list(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("volumes", NULL);
    g_autoptr(json_t) volumes = cli_fetch(cli, path, error);
    if (!volumes || cli_print_json(cli, volumes)) {
        return volumes != NULL;
    }
    g_autofree char *text = view_volumes(volumes, cli->output == CLI_OUTPUT_WIDE, cli->colour);
    cli_print("%s", text);
    return TRUE;
}

static void print_replica(const json_t *replica)
{
    const char *disk = cli_text(replica, "disk"), *role = cli_text(replica, "role"),
               *connection = cli_text(replica, "connection");
    const char *gate = cli_text(replica, "gate"), *node = cli_text(replica, "node");
    g_autofree char *text =
        g_strdup_printf("%s: disk %s, %s, %s, gate %s%s", node ? node : "?", disk ? disk : "unknown",
                        role ? role : "role unknown", connection ? connection : "connection unknown",
                        gate ? gate : "unknown", cli_true(replica, "suspended") ? ", I/O FROZEN" : "");
    cli_print_field("Replica", text);
}

static gboolean run_show(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("volumes", cli->words[0], NULL);
    g_autoptr(json_t) volume = cli_fetch(cli, path, error);
    if (!volume || cli_print_json(cli, volume)) {
        return volume != NULL;
    }
    g_autofree char *size = view_size(volume);
    cli_print_field("Volume", cli_text(volume, "name"));
    cli_print_field("Guest", cli_text(volume, "guest"));
    cli_print_field("Size", size);
    cli_print_field("Image", cli_text(volume, "image"));
    const json_t *replicas = cli_get(volume, "replicas");
    for (size_t i = 0; i < json_array_size(replicas); i++) {
        print_replica(json_array_get(replicas, i));
    }
    return TRUE;
}

static gboolean run_grow(Cli *cli, GError **error)
{
    gint64 mib = 0;
    if (!units_parse_mib(cli->words[1], "SIZE", &mib, error)) {
        return FALSE;
    }
    g_autofree char *path = cli_path("volumes", cli->words[0], "actions", "grow", NULL);
    g_autoptr(json_t) body = json_pack("{s:I}", "size_mib", (json_int_t) mib);
    return cli_operate(cli, "POST", path, body, error);
}

const CliCommand cli_volume_commands[] = {
    {"volume", "list", "", 0, 0, NULL, "the volumes and the state of their replicas", run_list},
    {"volume", "show", "NAME", 1, 1, NULL, "one volume in detail", run_show},
    {"volume", "grow", "NAME SIZE", 2, 2, NULL, "make it larger (SIZE is the new size)", run_grow},
    {.noun = NULL},
};
