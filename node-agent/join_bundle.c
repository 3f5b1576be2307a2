/* SPDX-License-Identifier: Apache-2.0
 * The bundle: certificates, keys and configuration of a new member. */
#include "node-agent/join_bundle.h"

#include "cluster/corosync_conf.h"
#include "cluster/etcd_conf.h"
#include "common/error.h"
#include "common/file.h"
#include "node-agent/setup/authkey.h"
#include "node-agent/setup/tls.h"

#include <string.h>

#define MEMBERSHIP_TIMEOUT_MS 2000

static const JsonField join_member_fields[] = {
    {.name = "id", .kind = JSON_FIELD_INT, .offset = offsetof(JoinMember, id), .required = TRUE},
    {0},
};
static const JsonStruct join_member_type = {.size = sizeof(JoinMember), .fields = join_member_fields};

static const JsonField join_bundle_fields[] = {
    {.name = "version",
     .kind = JSON_FIELD_INT,
     .offset = offsetof(JoinBundle, version),
     .required = TRUE,
     .min = 1,
     .max = 1},
    {.name = "cluster", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinBundle, cluster), .required = TRUE},
    {.name = "node_id",
     .kind = JSON_FIELD_INT,
     .offset = offsetof(JoinBundle, node_id),
     .required = TRUE,
     .min = 0,
     .max = G_MAXINT32},
    {.name = "voter", .kind = JSON_FIELD_BOOL, .offset = offsetof(JoinBundle, voter), .required = TRUE},
    {.name = "ca", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinBundle, ca), .required = TRUE},
    {.name = "ca_key", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinBundle, ca_key)},
    {.name = "cert", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinBundle, cert), .required = TRUE},
    {.name = "authkey", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinBundle, authkey)},
    {.name = "corosync_conf", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinBundle, corosync_conf)},
    {.name = "voters", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinBundle, voters), .required = TRUE},
    {.name = "etcd_initial_cluster", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinBundle, etcd_initial_cluster)},
    {.name = "tuning",
     .kind = JSON_FIELD_STRUCT,
     .offset = offsetof(JoinBundle, tuning),
     .required = TRUE,
     .sub = &cluster_config_type},
    {.name = "members", .kind = JSON_FIELD_STRUCTS, .offset = offsetof(JoinBundle, members), .sub = &join_member_type},
    {0},
};
const JsonStruct join_bundle_type = {.size = sizeof(JoinBundle), .fields = join_bundle_fields};

/* What only nodes get: with the authkey one can speak in the membership, with the CA's key make certificates. */
static gboolean bundle_node_secrets(const JoinAdmission *admission, JoinBundle *bundle, GError **error)
{
    g_autofree char *path = setup_path(admission->context, SETUP_AUTHKEY_PATH);
    gsize length = 0;
    g_autofree char *authkey = authkey_read(path, &length, error);
    if (!authkey) {
        return FALSE;
    }
    bundle->authkey = g_base64_encode((const guchar *) authkey, length);
    bundle->ca_key = setup_read(admission->context, NODE_CA_KEY_FILE, error);
    return bundle->ca_key != NULL;
}

static gboolean bundle_files(const JoinAdmission *admission, JoinBundle *bundle, GError **error)
{
    const JoinRequest *request = &admission->request;
    bundle->ca = setup_read(admission->context, NODE_CA_FILE, error);
    bundle->cert = bundle->ca ? tls_sign(admission->context, request->csr, request->node, request->ring0,
                                         request->ring1, request->witness, error)
                              : NULL;
    return bundle->cert && (request->witness || bundle_node_secrets(admission, bundle, error));
}

/* This node's own corosync.conf is up to date before the joiner hears of it; the other members follow by their watch.
 */
static gboolean bundle_membership(const JoinAdmission *admission, JoinBundle *bundle, GError **error)
{
    const SetupContext *context = admission->context;
    g_autoptr(GPtrArray) nodes = join_nodes_load(admission->store, error);
    g_autoptr(ClusterConfig) config = nodes ? cluster_config_load(admission->store, error) : NULL;
    g_autoptr(Witness) witness = NULL;
    if (!config || !witness_load(admission->store, &witness, NULL, error) ||
        !corosync_conf_reconcile(context->prefix, context->runner, config, nodes, witness, context->etcd_client_port,
                                 NULL, error)) {
        return FALSE;
    }
    if (!admission->request.witness) {
        bundle->corosync_conf = corosync_conf_text(config->name, nodes, witness, &config->corosync);
    }
    bundle->voters = corosync_conf_voters_text(nodes, witness, context->etcd_client_port);
    bundle->cluster = g_strdup(config->name);
    bundle->tuning = *config;
    memset(config, 0, sizeof(*config)); /* its strings are the bundle's now */
    bundle->members = g_ptr_array_new();
    MembershipView view;
    gboolean known = context->membership(MEMBERSHIP_TIMEOUT_MS, &view, NULL);
    for (guint i = 0; known && i < view.n_nodes; i++) {
        JoinMember *member = g_new0(JoinMember, 1);
        member->id = view.nodes[i];
        g_ptr_array_add(bundle->members, member);
    }
    return TRUE;
}

/* etcd wants exactly the members it will find, so this comes from etcd itself, not from the nodes. */
char *join_bundle_initial_cluster(const SetupContext *context, Store *store, const char *node, const char *ring0,
                                  GError **error)
{
    g_autofree char *own_url = etcd_conf_peer_url(ring0, context->etcd_peer_port);
    g_autoptr(GPtrArray) members = store_members(store, error);
    if (!members) {
        return NULL;
    }
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < members->len; i++) {
        const StoreMember *member = members->pdata[i];
        const char *url = member->peer_urls[0] ? member->peer_urls[0] : "";
        if (strcmp(url, own_url) == 0) {
            continue;
        }
        if (!*member->name || member->learner) {
            g_set_error(
                error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                "the node at %s has not finished its join: finish it there, or remove that node; then try again", url);
            return NULL;
        }
        g_string_append_printf(text, "%s=%s,", member->name, url);
    }
    g_string_append_printf(text, "%s=%s", node, own_url);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

json_t *join_bundle_new(const JoinAdmission *admission, GError **error)
{
    JoinBundle bundle = {.version = 1, .node_id = admission->node->id, .voter = admission->node->voter};
    json_t *object = NULL;
    if (bundle.voter) {
        bundle.etcd_initial_cluster = join_bundle_initial_cluster(admission->context, admission->store,
                                                                  admission->node->name, admission->node->ring0, error);
    }
    if ((!bundle.voter || bundle.etcd_initial_cluster) && bundle_membership(admission, &bundle, error) &&
        bundle_files(admission, &bundle, error)) {
        object = json_struct_encode(&join_bundle_type, &bundle);
    }
    json_struct_clear(&join_bundle_type, &bundle);
    return object;
}
