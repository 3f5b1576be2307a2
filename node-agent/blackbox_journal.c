/* SPDX-License-Identifier: Apache-2.0
 * The journal thread: follows this node's journal from where its own ring file ends, takes the lines that matter, and
 * keeps one sender thread per peer running. After a restart or a reboot it goes on where it was, so the last lines of
 * an orderly shutdown are streamed when the node is back. */
#include "node-agent/blackbox_internal.h"

#include "common/log.h"

#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-journal.h>

#define FIRST_LOOK_US (600 * (gint64) G_USEC_PER_SEC) /* of the journal, by a node that has no file yet */
#define WAIT_US 1000000
#define RETRY_MS 5000
#define TEND_US (5 * G_USEC_PER_SEC)
#define FIELD_MAX_BYTES 4096
#define BURST_LINES 500 /* then a short rest: others need the processor too */
#define REST_MS 20
#define NICE 10

typedef struct {
    Blackbox *box;
    sd_journal *journal;
    BlackboxPlace place;
    gint64 time_us;     /* of the line at `place` */
    GHashTable *boots;  /* all boots in our own file */
    char this_boot[33]; /* of the running kernel */
    gboolean settled;   /* past the lines that our own file has already */
    gint64 tended_us;
} Reader;

/* --- senders
 * ----------------------------------------------------------------------------------------------------------------- */

/* A sender whose peer left the cluster has ended by itself; its thread is joined at the end. */
static void tend_senders(Reader *reader)
{
    Blackbox *box = reader->box;
    if (g_get_monotonic_time() - reader->tended_us < TEND_US) {
        return;
    }
    reader->tended_us = g_get_monotonic_time();
    g_autoptr(GPtrArray) peers = box->config->peers(box->config->user_data);
    g_ptr_array_set_free_func(peers, (GDestroyNotify) blackbox_peer_free);
    for (guint i = 0; i < peers->len; i++) {
        blackbox_tend(box, ((const BlackboxPeer *) peers->pdata[i])->name);
    }
}

/* --- the journal
 * ------------------------------------------------------------------------------------------------------------- */

static void on_own_line(BlackboxLine *line, gpointer user_data)
{
    Reader *reader = user_data;
    if (line->boot[0] != '\0') {
        blackbox_tail_push(reader->box->tail, line);
        blackbox_place_set(&reader->place, line->boot, line->mono_us);
        reader->time_us = line->time_us;
        g_hash_table_add(reader->boots, g_strdup(line->boot));
    }
}

static int seek(Reader *reader)
{
    sd_id128_t boot;
    if (reader->place.boot[0] != '\0' && sd_id128_from_string(reader->place.boot, &boot) >= 0) {
        return sd_journal_seek_monotonic_usec(reader->journal, boot, (guint64) reader->place.mono_us);
    }
    return sd_journal_seek_realtime_usec(reader->journal, (guint64) (g_get_real_time() - FIRST_LOOK_US));
}

static gboolean journal_open(Reader *reader)
{
    int code = sd_journal_open(&reader->journal, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);
    for (const char *const *source = blackbox_sources(); code >= 0 && *source; source++) {
        g_autofree char *match = g_strconcat("SYSLOG_IDENTIFIER=", *source, NULL);
        code = sd_journal_add_match(reader->journal, match, 0);
    }
    if (code >= 0) {
        sd_journal_set_data_threshold(reader->journal, FIELD_MAX_BYTES);
        reader->settled = FALSE;
        code = seek(reader);
    }
    if (code < 0) {
        log_line(LOG_LEVEL_WARNING, "black box: the journal cannot be read: %s", g_strerror(-code));
        g_clear_pointer(&reader->journal, sd_journal_close);
    }
    return code >= 0;
}

/* A field's value, NULL when it is not there. Caller frees. */
static char *field(sd_journal *journal, const char *name)
{
    const void *data;
    size_t length, skip = strlen(name) + 1;
    if (sd_journal_get_data(journal, name, &data, &length) < 0 || length < skip) {
        return NULL;
    }
    return g_strndup((const char *) data + skip, MIN(length - skip, FIELD_MAX_BYTES));
}

