/* SPDX-License-Identifier: Apache-2.0
 * The mark of a rescue. Its key is written after everything else, so a store that has it has been gone through. */
#include "cluster/store_rescue.h"

#include "cluster/object_update.h"
#include "cluster/witness.h"
#include "common/error.h"
#include "common/ident.h"
#include "storage/record_codec.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {"majority-lost", "restored", NULL};

static const JsonField store_rescue_fields[] = {
    {.name = "version", .kind = JSON_FIELD_INT, .offset = offsetof(StoreRescue, version), .required = TRUE},
    {.name = "id", .kind = JSON_FIELD_STRING, .offset = offsetof(StoreRescue, id), .required = TRUE},
    {.name = "kind",
     .kind = JSON_FIELD_ENUM,
     .offset = offsetof(StoreRescue, kind),
     .required = TRUE,
     .names = kind_names},
    {.name = "node", .kind = JSON_FIELD_STRING, .offset = offsetof(StoreRescue, node), .required = TRUE},
    {.name = "at", .kind = JSON_FIELD_STRING, .offset = offsetof(StoreRescue, at), .required = TRUE},
    {.name = "revision", .kind = JSON_FIELD_INT, .offset = offsetof(StoreRescue, revision), .required = TRUE},
    {.name = "confirmed_at", .kind = JSON_FIELD_STRING, .offset = offsetof(StoreRescue, confirmed_at)},
    {0},
};
const JsonStruct store_rescue_type = {.size = sizeof(StoreRescue), .fields = store_rescue_fields};

void store_rescue_free(StoreRescue *rescue)
{
    object_free(&store_rescue_type, rescue);
}

const char *store_rescue_word(const StoreRescue *rescue)
{
    return rescue->kind == STORE_RESCUE_RESTORED ? "restored from a snapshot"
                                                 : "rescued after the loss of its majority";
}

gboolean store_rescue_load(Store *store, StoreRescue **ret, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(StoreEntry) entry = store_get(store, STORE_RESCUE_KEY, NULL, &problem);
    *ret = NULL;
    if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        return TRUE;
    }
    if (!entry) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    *ret = object_from_text(&store_rescue_type, entry->value, "cluster/rescued", error);
    return *ret != NULL;
}

static gboolean doubt_record(Store *store, const StoreEntry *entry, const StoreRescue *rescue, GError **error)
{
    Record before, after;
    char reason[256];
    if (!record_decode(entry->value, &before, reason, sizeof(reason))) {
        return TRUE;
    }
    if (!record_doubt(&before, rescue->id, &after, reason, sizeof(reason))) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "%s: %s", entry->key, reason);
        return FALSE;
    }
    char *text = record_encode(&after);
    g_assert(text); /* GLib's rule: out of memory ends the process */
    gboolean ok =
        strcmp(text, entry->value) == 0 || store_put(store, entry->key, text, entry->mod_revision, 0, NULL, error);
    free(text);
    return ok;
}

static gboolean object_put(Store *store, const StoreEntry *entry, const JsonStruct *type, gconstpointer object,
                           GError **error)
{
    g_autofree char *text = object_to_text(type, object);
    return store_put(store, entry->key, text, entry->mod_revision, 0, NULL, error);
}

static gboolean voter_only_here(Store *store, const StoreEntry *entry, const StoreRescue *rescue, GError **error)
{
    g_autoptr(Node) node = object_from_text(&node_type, entry->value, entry->key, error);
    if (!node) {
        return FALSE;
    }
    gboolean voter = strcmp(node->name, rescue->node) == 0;
    if (node->voter == voter) {
        return TRUE;
    }
    node->voter = voter;
    return object_put(store, entry, &node_type, node, error);
}

