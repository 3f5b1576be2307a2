/* SPDX-License-Identifier: Apache-2.0
 * Watches of the store client against real etcd processes. */
#include "tests/unit/cluster/etcd_fixture.h"

/* What a watch reported, as "key=value", "-key" and "reset". */
typedef struct {
    GPtrArray *seen;
    StoreWatch *stop_in_callback;
} Observed;

static void observe_change(const StoreEntry *entry, gboolean deleted, gint64 revision, gpointer user_data)
{
    Observed *observed = user_data;
    g_assert_cmpint(revision, ==, entry->mod_revision);
    g_ptr_array_add(observed->seen,
                    deleted ? g_strconcat("-", entry->key, NULL) : g_strconcat(entry->key, "=", entry->value, NULL));
    if (observed->stop_in_callback) {
        store_watch_stop(g_steal_pointer(&observed->stop_in_callback));
    }
}

static void observe_reset(gpointer user_data)
{
    g_ptr_array_add(((Observed *) user_data)->seen, g_strdup("reset"));
}

static const StoreWatchEvents observe_events = {observe_change, observe_reset};

static void observed_expect(Observed *observed, GMainContext *context, const char *expected)
{
    g_auto(GStrv) wanted = g_strsplit(expected, " ", -1);
    while (observed->seen->len < g_strv_length(wanted)) {
        g_main_context_iteration(context, TRUE);
    }
    g_ptr_array_add(observed->seen, NULL);
    g_autofree char *got = g_strjoinv(" ", (char **) observed->seen->pdata);
    g_assert_cmpstr(got, ==, expected);
    g_ptr_array_set_size(observed->seen, 0);
}

static void test_watch(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    Observed observed = {.seen = g_ptr_array_new_with_free_func(g_free)};
    gint64 revision = put(store, "w/a", "1");
    StoreWatch *watch = store_watch_start(store, "w/", revision, &observe_events, context, &observed);
    observed_expect(&observed, context, "w/a=1");
    put(store, "x", "elsewhere");
    put(store, "w/b", "2");
    put(store, "w/b", "3");
    g_assert_true(store_delete(store, "w/a", -1, NULL));
    observed_expect(&observed, context, "w/b=2 w/b=3 -w/a");
    etcd_kill(etcd); /* resumes where it was, nothing lost and nothing twice */
    etcd_spawn(etcd);
    put(store, "w/c", "4");
    observed_expect(&observed, context, "w/c=4");
    put(store, "w/c", "5");
    observed_expect(&observed, context, "w/c=5");
    store_watch_stop(watch);
    g_ptr_array_unref(observed.seen);
}

static void test_watch_next_endpoint(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) direct = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(Store) store = store_at("unix:/nobody/here", etcd->endpoint, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    Observed observed = {.seen = g_ptr_array_new_with_free_func(g_free)};
    gint64 revision = put(direct, "w/a", "1");
    StoreWatch *watch = store_watch_start(store, "w/", revision, &observe_events, context, &observed);
    observed_expect(&observed, context, "w/a=1");
    store_watch_stop(watch);
    g_ptr_array_unref(observed.seen);
}

static void test_watch_compacted(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    Observed observed = {.seen = g_ptr_array_new_with_free_func(g_free)};
    gint64 old = put(store, "w/a", "1");
    put(store, "w/a", "2");
    gint64 revision = put(store, "w/a", "3");
    g_autoptr(json_t) request = json_object();
    json_object_set_new(request, "revision", store_json_int(revision));
    GError *error = NULL;
    g_autoptr(json_t) answer = store_http_call(store, "/v3/kv/compaction", request, STORE_CALL_REPEATABLE,
                                               store_http_deadline_us(store), &error);
    g_assert_no_error(error);
    StoreWatch *watch = store_watch_start(store, "w/", old, &observe_events, context, &observed);
    /* What the compaction left comes again: a list in on_reset would have had it too. */
    observed_expect(&observed, context, "reset w/a=3");
    put(store, "w/a", "4");
    observed_expect(&observed, context, "w/a=4");
    store_watch_stop(watch);
    g_ptr_array_unref(observed.seen);
}

static void test_watch_restored_store(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    Observed observed = {.seen = g_ptr_array_new_with_free_func(g_free)};
    gint64 revision = put(store, "w/a", "1");
    StoreWatch *watch = store_watch_start(store, "w/", revision + 1000, &observe_events, context, &observed);
    observed_expect(&observed, context, "reset");
    put(store, "w/a", "2");
    observed_expect(&observed, context, "w/a=2");
    store_watch_stop(watch);
    g_ptr_array_unref(observed.seen);
}

static void test_watch_stop(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    Observed observed = {.seen = g_ptr_array_new_with_free_func(g_free)};
    gint64 revision = put(store, "w/a", "1");
    put(store, "w/a", "2");
    /* Stopped in the callback of the first: the second, which waits already, is forgotten. */
    observed.stop_in_callback = store_watch_start(store, "w/", revision, &observe_events, context, &observed);
    observed_expect(&observed, context, "w/a=1");
    g_assert_null(observed.stop_in_callback);
    /* Stopped while it has nothing but a dead store to talk to. */
    StoreWatch *watch = store_watch_start(store, "w/", revision, &observe_events, context, &observed);
    etcd_kill(etcd);
    store_watch_stop(watch);
    while (g_main_context_iteration(context, FALSE)) {
    }
    g_assert_cmpuint(observed.seen->len, ==, 0);
    g_ptr_array_unref(observed.seen);
}

typedef struct {
    GMainLoop *loop;
    gint changes, stopped; /* atomic */
} Counter;

static void count_change(const StoreEntry *entry G_GNUC_UNUSED, gboolean deleted G_GNUC_UNUSED,
                         gint64 revision G_GNUC_UNUSED, gpointer user_data)
{
    Counter *counter = user_data;
    g_assert_false(g_atomic_int_get(&counter->stopped));
    g_atomic_int_inc(&counter->changes);
}

static gpointer loop_run(gpointer data)
{
    g_main_loop_run(((Counter *) data)->loop);
    return NULL;
}

/* Stopped by another thread than the one that runs the callbacks, while they run. */
static void test_watch_stop_elsewhere(void)
{
    static const StoreWatchEvents events = {count_change, observe_reset};
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    gint64 revision = put(store, "w/a", "1");
    for (int i = 0; i < 100; i++) {
        put(store, "w/a", "2");
    }
    Counter counter = {.loop = g_main_loop_new(context, FALSE)};
    GThread *thread = g_thread_new("loop", loop_run, &counter);
    StoreWatch *watch = store_watch_start(store, "w/", revision, &events, context, &counter);
    while (g_atomic_int_get(&counter.changes) == 0) {
        g_thread_yield();
    }
    store_watch_stop(watch);
    g_atomic_int_set(&counter.stopped, TRUE);
    while (!g_main_loop_is_running(counter.loop)) {
        g_thread_yield();
    }
    g_main_loop_quit(counter.loop);
    g_thread_join(thread);
    g_main_loop_unref(counter.loop);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store-watch/resume", test_watch);
    g_test_add_func("/store-watch/next-endpoint", test_watch_next_endpoint);
    g_test_add_func("/store-watch/compacted", test_watch_compacted);
    g_test_add_func("/store-watch/restored-store", test_watch_restored_store);
    g_test_add_func("/store-watch/stop", test_watch_stop);
    g_test_add_func("/store-watch/stop-elsewhere", test_watch_stop_elsewhere);
    return g_test_run();
}
