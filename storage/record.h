/* SPDX-License-Identifier: Apache-2.0
 * The in-sync record in the store: read, and compare-and-set by one of the rules of record_codec.h. */
#pragma once

#include "cluster/store.h"
#include "storage/record_codec.h"

char *record_key(const char *guest); /* caller frees */

/* NOT_FOUND, UNAVAILABLE; INVALID when the document is damaged (nothing may start then). */
gboolean record_read(Store *store, const char *guest, Record *ret, gint64 *ret_revision, GError **error);

/* Write `next` if the record is still at `revision`. CONFLICT when not; TIMEOUT when unknown (read back). */
gboolean record_write(Store *store, const char *guest, const Record *next, gint64 revision, gint64 *ret_revision,
                      GError **error);

/* Read, apply one rule, write; repeated on CONFLICT (at most 5 times); after an unknown outcome it is read back and
 * counts as done only if exactly our document is there. REFUSED with the rule's reason. *ret_before, *ret_after may be
 * NULL. */
typedef gboolean (*RecordRule)(const Record *before, gpointer user_data, Record *after, char *reason,
                               gsize reason_size);
gboolean record_update(Store *store, const char *guest, RecordRule rule, gpointer user_data, Record *ret_before,
                       Record *ret_after, GError **error);