static gboolean unprove(Store *store, const StoreEntry *entry, const StoreRescue *rescue, GError **error)
{
    if (rescue->kind != STORE_RESCUE_RESTORED) {
        return TRUE;
    }
    g_autoptr(FenceDevice) device = object_from_text(&fence_device_type, entry->value, entry->key, error);
    if (!device) {
        return FALSE;
    }
    if (device->state == FENCE_UNPROVEN) {
        return TRUE;
    }
    device->state = FENCE_UNPROVEN;
    g_free(device->detail);
    device->detail = g_strdup("the store was restored from a snapshot since it was proven");
    return object_put(store, entry, &fence_device_type, device, error);
}

static gboolean for_each(Store *store, const char *prefix, const StoreRescue *rescue,
                         gboolean (*change)(Store *, const StoreEntry *, const StoreRescue *, GError **),
                         GError **error)
{
    g_autoptr(GPtrArray) entries = store_list(store, prefix, NULL, error);
    gboolean ok = entries != NULL;
    for (guint i = 0; ok && i < entries->len; i++) {
        ok = change(store, entries->pdata[i], rescue, error);
    }
    return ok;
}

static gboolean node_is_known(Store *store, const char *name, GError **error)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "node/", name, NULL);
    g_autoptr(GError) problem = NULL;
    g_autoptr(StoreEntry) entry = store_get(store, key, NULL, &problem);
    if (entry) {
        return TRUE;
    }
    if (!g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    g_set_error(
        error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
        "the store that is to be used does not know node '%s': it is older than this node, or another cluster's; "
        "take a newer snapshot, or do it on a node that was there then",
        name);
    return FALSE;
}

static gboolean witness_votes_no_more(Store *store, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(StoreEntry) entry = store_get(store, WITNESS_KEY, NULL, &problem);
    if (!entry) {
        gboolean none = g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
        if (!none) {
            g_propagate_error(error, g_steal_pointer(&problem));
        }
        return none;
    }
    Witness *witness = object_from_text(&witness_type, entry->value, entry->key, error);
    if (!witness) {
        return FALSE;
    }
    witness->voter = FALSE;
    gboolean ok = object_put(store, entry, &witness_type, witness, error);
    witness_free(witness);
    return ok;
}

gboolean store_rescue_mark(Store *store, const StoreRescue *rescue, const char *const *forget, GError **error)
{
    static const char *const gone[] = {STORE_ROOT "boot/", STORE_ROOT "status/", STORE_ROOT "op/", STORE_ROOT "idem/"};
    g_autoptr(StoreTxn) txn = store_txn_new();
    g_autofree char *text = object_to_text(&store_rescue_type, rescue);
    if (!node_is_known(store, rescue->node, error) ||
        !for_each(store, STORE_ROOT "record/", rescue, doubt_record, error) ||
        !for_each(store, STORE_ROOT "node/", rescue, voter_only_here, error) ||
        !for_each(store, STORE_ROOT "fence/", rescue, unprove, error) || !witness_votes_no_more(store, error)) {
        return FALSE;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(gone); i++) {
        store_txn_delete_prefix(txn, gone[i]);
    }
    for (; forget && *forget; forget++) {
        store_txn_delete_prefix(txn, *forget);
    }
    store_txn_put(txn, STORE_RESCUE_KEY, text, 0);
    return store_txn_commit(store, txn, NULL, error);
}

static gboolean confirm_change(gpointer object, gpointer user_data G_GNUC_UNUSED, GError **error)
{
    StoreRescue *rescue = object;
    if (rescue->confirmed_at) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "the store was confirmed already, at %s",
                    rescue->confirmed_at);
        return FALSE;
    }
    rescue->confirmed_at = ident_timestamp();
    return TRUE;
}

gboolean store_rescue_confirm(Store *store, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (object_update(store, &store_rescue_type, "cluster/rescued", 0, confirm_change, NULL, NULL, &problem)) {
        return TRUE;
    }
    if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                            "this store was never rescued or restored: there is nothing to confirm");
    } else {
        g_propagate_error(error, g_steal_pointer(&problem));
    }
    return FALSE;
}
