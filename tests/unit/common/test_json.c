/* SPDX-License-Identifier: Apache-2.0
 * JSON limits and field tables. */
#include "common/error.h"
#include "common/json.h"

#include <stddef.h>
#include <string.h>

typedef struct {
    gint64 size;
} Part;

typedef struct {
    char *name;
    gint64 count, any;
    gboolean on;
    int colour;
    char **tags;
    Part part;
    GPtrArray *parts;
} Thing;

static const JsonField part_fields[] = {
    {.name = "size", .kind = JSON_FIELD_INT, .offset = offsetof(Part, size), .required = TRUE, .min = 1, .max = 9},
    {0},
};
static const JsonStruct part_type = {.size = sizeof(Part), .fields = part_fields};
static const char *const colours[] = {"red", "green", NULL};
static const JsonField thing_fields[] = {
    {.name = "name", .kind = JSON_FIELD_STRING, .offset = offsetof(Thing, name), .required = TRUE},
    {.name = "count", .kind = JSON_FIELD_INT, .offset = offsetof(Thing, count), .min = -5, .max = 5},
    {.name = "any", .kind = JSON_FIELD_INT, .offset = offsetof(Thing, any)},
    {.name = "on", .kind = JSON_FIELD_BOOL, .offset = offsetof(Thing, on)},
    {.name = "colour", .kind = JSON_FIELD_ENUM, .offset = offsetof(Thing, colour), .names = colours},
    {.name = "tags", .kind = JSON_FIELD_STRV, .offset = offsetof(Thing, tags)},
    {.name = "part", .kind = JSON_FIELD_STRUCT, .offset = offsetof(Thing, part), .sub = &part_type},
    {.name = "parts", .kind = JSON_FIELD_STRUCTS, .offset = offsetof(Thing, parts), .sub = &part_type},
    {0},
};
static const JsonStruct thing_type = {.size = sizeof(Thing), .fields = thing_fields};

static gboolean decode(const char *text, const char *path, Thing *thing, GError **error)
{
    g_autoptr(json_t) document = json_text_parse(text, -1, "input", NULL);
    g_assert_nonnull(document);
    return json_struct_decode(document, &thing_type, path, thing, error);
}

static void test_round_trip(void)
{
    static const char golden[] =
        "{\"any\":-9223372036854775808,\"colour\":\"green\",\"count\":-5,\"name\":\"a\\\"ü\",\"on\":true,"
        "\"part\":{\"size\":9},\"parts\":[{\"size\":1},{\"size\":2}],\"tags\":[\"x\",\"\"]}";
    Thing thing = {0};
    GError *error = NULL;
    g_assert_true(decode(golden, "", &thing, &error));
    g_assert_no_error(error);
    g_assert_cmpint(thing.any, ==, G_MININT64);
    g_assert_cmpuint(thing.parts->len, ==, 2);
    g_autoptr(json_t) document = json_struct_encode(&thing_type, &thing);
    g_autofree char *text = json_text_from(document);
    g_assert_cmpstr(text, ==, golden);
    json_struct_clear(&thing_type, &thing);
    g_assert_null(thing.name);
    g_assert_null(thing.parts);
}

static void test_defaults(void)
{
    Thing thing = {.count = 3, .name = g_strdup("replaced"), .part.size = 4};
    g_assert_true(decode("{\"name\":\"n\"}", "", &thing, NULL));
    g_assert_cmpstr(thing.name, ==, "n");
    g_assert_cmpint(thing.count, ==, 3);
    g_assert_cmpint(thing.part.size, ==, 4);
    g_assert_null(thing.tags);
    g_assert_cmpuint(thing.parts->len, ==, 0);
    g_autoptr(json_t) document = json_struct_encode(&thing_type, &thing);
    g_autofree char *text = json_text_from(document);
    g_assert_cmpstr(
        text, ==,
        "{\"any\":0,\"colour\":\"red\",\"count\":3,\"name\":\"n\",\"on\":false,\"part\":{\"size\":4},\"parts\":[],"
        "\"tags\":[]}");
    json_struct_clear(&thing_type, &thing);
}

