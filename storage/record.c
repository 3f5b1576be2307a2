/* SPDX-License-Identifier: Apache-2.0
 * Reading and compare-and-set of the in-sync record. */
#include "storage/record.h"

#include "common/error.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_UPDATE_TRIES 5

char *record_key(const char *guest)
{
    return g_strconcat(STORE_ROOT "record/", guest, NULL);
}

gboolean record_read(Store *store, const char *guest, Record *ret, gint64 *ret_revision, GError **error)
{
    g_autofree char *key = record_key(guest);
    g_autoptr(StoreEntry) entry = store_get(store, key, NULL, error);
    if (!entry) {
        return FALSE;
    }
    char reason[256];
    Record record;
    if (!record_decode(entry->value, &record, reason, sizeof(reason))) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "in-sync record of guest '%s' is damaged (%s): nothing may start it until it is repaired", guest,
                    reason);
        return FALSE;
    }
    *ret = record;
    if (ret_revision) {
        *ret_revision = entry->mod_revision;
    }
    return TRUE;
}

gboolean record_write(Store *store, const char *guest, const Record *next, gint64 revision, gint64 *ret_revision,
                      GError **error)
{
    g_autofree char *key = record_key(guest);
    char *text = record_encode(next);
    g_assert(text); /* GLib's rule: out of memory ends the process */
    gboolean ok = store_put(store, key, text, revision, 0, ret_revision, error);
    free(text);
    return ok;
}

static gboolean records_equal(const Record *a, const Record *b)
{
    char *a_text = record_encode(a);
    char *b_text = record_encode(b);
    gboolean equal = a_text && b_text && strcmp(a_text, b_text) == 0;
    free(a_text);
    free(b_text);
    return equal;
}

typedef enum { STEP_DONE, STEP_AGAIN, STEP_FAILED } Step;

/* One round of read, decide, write. *pending is our document once a write's outcome is unknown: the next round finds it
 * there (it counts as done) or not. Without that memory a rule that is no longer allowed after itself (a commit) would
 * be reported as refused although it happened. */
static Step update_once(Store *store, const char *guest, RecordRule rule, gpointer user_data, Record *before,
                        Record *after, gboolean *pending, GError **error)
{
    Record now;
    gint64 revision = 0;
    if (!record_read(store, guest, &now, &revision, error)) {
        return STEP_FAILED;
    }
    if (*pending && records_equal(&now, after)) {
        return STEP_DONE;
    }
    char reason[256] = "not allowed";
    Record next;
    if (!rule(&now, user_data, &next, reason, sizeof(reason))) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s': %s", guest, reason);
        return STEP_FAILED;
    }
    *before = now;
    *after = next;
    if (records_equal(before, after)) {
        return STEP_DONE;
    }
    g_autoptr(GError) problem = NULL;
    if (record_write(store, guest, after, revision, NULL, &problem)) {
        return STEP_DONE;
    }
    int code = holdfast_error_code(problem);
    if (code == HOLDFAST_ERROR_TIMEOUT) {
        *pending = TRUE;
    } else if (code != HOLDFAST_ERROR_CONFLICT) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return STEP_FAILED;
    }
    return STEP_AGAIN;
}

gboolean record_update(Store *store, const char *guest, RecordRule rule, gpointer user_data, Record *ret_before,
                       Record *ret_after, GError **error)
{
    Record before, after;
    gboolean pending = FALSE;
    for (int try = 0; try < RECORD_UPDATE_TRIES; try++) {
        g_autoptr(GError) problem = NULL;
        Step step = update_once(store, guest, rule, user_data, &before, &after, &pending, &problem);
        if (step == STEP_FAILED && pending) {
            /* Also when the rule refuses now: ours may have happened and been followed by another's change. */
            g_set_error(
                error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
                "guest '%s': the store did not say whether the in-sync record was written (then: %s); read it back",
                guest, problem->message);
            return FALSE;
        }
        if (step == STEP_FAILED) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        if (step == STEP_DONE) {
            if (ret_before) {
                *ret_before = before;
            }
            if (ret_after) {
                *ret_after = after;
            }
            return TRUE;
        }
    }
    g_set_error(error, HOLDFAST_ERROR, pending ? HOLDFAST_ERROR_TIMEOUT : HOLDFAST_ERROR_CONFLICT,
                "guest '%s': the in-sync record changed %d times while it was being updated", guest,
                RECORD_UPDATE_TRIES);
    return FALSE;
}
