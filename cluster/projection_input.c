/* SPDX-License-Identifier: Apache-2.0
 * What is projected, read from the store in one piece. A stale or partial list here would take a guest that exists out
 * of the CIB, and Pacemaker would stop it: so nothing comes from a cache, and what cannot be read is never taken for
 * absent. */
#include "cluster/projection.h"

#include "cluster/store_rescue.h"
#include "cluster/witness.h"
#include "common/error.h"

#include <string.h>

#define NODES STORE_ROOT "node/"
#define DEVICES STORE_ROOT "fence/"
#define GUESTS STORE_ROOT "guest/"
#define RECORDS STORE_ROOT "record/"

void projection_guest_free(ProjectionGuest *guest)
{
    if (guest) {
        guest_free(guest->guest);
        g_free(guest);
    }
}

void projection_input_free(ProjectionInput *input)
{
    if (input) {
        g_clear_pointer(&input->nodes, g_ptr_array_unref);
        g_clear_pointer(&input->fence_devices, g_ptr_array_unref);
        g_clear_pointer(&input->guests, g_ptr_array_unref);
        g_clear_pointer(&input->node_statuses, g_ptr_array_unref);
        g_clear_pointer(&input->secrets_stored, g_ptr_array_unref);
        g_free(input);
    }
}

static ProjectionInput *input_new(void)
{
    ProjectionInput *input = g_new0(ProjectionInput, 1);
    input->nodes = g_ptr_array_new_with_free_func((GDestroyNotify) node_free);
    input->fence_devices = g_ptr_array_new_with_free_func((GDestroyNotify) fence_device_free);
    input->guests = g_ptr_array_new_with_free_func((GDestroyNotify) projection_guest_free);
    return input;
}

static gboolean add_object(const StoreEntry *entry, const JsonStruct *type, GPtrArray *list, GError **error)
{
    gpointer object = object_from_text(type, entry->value, entry->key, error);
    if (object) {
        g_ptr_array_add(list, object);
    }
    return object != NULL;
}

static gboolean add_device(const StoreEntry *entry, ProjectionInput *input, GError **error)
{
    if (!add_object(entry, &fence_device_type, input->fence_devices, error)) {
        return FALSE;
    }
    FenceDevice *device = input->fence_devices->pdata[input->fence_devices->len - 1];
    device->revision = entry->mod_revision;
    return TRUE;
}

static void add_guest(const StoreEntry *entry, GHashTable *records, ProjectionInput *input, GString *damaged)
{
    g_autoptr(GError) problem = NULL;
    Guest *guest = object_from_text(&guest_type, entry->value, entry->key, &problem);
    if (!guest) {
        input->incomplete = TRUE;
        g_string_append_printf(damaged, "%s%s", damaged->len ? "; " : "", problem->message);
        return;
    }
    ProjectionGuest *projected = g_new0(ProjectionGuest, 1);
    const char *record = g_hash_table_lookup(records, guest->name);
    char reason[200];
    projected->guest = guest;
    projected->have_record = record && record_decode(record, &projected->record, reason, sizeof(reason));
    projected->ready = projected->have_record && projected->record.state != RECORD_NEW;
    /* In doubt: where it may be is not known, and what the CIB says is newer than the store. */
    projected->have_record = projected->have_record && !projected->record.unconfirmed[0];
    g_ptr_array_add(input->guests, projected);
}

/* After a rescue or restore the CIB may know more of nodes, fence devices and guests than the store does. */
static gboolean refuse_if_held(const StoreEntry *entry, GError **error)
{
    g_autoptr(StoreRescue) rescue = object_from_text(&store_rescue_type, entry->value, entry->key, error);
    if (rescue && !rescue->confirmed_at) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "the store was %s at %s: Pacemaker's configuration stays as it is until `holdfast store confirm`",
                    store_rescue_word(rescue), rescue->at);
        return FALSE;
    }
    return rescue != NULL;
}

ProjectionInput *projection_input_from(const GPtrArray *entries, char **ret_damaged, GError **error)
{
    g_autoptr(ProjectionInput) input = input_new();
    g_autoptr(GHashTable) records = g_hash_table_new(g_str_hash, g_str_equal); /* guest -> text; borrowed */
    g_autoptr(GString) damaged = g_string_new(NULL);
    g_autoptr(Witness) witness = NULL;
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        if (g_str_has_prefix(entry->key, RECORDS)) {
            g_hash_table_insert(records, entry->key + strlen(RECORDS), entry->value);
        }
    }
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        if (g_str_has_prefix(entry->key, GUESTS)) {
            add_guest(entry, records, input, damaged);
        } else if ((g_str_has_prefix(entry->key, NODES) && !add_object(entry, &node_type, input->nodes, error)) ||
                   (g_str_has_prefix(entry->key, DEVICES) && !add_device(entry, input, error)) ||
                   (g_str_equal(entry->key, STORE_RESCUE_KEY) && !refuse_if_held(entry, error)) ||
                   (g_str_equal(entry->key, WITNESS_KEY) &&
                    !(witness = object_from_text(&witness_type, entry->value, entry->key, error)))) {
            return NULL;
        }
    }
    if (input->nodes->len == 0) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                            "the store has no node: an empty store is never projected over a live cluster");
        return NULL;
    }
    input->quorum_device = witness_votes(witness, input->nodes->len);
    if (ret_damaged) {
        *ret_damaged = damaged->len ? g_strdup(damaged->str) : NULL;
    }
    return g_steal_pointer(&input);
}

ProjectionInput *projection_input_read(Store *store, char **ret_damaged, GError **error)
{
    static const char *const prefixes[] = {NODES, DEVICES, GUESTS, RECORDS, WITNESS_KEY, STORE_RESCUE_KEY, NULL};
    g_autoptr(GPtrArray) entries = store_list_all(store, prefixes, NULL, error);
    return entries ? projection_input_from(entries, ret_damaged, error) : NULL;
}
