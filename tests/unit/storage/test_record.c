/* SPDX-License-Identifier: Apache-2.0
 * record_update() against a store that loses races, loses answers, and is not there. The store is this file's own. */
#include "storage/record.h"

#include "common/error.h"

#include <stdlib.h>
#include <string.h>

#define GUEST "web1"

/* What happens to one write: it happens and says so; it happens but the answer is lost; the request is lost; somebody
 * was first; no store. */
typedef enum { PUT_OK, PUT_HAPPENS_UNKNOWN, PUT_LOST_UNKNOWN, PUT_CONFLICT, PUT_UNAVAILABLE } Put;

static struct {
    char *value;
    gint64 revision;
    const Put *puts; /* fate of the next writes; after the end: PUT_OK */
    int n_puts, n_gets, n_written;
    gboolean gets_fail_after_put;
    const char *intruder; /* what another node writes on PUT_CONFLICT */
} fake;

static void fake_set(const char *text)
{
    g_free(fake.value);
    fake.value = g_strdup(text);
    fake.revision++;
}

void store_entry_free(StoreEntry *entry)
{
    g_free(entry->key);
    g_free(entry->value);
    g_free(entry);
}

StoreEntry *store_get(Store *store G_GNUC_UNUSED, const char *key, gint64 *ret_revision G_GNUC_UNUSED, GError **error)
{
    g_assert_cmpstr(key, ==, "/holdfast/v1/record/" GUEST);
    fake.n_gets++;
    if (!fake.value || (fake.gets_fail_after_put && fake.n_gets > 1)) {
        g_set_error(error, HOLDFAST_ERROR, fake.value ? HOLDFAST_ERROR_UNAVAILABLE : HOLDFAST_ERROR_NOT_FOUND,
                    "no answer");
        return NULL;
    }
    StoreEntry *entry = g_new0(StoreEntry, 1);
    entry->key = g_strdup(key);
    entry->value = g_strdup(fake.value);
    entry->mod_revision = fake.revision;
    return entry;
}

gboolean store_put(Store *store G_GNUC_UNUSED, const char *key G_GNUC_UNUSED, const char *value,
                   gint64 expected_revision, gint64 lease, gint64 *ret_revision, GError **error)
{
    g_assert_cmpint(lease, ==, 0); /* a record must outlive every node */
    Put put = fake.n_puts > 0 ? (fake.n_puts--, *fake.puts++) : PUT_OK;
    if (put == PUT_CONFLICT) {
        fake_set(fake.intruder);
    }
    if (put != PUT_UNAVAILABLE && put != PUT_LOST_UNKNOWN && expected_revision == fake.revision) {
        fake_set(value);
        fake.n_written++;
        if (ret_revision) {
            *ret_revision = fake.revision;
        }
        put = put == PUT_CONFLICT ? PUT_OK : put;
    } else if (put == PUT_OK) {
        put = PUT_CONFLICT;
    }
    static const int codes[] = {0, HOLDFAST_ERROR_TIMEOUT, HOLDFAST_ERROR_TIMEOUT, HOLDFAST_ERROR_CONFLICT,
                                HOLDFAST_ERROR_UNAVAILABLE};
    if (put != PUT_OK) {
        g_set_error(error, HOLDFAST_ERROR, codes[put], "write failed");
    }
    return put == PUT_OK;
}

/* ---- documents and a rule ---- */

static char *document(const char *owner, gint64 generation, const char *handover)
{
    Record r = {.generation = generation, .state = RECORD_RUNNING, .in_sync = {"n1", "n2"}};
    g_strlcpy(r.owner, owner, RECORD_NAME_MAX);
    g_strlcpy(r.owner_boot_id, "b", RECORD_NAME_MAX);
    if (handover) {
        g_strlcpy(r.handover_to, "n2", RECORD_NAME_MAX);
        g_strlcpy(r.handover_id, handover, RECORD_NAME_MAX);
    }
    char *text = record_encode(&r);
    char *copy = g_strdup(text);
    free(text);
    return copy;
}

/* The hardest one: it is refused after itself. */
static gboolean commit(const Record *before, gpointer user_data G_GNUC_UNUSED, Record *after, char *reason,
                       gsize reason_size)
{
    return record_handover_commit(before, "h1", "b2", after, reason, reason_size);
}

static gboolean stop_other(const Record *before, gpointer user_data G_GNUC_UNUSED, Record *after, char *reason,
                           gsize reason_size)
{
    return record_stop(before, "n2", "b2", after, reason, reason_size);
}

static void fake_reset(const char *value, const Put *puts, int n_puts)
{
    g_free(fake.value);
    memset(&fake, 0, sizeof(fake));
    fake_set(value);
    fake.puts = puts;
    fake.n_puts = n_puts;
}

/* Run the commit; -1: it succeeded, else the error's code. */
static int run_commit(Record *after)
{
    g_autoptr(GError) error = NULL;
    return record_update(NULL, GUEST, commit, NULL, NULL, after, &error) ? -1 : holdfast_error_code(error);
}

