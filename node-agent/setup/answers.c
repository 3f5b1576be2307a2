/* SPDX-License-Identifier: Apache-2.0
 * Codec and rules of the answers. */
#include "node-agent/setup/answers.h"

#include "common/error.h"
#include "common/file.h"
#include "common/ident.h"
#include "fencing/device.h"
#include "node-agent/join_wire.h"
#include "node-agent/setup/checks.h"

#include <string.h>

static const char *const action_names[] = {"init", "join", NULL};
static const char *const role_names[] = {"node", "witness", NULL};

static const JsonField answers_join_fields[] = {
    {.name = "address", .kind = JSON_FIELD_STRING, .offset = offsetof(AnswersJoin, address), .required = TRUE},
    {.name = "token", .kind = JSON_FIELD_STRING, .offset = offsetof(AnswersJoin, token), .required = TRUE},
    {0},
};
static const JsonStruct answers_join_type = {.size = sizeof(AnswersJoin), .fields = answers_join_fields};

/* A network here is what a Network document says, without its version. */
static const JsonField answers_network_fields[] = {
    {.name = "name", .kind = JSON_FIELD_STRING, .offset = offsetof(Network, name), .required = TRUE},
    {.name = "interface", .kind = JSON_FIELD_STRING, .offset = offsetof(Network, interface)},
    {.name = "vlan", .kind = JSON_FIELD_INT, .offset = offsetof(Network, vlan), .max = 4094},
    {0},
};
static const JsonStruct answers_network_type = {.size = sizeof(Network), .fields = answers_network_fields};

static const JsonField answers_fields[] = {
    {.name = "version",
     .kind = JSON_FIELD_INT,
     .offset = offsetof(Answers, version),
     .required = TRUE,
     .min = 0,
     .max = 1},
    {.name = "action",
     .kind = JSON_FIELD_ENUM,
     .offset = offsetof(Answers, action),
     .required = TRUE,
     .names = action_names},
    {.name = "role", .kind = JSON_FIELD_ENUM, .offset = offsetof(Answers, role), .names = role_names},
    {.name = "cluster", .kind = JSON_FIELD_STRING, .offset = offsetof(Answers, cluster)},
    {.name = "node", .kind = JSON_FIELD_STRING, .offset = offsetof(Answers, node), .required = TRUE},
    {.name = "ring0", .kind = JSON_FIELD_STRING, .offset = offsetof(Answers, ring0), .required = TRUE},
    {.name = "ring1", .kind = JSON_FIELD_STRING, .offset = offsetof(Answers, ring1)},
    {.name = "storage_device", .kind = JSON_FIELD_STRING, .offset = offsetof(Answers, storage_device)},
    {.name = "join", .kind = JSON_FIELD_STRUCT, .offset = offsetof(Answers, join), .sub = &answers_join_type},
    {.name = "join_tokens", .kind = JSON_FIELD_STRV, .offset = offsetof(Answers, join_tokens)},
    {.name = "corosync",
     .kind = JSON_FIELD_STRUCT,
     .offset = offsetof(Answers, corosync),
     .sub = &corosync_tuning_type},
    {.name = "etcd", .kind = JSON_FIELD_STRUCT, .offset = offsetof(Answers, etcd), .sub = &etcd_tuning_type},
    {.name = "fence", .kind = JSON_FIELD_STRUCT, .offset = offsetof(Answers, fence), .sub = &join_fence_type},
    {.name = "networks",
     .kind = JSON_FIELD_STRUCTS,
     .offset = offsetof(Answers, networks),
     .sub = &answers_network_type},
    {0},
};
const JsonStruct answers_type = {.size = sizeof(Answers), .fields = answers_fields};

void answers_free(Answers *answers)
{
    if (answers) {
        json_struct_clear(&answers_type, answers);
        g_free(answers);
    }
}

static gboolean field_wrong(GError **error, const char *field, const char *text)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: %s", field, text);
    return FALSE;
}

/* "parameters" is an object in the file and a list of name=value everywhere else. */
static gboolean fence_flatten(json_t *document, GError **error)
{
    json_t *fence = json_object_get(document, "fence");
    json_t *parameters = json_object_get(fence, "parameters");
    if (!parameters) {
        return TRUE;
    }
    if (!json_is_object(parameters)) {
        return field_wrong(error, "fence.parameters", "must be an object of name and value");
    }
    g_autoptr(json_t) list = json_array();
    const char *name;
    json_t *value;
    json_object_foreach (parameters, name, value) {
        g_autofree char *field = g_strconcat("fence.parameters.", name, NULL);
        if (!json_is_string(value)) {
            return field_wrong(error, field, "must be a string");
        }
        json_array_append_new(list, json_sprintf("%s=%s", name, json_string_value(value)));
    }
    return json_object_set(fence, "parameters", list) == 0;
}

