/* SPDX-License-Identifier: Apache-2.0
 * Command line to Answers: each option fills one field, and the same rules as for an answer file apply. */
#include "node-agent/setup/options.h"

#include "common/error.h"
#include "common/json.h"

#include <getopt.h>
#include <string.h>

typedef enum {
    KIND_STRING,
    KIND_INT,
    KIND_LIST,
    KIND_FENCE_PARAMETER,
    KIND_NETWORK,
    KIND_ROLE,
    KIND_ANSWERS
} OptionKind;

typedef struct {
    const char *name;
    const char *field; /* as errors of answers_check() call it */
    OptionKind kind;
    gsize offset;
} OptionRule;

static const OptionRule rules[] = {
    {"cluster", "cluster", KIND_STRING, offsetof(Answers, cluster)},
    {"role", "role", KIND_ROLE, 0},
    {"node", "node", KIND_STRING, offsetof(Answers, node)},
    {"ring0", "ring0", KIND_STRING, offsetof(Answers, ring0)},
    {"ring1", "ring1", KIND_STRING, offsetof(Answers, ring1)},
    {"storage", "storage_device", KIND_STRING, offsetof(Answers, storage_device)},
    {"address", "join.address", KIND_STRING, offsetof(Answers, join.address)},
    {"token", "join.token", KIND_STRING, offsetof(Answers, join.token)},
    {"join-token", "join_tokens", KIND_LIST, offsetof(Answers, join_tokens)},
    {"corosync-token-ms", "corosync.token_ms", KIND_INT, offsetof(Answers, corosync.token_ms)},
    {"etcd-heartbeat-ms", "etcd.heartbeat_ms", KIND_INT, offsetof(Answers, etcd.heartbeat_ms)},
    {"etcd-election-ms", "etcd.election_ms", KIND_INT, offsetof(Answers, etcd.election_ms)},
    {"fence-agent", "fence.agent", KIND_STRING, offsetof(Answers, fence.agent)},
    {"fence-parameter", "fence.parameters", KIND_FENCE_PARAMETER, 0},
    {"network", "networks", KIND_NETWORK, 0},
    {"answers", "answers", KIND_ANSWERS, 0},
};

static const char *const verb_names[] = {"init", "join", "first-boot", "status", "reset", "help"};

static const char help_text[] =
    "holdfast-setup: make this machine a node of a Holdfast cluster.\n"
    "\n"
    "  holdfast-setup init --cluster NAME --node NAME --ring0 IP [--ring1 IP] --storage DEVICE\n"
    "  holdfast-setup join --address IP --token ID.SECRET --node NAME --ring0 IP [--ring1 IP] --storage DEVICE\n"
    "  holdfast-setup join --role witness --address IP --token ID.SECRET --node NAME --ring0 IP\n"
    "  holdfast-setup init|join --answers FILE     the same from a file (see docs)\n"
    "  holdfast-setup first-boot                   what " ANSWERS_PATH " says; a join is tried until it works\n"
    "  holdfast-setup status                       what is set up here\n"
    "  holdfast-setup reset                        give up a set-up that was begun and not finished\n"
    "  holdfast-setup store rescue                 the store lost its majority for good: go on with this node's copy\n"
    "  holdfast-setup store restore FILE           a new store from a snapshot\n"
    "      --confirm CLUSTER --others-gone         both are asked for when left out; docs/runbook first\n"
    "  holdfast-setup store leave --confirm CLUSTER  this node's voter out of the store, what it has is kept\n"
    "  holdfast-setup store rejoin                 and in again, as a new voter\n"
    "\n"
    "  --cluster NAME            name of the new cluster\n"
    "  --role node|witness       a witness only votes, which two nodes need: no guests, no storage (join)\n"
    "  --node NAME               name of this node; it becomes the host name (not a witness's)\n"
    "  --ring0 IP, --ring1 IP    this node's addresses on the cluster and on the replication network\n"
    "  --storage DEVICE          empty disk for guests, whole: /dev/vdb\n"
    "  --address IP              ring0 of any member; --token ID.SECRET from `holdfast token create` there\n"
    "  --join-token ID.SECRET    accept this token once, for 24 hours (init, repeatable)\n"
    "  --fence-agent AGENT       e.g. fence_ipmilan; --fence-parameter NAME=VALUE (repeatable)\n"
    "  --network NAME[:INTERFACE[:VLAN]]  a network for guests (init, repeatable)\n"
    "  --corosync-token-ms, --etcd-heartbeat-ms, --etcd-election-ms  only for slow or far networks (init)\n";

const char *options_help(void)
{
    return help_text;
}

void options_clear(Options *options)
{
    g_clear_pointer(&options->answers, answers_free);
}

static void list_append(char ***list, const char *value)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    if (*list) {
        g_strv_builder_addv(builder, (const char **) *list);
    }
    g_strv_builder_add(builder, value);
    g_strfreev(*list);
    *list = g_strv_builder_end(builder);
}

static gboolean network_append(Answers *answers, const char *value, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(value, ":", 4);
    guint n_parts = g_strv_length(parts);
    gint64 vlan = 0;
    if (n_parts < 1 || n_parts > 3) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "--network: '%s' must be NAME, NAME:INTERFACE or NAME:INTERFACE:VLAN", value);
    }
    if (n_parts == 3 && !g_ascii_string_to_signed(parts[2], 10, 0, 4094, &vlan, NULL)) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "--network: the VLAN in '%s' must be between 0 and 4094", value);
    }
    if (!answers->networks) {
        answers->networks = g_ptr_array_new();
    }
    Network *network = g_new0(Network, 1);
    network->version = 1;
    network->name = g_strdup(parts[0]);
    network->interface = n_parts > 1 && *parts[1] ? g_strdup(parts[1]) : NULL;
    network->vlan = vlan;
    g_ptr_array_add(answers->networks, network);
    return TRUE;
}