static const struct {
    Put puts[6];
    int n_puts, outcome, written;
} update_cases[] = {
    {{PUT_OK}, 1, -1, 1},
    {{PUT_HAPPENS_UNKNOWN}, 1, -1, 1},      /* read back: there it is */
    {{PUT_LOST_UNKNOWN, PUT_OK}, 2, -1, 1}, /* read back: not there, so again */
    {{PUT_LOST_UNKNOWN, PUT_HAPPENS_UNKNOWN}, 2, -1, 1},
    {{PUT_UNAVAILABLE}, 1, HOLDFAST_ERROR_UNAVAILABLE, 0}, /* surely not written */
    {{PUT_LOST_UNKNOWN, PUT_UNAVAILABLE}, 2, HOLDFAST_ERROR_TIMEOUT, 0},
    {{PUT_LOST_UNKNOWN, PUT_LOST_UNKNOWN, PUT_LOST_UNKNOWN, PUT_LOST_UNKNOWN, PUT_LOST_UNKNOWN},
     5,
     HOLDFAST_ERROR_TIMEOUT,
     0},
};

static void test_update(void)
{
    g_autofree char *standing = document("n1", 7, "h1");
    for (gsize i = 0; i < G_N_ELEMENTS(update_cases); i++) {
        Record after = {0};
        fake_reset(standing, update_cases[i].puts, update_cases[i].n_puts);
        int outcome = run_commit(&after);
        if (outcome != update_cases[i].outcome || fake.n_written != update_cases[i].written) {
            g_error("case %" G_GSIZE_FORMAT ": outcome %d, %d writes", i, outcome, fake.n_written);
        }
        if (outcome == -1) {
            g_assert_cmpstr(after.owner, ==, "n2");
            g_assert_cmpint(after.generation, ==, 8);
        }
    }
}

/* Somebody was first. Decided anew on what is there now, however that ends. */
static void test_conflict(void)
{
    g_autofree char *standing = document("n1", 7, "h1");
    g_autofree char *rolled_back = document("n1", 8, NULL);
    g_autofree char *begun_again = document("n1", 9, "h1");
    static const Put once[] = {PUT_CONFLICT};
    Record after;
    fake_reset(standing, once, 1);
    fake.intruder = rolled_back;
    g_assert_cmpint(run_commit(&after), ==, HOLDFAST_ERROR_REFUSED);
    g_assert_cmpstr(fake.value, ==, rolled_back);
    fake_reset(standing, once, 1);
    fake.intruder = begun_again;
    g_assert_cmpint(run_commit(&after), ==, -1);
    g_assert_cmpint(after.generation, ==, 10);
    static const Put always[] = {PUT_CONFLICT, PUT_CONFLICT, PUT_CONFLICT, PUT_CONFLICT, PUT_CONFLICT, PUT_CONFLICT};
    fake_reset(standing, always, 6);
    fake.intruder = begun_again;
    g_assert_cmpint(run_commit(&after), ==, HOLDFAST_ERROR_CONFLICT);
    g_assert_cmpint(fake.n_puts, ==, 1); /* five tries */
}

/* The answer is lost, and then the store too; or somebody changed it since: unknown either way, never "refused". */
static void test_unknown_stays_unknown(void)
{
    g_autofree char *standing = document("n1", 7, "h1");
    g_autofree char *moved_on = document("n2", 9, NULL);
    static const Put lost[] = {PUT_HAPPENS_UNKNOWN};
    Record after;
    fake_reset(standing, lost, 1);
    fake.gets_fail_after_put = TRUE;
    g_assert_cmpint(run_commit(&after), ==, HOLDFAST_ERROR_TIMEOUT);
    static const Put lost_then_changed[] = {PUT_LOST_UNKNOWN, PUT_CONFLICT};
    fake_reset(standing, lost_then_changed, 2);
    fake.intruder = moved_on;
    g_assert_cmpint(run_commit(&after), ==, HOLDFAST_ERROR_TIMEOUT);
}

static void test_no_change_no_write(void)
{
    g_autofree char *running = document("n1", 7, NULL);
    Record before, after;
    GError *error = NULL;
    fake_reset(running, NULL, 0);
    g_assert_true(record_update(NULL, GUEST, stop_other, NULL, &before, &after, &error));
    g_assert_cmpint(fake.n_written, ==, 0);
    g_assert_cmpint(after.generation, ==, 7);
}

static void test_read(void)
{
    Record record;
    gint64 revision = 0;
    GError *error = NULL;
    g_autofree char *running = document("n1", 7, NULL);
    fake_reset(running, NULL, 0);
    g_assert_true(record_read(NULL, GUEST, &record, &revision, &error));
    g_assert_cmpint(revision, ==, fake.revision);
    fake_reset("{\"version\":1}", NULL, 0);
    g_assert_false(record_read(NULL, GUEST, &record, &revision, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_clear_pointer(&fake.value, g_free);
    g_assert_false(record_read(NULL, GUEST, &record, &revision, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/record-store/update", test_update);
    g_test_add_func("/record-store/conflict", test_conflict);
    g_test_add_func("/record-store/unknown-stays-unknown", test_unknown_stays_unknown);
    g_test_add_func("/record-store/no-change-no-write", test_no_change_no_write);
    g_test_add_func("/record-store/read", test_read);
    int failed = g_test_run();
    g_free(fake.value);
    return failed;
}
