/* SPDX-License-Identifier: Apache-2.0
 * `holdfast image ...`. */
#include "common/error.h"
#include "webui-api/cli/cli.h"
#include "webui-api/cli/table.h"
#include "webui-api/cli/wait.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static gboolean run_list(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("images", NULL);
    g_autoptr(json_t) images = cli_fetch(cli, path, error);
    if (!images || cli_print_json(cli, images)) {
        return images != NULL;
    }
    gboolean wide = cli->output == CLI_OUTPUT_WIDE;
    g_autoptr(CliTable) table = wide ? table_new("NAME", ">SIZE", "NODES", "CREATED", "SHA256", NULL)
                                     : table_new("NAME", ">SIZE", "NODES", "CREATED", NULL);
    for (size_t i = 0; i < json_array_size(images); i++) {
        const json_t *image = json_array_get(images, i);
        g_autofree char *size = units_from_mib((cli_number(image, "size_bytes") + 1048575) / 1048576);
        g_autofree char *nodes = cli_join(cli_get(image, "nodes"));
        table_add(table, cli_text(image, "name"), size, nodes, cli_text(image, "created_at"),
                  cli_text(image, "sha256"));
    }
    g_autofree char *text = table_format(table, cli->colour);
    cli_print("%s", text);
    return TRUE;
}

static void show_upload(gint64 sent, gint64 total, gpointer user_data)
{
    const Cli *cli = user_data;
    if (cli->progress) {
        fprintf(stderr, "\r\033[Kuploading %d %% (%" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " MiB)",
                (int) (sent * 100 / total), sent >> 20, total >> 20);
    }
}

static gboolean import_by_upload(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("images", cli->words[0], NULL);
    g_autoptr(json_t) operation = cli_http_upload(cli->http, path, cli->words[1], show_upload, cli, error);
    if (cli->progress) {
        fputs("\r\033[K", stderr);
    }
    return operation && wait_finish(cli, operation, error);
}

/* holdfastd reads the file itself when it is on this node: then nothing is copied through HTTP. */
static gboolean run_import(Cli *cli, GError **error)
{
    if (!cli_http_is_local(cli->http)) {
        return import_by_upload(cli, error);
    }
    char *resolved = realpath(cli->words[1], NULL);
    if (!resolved) {
        return holdfast_error_set_errno(error, errno, "PATH: %s", cli->words[1]);
    }
    g_autoptr(json_t) body = json_pack("{s:s, s:s}", "name", cli->words[0], "path", resolved);
    free(resolved);
    g_autofree char *path = cli_path("images", NULL);
    return cli_operate(cli, "POST", path, body, error);
}

static gboolean run_delete(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("images", cli->words[0], NULL);
    g_autoptr(json_t) result = cli_http_request(cli->http, "DELETE", path, NULL, error);
    if (result && !cli_print_json(cli, result)) {
        cli_print("image %s is deleted\n", cli->words[0]);
    }
    return result != NULL;
}

const CliCommand cli_image_commands[] = {
    {"image", "list", "", 0, 0, NULL, "the images and the nodes that have them", run_list},
    {"image", "import", "NAME PATH", 2, 2, NULL, "make an image of a file; uploads it to a remote API", run_import},
    {"image", "delete", "NAME", 1, 1, NULL, "remove an image; volumes made from it stay", run_delete},
    {.noun = NULL},
};
