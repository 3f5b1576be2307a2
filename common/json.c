/* SPDX-License-Identifier: Apache-2.0
 * JSON with limits and field tables. jansson's memory grows up to 77 times the input for hostile text, so size and
 * depth are checked on the raw bytes first. */
#include "common/json.h"

#include "common/error.h"

#include <string.h>

/* One pass over the raw text: TRUE when nesting stays within the limit. Strings are skipped, validity is not judged
 * here. */
static gboolean text_depth_ok(const char *text, gsize length)
{
    guint depth = 0;
    gboolean in_string = FALSE;
    for (gsize i = 0; i < length; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = FALSE;
            }
        } else if (c == '"') {
            in_string = TRUE;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_TEXT_MAX_DEPTH) {
                return FALSE;
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return TRUE;
}

static json_t *parse(const char *text, gssize length, guint max_bytes, const char *what, GError **error)
{
    gsize bytes = length < 0 ? strlen(text) : (gsize) length;
    if (bytes > max_bytes) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "%s: %" G_GSIZE_FORMAT " bytes of JSON, at most %u allowed", what, bytes, max_bytes);
        return NULL;
    }
    if (!text_depth_ok(text, bytes)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: JSON nested deeper than %u", what,
                    JSON_TEXT_MAX_DEPTH);
        return NULL;
    }
    json_error_t problem;
    json_t *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
    if (!value) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: not valid JSON: %s (line %d, column %d)", what,
                    problem.text, problem.line, problem.column);
    }
    return value;
}

json_t *json_text_parse(const char *text, gssize length, const char *what, GError **error)
{
    return parse(text, length, JSON_TEXT_MAX_BYTES, what, error);
}

json_t *json_answer_parse(const char *text, gssize length, const char *what, GError **error)
{
    return parse(text, length, JSON_ANSWER_MAX_BYTES, what, error);
}

char *json_text_from(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    char *copy = g_strdup(text ? text : "null");
    free(text);
    return copy;
}

static gboolean field_wrong(GError **error, const char *path, const JsonField *field, const char *wanted)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s%s%s: must be %s", path, *path ? "." : "",
                field->name, wanted);
    return FALSE;
}

static gboolean decode_int(const json_t *value, const JsonField *field, const char *path, gint64 *out, GError **error)
{
    if (!json_is_integer(value)) {
        return field_wrong(error, path, field, "a whole number");
    }
    gint64 number = json_integer_value(value);
    if (field->max > field->min && (number < field->min || number > field->max)) {
        g_autofree char *wanted =
            g_strdup_printf("between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT ", not %" G_GINT64_FORMAT, field->min,
                            field->max, number);
        return field_wrong(error, path, field, wanted);
    }
    *out = number;
    return TRUE;
}

static gboolean decode_enum(const json_t *value, const JsonField *field, const char *path, int *out, GError **error)
{
    const char *text = json_string_value(value);
    for (int i = 0; text && field->names[i]; i++) {
        if (strcmp(field->names[i], text) == 0) {
            *out = i;
            return TRUE;
        }
    }
    g_autofree char *choices = g_strjoinv(", ", (char **) field->names);
    g_autofree char *wanted = g_strdup_printf("one of %s", choices);
    return field_wrong(error, path, field, wanted);
}

static gboolean decode_strv(const json_t *value, const JsonField *field, const char *path, char ***out, GError **error)
{
    if (!json_is_array(value)) {
        return field_wrong(error, path, field, "an array of strings");
    }
    g_autoptr(GPtrArray) strings = g_ptr_array_new_with_free_func(g_free);
    gsize index;
    json_t *item;
    json_array_foreach (value, index, item) {
        if (!json_is_string(item)) {
            return field_wrong(error, path, field, "an array of strings");
        }
        g_ptr_array_add(strings, g_strdup(json_string_value(item)));
    }
    g_ptr_array_add(strings, NULL);
    g_strfreev(*out);
    *out = (char **) g_ptr_array_free(g_steal_pointer(&strings), FALSE);
    return TRUE;
}

