/* SPDX-License-Identifier: Apache-2.0
 * The manual fence agent: the device of every node whose real device was not proven by a shot. Its `off` is a person.
 * It succeeds when an operator has confirmed that the node is off, and in no other case: whatever is unknown or
 * unreachable means "still on". */
#include "fencing/manual_agent.h"

#include "common/error.h"
#include "common/ident.h"

#include <string.h>

#define WAIT_DEFAULT_S 8
#define WAIT_MAX_S 3600
#define POLL_MS 1000

void manual_options_clear(ManualOptions *options)
{
    g_clear_pointer(&options->action, g_free);
    g_clear_pointer(&options->node, g_free);
}

static void replace(char **text, const char *value)
{
    g_free(*text);
    *text = g_strdup(value);
}

static gboolean option_set(ManualOptions *options, const char *name, const char *value, gboolean *ret_known,
                           GError **error)
{
    *ret_known = TRUE;
    if (strcmp(name, "action") == 0 || strcmp(name, "option") == 0) {
        replace(&options->action, value);
    } else if (strcmp(name, "plug") == 0 || strcmp(name, "port") == 0 ||
               (strcmp(name, "nodename") == 0 && !options->node)) { /* the plug has the last word */
        replace(&options->node, value);
    } else if (strcmp(name, "wait") == 0) {
        guint64 number = 0;
        if (!g_ascii_string_to_unsigned(value, 10, 0, WAIT_MAX_S, &number, NULL)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "wait: must be seconds, 0 to %d, not '%s'",
                        WAIT_MAX_S, value);
            return FALSE;
        }
        options->wait_s = (int) number;
    } else if (strcmp(name, "nodename") != 0) {
        *ret_known = FALSE;
    }
    return TRUE;
}

static const char *short_name(char letter)
{
    switch (letter) {
    case 'o':
        return "action";
    case 'n':
        return "plug";
    case 'w':
        return "wait";
    default:
        return "";
    }
}

