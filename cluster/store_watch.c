/* SPDX-License-Identifier: Apache-2.0
 * Watching a prefix: a thread reads etcd's stream and hands changes to the owner's main context.
 *
 * Changes wait in one queue with one source that drains it, and not in a source each: so their order holds, and
 * stopping can forget what was not delivered yet. g_main_context_invoke() is not used because it calls back in the
 * watching thread itself while nobody happens to iterate the default context. */
#include "cluster/store_internal.h"

#include "common/error.h"

#include <string.h>

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define CONNECT_TIMEOUT_MS 2000L
#define CREATE_TIMEOUT_US (5 * G_TIME_SPAN_SECOND)
/* etcd reports progress on a quiet watch every 10 minutes; a stream without even that is dead. */
#define QUIET_LIMIT_US (11 * G_TIME_SPAN_MINUTE)
#define LINE_MAX_BYTES (64u * 1024 * 1024)

typedef struct {
    StoreEntry *entry; /* NULL: reset */
    gboolean deleted;
    gint64 revision;
} Delivery;

struct StoreWatch {
    gint references; /* atomic: the owner's and the source's */
    Store *store;
    char *prefix;
    StoreWatchEvents events;
    gpointer user_data;
    GMainContext *context;
    GThread *thread;
    CURLM *multi;

    GMutex lock; /* guards the following */
    GCond delivered;
    gboolean stopped;
    GQueue deliveries; /* of Delivery */
    GSource *source;   /* attached while deliveries wait */
    GThread *delivering;

    /* The thread's own. */
    gint64 next_revision; /* first one not seen yet; 0: from now on */
    guint endpoint;
    GString *line;
    gboolean established;
    gint64 quiet_until_us;
};

static void delivery_free(Delivery *delivery)
{
    store_entry_free(delivery->entry);
    g_free(delivery);
}

static void watch_unref(gpointer data)
{
    StoreWatch *watch = data;
    if (g_atomic_int_dec_and_test(&watch->references)) {
        g_queue_clear_full(&watch->deliveries, (GDestroyNotify) delivery_free);
        g_mutex_clear(&watch->lock);
        g_cond_clear(&watch->delivered);
        g_main_context_unref(watch->context);
        curl_multi_cleanup(watch->multi);
        g_string_free(watch->line, TRUE);
        store_free(watch->store);
        g_free(watch->prefix);
        g_free(watch);
    }
}

static void deliver_one(StoreWatch *watch, Delivery *delivery)
{
    if (!delivery->entry) {
        watch->events.on_reset(watch->user_data);
    } else {
        watch->events.on_change(delivery->entry, delivery->deleted, delivery->revision, watch->user_data);
    }
}

/* Runs in the owner's context. The lock is not held during a callback, which may stop the watch. */
static gboolean deliver_all(gpointer data)
{
    StoreWatch *watch = data;
    g_mutex_lock(&watch->lock);
    Delivery *delivery;
    while (!watch->stopped && (delivery = g_queue_pop_head(&watch->deliveries))) {
        watch->delivering = g_thread_self();
        g_mutex_unlock(&watch->lock);
        deliver_one(watch, delivery);
        delivery_free(delivery);
        g_mutex_lock(&watch->lock);
        watch->delivering = NULL;
        g_cond_broadcast(&watch->delivered);
    }
    g_clear_pointer(&watch->source, g_source_unref);
    g_mutex_unlock(&watch->lock);
    return G_SOURCE_REMOVE;
}

static void push(StoreWatch *watch, StoreEntry *entry, gboolean deleted, gint64 revision)
{
    Delivery *delivery = g_new(Delivery, 1);
    *delivery = (Delivery){.entry = entry, .deleted = deleted, .revision = revision};
    g_mutex_lock(&watch->lock);
    g_queue_push_tail(&watch->deliveries, delivery);
    if (!watch->source && !watch->stopped) {
        g_atomic_int_inc(&watch->references);
        watch->source = g_idle_source_new();
        g_source_set_priority(watch->source, G_PRIORITY_DEFAULT);
        g_source_set_callback(watch->source, deliver_all, watch, watch_unref);
        g_source_attach(watch->source, watch->context);
    }
    g_mutex_unlock(&watch->lock);
}

