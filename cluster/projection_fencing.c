/* SPDX-License-Identifier: Apache-2.0
 * The fence devices of the projection, allowed everywhere but on their own target. A node whose device was not proven
 * by a real shot gets fence_holdfast_manual instead: its guests are recovered when a person has said that the node is
 * off, never by believing an untested BMC. A node with a proven device has the manual device as level 2, so that a
 * person's word can end the fencing of a node whose BMC is dead with it. While a device is being proven it stands
 * alone: nothing else may answer for it.
 *
 * Everybody in the group haclient can read the CIB, and support bundles contain it. So a secret stands in it as
 * "lrm://", which the fencer of each node replaces from a file of that node: but only once every node that is there has
 * the file, for a device with a password in the CIB is better than a device that cannot shoot. From then on it stays
 * so: while a node does not have the files of a changed device yet, the device stays in the CIB as it was. */
#include "cluster/fence_secret.h"
#include "cluster/projection_parts.h"

#include <string.h>

#define OFF_TIMEOUT_S 15
/* How long one manual `off` waits for the operator. Short: an action under way holds up every other recovery in the
 * cluster. */
#define MANUAL_WAIT_S 8

static const FenceDevice *device_of(const ProjectionInput *input, const char *node)
{
    for (guint i = 0; i < input->fence_devices->len; i++) {
        const FenceDevice *device = g_ptr_array_index(input->fence_devices, i);
        if (g_strcmp0(device->node, node) == 0) {
            return device->state == FENCE_UNPROVEN || !device->agent ? NULL : device;
        }
    }
    return NULL;
}

static gboolean has_parameter(char *const *parameters, const char *name)
{
    gsize length = strlen(name);
    for (; parameters && *parameters; parameters++) {
        if (strncmp(*parameters, name, length) == 0 && (*parameters)[length] == '=') {
            return TRUE;
        }
    }
    return FALSE;
}

/* A parameter unless the operator set it. */
static void pair_default(xmlNode *set, const FenceDevice *device, const char *name, const char *value)
{
    if (!device || !has_parameter(device->parameters, name)) {
        projection_pair(set, name, value);
    }
}

static void put_device_parameters(xmlNode *set, const FenceDevice *device, gboolean hide_secrets)
{
    for (char **each = device->parameters; each && *each; each++) {
        const char *equals = strchr(*each, '=');
        g_autofree char *name = equals ? g_strndup(*each, (gsize) (equals - *each)) : NULL;
        /* Whom it may shoot is ours to say. */
        if (name && strcmp(name, "pcmk_host_list") != 0 && strcmp(name, "pcmk_host_check") != 0) {
            gboolean hide = hide_secrets && fence_secret_parameter(*each) && fence_secret_fits(equals + 1);
            projection_pair(set, name, hide ? FENCE_SECRET_IN_CIB : equals + 1);
        }
    }
    if (strcmp(device->agent, "fence_ipmilan") == 0) {
        pair_default(set, device, "lanplus", "1");
        pair_default(set, device, "method", "onoff");
        pair_default(set, device, "power_wait", "0");
    }
}

/* The fencer keeps a secret it has read until it reads the device anew, which it does when anything in the device's
 * element changes: the revision sees to that. It also tells whoever proves a device that this very one is in the CIB.
 */
static void put_revision(xmlNode *primitive, const FenceDevice *device)
{
    g_autofree char *id = g_strdup_printf("hf-fence.%s.meta", device->node);
    g_autofree char *revision = g_strdup_printf("%" G_GINT64_FORMAT, device->revision);
    projection_pair(projection_set(primitive, "meta_attributes", id), PROJECTION_REVISION, revision);
}