/* "--name=value", "--name value", "-o value", "-ovalue". */
static gboolean parse_arguments(char *const *arguments, ManualOptions *out, GError **error)
{
    for (guint i = 0; arguments[i]; i++) {
        const char *word = arguments[i];
        const char *value = NULL;
        g_autofree char *name = NULL;
        if (g_str_has_prefix(word, "--")) {
            value = strchr(word, '=') ? strchr(word, '=') + 1 : NULL;
            name = g_strndup(word + 2, strcspn(word + 2, "="));
        } else if (word[0] == '-' && word[1]) {
            name = g_strdup(short_name(word[1]));
            value = word[2] ? word + 2 : NULL;
        }
        if (!value && arguments[i + 1]) {
            value = arguments[++i];
        }
        gboolean known = FALSE;
        if (name && value && !option_set(out, name, value, &known, error)) {
            return FALSE;
        }
        if (!known) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                        "%s: is no option; options are --action, --plug, --nodename and --wait, each with a value",
                        word);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean parse_input(const char *text, ManualOptions *out, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_strstrip(*line);
        char *equals = strchr(*line, '=');
        if (**line == '#' || !equals) {
            continue;
        }
        *equals = '\0';
        gboolean known = FALSE;
        if (!option_set(out, g_strstrip(*line), g_strstrip(equals + 1), &known, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean manual_options_parse(char *const *arguments, const char *input_text, ManualOptions *out, GError **error)
{
    out->wait_s = WAIT_DEFAULT_S;
    gboolean ok = arguments[0] ? parse_arguments(arguments, out, error) : parse_input(input_text, out, error);
    if (ok && !out->action) {
        out->action = g_strdup("off");
    }
    return ok;
}

static const char metadata[] =
    "<?xml version=\"1.0\"?>\n"
    "<resource-agent name=\"fence_holdfast_manual\" shortdesc=\"Fencing by an operator's confirmation\">\n"
    "<longdesc>Stands in for a fence device that Holdfast has not yet proven by a real shot. The action off succeeds "
    "only after an operator has "
    "switched the node off, checked that, and confirmed it with 'holdfast fence confirm'. A confirmation serves once, "
    "for one life of the "
    "node.</longdesc>\n"
    "<vendor-url></vendor-url>\n"
    "<parameters>\n"
    "\t<parameter name=\"action\" unique=\"0\" required=\"0\">\n"
    "\t\t<getopt mixed=\"-o, --action=[action]\"/>\n"
    "\t\t<content type=\"string\" default=\"off\"/>\n"
    "\t\t<shortdesc lang=\"en\">Fencing action</shortdesc>\n"
    "\t</parameter>\n"
    "\t<parameter name=\"plug\" unique=\"0\" required=\"1\" obsoletes=\"port\">\n"
    "\t\t<getopt mixed=\"-n, --plug=[node]\"/>\n"
    "\t\t<content type=\"string\"/>\n"
    "\t\t<shortdesc lang=\"en\">Name of the node</shortdesc>\n"
    "\t</parameter>\n"
    "\t<parameter name=\"port\" unique=\"0\" required=\"0\" deprecated=\"1\">\n"
    "\t\t<getopt mixed=\"-n, --plug=[node]\"/>\n"
    "\t\t<content type=\"string\"/>\n"
    "\t\t<shortdesc lang=\"en\">Name of the node</shortdesc>\n"
    "\t</parameter>\n"
    "\t<parameter name=\"wait\" unique=\"0\" required=\"0\">\n"
    "\t\t<getopt mixed=\"-w, --wait=[seconds]\"/>\n"
    "\t\t<content type=\"second\" default=\"8\"/>\n"
    "\t\t<shortdesc lang=\"en\">How long off waits for the confirmation</shortdesc>\n"
    "\t</parameter>\n"
    "</parameters>\n"
    "<actions>\n"
    "\t<action name=\"on\" automatic=\"0\"/>\n"
    "\t<action name=\"off\"/>\n"
    "\t<action name=\"status\"/>\n"
    "\t<action name=\"monitor\"/>\n"
    "\t<action name=\"list\"/>\n"
    "\t<action name=\"metadata\"/>\n"
    "\t<action name=\"validate-all\"/>\n"
    "</actions>\n"
    "</resource-agent>\n";

static int do_metadata(const ManualOptions *options G_GNUC_UNUSED, const ManualWorld *world G_GNUC_UNUSED, FILE *out,
                       FILE *err G_GNUC_UNUSED)
{
    fputs(metadata, out);
    return MANUAL_OK;
}

static int do_nothing(const ManualOptions *options G_GNUC_UNUSED, const ManualWorld *world G_GNUC_UNUSED,
                      FILE *out G_GNUC_UNUSED, FILE *err G_GNUC_UNUSED)
{
    return MANUAL_OK;
}

static gboolean need_node(const ManualOptions *options, FILE *err)
{
    g_autoptr(GError) problem = NULL;
    if (options->node && ident_check_name(options->node, "plug", &problem)) {
        return TRUE;
    }
    fprintf(err, "fence_holdfast_manual: %s\n", problem ? problem->message : "plug: the node's name is missing");
    return FALSE;
}

static int do_off(const ManualOptions *options, const ManualWorld *world, FILE *out, FILE *err)
{
    if (!need_node(options, err)) {
        return MANUAL_ERROR;
    }
    gint64 deadline_ms = world->now_ms(world->user_data) + (gint64) options->wait_s * 1000;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        if (world->consume(world->user_data, options->node, &problem)) {
            fprintf(out, "Success: Powered OFF (confirmed by an operator)\n");
            return MANUAL_OK;
        }
        gint64 left_ms = deadline_ms - world->now_ms(world->user_data);
        if (left_ms <= 0) {
            fprintf(err,
                    "fence_holdfast_manual: node %s is not confirmed to be off (%s). Its fencing is not proven, so a "
                    "person must: switch it "
                    "off, check that it is off, then run: holdfast fence confirm %s\n",
                    options->node, problem->message, options->node);
            return MANUAL_ERROR;
        }
        world->pause(world->user_data, (int) MIN(left_ms, POLL_MS));
    }
}

static int do_on(const ManualOptions *options G_GNUC_UNUSED, const ManualWorld *world G_GNUC_UNUSED,
                 FILE *out G_GNUC_UNUSED, FILE *err)
{
    fputs("fence_holdfast_manual: cannot switch a node on; press its power button, or give it a fence device and prove "
          "it\n",
          err);
    return MANUAL_ERROR;
}

static int do_status(const ManualOptions *options, const ManualWorld *world, FILE *out, FILE *err)
{
    g_autoptr(GError) problem = NULL;
    if (!need_node(options, err)) {
        return MANUAL_ERROR;
    }
    if (world->check(world->user_data, options->node, &problem)) {
        fputs("Status: OFF\n", out);
        return MANUAL_STATUS_OFF;
    }
    fprintf(err, "fence_holdfast_manual: power of node %s is unknown (%s)\n", options->node, problem->message);
    return MANUAL_ERROR;
}

static const struct {
    const char *name;
    int (*run)(const ManualOptions *options, const ManualWorld *world, FILE *out, FILE *err);
} actions[] = {
    {"metadata", do_metadata}, {"monitor", do_nothing}, {"list", do_nothing}, {"validate-all", do_nothing},
    {"status", do_status},     {"off", do_off},         {"on", do_on},
};

int manual_agent_run(const ManualOptions *options, const ManualWorld *world, FILE *out, FILE *err)
{
    for (guint i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (strcmp(actions[i].name, options->action) == 0) {
            return actions[i].run(options, world, out, err);
        }
    }
    fprintf(err, "fence_holdfast_manual: action '%s' is not supported\n", options->action);
    return MANUAL_ERROR;
}
