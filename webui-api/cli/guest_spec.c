/* SPDX-License-Identifier: Apache-2.0
 * Guest options. What is not given is left to the API's defaults; only the shape is checked here. */
#include "webui-api/cli/guest_spec.h"

#include "common/error.h"
#include "common/file.h"
#include "webui-api/cli/table.h"

#include <string.h>

const CliOption guest_spec_options[] = {
    {"memory", 'm', CLI_OPTION_VALUE, "SIZE", "memory: MiB, or 512M, 4G"},
    {"vcpus", 'c', CLI_OPTION_VALUE, "N", "virtual CPUs"},
    {"image", 'i', CLI_OPTION_VALUE, "IMAGE", "fill the first volume from this image"},
    {"size", 's', CLI_OPTION_REPEATED, "SIZE", "size of a volume: the first one, then empty ones"},
    {"volume", 'v', CLI_OPTION_REPEATED, "size=SIZE,image=IMAGE", "a volume, instead of --image and --size"},
    {"network", 'n', CLI_OPTION_REPEATED, "NETWORK", "a network card on this network"},
    {"replicas", 'r', CLI_OPTION_VALUE, "1|2", "on how many nodes the volumes live"},
    {"priority", '\0', CLI_OPTION_VALUE, "0..1000", "higher is recovered first"},
    {"engine", '\0', CLI_OPTION_VALUE, "auto|kvm|qemu", "the machine monitor"},
    {"description", '\0', CLI_OPTION_VALUE, "TEXT", "for people"},
    {"stopped", '\0', CLI_OPTION_FLAG, NULL, "do not start it"},
    {"file", 'f', CLI_OPTION_VALUE, "FILE", "take the spec, or {\"name\", \"spec\"}, from a JSON file"},
    {.name = NULL},
};

static gboolean invalid(GError **error, const char *text)
{
    g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, text);
    return FALSE;
}

static gboolean set_number(const Cli *cli, const char *option, json_t *spec, GError **error)
{
    const char *text = cli_option(cli, option);
    gint64 number = 0;
    if (!text) {
        return TRUE;
    }
    if (!g_ascii_string_to_signed(text, 10, 0, G_MAXINT32, &number, NULL)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "--%s: must be a whole number, not '%s'", option,
                    text);
        return FALSE;
    }
    json_object_set_new(spec, option, json_integer(number));
    return TRUE;
}

static void set_text(const Cli *cli, const char *option, json_t *spec)
{
    if (cli_option(cli, option)) {
        json_object_set_new(spec, option, json_string(cli_option(cli, option)));
    }
}

/* One "size=4G,image=debian". */
static json_t *parse_volume(const char *text, GError **error)
{
    g_autoptr(json_t) volume = json_object();
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    for (guint i = 0; parts[i]; i++) {
        gint64 mib = 0;
        if (g_str_has_prefix(parts[i], "size=")) {
            if (!units_parse_mib(parts[i] + strlen("size="), "--volume", &mib, error)) {
                return NULL;
            }
            json_object_set_new(volume, "size_mib", json_integer(mib));
        } else if (g_str_has_prefix(parts[i], "image=") && parts[i][strlen("image=")]) {
            json_object_set_new(volume, "image", json_string(parts[i] + strlen("image=")));
        } else {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                        "--volume: must be like size=4G,image=IMAGE, not '%s'", text);
            return NULL;
        }
    }
    return g_steal_pointer(&volume);
}

static gboolean add_sizes(const Cli *cli, json_t *volumes, GError **error)
{
    const GPtrArray *sizes = cli_option_all(cli, "size");
    const char *image = cli_option(cli, "image");
    for (guint i = 0; i < (sizes ? sizes->len : 1); i++) {
        gint64 mib = 0;
        if (sizes && !units_parse_mib(sizes->pdata[i], "--size", &mib, error)) {
            return FALSE;
        }
        json_t *volume = json_object();
        json_array_append_new(volumes, volume);
        if (sizes) {
            json_object_set_new(volume, "size_mib", json_integer(mib));
        }
        if (i == 0 && image) {
            json_object_set_new(volume, "image", json_string(image));
        }
    }
    return TRUE;
}