/* What we have not seen cannot be had any more. The owner lists again after this callback, so at a revision not below
 * the one we go on from: nothing falls between. */
static void reset_at(StoreWatch *watch, gint64 revision)
{
    watch->next_revision = revision + 1;
    push(watch, NULL, FALSE, revision);
}

static void take_events(StoreWatch *watch, const json_t *events)
{
    gsize index;
    json_t *event;
    gint64 newest = watch->next_revision - 1;
    json_array_foreach ((json_t *) events, index, event) {
        StoreEntry *entry = store_json_entry(json_object_get(event, "kv"), NULL);
        if (!entry) { /* not ours to read; the owner's list says what is wrong with it */
            gint64 revision = store_json_get_int(json_object_get(event, "kv"), "mod_revision");
            newest = MAX(newest, revision);
            push(watch, NULL, FALSE, revision);
            continue;
        }
        gboolean deleted = g_strcmp0(json_string_value(json_object_get(event, "type")), "DELETE") == 0;
        newest = MAX(newest, entry->mod_revision);
        push(watch, entry, deleted, entry->mod_revision);
    }
    watch->next_revision = newest + 1;
}

/* One message of the stream. FALSE: this stream is of no more use. */
static gboolean take_message(StoreWatch *watch, const char *text, gsize length)
{
    g_autoptr(json_t) message = NULL;
    if (store_json_answer(text, length, 200, &message, NULL) != STORE_ANSWER_OK) {
        return FALSE;
    }
    gint64 revision = store_json_revision(message);
    watch->quiet_until_us = g_get_monotonic_time() + QUIET_LIMIT_US;
    if (json_is_true(json_object_get(message, "canceled"))) {
        gint64 compacted = store_json_get_int(message, "compact_revision");
        if (compacted > 0) { /* the header has no revision then */
            reset_at(watch, MAX(revision, compacted - 1));
        }
        return FALSE;
    }
    const json_t *events = json_object_get(message, "events");
    if (json_is_true(json_object_get(message, "created"))) {
        watch->established = TRUE;
        if (watch->next_revision == 0) {
            watch->next_revision = revision + 1;
        } else if (revision < watch->next_revision - 1) {
            /* A store restored from a backup has a smaller revision: waiting for ours would miss everything. */
            reset_at(watch, revision);
            return FALSE;
        }
    } else if (json_array_size(events) > 0) {
        take_events(watch, events);
    } else {
        watch->next_revision = MAX(watch->next_revision, revision + 1); /* progress: everything until here was sent */
    }
    return TRUE;
}

static size_t take_bytes(char *data, size_t size, size_t count, void *user_data)
{
    StoreWatch *watch = user_data;
    gsize length = size * count;
    if (watch->line->len + length > LINE_MAX_BYTES) {
        return 0;
    }
    g_string_append_len(watch->line, data, (gssize) length);
    char *end;
    while ((end = memchr(watch->line->str, '\n', watch->line->len))) {
        gsize used = (gsize) (end - watch->line->str);
        if (used > 0 && !take_message(watch, watch->line->str, used)) {
            return 0;
        }
        g_string_erase(watch->line, 0, (gssize) used + 1);
    }
    return length;
}

static gboolean is_stopped(StoreWatch *watch)
{
    g_mutex_lock(&watch->lock);
    gboolean stopped = watch->stopped;
    g_mutex_unlock(&watch->lock);
    return stopped;
}

static char *create_request(const StoreWatch *watch)
{
    g_autoptr(json_t) request = json_object();
    json_t *create = store_json_range(watch->prefix, TRUE);
    json_object_set_new(create, "progress_notify", json_true());
    json_object_set_new(create, "start_revision", store_json_int(watch->next_revision));
    json_object_set_new(request, "create_request", create);
    return json_text_from(request);
}

