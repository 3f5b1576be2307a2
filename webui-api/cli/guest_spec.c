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
    {"start-after", '\0', CLI_OPTION_REPEATED, "GUEST", "when both are to be started, that one first"},
    {"keep-apart", '\0', CLI_OPTION_REPEATED, "GUEST", "not on that one's node while there is the choice"},
    {"keep-apart-strict", '\0', CLI_OPTION_FLAG, NULL, "rather stay down than share a node with them"},
    {"keep-together", '\0', CLI_OPTION_REPEATED, "GUEST", "on that one's node when there is the choice"},
    {"restart-limit", '\0', CLI_OPTION_VALUE, "1..100", "failures on a node before it goes to the other (3)"},
    {"restart-window", '\0', CLI_OPTION_VALUE, "SECONDS", "forget its failures that long after the last (300)"},
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

static gboolean set_number(const Cli *cli, const char *option, const char *field, json_t *spec, GError **error)
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
    json_object_set_new(spec, field, json_integer(number));
    return TRUE;
}

static void set_text(const Cli *cli, const char *option, json_t *spec)
{
    if (cli_option(cli, option)) {
        json_object_set_new(spec, option, json_string(cli_option(cli, option)));
    }
}

static void set_list(const Cli *cli, const char *option, const char *field, json_t *spec)
{
    const GPtrArray *values = cli_option_all(cli, option);
    json_t *list = values ? json_array() : NULL;
    for (guint i = 0; values && i < values->len; i++) {
        json_array_append_new(list, json_string(values->pdata[i]));
    }
    if (list) {
        json_object_set_new(spec, field, list);
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
        !set_number(cli, "vcpus", "vcpus", spec, error) || !set_number(cli, "replicas", "replicas", spec, error) ||
        !set_number(cli, "priority", "priority", spec, error) ||
        !set_number(cli, "restart-limit", "restart_limit", spec, error) ||
        !set_number(cli, "restart-window", "restart_window_s", spec, error)) {
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
    set_list(cli, "start-after", "start_after", spec);
    set_list(cli, "keep-apart", "keep_apart", spec);
    set_list(cli, "keep-together", "keep_together", spec);
    if (cli_flag(cli, "keep-apart-strict")) {
        json_object_set_new(spec, "keep_apart_strict", json_true());
    }
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

/* --- `guest set` */

typedef enum { SET_NUMBER, SET_SIZE, SET_TEXT, SET_LIST, SET_BOOL } SetKind;
static const struct {
    const char *name;
    SetKind kind;
    const char *field; /* of the spec */
} settable[] = {
    {"priority", SET_NUMBER, "priority"},
    {"start_after", SET_LIST, "start_after"},
    {"keep_apart", SET_LIST, "keep_apart"},
    {"keep_apart_strict", SET_BOOL, "keep_apart_strict"},
    {"keep_together", SET_LIST, "keep_together"},
    {"restart_limit", SET_NUMBER, "restart_limit"},
    {"restart_window_s", SET_NUMBER, "restart_window_s"},
    {"memory", SET_SIZE, "memory_mib"},
    {"vcpus", SET_NUMBER, "vcpus"},
    {"description", SET_TEXT, "description"},
};

/* NULL with an error that names the field. */
static json_t *set_value(SetKind kind, const char *name, const char *text, GError **error)
{
    gint64 number = 0;
    if (kind == SET_TEXT) {
        return json_string(text);
    }
    if (kind == SET_LIST) {
        g_auto(GStrv) names = g_strsplit(text, ",", -1);
        json_t *list = json_array();
        for (char **each = names; *each; each++) {
            json_array_append_new(list, json_string(*each));
        }
        return list;
    }
    if (kind == SET_SIZE) {
        return units_parse_mib(text, name, &number, error) ? json_integer(number) : NULL;
    }
    if (kind == SET_BOOL && (strcmp(text, "yes") == 0 || strcmp(text, "no") == 0)) {
        return json_boolean(strcmp(text, "yes") == 0);
    }
    if (kind == SET_NUMBER && g_ascii_string_to_signed(text, 10, 0, G_MAXINT32, &number, NULL)) {
        return json_integer(number);
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: must be %s, not '%s'", name,
                kind == SET_BOOL ? "yes or no" : "a whole number", text);
    return NULL;
}

static gboolean set_one(const char *word, json_t *spec, GError **error)
{
    const char *equals = strchr(word, '=');
    g_autofree char *name = equals ? g_strndup(word, (gsize) (equals - word)) : g_strdup(word);
    g_autoptr(GString) known = g_string_new(NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(settable); i++) {
        g_string_append_printf(known, "%s%s", i ? ", " : "", settable[i].name);
        if (!equals || strcmp(settable[i].name, name) != 0) {
            continue;
        }
        json_t *value = equals[1] ? set_value(settable[i].kind, name, equals + 1, error) : json_null();
        if (value) {
            json_object_set_new(spec, settable[i].field, value);
        }
        return value != NULL;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                "'%s': must be KEY=VALUE, or KEY= for the default, where KEY is one of %s", word, known->str);
    return FALSE;
}

json_t *guest_set_body(const Cli *cli, GError **error)
{
    g_autoptr(json_t) spec = json_object();
    for (char **word = cli->words + 1; *word; word++) {
        if (!set_one(*word, spec, error)) {
            return NULL;
        }
    }
    return json_pack("{s:O}", "spec", spec);
}