static void test_bad(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[]", "t: must be a JSON object"},
        {"{}", "t.name: is missing"},
        {"{\"name\":1}", "t.name: must be a string"},
        {"{\"name\":null}", "t.name: must be a string"},
        {"{\"name\":\"n\",\"count\":6}", "t.count: must be between -5 and 5, not 6"},
        {"{\"name\":\"n\",\"count\":\"1\"}", "t.count: must be a whole number"},
        {"{\"name\":\"n\",\"count\":1.5}", "t.count: must be a whole number"},
        {"{\"name\":\"n\",\"on\":1}", "t.on: must be true or false"},
        {"{\"name\":\"n\",\"colour\":\"blue\"}", "t.colour: must be one of red, green"},
        {"{\"name\":\"n\",\"colour\":0}", "t.colour: must be one of red, green"},
        {"{\"name\":\"n\",\"tags\":\"x\"}", "t.tags: must be an array of strings"},
        {"{\"name\":\"n\",\"tags\":[\"x\",1]}", "t.tags: must be an array of strings"},
        {"{\"name\":\"n\",\"part\":[]}", "t.part: must be a JSON object"},
        {"{\"name\":\"n\",\"part\":{}}", "t.part.size: is missing"},
        {"{\"name\":\"n\",\"parts\":{}}", "t.parts: must be an array of objects"},
        {"{\"name\":\"n\",\"parts\":[{\"size\":1},{\"size\":0}]}", "t.parts[1].size: must be between 1 and 9, not 0"},
        {"{\"name\":\"n\",\"parts\":[{\"size\":1,\"x\":1}]}", "t.parts[0].x: unknown field; known are size"},
        {"{\"name\":\"n\",\"Name\":\"n\"}",
         "t.Name: unknown field; known are name, count, any, on, colour, tags, part, parts"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        Thing thing = {0};
        g_autoptr(GError) error = NULL;
        g_assert_false(decode(cases[i].text, "t", &thing, &error));
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
        g_assert_cmpstr(error->message, ==, cases[i].message);
        json_struct_clear(&thing_type, &thing);
    }
}

static void test_path_at_top(void)
{
    Thing thing = {0};
    g_autoptr(GError) error = NULL;
    g_assert_false(decode("{\"name\":\"n\",\"parts\":[{}]}", "", &thing, &error));
    g_assert_cmpstr(error->message, ==, "parts[0].size: is missing");
    json_struct_clear(&thing_type, &thing);
}

static char *nested(guint depth)
{
    g_autofree char *open = g_strnfill(depth, '[');
    g_autofree char *close = g_strnfill(depth, ']');
    return g_strconcat(open, close, NULL);
}

static void test_depth(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *allowed = nested(JSON_TEXT_MAX_DEPTH);
    g_autoptr(json_t) value = json_text_parse(allowed, -1, "w", &error);
    g_assert_no_error(error);
    g_autofree char *deep = nested(JSON_TEXT_MAX_DEPTH + 1);
    g_assert_null(json_text_parse(deep, -1, "w", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_autofree char *brackets = g_strnfill(100, '[');
    g_autofree char *quoted = g_strdup_printf("\"\\\"%s\"", brackets); /* brackets in a string do not nest */
    g_autoptr(json_t) string = json_text_parse(quoted, -1, "w", &error);
    g_assert_true(json_is_string(string));
}

static void test_bad_text(void)
{
    static const struct {
        const char *text;
        gssize length;
    } cases[] = {{"", -1},
                 {"{", -1},
                 {"{} {}", -1},
                 {"{\"a\":1,\"a\":2}", -1},
                 {"{'a':1}", -1},
                 {"nul", -1},
                 {"\"\\u0000\"", -1},
                 {"{}\0", 3},
                 {"\"\xff\"", -1},
                 {"[1,]", -1},
                 {"\"unclosed", -1},
                 {"\"\\", -1},
                 {"99999999999999999999", -1}};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("case %u", i);
        g_assert_null(json_text_parse(cases[i].text, cases[i].length, "what", &error));
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
        g_assert_true(g_str_has_prefix(error->message, "what: "));
    }
}

static void test_size(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strnfill(JSON_TEXT_MAX_BYTES + 1, ' ');
    text[0] = '1';
    g_assert_null(json_text_parse(text, -1, "w", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_autoptr(json_t) value = json_text_parse(text, JSON_TEXT_MAX_BYTES, "w", &error);
    g_assert_cmpint(json_integer_value(value), ==, 1);
}

/* What others publish may be of a newer version: its known fields count, and must be right. */
static void test_open(void)
{
    static const JsonStruct open_type = {.size = sizeof(Thing), .fields = thing_fields, .open = TRUE};
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) newer = json_text_parse("{\"name\":\"n\",\"later\":{\"a\":1},\"count\":3}", -1, "t", &error);
    g_autoptr(json_t) wrong = json_text_parse("{\"name\":\"n\",\"later\":1,\"count\":9}", -1, "t", NULL);
    Thing thing = {0};
    g_assert_true(json_struct_decode(newer, &open_type, "t", &thing, &error));
    g_assert_no_error(error);
    g_assert_cmpint(thing.count, ==, 3);
    json_struct_clear(&open_type, &thing);
    g_assert_false(json_struct_decode(wrong, &open_type, "t", &thing, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    json_struct_clear(&open_type, &thing);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/round-trip", test_round_trip);
    g_test_add_func("/json/defaults", test_defaults);
    g_test_add_func("/json/bad", test_bad);
    g_test_add_func("/json/path-at-top", test_path_at_top);
    g_test_add_func("/json/depth", test_depth);
    g_test_add_func("/json/bad-text", test_bad_text);
    g_test_add_func("/json/size", test_size);
    g_test_add_func("/json/open", test_open);
    return g_test_run();
}