static gboolean secrets_stored(const ProjectionInput *input, const FenceDevice *device)
{
    for (guint i = 0; input->secrets_stored && i < input->secrets_stored->len; i++) {
        if (g_str_equal(input->secrets_stored->pdata[i], device->node)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* The CIB has this agent under this id already, with its secrets out of sight. */
static gboolean stands_hidden(const xmlNode *resources, const char *id, const FenceDevice *device)
{
    const xmlNode *present = xml_child_by_id(resources, id);
    if (!present || !xml_is(present, "type", device->agent)) {
        return FALSE;
    }
    const xmlNode *set = xml_child(present, "instance_attributes");
    for (const xmlNode *pair = xml_child(set, "nvpair"); pair; pair = xml_next(pair, "nvpair")) {
        if (xml_is(pair, "value", FENCE_SECRET_IN_CIB)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* The result comes over corosync, which stands still from the shot until the node's loss is agreed on: a token and its
 * consensus (1.2 of it). The default tokens fit into OFF_TIMEOUT_S. */
static int off_timeout(const ProjectionInput *input)
{
    return OFF_TIMEOUT_S + projection_fencing_delay_s(input) + (int) (input->token_ms * 22 / 10000);
}

/* `name` is the node, or what distinguishes a second device of it; device NULL: the manual one. */
static xmlNode *device_element(const ProjectionInput *input, const char *name, const char *node,
                               const FenceDevice *device)
{
    g_autofree char *id = g_strdup_printf("fence-%s", name);
    g_autofree char *parameters_id = g_strdup_printf("hf-fence.%s.parameters", name);
    g_autofree char *op_prefix = g_strdup_printf("hf-fence.%s.op", name);
    int off_timeout_s = off_timeout(input);
    g_autofree char *off_timeout = g_strdup_printf("%ds", off_timeout_s);
    xmlNode *primitive = projection_element("primitive", id);
    xml_set(primitive, "class", "stonith");
    xml_set(primitive, "type", device ? device->agent : "fence_holdfast_manual");
    xmlNode *set = projection_set(primitive, "instance_attributes", parameters_id);
    if (device) {
        put_device_parameters(set, device, secrets_stored(input, device));
    } else {
        g_autofree char *wait = g_strdup_printf("%d", MANUAL_WAIT_S);
        projection_pair(set, "wait", wait);
    }
    projection_pair(set, "pcmk_host_list", node);
    projection_pair(set, "pcmk_host_check", "static-list");
    pair_default(set, device, "pcmk_off_timeout", off_timeout);
    pair_default(set, device, "pcmk_off_retries", "1");
    xmlNode *operations = xml_add(primitive, "operations");
    /* A check costs a BMC a login and a node seconds of computing, and it only warns: every 3 minutes. The timeout is
     * long: a BMC that is merely slow to answer must not have its device restarted, which holds up everything. */
    projection_op(operations, op_prefix, "monitor", "180s", "60s");
    if (device) {
        put_revision(primitive, device);
    }
    return primitive;
}

static void put_device(Projection *projection, const char *name, const char *target, const FenceDevice *device)
{
    const ProjectionInput *input = projection->input;
    g_autofree char *id = g_strdup_printf("fence-%s", name);
    xmlNode *resources = projection_section(projection, "resources");
    if (device && !secrets_stored(input, device) && stands_hidden(resources, id, device)) {
        projection_want(projection, id);
    } else {
        projection_put(projection, resources, device_element(input, name, target, device));
    }
    for (guint i = 0; i < input->nodes->len; i++) {
        const Node *node = g_ptr_array_index(input->nodes, i);
        gboolean own = strcmp(node->name, target) == 0;
        projection_location(projection, id, node->name, own ? "-INFINITY" : "1", NULL);
    }
}

/* An operator's own levels for a node stand instead of ours: two of one number would be added up. */
static gboolean has_foreign_level(const Projection *projection, const char *target)
{
    const xmlNode *topology = xml_child(projection->configuration, "fencing-topology");
    for (const xmlNode *each = xml_child(topology, "fencing-level"); each; each = xml_next(each, "fencing-level")) {
        g_autofree char *id = xml_get(each, "id");
        if (xml_is(each, "target", target) && !(id && g_str_has_prefix(id, PROJECTION_LEVEL_PREFIX))) {
            return TRUE;
        }
    }
    return FALSE;
}

static void put_level(Projection *projection, const char *target, int index, const char *devices)
{
    g_autofree char *id = g_strdup_printf(PROJECTION_LEVEL_PREFIX "%s.%d", target, index);
    g_autofree char *number = g_strdup_printf("%d", index);
    xmlNode *level = projection_element("fencing-level", id);
    xml_set(level, "target", target);
    xml_set(level, "index", number);
    xml_set(level, "devices", devices);
    projection_put(projection, projection_section(projection, "fencing-topology"), level);
}

/* '.' is in no node's name: "fence-n1.manual" is no node's first device. */
static void put_second_level(Projection *projection, const char *target)
{
    g_autofree char *manual_name = g_strdup_printf("%s.manual", target);
    g_autofree char *first = g_strdup_printf("fence-%s", target);
    g_autofree char *second = g_strdup_printf("fence-%s", manual_name);
    if (has_foreign_level(projection, target)) {
        return;
    }
    put_device(projection, manual_name, target, NULL);
    put_level(projection, target, 1, first);
    put_level(projection, target, 2, second);
}

void projection_fencing(Projection *projection)
{
    const ProjectionInput *input = projection->input;
    for (guint i = 0; i < input->nodes->len; i++) {
        const Node *node = g_ptr_array_index(input->nodes, i);
        const FenceDevice *device = device_of(input, node->name);
        put_device(projection, node->name, node->name, device);
        if (device && device->state == FENCE_PROVEN) {
            put_second_level(projection, node->name);
        }
    }
}
