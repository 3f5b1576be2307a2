/* SPDX-License-Identifier: Apache-2.0
 * A copy of everything under STORE_ROOT, kept current by one watch. Reads are local and quick; decisions that must not
 * be stale are made by the revisions read here going into a transaction's conditions. */
#pragma once

#include "cluster/objects.h"
#include "cluster/store.h"

typedef struct Cache Cache;
/* Called in the main context for every changed key, and with NULL after a full reload. */
typedef void (*CacheChanged)(const char *key, gpointer user_data);

Cache *cache_new(Store *store, CacheChanged changed, gpointer user_data);
void cache_free(Cache *cache);
/* List everything and start watching; UNAVAILABLE: try again. */
gboolean cache_load(Cache *cache, GError **error);
gint64 cache_revision(Cache *cache);

/* Copies; any thread. NULL: no such key. */
StoreEntry *cache_get(Cache *cache, const char *key);
GPtrArray *cache_list(Cache *cache, const char *prefix); /* of StoreEntry, sorted by key */

/* Typed: STORE_ROOT + kind_and_name, decoded. NULL when absent or damaged. *ret_revision (may be NULL): mod_revision.
 */
gpointer cache_object(Cache *cache, const JsonStruct *type, const char *kind_and_name, gint64 *ret_revision);
/* All of a kind ("guest/"); frees its elements. */
GPtrArray *cache_objects(Cache *cache, const JsonStruct *type, const char *kind_prefix);