/* Older than what our own file ends with? Seeking may begin too early: in journal files that do not know our boot, at
 * their first line. */
static gboolean is_old(const Reader *reader, const char *boot, gint64 mono_us, gint64 time_us)
{
    if (g_str_equal(boot, reader->place.boot)) {
        return !reader->settled && mono_us <= reader->place.mono_us;
    }
    if (g_hash_table_contains(reader->boots, boot)) {
        return TRUE;
    }
    return time_us < reader->time_us && !g_str_equal(boot, reader->this_boot);
}

static void take_entry(Reader *reader)
{
    guint64 mono_us, time_us;
    sd_id128_t boot;
    char text[SD_ID128_STRING_MAX];
    if (sd_journal_get_monotonic_usec(reader->journal, &mono_us, &boot) < 0 ||
        sd_journal_get_realtime_usec(reader->journal, &time_us) < 0) {
        return;
    }
    sd_id128_to_string(boot, text);
    if (is_old(reader, text, (gint64) mono_us, (gint64) time_us)) {
        return;
    }
    g_autofree char *source = field(reader->journal, "SYSLOG_IDENTIFIER");
    g_autofree char *message = field(reader->journal, "MESSAGE");
    g_autofree char *level = field(reader->journal, "PRIORITY");
    int priority = level ? atoi(level) : 6;
    if (!source || !message || !blackbox_wanted(source, priority, message)) {
        return;
    }
    reader->settled = TRUE;
    if (g_str_equal(text, reader->place.boot)) {
        mono_us = (guint64) MAX((gint64) mono_us, reader->place.mono_us + 1); /* two in one microsecond */
    }
    g_autofree char *worded = blackbox_text_of(source, message);
    g_autoptr(BlackboxLine) line =
        blackbox_line_new(BLACKBOX_LOG, text, (gint64) mono_us, (gint64) time_us, priority, source, worded);
    if (g_hash_table_add(reader->boots, g_strdup(text))) {
        log_line(LOG_LEVEL_INFO, "black box: following boot %s", text);
    }
    blackbox_place_set(&reader->place, text, (gint64) mono_us);
    reader->time_us = (gint64) time_us;
    blackbox_take(reader->box, line);
}

/* Everything there is now, then wait for more. FALSE: the journal has to be opened again. */
static gboolean follow(Reader *reader)
{
    int code;
    for (guint n = 1; (code = sd_journal_next(reader->journal)) > 0 && !blackbox_stopping(reader->box); n++) {
        take_entry(reader);
        if (n % BURST_LINES == 0) {
            blackbox_pause(reader->box, REST_MS);
            tend_senders(reader);
        }
    }
    /* Our own file is never synced: what a crash takes from it comes from the journal again. */
    return code >= 0 && sd_journal_wait(reader->journal, WAIT_US) >= 0;
}

gpointer blackbox_journal_run(gpointer user_data)
{
    Reader reader = {.box = user_data};
    sd_id128_t boot;
    setpriority(PRIO_PROCESS, 0, NICE); /* of this thread alone, and of the senders it starts */
    reader.boots = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (sd_id128_get_boot(&boot) >= 0) {
        sd_id128_to_string(boot, reader.this_boot);
    }
    blackbox_ring_each(blackbox_ring(reader.box, reader.box->config->node), on_own_line, &reader);
    blackbox_prune(reader.box); /* at every start of the daemon is often enough */
    while (!blackbox_stopping(reader.box)) {
        tend_senders(&reader);
        if (!reader.journal && !journal_open(&reader)) {
            blackbox_pause(reader.box, RETRY_MS);
        } else if (!follow(&reader)) {
            g_clear_pointer(&reader.journal, sd_journal_close);
            blackbox_pause(reader.box, RETRY_MS);
        }
    }
    g_clear_pointer(&reader.journal, sd_journal_close);
    g_hash_table_unref(reader.boots);
    return NULL;
}