static json_t *build_volumes(const Cli *cli, GError **error)
{
    const GPtrArray *given = cli_option_all(cli, "volume");
    gboolean short_form = cli_flag(cli, "image") || cli_flag(cli, "size");
    g_autoptr(json_t) volumes = json_array();
    if (given && short_form) {
        invalid(error, "--volume: says all about the volumes, so --image and --size cannot be added to it");
        return NULL;
    }
    if (!given && !short_form) {
        invalid(error,
                "--image: a guest needs a volume: give --image IMAGE, --size SIZE or --volume size=SIZE,image=IMAGE");
        return NULL;
    }
    if (short_form && !add_sizes(cli, volumes, error)) {
        return NULL;
    }
    for (guint i = 0; given && i < given->len; i++) {
        json_t *volume = parse_volume(given->pdata[i], error);
        if (!volume) {
            return NULL;
        }
        json_array_append_new(volumes, volume);
    }
    return g_steal_pointer(&volumes);
}

static json_t *build_spec(const Cli *cli, GError **error)
{
    g_autoptr(json_t) spec = json_object();
    gint64 memory_mib = 0;
    if (!cli_option(cli, "memory")) {
        invalid(error, "--memory: is needed, for example --memory 512M (or take everything from a file with -f)");
        return NULL;
    }
    if (!units_parse_mib(cli_option(cli, "memory"), "--memory", &memory_mib, error) ||
        !set_number(cli, "vcpus", spec, error) || !set_number(cli, "replicas", spec, error) ||
        !set_number(cli, "priority", spec, error)) {
        return NULL;
    }
    json_t *volumes = build_volumes(cli, error);
    if (!volumes) {
        return NULL;
    }
    json_object_set_new(spec, "volumes", volumes);
    json_object_set_new(spec, "memory_mib", json_integer(memory_mib));
    json_object_set_new(spec, "desired_state", json_string(cli_flag(cli, "stopped") ? "stopped" : "running"));
    set_text(cli, "engine", spec);
    set_text(cli, "description", spec);
    const GPtrArray *networks = cli_option_all(cli, "network");
    json_t *nics = json_array();
    json_object_set_new(spec, "nics", nics);
    for (guint i = 0; networks && i < networks->len; i++) {
        json_array_append_new(nics, json_pack("{s:s}", "network", (const char *) networks->pdata[i]));
    }
    return g_steal_pointer(&spec);
}

static gboolean only_file_given(const Cli *cli)
{
    for (const CliOption *option = guest_spec_options; option->name; option++) {
        if (strcmp(option->name, "file") != 0 && strcmp(option->name, "stopped") != 0 && cli_flag(cli, option->name)) {
            return FALSE;
        }
    }
    return TRUE;
}

static json_t *body_from_file(const Cli *cli, GError **error)
{
    const char *path = cli_option(cli, "file"), *name = cli->words[0];
    if (!only_file_given(cli)) {
        invalid(error, "--file: says all about the guest, so only --stopped can be added to it");
        return NULL;
    }
    g_autofree char *text = file_read(path, JSON_TEXT_MAX_BYTES, error);
    g_autoptr(json_t) value = text ? json_text_parse(text, -1, path, error) : NULL;
    if (!value) {
        return NULL;
    }
    json_t *spec = json_object_get(value, "spec");
    spec = spec ? spec : value;
    name = name ? name : json_string_value(json_object_get(value, "name"));
    if (!name || !json_is_object(spec)) {
        invalid(
            error,
            "--file: must hold {\"name\": ..., \"spec\": {...}}, or a spec alone with the name on the command line");
        return NULL;
    }
    if (cli_flag(cli, "stopped")) {
        json_object_set_new(spec, "desired_state", json_string("stopped"));
    }
    return json_pack("{s:s, s:O}", "name", name, "spec", spec);
}

json_t *guest_spec_body(const Cli *cli, GError **error)
{
    if (cli_option(cli, "file")) {
        return body_from_file(cli, error);
    }
    if (!cli->words[0]) {
        invalid(error, "NAME: the guest needs a name");
        return NULL;
    }
    json_t *spec = build_spec(cli, error);
    return spec ? json_pack("{s:s, s:o}", "name", cli->words[0], "spec", spec) : NULL;
}