/* Until the stream ends, falls silent or the watch is stopped. */
static void stream_pump(StoreWatch *watch)
{
    int running = 1;
    while (!is_stopped(watch)) {
        if (curl_multi_perform(watch->multi, &running) != CURLM_OK || running == 0) {
            return;
        }
        gint64 left_us = watch->quiet_until_us - g_get_monotonic_time();
        if (left_us <= 0 || curl_multi_poll(watch->multi, NULL, 0, (int) (left_us / 1000 + 1), NULL) != CURLM_OK) {
            return;
        }
    }
}

/* One stream from one endpoint. Returns whether it was established. */
static gboolean stream_run(StoreWatch *watch)
{
    g_autofree char *request = create_request(watch);
    CURL *handle = curl_easy_init();
    if (!handle) {
        return FALSE;
    }
    struct curl_slist *headers = store_http_prepare(handle, watch->store, watch->endpoint, "/v3/watch");
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, watch);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(handle, CURLOPT_FORBID_REUSE, 1L);
    g_string_truncate(watch->line, 0);
    watch->established = FALSE;
    watch->quiet_until_us = g_get_monotonic_time() + CREATE_TIMEOUT_US;
    curl_multi_add_handle(watch->multi, handle);
    stream_pump(watch);
    curl_multi_remove_handle(watch->multi, handle);
    curl_easy_cleanup(handle);
    curl_slist_free_all(headers);
    return watch->established;
}

static void wait_ms(StoreWatch *watch, int time_ms)
{
    gint64 end_us = g_get_monotonic_time() + (gint64) time_ms * 1000;
    gint64 left_us;
    while (!is_stopped(watch) && (left_us = end_us - g_get_monotonic_time()) > 0) {
        curl_multi_poll(watch->multi, NULL, 0, (int) (left_us / 1000 + 1), NULL);
    }
}

static gpointer watch_thread(gpointer data)
{
    StoreWatch *watch = data;
    int backoff_ms = BACKOFF_MIN_MS;
    while (!is_stopped(watch)) {
        if (stream_run(watch)) {
            backoff_ms = BACKOFF_MIN_MS;
        } else {
            watch->endpoint = (watch->endpoint + 1) % watch->store->n_endpoints;
        }
        wait_ms(watch, backoff_ms);
        backoff_ms = MIN(backoff_ms * 2, BACKOFF_MAX_MS);
    }
    return NULL;
}

StoreWatch *store_watch_start(Store *store, const char *prefix, gint64 from_revision, const StoreWatchEvents *events,
                              GMainContext *context, gpointer user_data)
{
    StoreWatch *watch = g_new0(StoreWatch, 1);
    watch->references = 1;
    watch->store = store_ref(store);
    watch->prefix = g_strdup(prefix);
    watch->events = *events;
    watch->user_data = user_data;
    watch->context = g_main_context_ref(context ? context : g_main_context_default());
    watch->multi = curl_multi_init();
    watch->next_revision = from_revision;
    watch->line = g_string_new(NULL);
    g_mutex_init(&watch->lock);
    g_cond_init(&watch->delivered);
    g_queue_init(&watch->deliveries);
    watch->thread = g_thread_new("store-watch", watch_thread, watch);
    return watch;
}

void store_watch_stop(StoreWatch *watch)
{
    if (!watch) {
        return;
    }
    g_mutex_lock(&watch->lock);
    watch->stopped = TRUE;
    g_autoptr(GSource) source = g_steal_pointer(&watch->source);
    while (watch->delivering && watch->delivering != g_thread_self()) {
        g_cond_wait(&watch->delivered, &watch->lock);
    }
    g_mutex_unlock(&watch->lock);
    if (source) {
        g_source_destroy(source);
    }
    curl_multi_wakeup(watch->multi);
    g_thread_join(watch->thread);
    watch_unref(watch);
}
