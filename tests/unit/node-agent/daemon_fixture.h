/* SPDX-License-Identifier: Apache-2.0
 * As much of a holdfastd as works without Pacemaker and corosync: a real etcd, the cache that watches it, and a name.
 */
#pragma once

#include "node-agent/operation.h"
#include "tests/unit/cluster/etcd_fixture.h"

typedef struct {
    Etcd *etcd;
    NodeConfig config;
    Daemon daemon;
    guint changes;
} Fixture;

static void fixture_on_change(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    ((Fixture *) user_data)->changes++;
}

static G_GNUC_UNUSED void fixture_load(Fixture *fixture)
{
    GError *error = NULL;
    cache_load(fixture->daemon.cache, &error);
    g_assert_no_error(error);
}

static G_GNUC_UNUSED void fixture_set_up(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    fixture->etcd = etcd_start();
    fixture->config = (NodeConfig){.version = 1, .cluster = (char *) "demo", .node = (char *) "n1", .node_id = 1};
    Daemon *daemon = &fixture->daemon;
    daemon->config = &fixture->config;
    daemon->store = store_at(fixture->etcd->endpoint, NULL, 5000);
    daemon->cache = cache_new(daemon->store, fixture_on_change, fixture);
    daemon->agents_absent = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_mutex_init(&daemon->lock);
    g_mutex_init(&daemon->pacemaker_lock);
}

static G_GNUC_UNUSED void fixture_tear_down(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Daemon *daemon = &fixture->daemon;
    cache_free(daemon->cache);
    store_free(daemon->store);
    g_hash_table_unref(daemon->agents_absent);
    g_mutex_clear(&daemon->lock);
    g_mutex_clear(&daemon->pacemaker_lock);
    g_free(daemon->pacemaker_xml);
    etcd_free(fixture->etcd);
}

/* Until the cache knows what the store holds now. */
static G_GNUC_UNUSED void fixture_catch_up(Fixture *fixture)
{
    gint64 last = put(fixture->daemon.store, STORE_ROOT "test/mark", "{}");
    while (cache_revision(fixture->daemon.cache) < last) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static G_GNUC_UNUSED void fixture_put(Fixture *fixture, const char *name, const JsonStruct *type, gconstpointer object)
{
    g_autofree char *key = g_strconcat(STORE_ROOT, name, NULL);
    g_autofree char *text = object_to_text(type, object);
    put(fixture->daemon.store, key, text);
}

/* What the store holds now, whatever the cache says. */
static G_GNUC_UNUSED gpointer fixture_get(Fixture *fixture, const char *name, const JsonStruct *type)
{
    GError *error = NULL;
    g_autofree char *key = g_strconcat(STORE_ROOT, name, NULL);
    g_autoptr(StoreEntry) entry = store_get(fixture->daemon.store, key, NULL, &error);
    g_assert_no_error(error);
    gpointer object = object_from_text(type, entry->value, key, &error);
    g_assert_no_error(error);
    return object;
}
