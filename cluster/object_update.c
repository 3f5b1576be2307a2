/* SPDX-License-Identifier: Apache-2.0
 * Read-change-write of one document. */
#include "cluster/object_update.h"

#include "common/error.h"

#define ATTEMPTS 8
#define PAUSE_US (20 * 1000) /* times the number of the attempt */

typedef struct {
    Store *store;
    const JsonStruct *type;
    char *key;
    gint64 lease;
    ObjectChange change;
    gpointer user_data;
} Update;

/* A write whose outcome was unknown shows here as a document that is already as it should be. */
static gboolean try_once(const Update *update, gint64 *ret_revision, GError **error)
{
    g_autoptr(StoreEntry) entry = store_get(update->store, update->key, NULL, error);
    gpointer object = entry ? object_from_text(update->type, entry->value, update->key, error) : NULL;
    if (!object) {
        return FALSE;
    }
    g_autoptr(GError) refusal = NULL;
    gboolean changed = update->change(object, update->user_data, &refusal);
    g_autofree char *text = object_to_text(update->type, object);
    object_free(update->type, object);
    if (refusal) {
        g_propagate_error(error, g_steal_pointer(&refusal));
        return FALSE;
    }
    if (!changed || (g_str_equal(text, entry->value) && entry->lease == update->lease)) {
        *ret_revision = entry->mod_revision;
        return TRUE;
    }
    return store_put(update->store, update->key, text, entry->mod_revision, update->lease, ret_revision, error);
}

gboolean object_update(Store *store, const JsonStruct *type, const char *kind_and_name, gint64 lease,
                       ObjectChange change, gpointer user_data, gint64 *ret_revision, GError **error)
{
    g_autofree char *key = g_strconcat(STORE_ROOT, kind_and_name, NULL);
    Update update = {
        .store = store, .type = type, .key = key, .lease = lease, .change = change, .user_data = user_data};
    gint64 revision = 0;
    for (guint attempt = 1;; attempt++) {
        g_autoptr(GError) problem = NULL;
        if (try_once(&update, &revision, &problem)) {
            if (ret_revision) {
                *ret_revision = revision;
            }
            return TRUE;
        }
        gboolean again = g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT) ||
                         g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT);
        if (!again || attempt == ATTEMPTS) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        g_usleep(attempt * PAUSE_US);
    }
}
