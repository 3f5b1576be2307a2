/* SPDX-License-Identifier: Apache-2.0
 * Codec and rules of the cluster's configuration document. */
#include "cluster/cluster_config.h"

#include "common/error.h"

static const JsonField corosync_tuning_fields[] = {
    {.name = "token_ms", .kind = JSON_FIELD_INT, .offset = offsetof(CorosyncTuning, token_ms), .max = 60000},
    {0},
};
const JsonStruct corosync_tuning_type = {.size = sizeof(CorosyncTuning), .fields = corosync_tuning_fields};

static const JsonField etcd_tuning_fields[] = {
    {.name = "heartbeat_ms", .kind = JSON_FIELD_INT, .offset = offsetof(EtcdTuning, heartbeat_ms), .max = 5000},
    {.name = "election_ms", .kind = JSON_FIELD_INT, .offset = offsetof(EtcdTuning, election_ms), .max = 50000},
    {0},
};
const JsonStruct etcd_tuning_type = {.size = sizeof(EtcdTuning), .fields = etcd_tuning_fields};

static const JsonField cluster_config_fields[] = {
    {.name = "version", .kind = JSON_FIELD_INT, .offset = offsetof(ClusterConfig, version), .required = TRUE},
    {.name = "name", .kind = JSON_FIELD_STRING, .offset = offsetof(ClusterConfig, name), .required = TRUE},
    {.name = "created_at", .kind = JSON_FIELD_STRING, .offset = offsetof(ClusterConfig, created_at)},
    {.name = "corosync",
     .kind = JSON_FIELD_STRUCT,
     .offset = offsetof(ClusterConfig, corosync),
     .sub = &corosync_tuning_type},
    {.name = "etcd", .kind = JSON_FIELD_STRUCT, .offset = offsetof(ClusterConfig, etcd), .sub = &etcd_tuning_type},
    {0},
};
const JsonStruct cluster_config_type = {.size = sizeof(ClusterConfig), .fields = cluster_config_fields};

void cluster_config_free(ClusterConfig *config)
{
    if (config) {
        json_struct_clear(&cluster_config_type, config);
        g_free(config);
    }
}

static gboolean tuning_wrong(const char *what, const char *field, const char *text, GError **error)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s.%s: %s", what, field, text);
    return FALSE;
}

gboolean corosync_tuning_check(const CorosyncTuning *tuning, const char *what, GError **error)
{
    if (tuning->token_ms != 0 && (tuning->token_ms < 500 || tuning->token_ms > 60000)) {
        return tuning_wrong(what, "token_ms",
                            "must be between 500 and 60000 (leave it out for the default of the cluster's size)",
                            error);
    }
    return TRUE;
}

gboolean etcd_tuning_check(const EtcdTuning *tuning, const char *what, GError **error)
{
    if ((tuning->heartbeat_ms == 0) != (tuning->election_ms == 0)) {
        return tuning_wrong(what, tuning->heartbeat_ms ? "election_ms" : "heartbeat_ms",
                            "is missing: give heartbeat_ms and election_ms together or neither", error);
    }
    if (tuning->heartbeat_ms != 0 && (tuning->heartbeat_ms < 50 || tuning->heartbeat_ms > 5000)) {
        return tuning_wrong(what, "heartbeat_ms", "must be between 50 and 5000", error);
    }
    /* etcd itself refuses less than five heartbeats and more than 50 s. */
    if (tuning->election_ms > 50000 || tuning->election_ms < 5 * tuning->heartbeat_ms) {
        return tuning_wrong(what, "election_ms", "must be at least five times heartbeat_ms and at most 50000", error);
    }
    return TRUE;
}

char *cluster_config_to_text(const ClusterConfig *config)
{
    g_autoptr(json_t) object = json_struct_encode(&cluster_config_type, config);
    return json_text_from(object);
}

ClusterConfig *cluster_config_from_text(const char *text, GError **error)
{
    g_autoptr(json_t) object = json_text_parse(text, -1, "cluster/config", error);
    g_autoptr(ClusterConfig) config = g_new0(ClusterConfig, 1);
    if (!object || !json_struct_decode(object, &cluster_config_type, "cluster/config", config, error)) {
        return NULL;
    }
    if (config->version != 1) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED,
                    "cluster/config.version: is %" G_GINT64_FORMAT ", this release knows 1: upgrade this node",
                    config->version);
        return NULL;
    }
    return g_steal_pointer(&config);
}

ClusterConfig *cluster_config_load(Store *store, GError **error)
{
    g_autoptr(StoreEntry) entry = store_get(store, CLUSTER_CONFIG_KEY, NULL, error);
    return entry ? cluster_config_from_text(entry->value, error) : NULL;
}
