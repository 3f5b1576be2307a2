/* SPDX-License-Identifier: Apache-2.0
 * The newest lines in memory. */
#include "node-agent/blackbox_tail.h"

#include <string.h>

struct BlackboxTail {
    GMutex mutex;
    GCond news;
    GQueue lines; /* of BlackboxLine, oldest at the head */
    gsize bytes, max_bytes;
    BlackboxPlace dropped; /* the newest line that had to go; boot "": none */
    gboolean closed;
};

BlackboxTail *blackbox_tail_new(gsize max_bytes)
{
    BlackboxTail *tail = g_new0(BlackboxTail, 1);
    g_mutex_init(&tail->mutex);
    g_cond_init(&tail->news);
    g_queue_init(&tail->lines);
    tail->max_bytes = max_bytes;
    return tail;
}

void blackbox_tail_free(BlackboxTail *tail)
{
    if (tail) {
        g_queue_clear_full(&tail->lines, (GDestroyNotify) blackbox_line_unref);
        g_mutex_clear(&tail->mutex);
        g_cond_clear(&tail->news);
        g_free(tail);
    }
}

/* What a line costs, roughly. */
static gsize line_bytes(const BlackboxLine *line)
{
    return sizeof(*line) + strlen(line->boot) + strlen(line->source) + strlen(line->text) + 64;
}

void blackbox_tail_push(BlackboxTail *tail, BlackboxLine *line)
{
    g_mutex_lock(&tail->mutex);
    g_queue_push_tail(&tail->lines, blackbox_line_ref(line));
    tail->bytes += line_bytes(line);
    while (tail->bytes > tail->max_bytes && tail->lines.length > 1) {
        g_autoptr(BlackboxLine) old = g_queue_pop_head(&tail->lines);
        tail->bytes -= line_bytes(old);
        blackbox_place_set(&tail->dropped, old->boot, old->mono_us);
    }
    g_cond_broadcast(&tail->news);
    g_mutex_unlock(&tail->mutex);
}

void blackbox_tail_close(BlackboxTail *tail)
{
    g_mutex_lock(&tail->mutex);
    tail->closed = TRUE;
    g_cond_broadcast(&tail->news);
    g_mutex_unlock(&tail->mutex);
}

/* The first line after `place`, NULL when there is none. *ret_known: `place` itself was met. */
static GList *first_after(BlackboxTail *tail, const BlackboxPlace *place, gboolean *ret_known)
{
    GList *first = NULL;
    for (GList *at = tail->lines.tail; at; at = at->prev) {
        if (blackbox_place_covers(place, at->data)) {
            *ret_known = TRUE;
            return first;
        }
        first = at;
    }
    *ret_known = FALSE;
    return first;
}

/* `place` is older than everything here: is something missing in between? */
static gboolean is_gap(const BlackboxTail *tail, const BlackboxPlace *place, const BlackboxLine *first)
{
    if (place->boot[0] == '\0') {
        return FALSE; /* nothing yet: the stream begins here */
    }
    if (tail->dropped.boot[0] != '\0') {
        return !g_str_equal(tail->dropped.boot, place->boot) || tail->dropped.mono_us > place->mono_us;
    }
    return g_str_equal(first->boot, place->boot);
}

GPtrArray *blackbox_tail_after(BlackboxTail *tail, const BlackboxPlace *place, guint max, int timeout_ms,
                               gboolean *ret_gap)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func((GDestroyNotify) blackbox_line_unref);
    gint64 deadline_us = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
    gboolean known = FALSE;
    g_mutex_lock(&tail->mutex);
    GList *at = first_after(tail, place, &known);
    while (!at && !tail->closed && g_cond_wait_until(&tail->news, &tail->mutex, deadline_us)) {
        at = first_after(tail, place, &known);
    }
    *ret_gap = at && !known && is_gap(tail, place, at->data);
    for (; at && found->len < max; at = at->next) {
        g_ptr_array_add(found, blackbox_line_ref(at->data));
    }
    g_mutex_unlock(&tail->mutex);
    return g_steal_pointer(&found);
}
