/* SPDX-License-Identifier: Apache-2.0
 * A copy of everything under STORE_ROOT. */
#include "node-agent/cache.h"

#include "common/log.h"

#include <string.h>

struct Cache {
    Store *store;
    StoreWatch *watch;
    GMutex lock;
    GTree *entries; /* key -> StoreEntry, sorted */
    gint64 revision;
    CacheChanged changed;
    gpointer user_data;
};

static gint compare_keys(gconstpointer a, gconstpointer b, gpointer unused G_GNUC_UNUSED)
{
    return strcmp(a, b);
}

static void entry_destroy(gpointer entry)
{
    store_entry_free(entry);
}

static StoreEntry *entry_copy(const StoreEntry *entry)
{
    StoreEntry *copy = g_new0(StoreEntry, 1);
    *copy = *entry;
    copy->key = g_strdup(entry->key);
    copy->value = g_strdup(entry->value);
    return copy;
}

Cache *cache_new(Store *store, CacheChanged changed, gpointer user_data)
{
    Cache *cache = g_new0(Cache, 1);
    cache->store = store;
    cache->changed = changed;
    cache->user_data = user_data;
    g_mutex_init(&cache->lock);
    cache->entries = g_tree_new_full(compare_keys, NULL, NULL, entry_destroy);
    return cache;
}

void cache_free(Cache *cache)
{
    if (cache->watch) {
        store_watch_stop(cache->watch);
    }
    g_tree_destroy(cache->entries);
    g_mutex_clear(&cache->lock);
    g_free(cache);
}

static void entry_put(Cache *cache, const StoreEntry *entry)
{
    StoreEntry *copy = entry_copy(entry);
    g_tree_replace(cache->entries, copy->key, copy);
}

static void on_change(const StoreEntry *entry, gboolean deleted, gint64 revision, gpointer user_data)
{
    Cache *cache = user_data;
    g_mutex_lock(&cache->lock);
    if (deleted) {
        g_tree_remove(cache->entries, entry->key);
    } else {
        entry_put(cache, entry);
    }
    cache->revision = MAX(cache->revision, revision);
    g_mutex_unlock(&cache->lock);
    cache->changed(entry->key, cache->user_data);
}

static gboolean reload(Cache *cache, gint64 *ret_revision, GError **error)
{
    g_autoptr(GPtrArray) entries = store_list(cache->store, STORE_ROOT, ret_revision, error);
    if (!entries) {
        return FALSE;
    }
    GTree *fresh = g_tree_new_full(compare_keys, NULL, NULL, entry_destroy);
    for (guint i = 0; i < entries->len; i++) {
        StoreEntry *copy = entry_copy(entries->pdata[i]);
        g_tree_replace(fresh, copy->key, copy);
    }
    g_mutex_lock(&cache->lock);
    GTree *old = cache->entries;
    cache->entries = fresh;
    cache->revision = *ret_revision;
    g_mutex_unlock(&cache->lock);
    g_tree_destroy(old);
    return TRUE;
}

/* One blocking list in the main loop, seldom and bounded by the store's deadline; repeated until it succeeds, since
 * what was missed never comes again. */
static gboolean reload_until_done(gpointer user_data)
{
    Cache *cache = user_data;
    gint64 revision = 0;
    g_autoptr(GError) error = NULL;
    if (!reload(cache, &revision, &error)) {
        log_line(LOG_LEVEL_WARNING, "store: cannot reload after a gap in the watch: %s", error->message);
        return G_SOURCE_CONTINUE;
    }
    cache->changed(NULL, cache->user_data);
    return G_SOURCE_REMOVE;
}

/* The store compacted what we had not seen. */
static void on_reset(gpointer user_data)
{
    if (reload_until_done(user_data) == G_SOURCE_CONTINUE) {
        g_timeout_add_seconds(1, reload_until_done, user_data);
    }
}

gboolean cache_load(Cache *cache, GError **error)
{
    static const StoreWatchEvents events = {.on_change = on_change, .on_reset = on_reset};
    gint64 revision = 0;
    if (!reload(cache, &revision, error)) {
        return FALSE;
    }
    cache->watch = store_watch_start(cache->store, STORE_ROOT, revision + 1, &events, NULL, cache);
    cache->changed(NULL, cache->user_data);
    return TRUE;
}

gint64 cache_revision(Cache *cache)
{
    g_mutex_lock(&cache->lock);
    gint64 revision = cache->revision;
    g_mutex_unlock(&cache->lock);
    return revision;
}

StoreEntry *cache_get(Cache *cache, const char *key)
{
    g_mutex_lock(&cache->lock);
    const StoreEntry *entry = g_tree_lookup(cache->entries, key);
    StoreEntry *copy = entry ? entry_copy(entry) : NULL;
    g_mutex_unlock(&cache->lock);
    return copy;
}

GPtrArray *cache_list(Cache *cache, const char *prefix)
{
    GPtrArray *found = g_ptr_array_new_with_free_func(entry_destroy);
    g_mutex_lock(&cache->lock);
    GTreeNode *node = g_tree_lower_bound(cache->entries, prefix);
    for (; node && g_str_has_prefix(g_tree_node_key(node), prefix); node = g_tree_node_next(node)) {
        g_ptr_array_add(found, entry_copy(g_tree_node_value(node)));
    }
    g_mutex_unlock(&cache->lock);
    return found;
}

static gpointer entry_decode(const JsonStruct *type, const StoreEntry *entry)
{
    g_autoptr(GError) error = NULL;
    gpointer object = object_from_text(type, entry->value, entry->key, &error);
    if (!object) {
        log_line(LOG_LEVEL_ERROR, "store: %s", error->message);
    }
    return object;
}

gpointer cache_object(Cache *cache, const JsonStruct *type, const char *kind_and_name, gint64 *ret_revision)
{
    g_autofree char *key = g_strconcat(STORE_ROOT, kind_and_name, NULL);
    g_autoptr(StoreEntry) entry = cache_get(cache, key);
    if (entry && ret_revision) {
        *ret_revision = entry->mod_revision;
    }
    return entry ? entry_decode(type, entry) : NULL;
}

static GDestroyNotify object_destroyer(const JsonStruct *type)
{
    const struct {
        const JsonStruct *type;
        GDestroyNotify destroy;
    } table[] = {
        {&guest_type, (GDestroyNotify) guest_free},
        {&volume_type, (GDestroyNotify) volume_free},
        {&node_type, (GDestroyNotify) node_free},
        {&image_type, (GDestroyNotify) image_free},
        {&network_type, (GDestroyNotify) network_free},
        {&fence_device_type, (GDestroyNotify) fence_device_free},
        {&operation_type, (GDestroyNotify) operation_free},
        {&guest_status_type, (GDestroyNotify) guest_status_free},
        {&node_status_type, (GDestroyNotify) node_status_free},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        if (table[i].type == type) {
            return table[i].destroy;
        }
    }
    g_return_val_if_reached(NULL);
}

GPtrArray *cache_objects(Cache *cache, const JsonStruct *type, const char *kind_prefix)
{
    g_autofree char *prefix = g_strconcat(STORE_ROOT, kind_prefix, NULL);
    g_autoptr(GPtrArray) entries = cache_list(cache, prefix);
    GPtrArray *objects = g_ptr_array_new_with_free_func(object_destroyer(type));
    for (guint i = 0; i < entries->len; i++) {
        gpointer object = entry_decode(type, entries->pdata[i]);
        if (object) {
            g_ptr_array_add(objects, object);
        }
    }
    return objects;
}