static gboolean option_apply(const SetupContext *context, const OptionRule *rule, const char *value, Answers **answers,
                             GError **error)
{
    char *member = (char *) *answers + rule->offset;
    switch (rule->kind) {
    case KIND_STRING:
        g_free(*(char **) (void *) member);
        *(char **) (void *) member = g_strdup(value);
        return TRUE;
    case KIND_INT:
        if (!g_ascii_string_to_signed(value, 10, 1, 1000000, (gint64 *) (void *) member, NULL)) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "--%s: '%s' must be a number of milliseconds",
                                       rule->name, value);
        }
        return TRUE;
    case KIND_LIST:
        list_append((char ***) (void *) member, value);
        return TRUE;
    case KIND_FENCE_PARAMETER:
        if (!strchr(value, '=') || value[0] == '=') {
            return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "--fence-parameter: '%s' must be NAME=VALUE",
                                       value);
        }
        answers_add_fence_parameter(*answers, value);
        return TRUE;
    case KIND_ROLE:
        if (strcmp(value, "node") != 0 && strcmp(value, "witness") != 0) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "--role: '%s' must be node or witness", value);
        }
        (*answers)->role = strcmp(value, "witness") == 0 ? ANSWERS_WITNESS : ANSWERS_NODE;
        return TRUE;
    case KIND_NETWORK:
        return network_append(*answers, value, error);
    case KIND_ANSWERS:
        g_clear_pointer(answers, answers_free);
        *answers = answers_read(context, value, error);
        return *answers != NULL;
    }
    g_return_val_if_reached(FALSE);
}

/* "storage_device: ..." of the common rules becomes "--storage: ..." for who typed it. */
static void error_name_option(GError *error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rules); i++) {
        gsize length = strlen(rules[i].field);
        if (strncmp(error->message, rules[i].field, length) == 0 && error->message[length] == ':') {
            char *text = g_strdup_printf("--%s%s", rules[i].name, error->message + length);
            g_free(error->message);
            error->message = text;
            return;
        }
    }
}

static gboolean verb_parse(int argc, char **argv, OptionsVerb *ret, GError **error)
{
    const char *verb = argc > 1 ? argv[1] : "help";
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        verb = "help";
    }
    for (gsize i = 0; i < G_N_ELEMENTS(verb_names); i++) {
        if (strcmp(verb, verb_names[i]) == 0) {
            *ret = (OptionsVerb) i;
            return TRUE;
        }
    }
    return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                               "'%s' is not a command: use init, join, first-boot, status, reset or help", verb);
}

/* Options of init and join. */
static gboolean arguments_parse(const SetupContext *context, int argc, char **argv, Answers **answers,
                                gboolean *ret_from_file, GError **error)
{
    struct option long_options[G_N_ELEMENTS(rules) + 1] = {0};
    for (gsize i = 0; i < G_N_ELEMENTS(rules); i++) {
        long_options[i] = (struct option){rules[i].name, required_argument, NULL, 0};
    }
    opterr = 0;
    optind = 0; /* glibc: start anew */
    int index = 0, got, seen = 0;
    while ((got = getopt_long(argc - 1, argv + 1, ":", long_options, &index)) != -1) {
        if (got == ':') {
            return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "%s: needs a value", argv[optind]);
        }
        if (got != 0) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "%s: no such option, see `holdfast-setup help`",
                                       argv[optind]);
        }
        seen++;
        *ret_from_file = *ret_from_file || rules[index].kind == KIND_ANSWERS;
        if (*ret_from_file && seen > 1) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                       "--answers: is all or nothing: leave the other options out");
        }
        if (!option_apply(context, &rules[index], optarg, answers, error)) {
            return FALSE;
        }
    }
    if (optind < argc - 1) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "'%s': unexpected argument, every value needs its --option", argv[optind + 1]);
    }
    return TRUE;
}

static gboolean answers_from_arguments(const SetupContext *context, int argc, char **argv, AnswersAction action,
                                       Options *ret, GError **error)
{
    gboolean from_file = FALSE;
    ret->answers = g_new0(Answers, 1);
    ret->answers->version = 1;
    ret->answers->action = (int) action;
    if (!arguments_parse(context, argc, argv, &ret->answers, &from_file, error)) {
        return FALSE;
    }
    if (from_file) {
        return ret->answers->action == (int) action ||
               holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "--answers: the file's action is not '%s'",
                                   verb_names[action]);
    }
    g_autoptr(GError) problem = NULL;
    if (ret->answers->fence.parameters && !ret->answers->fence.agent) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "--fence-parameter: needs --fence-agent");
    }
    if (!answers_check(context, ret->answers, &problem)) {
        error_name_option(problem);
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    return TRUE;
}

gboolean options_parse(const SetupContext *context, int argc, char **argv, Options *ret, GError **error)
{
    if (!verb_parse(argc, argv, &ret->verb, error)) {
        return FALSE;
    }
    if (ret->verb == OPTIONS_INIT || ret->verb == OPTIONS_JOIN) {
        return answers_from_arguments(context, argc, argv, ret->verb == OPTIONS_INIT ? ANSWERS_INIT : ANSWERS_JOIN, ret,
                                      error);
    }
    return argc <= 2 || holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "'%s': %s takes no arguments", argv[2],
                                            verb_names[ret->verb]);
}
