/* SPDX-License-Identifier: Apache-2.0
 * The witness's document. */
#include "cluster/witness.h"

#include "cluster/objects.h"
#include "common/error.h"

static const JsonField witness_fields[] = {
    {.name = "version", .kind = JSON_FIELD_INT, .offset = offsetof(Witness, version), .required = TRUE},
    {.name = "name", .kind = JSON_FIELD_STRING, .offset = offsetof(Witness, name), .required = TRUE},
    {.name = "address", .kind = JSON_FIELD_STRING, .offset = offsetof(Witness, address), .required = TRUE},
    {.name = "voter", .kind = JSON_FIELD_BOOL, .offset = offsetof(Witness, voter)},
    {.name = "ready", .kind = JSON_FIELD_BOOL, .offset = offsetof(Witness, ready)},
    {0},
};
const JsonStruct witness_type = {.size = sizeof(Witness), .fields = witness_fields};

void witness_free(Witness *witness)
{
    object_free(&witness_type, witness);
}

gboolean witness_load(Store *store, Witness **ret, gint64 *ret_revision, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(StoreEntry) entry = store_get(store, WITNESS_KEY, NULL, &problem);
    gboolean none = g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    if (!entry && !none) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    Witness *witness = entry ? object_from_text(&witness_type, entry->value, "cluster/witness", error) : NULL;
    if (entry && !witness) {
        return FALSE;
    }
    *ret = witness;
    if (ret_revision) {
        *ret_revision = entry ? entry->mod_revision : 0;
    }
    return TRUE;
}

gboolean witness_votes(const Witness *witness, guint n_nodes)
{
    return witness && witness->ready && n_nodes > 0 && n_nodes % 2 == 0;
}
