/* SPDX-License-Identifier: Apache-2.0
 * Secrets of fence devices: files of this node, and who has them.
 *
 * The order that keeps every node able to shoot: `fence set` puts the device into the store, unproven, so the CIB has
 * the manual device -> each node writes its files and says so -> the proof begins -> the DC puts the device into the
 * CIB, with "lrm://" as every node that is there has the files. A node that was away writes them before its Pacemaker
 * starts. One whose holdfastd is dead keeps the files it had. */
#include "node-agent/fence_secrets.h"

#include "cluster/fence_secret.h"
#include "common/log.h"
#include "fencing/secret_files.h"

#include <string.h>

/* *ret_complete: FALSE when some could not be read. */
static GPtrArray *devices_of_store(Daemon *daemon, gboolean *ret_complete)
{
    GPtrArray *devices = g_ptr_array_new_with_free_func((GDestroyNotify) fence_device_free);
    g_autoptr(GPtrArray) entries = cache_list(daemon->cache, STORE_ROOT "fence/");
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        FenceDevice *device = object_from_text(&fence_device_type, entry->value, entry->key, NULL);
        if (device) {
            g_ptr_array_add(devices, device);
        }
    }
    *ret_complete = devices->len == entries->len;
    return devices;
}

/* A store in which not even this node stands says nothing about what is gone. */
static gboolean store_knows_us(Daemon *daemon)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "node/", daemon->config->node, NULL);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    return entry != NULL;
}

static char **write_files(Daemon *daemon, GError **error)
{
    gboolean complete = FALSE;
    char **stored = NULL;
    g_autoptr(GPtrArray) devices = devices_of_store(daemon, &complete);
    secret_files_sync(SECRET_FILES_FOLDER, devices, daemon->config->node, complete && store_knows_us(daemon), &stored,
                      error);
    return stored;
}

gboolean fence_secrets_write(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) stored = write_files(daemon, &error);
    if (error) {
        log_line(LOG_LEVEL_ERROR, "secrets of fence devices: %s", error->message);
    }
    return error == NULL;
}

void fence_secrets_follow(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FenceSecrets) secrets = object_new(&fence_secrets_type);
    secrets->version = 1;
    secrets->node = g_strdup(daemon->config->node);
    secrets->devices = write_files(daemon, &error);
    if (error) {
        log_line(LOG_LEVEL_ERROR, "secrets of fence devices: %s", error->message);
        g_clear_error(&error);
    }
    g_autofree char *key = g_strdup_printf(STORE_ROOT "status/%s/secrets", daemon->config->node);
    g_autofree char *text = object_to_text(&fence_secrets_type, secrets);
    if (!daemon_publish(daemon, key, text, &error)) {
        log_line(LOG_LEVEL_WARNING, "secrets of fence devices: status not published: %s", error->message);
    }
}

GPtrArray *fence_secrets_stored(Daemon *daemon, const GPtrArray *nodes, const GPtrArray *devices)
{
    GPtrArray *stored = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) statuses = g_ptr_array_new_with_free_func((GDestroyNotify) fence_secrets_free);
    g_autoptr(GPtrArray) online = g_ptr_array_new();
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        g_autofree char *key = g_strdup_printf("status/%s/secrets", node->name);
        FenceSecrets *secrets = cache_object(daemon->cache, &fence_secrets_type, key, NULL);
        if (secrets) {
            g_ptr_array_add(statuses, secrets);
        }
        if (daemon_node_online(daemon, node->name)) {
            g_ptr_array_add(online, node->name);
        }
    }
    for (guint i = 0; i < devices->len; i++) {
        const FenceDevice *device = devices->pdata[i];
        if (online->len > 0 && fence_secret_everywhere(device, online, statuses)) {
            g_ptr_array_add(stored, g_strdup(device->node));
        }
    }
    return stored;
}

void fence_secrets_basis(Daemon *daemon, GString *text)
{
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    g_autoptr(GPtrArray) devices = cache_objects(daemon->cache, &fence_device_type, "fence/");
    g_autoptr(GPtrArray) stored = fence_secrets_stored(daemon, nodes, devices);
    for (guint i = 0; i < stored->len; i++) {
        g_string_append_printf(text, "secrets of %s ", (const char *) stored->pdata[i]);
    }
}
