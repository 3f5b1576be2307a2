/* SPDX-License-Identifier: Apache-2.0
 * Verbs on fence devices. */
#include "node-agent/verbs.h"

#include "cluster/pacemaker.h"
#include "common/error.h"
#include "fencing/confirm.h"
#include "fencing/device.h"
#include "node-agent/operation.h"
#include "node-agent/views.h"

/* A live device says within this whether its node is on. A dead one must not use up the caller's patience (the API's is
 * 30 s), of which Pacemaker needs most for the device's own time-out. */
#define DEVICE_LIMIT_MS 5000

static json_t *fence_list(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) devices = cache_objects(call->daemon->cache, &fence_device_type, "fence/");
    json_t *list = json_array();
    for (guint i = 0; i < devices->len; i++) {
        json_array_append_new(list, view_fence(devices->pdata[i]));
    }
    return list;
}

static const char *fence_node(const VerbCall *call, GError **error)
{
    const char *name = verb_string(call, "node", error);
    if (!name) {
        return NULL;
    }
    g_autofree char *key = g_strconcat("node/", name, NULL);
    g_autoptr(Node) node = cache_object(call->daemon->cache, &node_type, key, NULL);
    if (!node) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "node: there is no node '%s'", name);
        return NULL;
    }
    return name;
}

static gboolean parameters_decode(json_t *parameters, FenceDevice *device, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    const char *name;
    json_t *value;
    if (!json_is_object(parameters)) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "parameters: must be an object of texts");
        return FALSE;
    }
    json_object_foreach (parameters, name, value) {
        if (!json_is_string(value)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "parameters.%s: must be a text", name);
            return FALSE;
        }
        g_ptr_array_add(list, g_strdup_printf("%s=%s", name, json_string_value(value)));
    }
    g_ptr_array_add(list, NULL);
    device->parameters = (char **) g_ptr_array_free(g_steal_pointer(&list), FALSE);
    return TRUE;
}

/* A changed device is unproven again, whatever it was. */
static json_t *fence_set(const VerbCall *call, GError **error)
{
    const char *node = fence_node(call, error);
    const char *agent = node ? verb_string(call, "agent", error) : NULL;
    if (!agent) {
        return NULL;
    }
    g_autoptr(FenceDevice) device = object_new(&fence_device_type);
    FencePower power = FENCE_POWER_UNKNOWN;
    device->version = 1;
    device->node = g_strdup(node);
    device->agent = g_strdup(agent);
    device->detail = g_strdup("not proven by a real shot yet");
    if (!parameters_decode(json_object_get(call->arguments, "parameters"), device, error) ||
        !fence_device_check(device, error) || !fence_device_pin(call->daemon->runner, device, error) ||
        !fence_device_status(call->daemon->runner, device, &power, error)) {
        return NULL;
    }
    g_autofree char *key = g_strconcat(STORE_ROOT "fence/", node, NULL);
    g_autofree char *text = object_to_text(&fence_device_type, device);
    return store_put(call->daemon->store, key, text, -1, 0, NULL, error) ? view_fence(device) : NULL;
}

static json_t *fence_prove(const VerbCall *call, GError **error)
{
    const char *node = fence_node(call, error);
    if (!node) {
        return NULL;
    }
    g_autofree char *target = g_strconcat("fence/", node, NULL);
    if (!verb_target_free(call, target, error)) {
        return NULL;
    }
    /* The shot must come from somewhere else. */
    const char *driver = call->daemon->config->node;
    g_autoptr(GPtrArray) nodes = cache_objects(call->daemon->cache, &node_type, "node/");
    for (guint i = 0; g_str_equal(driver, node) && i < nodes->len; i++) {
        const Node *other = nodes->pdata[i];
        if (!g_str_equal(other->name, node) && daemon_agent_present(call->daemon, (guint32) other->id)) {
            driver = other->name;
        }
    }
    if (g_str_equal(driver, node)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "no other node is in the cluster to shoot %s", node);
        return NULL;
    }
    return verb_operation(call, operation_new("fence.prove", target, NULL, driver), error);
}

/* The operator's word counts, unless the device itself contradicts it. One that was never proven may be another node's,
 * so it is heard only when Pacemaker shall be told without any device. */
static gboolean device_contradicts(const VerbCall *call, const char *node, gboolean proven_only, GError **error)
{
    g_autofree char *key = g_strconcat("fence/", node, NULL);
    g_autoptr(FenceDevice) device = cache_object(call->daemon->cache, &fence_device_type, key, NULL);
    FencePower power = FENCE_POWER_UNKNOWN;
    if (!device || (proven_only && device->state != FENCE_PROVEN) ||
        !fence_device_status_within(call->daemon->runner, device, DEVICE_LIMIT_MS, &power, NULL) ||
        power != FENCE_POWER_ON) {
        return FALSE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                "the power device of %s says that it is on: switch it off first", node);
    return TRUE;
}

static json_t *fence_confirm(const VerbCall *call, GError **error)
{
    const char *node = fence_node(call, error);
    const char *typed = node ? verb_string(call, "confirm", error) : NULL;
    if (!typed) {
        return NULL;
    }
    if (!g_str_equal(typed, node)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "confirm: must be the node's name, '%s'", node);
        return NULL;
    }
    if (daemon_node_online(call->daemon, node)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "node %s is in the cluster and running: it is not off", node);
        return NULL;
    }
    if (device_contradicts(call, node, TRUE, error)) {
        return NULL;
    }
    if (!confirm_write(call->daemon->store, node, call->user, error)) {
        return NULL;
    }
    g_autofree char *object = g_strconcat("node/", node, NULL);
    daemon_event(call->daemon, "fence.confirmed", object, "%s confirmed that it is off", call->user);
    /* Pacemaker's own retry may have used the confirmation before our request did: what counts is that the node is held
     * for down now. */
    g_autoptr(GError) problem = NULL;
    gboolean down = FALSE;
    if (pacemaker_fence(call->daemon->runner, node, 60, &problem) ||
        (pacemaker_node_is_clean_down(call->daemon->runner, node, &down, NULL) && down)) {
        return json_object();
    }
    /* Neither the device nor the manual level behind it did it (an operator's own levels, say). */
    return !device_contradicts(call, node, FALSE, error) && pacemaker_confirm_off(call->daemon->runner, node, error)
               ? json_object()
               : NULL;
}

const Verb verbs_fence[] = {
    {"fence.list", fence_list},
    {"fence.set", fence_set},
    {"fence.prove", fence_prove},
    {"fence.confirm", fence_confirm},
    {NULL, NULL},
};
