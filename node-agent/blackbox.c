/* SPDX-License-Identifier: Apache-2.0
 * The black box as a whole: its rings, its threads, their start and end. */
#include "node-agent/blackbox_internal.h"

#include "common/ident.h"
#include "common/log.h"

#include <glib/gstdio.h>
#include <string.h>
#include <time.h>

#define KEEP_REMOVED_S (7 * 86400) /* files of a node that was removed from the cluster */

void blackbox_peer_free(BlackboxPeer *peer)
{
    g_free(peer->name);
    for (gsize i = 0; i < G_N_ELEMENTS(peer->addresses); i++) {
        g_free(peer->addresses[i]);
    }
    g_free(peer);
}

static void sign_free(gpointer data)
{
    BlackboxSign *sign = data;
    g_clear_object(&sign->stream);
    g_free(sign);
}

static void sender_free(gpointer data)
{
    BlackboxSender *sender = data;
    g_thread_join(sender->thread);
    g_free(sender->peer);
    g_free(sender);
}

Blackbox *blackbox_new(const BlackboxConfig *config)
{
    Blackbox *box = g_new0(Blackbox, 1);
    box->references = 1;
    box->config = config;
    box->tail = blackbox_tail_new(config->tail_bytes);
    box->main_context = g_main_context_ref_thread_default();
    box->services = g_ptr_array_new_with_free_func(g_object_unref);
    box->cancellable = g_cancellable_new();
    g_mutex_init(&box->lock);
    g_cond_init(&box->idle);
    box->rings = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) blackbox_ring_free);
    box->signs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, sign_free);
    box->senders = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, sender_free);
    return box;
}

gboolean blackbox_stopping(Blackbox *box)
{
    return g_atomic_int_get(&box->stopping);
}

void blackbox_pause(Blackbox *box, int ms)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) ms * 1000;
    g_mutex_lock(&box->lock);
    while (!blackbox_stopping(box) && g_cond_wait_until(&box->idle, &box->lock, deadline_us)) {
    }
    g_mutex_unlock(&box->lock);
}

BlackboxRing *blackbox_ring(Blackbox *box, const char *node)
{
    g_mutex_lock(&box->lock);
    BlackboxRing *ring = g_hash_table_lookup(box->rings, node);
    if (!ring) {
        ring = blackbox_ring_new(box->config->folder, node, box->config->ring_bytes);
        g_hash_table_insert(box->rings, g_strdup(node), ring);
    }
    g_mutex_unlock(&box->lock);
    return ring;
}

void blackbox_take(Blackbox *box, BlackboxLine *line)
{
    g_autoptr(GError) error = NULL;
    blackbox_tail_push(box->tail, line);
    if (!blackbox_ring_append(blackbox_ring(box, box->config->node), line, &error) && error) {
        log_line(LOG_LEVEL_WARNING, "black box: lines of this node are not kept here: %s", error->message);
    }
}

/* Nodes that have a file here. */
static GPtrArray *known_nodes(Blackbox *box)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *nodes = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GDir) folder = g_dir_open(box->config->folder, 0, NULL);
    const char *file;
    while (folder && (file = g_dir_read_name(folder)) != NULL) {
        const char *end = strstr(file, ".log");
        g_autofree char *name = end ? g_strndup(file, (gsize) (end - file)) : NULL;
        if (name && ident_check_name(name, "node", NULL) && g_hash_table_add(seen, name)) {
            g_ptr_array_add(nodes, g_steal_pointer(&name));
        }
    }
    return nodes;
}

static gboolean is_in_cluster(const GPtrArray *peers, const char *node)
{
    for (guint i = 0; i < peers->len; i++) {
        if (g_str_equal(((const BlackboxPeer *) peers->pdata[i])->name, node)) {
            return TRUE;
        }
    }
    return FALSE;
}

