/* SPDX-License-Identifier: Apache-2.0
 * Building the arguments of a verb. Only the outer shape is judged here; what a spec may hold is holdfastd's business.
 */
#include "webui-api/server/arguments.h"

#include "common/error.h"

#include <string.h>

static const RouteField *field_find(const RouteField *fields, const char *name)
{
    for (; fields && fields->name; fields++) {
        if (strcmp(fields->name, name) == 0) {
            return fields;
        }
    }
    return NULL;
}

static gboolean field_set(json_t *arguments, const RouteField *field, json_t *value)
{
    return json_object_set(arguments, field->argument ? field->argument : field->name, value) == 0;
}

static gboolean field_invalid(GError **error, const char *name, const char *text)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: %s", name, text);
    return FALSE;
}

static gboolean check_range(const RouteField *field, gint64 number, GError **error)
{
    if (number >= field->min && number <= field->max) {
        return TRUE;
    }
    g_autofree char *text =
        g_strdup_printf("must be between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT ", not %" G_GINT64_FORMAT,
                        field->min, field->max, number);
    return field_invalid(error, field->name, text);
}

static gboolean check_value(const RouteField *field, const json_t *value, GError **error)
{
    switch (field->kind) {
    case ROUTE_FIELD_STRING:
        return json_is_string(value) || field_invalid(error, field->name, "must be a string");
    case ROUTE_FIELD_NULLABLE_STRING:
        return json_is_string(value) || json_is_null(value) ||
               field_invalid(error, field->name, "must be a string or null");
    case ROUTE_FIELD_BOOL:
        return json_is_boolean(value) || field_invalid(error, field->name, "must be true or false");
    case ROUTE_FIELD_OBJECT:
        return json_is_object(value) || field_invalid(error, field->name, "must be an object");
    case ROUTE_FIELD_INT:
        return json_is_integer(value) ? check_range(field, json_integer_value(value), error)
                                      : field_invalid(error, field->name, "must be a whole number");
    }
    return FALSE;
}

static gboolean add_body(const Route *route, const GString *text, json_t *arguments, GError **error)
{
    g_autoptr(json_t) body =
        text->len > 0 ? json_text_parse(text->str, (gssize) text->len, "body", error) : json_object();
    if (!body) {
        return FALSE;
    }
    if (!json_is_object(body)) {
        return field_invalid(error, "body", "must be a JSON object");
    }
    const char *key;
    json_t *value;
    json_object_foreach (body, key, value) {
        const RouteField *field = field_find(route->body, key);
        if (!field) {
            return field_invalid(error, key, "is not known here");
        }
        if (!check_value(field, value, error)) {
            return FALSE;
        }
        field_set(arguments, field, value);
    }
    for (const RouteField *field = route->body; field && field->name; field++) {
        if (field->required && !json_object_get(body, field->name)) {
            return field_invalid(error, field->name, "is required");
        }
    }
    return TRUE;
}

/* A query value is text; only numbers and strings occur. */
static gboolean add_parameter(const RouteField *field, const char *escaped, json_t *arguments, GError **error)
{
    g_autofree char *text = route_unescape(escaped, FALSE);
    if (!text) {
        return field_invalid(error, field->name, "is not properly escaped UTF-8");
    }
    g_autoptr(json_t) value = NULL;
    if (field->kind == ROUTE_FIELD_INT) {
        gint64 number = 0;
        if (!g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &number, NULL)) {
            return field_invalid(error, field->name, "must be a whole number");
        }
        value = json_integer(number);
    } else {
        value = json_string(text);
    }
    return check_value(field, value, error) && field_set(arguments, field, value);
}

static gboolean add_query(const Route *route, GHashTable *query, json_t *arguments, GError **error)
{
    GHashTableIter iterator;
    gpointer name, value;
    g_hash_table_iter_init(&iterator, query);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        const RouteField *field = field_find(route->query, name);
        if (!field) {
            return field_invalid(error, name, "is not a query parameter of this resource");
        }
        if (!add_parameter(field, value ? value : "", arguments, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

json_t *arguments_build(const Route *route, GHashTable *variables, GHashTable *query, const GString *body,
                        GError **error)
{
    g_autoptr(json_t) arguments = json_object();
    if (!add_body(route, body, arguments, error) || (query && !add_query(route, query, arguments, error))) {
        return NULL;
    }
    GHashTableIter iterator;
    gpointer name, value;
    g_hash_table_iter_init(&iterator, variables);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        json_object_set_new(arguments, name, json_string(value));
    }
    return g_steal_pointer(&arguments);
}
