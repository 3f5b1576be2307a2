/* SPDX-License-Identifier: Apache-2.0
 * Aligned tables and human units. Pure. */
#pragma once

#include <glib.h>

typedef struct CliTable CliTable;

/* Columns by their headings, NULL-terminated; a heading that begins with '>' makes a right-aligned column. */
CliTable *table_new(const char *first_heading, ...) G_GNUC_NULL_TERMINATED;
void table_free(CliTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CliTable, table_free)

/* One row: exactly one `const char *` per column, NULL is shown as "-". Copied, control characters replaced. */
void table_add(CliTable *table, ...);
/* All rows below the headings; with `colour`, words of state are coloured. Caller frees. */
char *table_format(const CliTable *table, gboolean colour);

/* "512 MiB", "1.5 GiB", "2 TiB". Caller frees. */
char *units_from_mib(gint64 mib);
/* "37 ms", "4.2 s", "3 min 20 s", "2 h 5 min". Caller frees. */
char *units_from_ms(gint64 ms);
/* "4096", "512M", "4G", "4GiB", "1T" -> MiB. INVALID, the text beginning with `what`. */
gboolean units_parse_mib(const char *text, const char *what, gint64 *ret_mib, GError **error);