void blackbox_prune(Blackbox *box)
{
    static const char *const endings[] = {".log", ".log.old"};
    g_autoptr(GPtrArray) peers = box->config->peers(box->config->user_data);
    g_autoptr(GPtrArray) nodes = known_nodes(box);
    g_ptr_array_set_free_func(peers, (GDestroyNotify) blackbox_peer_free);
    for (guint i = 0; i < nodes->len; i++) {
        const char *node = nodes->pdata[i];
        for (gsize e = 0; e < G_N_ELEMENTS(endings); e++) {
            g_autofree char *path = g_strdup_printf("%s/%s%s", box->config->folder, node, endings[e]);
            GStatBuf status;
            if (!g_str_equal(node, box->config->node) && !is_in_cluster(peers, node) && g_stat(path, &status) == 0 &&
                status.st_mtime < time(NULL) - KEEP_REMOVED_S) {
                g_unlink(path);
            }
        }
    }
}

typedef struct {
    const char *node;
    BlackboxVisit visit;
    gpointer user_data;
} Visitor;

static void on_line(BlackboxLine *line, gpointer user_data)
{
    const Visitor *visitor = user_data;
    visitor->visit(visitor->node, line, visitor->user_data);
}

void blackbox_each(Blackbox *box, BlackboxVisit visit, gpointer user_data)
{
    g_autoptr(GPtrArray) nodes = known_nodes(box);
    for (guint i = 0; i < nodes->len; i++) {
        Visitor visitor = {.node = nodes->pdata[i], .visit = visit, .user_data = user_data};
        blackbox_ring_each(blackbox_ring(box, visitor.node), on_line, &visitor);
    }
}

gint64 blackbox_heard_us(Blackbox *box, const char *node)
{
    g_mutex_lock(&box->lock);
    const BlackboxSign *sign = g_hash_table_lookup(box->signs, node);
    gint64 heard_us = sign ? sign->heard_us : 0;
    g_mutex_unlock(&box->lock);
    return heard_us;
}

guint blackbox_lost(Blackbox *box, const char *node)
{
    return blackbox_ring_lost(blackbox_ring(box, node));
}

void blackbox_start(Blackbox *box)
{
    box->journal = g_thread_new("blackbox", blackbox_journal_run, box);
}

void blackbox_ref(Blackbox *box)
{
    g_atomic_int_inc(&box->references);
}

void blackbox_unref(Blackbox *box)
{
    if (!g_atomic_int_dec_and_test(&box->references)) {
        return;
    }
    g_hash_table_unref(box->rings);
    g_hash_table_unref(box->signs);
    g_clear_object(&box->authority);
    g_clear_object(&box->certificate);
    g_object_unref(box->cancellable);
    g_main_context_unref(box->main_context);
    blackbox_tail_free(box->tail);
    g_mutex_clear(&box->lock);
    g_cond_clear(&box->idle);
    g_free(box);
}

void blackbox_free(Blackbox *box)
{
    if (!box) {
        return;
    }
    for (guint i = 0; i < box->services->len; i++) {
        g_socket_service_stop(box->services->pdata[i]);
        g_socket_listener_close(box->services->pdata[i]);
        g_signal_handlers_disconnect_by_data(box->services->pdata[i], box);
    }
    g_mutex_lock(&box->lock);
    g_atomic_int_set(&box->stopping, TRUE);
    g_cond_broadcast(&box->idle);
    g_mutex_unlock(&box->lock);
    g_cancellable_cancel(box->cancellable);
    blackbox_tail_close(box->tail);
    if (box->journal) {
        g_thread_join(box->journal); /* it alone starts senders */
    }
    g_hash_table_unref(box->senders); /* joins them: they were cancelled */
    g_mutex_lock(&box->lock);
    while (box->visits > 0) {
        g_cond_wait(&box->idle, &box->lock);
    }
    g_mutex_unlock(&box->lock);
    g_ptr_array_unref(box->services);
    blackbox_unref(box);
}