Answers *answers_parse(const char *text, GError **error)
{
    g_autoptr(json_t) document = json_text_parse(text, -1, "answers", error);
    g_autoptr(Answers) answers = g_new0(Answers, 1);
    if (!document || !fence_flatten(document, error) ||
        !json_struct_decode(document, &answers_type, "", answers, error)) {
        return NULL;
    }
    return g_steal_pointer(&answers);
}

Answers *answers_read(const SetupContext *context, const char *path, GError **error)
{
    g_autofree char *text = file_read(path, 65536, error);
    g_autoptr(Answers) answers = text ? answers_parse(text, error) : NULL;
    if (!answers || !answers_check(context, answers, error)) {
        g_prefix_error(error, "%s: ", path);
        return NULL;
    }
    return g_steal_pointer(&answers);
}

static gboolean check_init(Answers *answers, GError **error)
{
    if (!ident_check_name(answers->cluster, "cluster", error)) {
        return FALSE;
    }
    for (char **token = answers->join_tokens; token && *token; token++) {
        g_autofree char *id = NULL, *secret = NULL;
        if (!join_token_split(*token, "join_tokens", &id, &secret, error)) {
            return FALSE;
        }
    }
    for (guint i = 0; answers->networks && i < answers->networks->len; i++) {
        Network *network = answers->networks->pdata[i];
        network->version = 1;
        if (!network_check(network, error)) {
            g_prefix_error(error, "networks[%u].", i);
            return FALSE;
        }
    }
    return corosync_tuning_check(&answers->corosync, "corosync", error) &&
           etcd_tuning_check(&answers->etcd, "etcd", error);
}

static gboolean check_join(const SetupContext *context, const Answers *answers, GError **error)
{
    g_autofree char *id = NULL, *secret = NULL;
    if (!answers->join.address) {
        return field_wrong(error, "join.address", "is missing: give the ring0 address of any member");
    }
    if (!check_address_text(context, answers->join.address, "join.address", error) ||
        !join_token_split(answers->join.token, "join.token", &id, &secret, error)) {
        return FALSE;
    }
    if (g_strcmp0(answers->join.address, answers->ring0) == 0 && !context->testing) {
        return field_wrong(error, "join.address", "is this node's own ring0: give the address of a member");
    }
    return TRUE;
}

static gboolean check_fence(const Answers *answers, GError **error)
{
    if (!answers->fence.agent) {
        return TRUE;
    }
    FenceDevice device = {
        .version = 1, .node = answers->node, .agent = answers->fence.agent, .parameters = answers->fence.parameters};
    if (!fence_device_check(&device, error)) {
        g_prefix_error(error, "fence.");
        return FALSE;
    }
    return TRUE;
}

/* What makes no sense for a witness is refused rather than ignored. */
static gboolean check_witness(const Answers *answers, GError **error)
{
    const struct {
        const char *field;
        gboolean given;
    } unwanted[] = {{"storage_device", answers->storage_device != NULL},
                    {"ring1", g_strcmp0(answers->ring1, answers->ring0) != 0},
                    {"fence", answers->fence.agent != NULL}};
    if (answers->action != ANSWERS_JOIN) {
        return field_wrong(error, "role", "a witness joins a cluster of nodes, it cannot make one");
    }
    for (gsize i = 0; i < G_N_ELEMENTS(unwanted); i++) {
        if (unwanted[i].given) {
            return field_wrong(error, unwanted[i].field,
                               "is for nodes: a witness has one address and no guests, leave it out");
        }
    }
    return TRUE;
}

static gboolean check_storage(const Answers *answers, GError **error)
{
    return (answers->storage_device && answers->storage_device[0] == '/') ||
           field_wrong(error, "storage_device", "must be the path of an empty block device such as /dev/vdb");
}

gboolean answers_check(const SetupContext *context, Answers *answers, GError **error)
{
    if (answers->version != 1) {
        return field_wrong(error, "version", "must be 1");
    }
    if (!answers->ring1) {
        answers->ring1 = g_strdup(answers->ring0);
    }
    if (!ident_check_name(answers->node, "node", error) ||
        !check_address_text(context, answers->ring0, "ring0", error) ||
        !check_address_text(context, answers->ring1, "ring1", error)) {
        return FALSE;
    }
    if (!(answers->role == ANSWERS_WITNESS ? check_witness(answers, error) : check_storage(answers, error))) {
        return FALSE;
    }
    return (answers->action == ANSWERS_INIT ? check_init(answers, error) : check_join(context, answers, error)) &&
           check_fence(answers, error);
}

void answers_add_fence_parameter(Answers *answers, const char *assignment)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    if (answers->fence.parameters) {
        g_strv_builder_addv(builder, (const char **) answers->fence.parameters);
    }
    g_strv_builder_add(builder, assignment);
    g_strfreev(answers->fence.parameters);
    answers->fence.parameters = g_strv_builder_end(builder);
}