static void struct_free(const JsonStruct *type, gpointer structure)
{
    if (structure) {
        json_struct_clear(type, structure);
        g_free(structure);
    }
}

static gboolean decode_structs(const json_t *value, const JsonField *field, const char *path, GPtrArray **out,
                               GError **error)
{
    if (!json_is_array(value)) {
        return field_wrong(error, path, field, "an array of objects");
    }
    if (!*out) {
        *out = g_ptr_array_new();
    }
    gsize index;
    json_t *item;
    json_array_foreach (value, index, item) {
        g_autofree char *item_path =
            g_strdup_printf("%s%s%s[%" G_GSIZE_FORMAT "]", path, *path ? "." : "", field->name, index);
        gpointer element = g_malloc0(field->sub->size);
        if (!json_struct_decode(item, field->sub, item_path, element, error)) {
            struct_free(field->sub, element);
            return FALSE;
        }
        g_ptr_array_add(*out, element);
    }
    return TRUE;
}

static gboolean decode_field(const json_t *value, const JsonField *field, const char *path, gpointer member,
                             GError **error)
{
    switch (field->kind) {
    case JSON_FIELD_STRING:
        if (!json_is_string(value)) {
            return field_wrong(error, path, field, "a string");
        }
        g_free(*(char **) member);
        *(char **) member = g_strdup(json_string_value(value));
        return TRUE;
    case JSON_FIELD_INT:
        return decode_int(value, field, path, member, error);
    case JSON_FIELD_BOOL:
        if (!json_is_boolean(value)) {
            return field_wrong(error, path, field, "true or false");
        }
        *(gboolean *) member = json_is_true(value);
        return TRUE;
    case JSON_FIELD_ENUM:
        return decode_enum(value, field, path, member, error);
    case JSON_FIELD_STRV:
        return decode_strv(value, field, path, member, error);
    case JSON_FIELD_STRUCT: {
        g_autofree char *sub_path = g_strdup_printf("%s%s%s", path, *path ? "." : "", field->name);
        return json_struct_decode(value, field->sub, sub_path, member, error);
    }
    case JSON_FIELD_STRUCTS:
        return decode_structs(value, field, path, member, error);
    }
    g_return_val_if_reached(FALSE);
}

static const JsonField *field_find(const JsonStruct *type, const char *name)
{
    for (const JsonField *field = type->fields; field->name; field++) {
        if (strcmp(field->name, name) == 0) {
            return field;
        }
    }
    return NULL;
}

static gboolean unknown_key(const JsonStruct *type, const char *path, const char *key, GError **error)
{
    g_autoptr(GString) known = g_string_new(NULL);
    for (const JsonField *field = type->fields; field->name; field++) {
        g_string_append_printf(known, "%s%s", known->len ? ", " : "", field->name);
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s%s%s: unknown field; known are %s", path,
                *path ? "." : "", key, known->str);
    return FALSE;
}

gboolean json_struct_decode(const json_t *object, const JsonStruct *type, const char *path, gpointer out,
                            GError **error)
{
    if (!json_is_object(object)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: must be a JSON object",
                    *path ? path : "document");
        return FALSE;
    }
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *) object, key, value) {
        const JsonField *field = field_find(type, key);
        if (!field && type->open) {
            continue;
        }
        if (!field) {
            return unknown_key(type, path, key, error);
        }
        if (!decode_field(value, field, path, (char *) out + field->offset, error)) {
            return FALSE;
        }
    }
    for (const JsonField *field = type->fields; field->name; field++) {
        if (field->required && !json_object_get(object, field->name)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s%s%s: is missing", path, *path ? "." : "",
                        field->name);
            return FALSE;
        }
        if (field->kind == JSON_FIELD_STRUCTS) {
            GPtrArray **array = (GPtrArray **) (void *) ((char *) out + field->offset);
            if (!*array) {
                *array = g_ptr_array_new();
            }
        }
    }
    return TRUE;
}

