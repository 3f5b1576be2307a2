/* SPDX-License-Identifier: Apache-2.0
 * Tables and units. */
#include "webui-api/cli/table.h"

#include "common/error.h"

#include <stdio.h>
#include <string.h>

struct CliTable {
    guint n_columns;
    GPtrArray *cells; /* headings first, then row by row */
    GArray *right;    /* gboolean per column */
};

/* The first word of a cell decides; a colour only repeats what the word says. */
static const struct {
    const char *word, *colour;
} word_colours[] = {
    {"running", "32"}, {"online", "32"},  {"proven", "32"},   {"succeeded", "32"}, {"yes", "32"},
    {"stopped", "2"},  {"offline", "31"}, {"failed", "31"},   {"UNCLEAN", "31"},   {"NO", "31"},
    {"DOWN", "31"},    {"unknown", "33"}, {"unproven", "33"}, {"standby", "33"},   {"proving", "33"},
};

static char *clean(const char *text)
{
    char *copy = g_utf8_make_valid(text, -1);
    for (char *c = copy; *c; c++) {
        *c = g_ascii_iscntrl(*c) ? ' ' : *c;
    }
    return copy;
}

CliTable *table_new(const char *first_heading, ...)
{
    CliTable *table = g_new0(CliTable, 1);
    table->cells = g_ptr_array_new_with_free_func(g_free);
    table->right = g_array_new(FALSE, FALSE, sizeof(gboolean));
    va_list headings;
    va_start(headings, first_heading);
    for (const char *heading = first_heading; heading; heading = va_arg(headings, const char *)) {
        gboolean right = heading[0] == '>';
        g_array_append_val(table->right, right);
        g_ptr_array_add(table->cells, g_strdup(heading + (right ? 1 : 0)));
        table->n_columns++;
    }
    va_end(headings);
    return table;
}

void table_free(CliTable *table)
{
    if (table) {
        g_ptr_array_unref(table->cells);
        g_array_unref(table->right);
        g_free(table);
    }
}

void table_add(CliTable *table, ...)
{
    va_list cells;
    va_start(cells, table);
    for (guint i = 0; i < table->n_columns; i++) {
        const char *cell = va_arg(cells, const char *);
        g_ptr_array_add(table->cells, cell && *cell ? clean(cell) : g_strdup("-"));
    }
    va_end(cells);
}

static const char *cell_colour(const char *text)
{
    gsize length = strcspn(text, " ,:(");
    for (gsize i = 0; i < G_N_ELEMENTS(word_colours); i++) {
        if (strlen(word_colours[i].word) == length && strncmp(word_colours[i].word, text, length) == 0) {
            return word_colours[i].colour;
        }
    }
    return NULL;
}

static void append_cell(const CliTable *table, GString *out, guint index, guint width, gboolean colour)
{
    const char *text = table->cells->pdata[index];
    guint column = index % table->n_columns;
    gboolean right = g_array_index(table->right, gboolean, column), last = column + 1 == table->n_columns;
    int padding = (int) (width - (guint) g_utf8_strlen(text, -1));
    const char *code = colour && index >= table->n_columns ? cell_colour(text) : NULL;
    if (right) {
        g_string_append_printf(out, "%*s", padding, "");
    }
    if (code) {
        g_string_append_printf(out, "\033[%sm%s\033[0m", code, text);
    } else {
        g_string_append(out, text);
    }
    if (!last) {
        g_string_append_printf(out, "%*s", (right ? 0 : padding) + 2, "");
    }
}

char *table_format(const CliTable *table, gboolean colour)
{
    g_autofree guint *widths = g_new0(guint, table->n_columns);
    for (guint i = 0; i < table->cells->len; i++) {
        guint width = (guint) g_utf8_strlen(table->cells->pdata[i], -1);
        widths[i % table->n_columns] = MAX(widths[i % table->n_columns], width);
    }
    GString *out = g_string_new(NULL);
    for (guint i = 0; i < table->cells->len; i++) {
        append_cell(table, out, i, widths[i % table->n_columns], colour);
        if ((i + 1) % table->n_columns == 0) {
            g_string_append_c(out, '\n');
        }
    }
    return g_string_free(out, FALSE);
}

char *units_from_mib(gint64 mib)
{
    static const char *const names[] = {"MiB", "GiB", "TiB", "PiB"};
    double value = (double) mib;
    guint unit = 0;
    while (value >= 1024 && unit + 1 < G_N_ELEMENTS(names)) {
        value /= 1024;
        unit++;
    }
    g_autofree char *number = g_strdup_printf("%.1f", value);
    if (g_str_has_suffix(number, ".0")) {
        number[strlen(number) - 2] = '\0';
    }
    return g_strdup_printf("%s %s", number, names[unit]);
}

char *units_from_ms(gint64 ms)
{
    if (ms < 1000) {
        return g_strdup_printf("%" G_GINT64_FORMAT " ms", ms);
    }
    if (ms < 60000) {
        return g_strdup_printf("%" G_GINT64_FORMAT ".%" G_GINT64_FORMAT " s", ms / 1000, ms % 1000 / 100);
    }
    gint64 s = ms / 1000;
    if (s < 3600) {
        return g_strdup_printf("%" G_GINT64_FORMAT " min %" G_GINT64_FORMAT " s", s / 60, s % 60);
    }
    return g_strdup_printf("%" G_GINT64_FORMAT " h %" G_GINT64_FORMAT " min", s / 3600, s % 3600 / 60);
}

gboolean units_parse_mib(const char *text, const char *what, gint64 *ret_mib, GError **error)
{
    static const struct {
        const char *suffix;
        guint64 mib;
    } suffixes[] = {{"", 1}, {"M", 1}, {"MiB", 1}, {"G", 1024}, {"GiB", 1024}, {"T", 1048576}, {"TiB", 1048576}};
    char *end = NULL;
    guint64 number = g_ascii_isdigit(text[0]) ? g_ascii_strtoull(text, &end, 10) : 0;
    for (gsize i = 0; end && i < G_N_ELEMENTS(suffixes); i++) {
        if (strcmp(suffixes[i].suffix, end) == 0 && number <= (guint64) G_MAXINT32 * 1024 / suffixes[i].mib) {
            *ret_mib = (gint64) (number * suffixes[i].mib);
            return TRUE;
        }
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                "%s: must be a size like 4096 (MiB), 512M, 4G or 1T, not '%s'", what, text);
    return FALSE;
}
