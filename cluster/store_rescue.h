/* SPDX-License-Identifier: Apache-2.0
 * The mark that a rescue or a restore leaves in the store, and what it does to everything else there that may be older
 * than the truth. docs/decisions/0006-store-rescue.md has the reasons. */
#pragma once

#include "cluster/objects.h"
#include "cluster/store.h"

#define STORE_RESCUE_KEY STORE_ROOT "cluster/rescued"

typedef enum { STORE_RESCUE_MAJORITY_LOST, STORE_RESCUE_RESTORED } StoreRescueKind;

typedef struct {
    gint64 version;     /* 1 */
    char *id;           /* names the rescue; in every record that is in doubt because of it */
    int kind;           /* StoreRescueKind */
    char *node;         /* whose store it is now */
    char *at;           /* RFC 3339, for people */
    gint64 revision;    /* of the store that it was made from */
    char *confirmed_at; /* NULL: held. An operator compared nodes, fence devices and guests with the truth */
} StoreRescue;

extern const JsonStruct store_rescue_type;
void store_rescue_free(StoreRescue *rescue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreRescue, store_rescue_free)

/* "rescued after the loss of its majority" or "restored from a snapshot". */
const char *store_rescue_word(const StoreRescue *rescue);

/* TRUE with *ret NULL when there never was one. */
gboolean store_rescue_load(Store *store, StoreRescue **ret, GError **error);

/* Write the mark, last of all, into a store that nobody else reaches yet:
 * - every in-sync record is in doubt (record_doubt); a damaged one stays as it is, nothing starts from it anyway;
 * - `rescue->node` is the only voter; REFUSED when the store does not know that node;
 * - what a running machine said of itself (boot ids, status), operations under way, and the prefixes in `forget`
 *   (NULL-terminated) are gone;
 * - after a restore fencing is unproven: what was proven may have been another device.
 * May be repeated. */
gboolean store_rescue_mark(Store *store, const StoreRescue *rescue, const char *const *forget, GError **error);

/* The operator's word: what is held goes on. REFUSED when nothing is held. */
gboolean store_rescue_confirm(Store *store, GError **error);