static json_t *encode_strv(char *const *strings)
{
    json_t *array = json_array();
    for (; strings && *strings; strings++) {
        json_array_append_new(array, json_string(*strings));
    }
    return array;
}

static json_t *encode_structs(const JsonStruct *type, const GPtrArray *elements)
{
    json_t *array = json_array();
    for (guint i = 0; elements && i < elements->len; i++) {
        json_array_append_new(array, json_struct_encode(type, elements->pdata[i]));
    }
    return array;
}

static json_t *encode_field(const JsonField *field, gconstpointer member)
{
    switch (field->kind) {
    case JSON_FIELD_STRING:
        return *(char *const *) member ? json_string(*(char *const *) member) : NULL;
    case JSON_FIELD_INT:
        return json_integer(*(const gint64 *) member);
    case JSON_FIELD_BOOL:
        return json_boolean(*(const gboolean *) member);
    case JSON_FIELD_ENUM:
        return json_string(field->names[*(const int *) member]);
    case JSON_FIELD_STRV:
        return encode_strv(*(char *const *const *) member);
    case JSON_FIELD_STRUCT:
        return json_struct_encode(field->sub, member);
    case JSON_FIELD_STRUCTS:
        return encode_structs(field->sub, *(GPtrArray *const *) member);
    }
    g_return_val_if_reached(NULL);
}

/* NULL texts are never written. */
static gboolean is_empty(const JsonField *field, gconstpointer member)
{
    switch (field->kind) {
    case JSON_FIELD_INT:
        return *(const gint64 *) member == 0;
    case JSON_FIELD_BOOL:
        return !*(const gboolean *) member;
    case JSON_FIELD_ENUM:
        return *(const int *) member == 0;
    case JSON_FIELD_STRV: {
        char *const *strings = *(char *const *const *) member;
        return !strings || !*strings;
    }
    case JSON_FIELD_STRUCTS: {
        const GPtrArray *elements = *(GPtrArray *const *) member;
        return !elements || elements->len == 0;
    }
    case JSON_FIELD_STRING:
    case JSON_FIELD_STRUCT:
        break;
    }
    return FALSE;
}

json_t *json_struct_encode(const JsonStruct *type, gconstpointer in)
{
    json_t *object = json_object();
    for (const JsonField *field = type->fields; field->name; field++) {
        gconstpointer member = (const char *) in + field->offset;
        json_t *value = field->sparse && is_empty(field, member) ? NULL : encode_field(field, member);
        if (value) {
            json_object_set_new(object, field->name, value);
        }
    }
    return object;
}

static void clear_field(const JsonField *field, gpointer member)
{
    switch (field->kind) {
    case JSON_FIELD_STRING:
        g_clear_pointer((char **) member, g_free);
        break;
    case JSON_FIELD_STRV:
        g_clear_pointer((char ***) member, g_strfreev);
        break;
    case JSON_FIELD_STRUCT:
        json_struct_clear(field->sub, member);
        break;
    case JSON_FIELD_STRUCTS: {
        GPtrArray **array = member;
        for (guint i = 0; *array && i < (*array)->len; i++) {
            struct_free(field->sub, (*array)->pdata[i]);
        }
        g_clear_pointer(array, g_ptr_array_unref);
        break;
    }
    case JSON_FIELD_INT:
    case JSON_FIELD_BOOL:
    case JSON_FIELD_ENUM:
        break;
    }
}

void json_struct_clear(const JsonStruct *type, gpointer structure)
{
    if (type->clear) {
        type->clear(structure);
    }
    for (const JsonField *field = type->fields; field->name; field++) {
        clear_field(field, (char *) structure + field->offset);
    }
    memset(structure, 0, type->size);
}
