/* SPDX-License-Identifier: Apache-2.0
 * JSON text in and out with limits, and C structures to JSON objects and back through field tables. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

#define JSON_TEXT_MAX_BYTES (1024u * 1024)
/* Of an answer of our own daemons: the status of 1,000 guests with a volume each is 1.1 MiB. */
#define JSON_ANSWER_MAX_BYTES (16u * 1024 * 1024)
#define JSON_TEXT_MAX_DEPTH 32u

/* Parse one JSON value. Size and nesting are capped before jansson sees the text; duplicate keys, trailing text and NUL
 * are errors (INVALID, beginning with `what`). `length` in bytes, -1 for NUL-terminated. Caller owns the result. */
json_t *json_text_parse(const char *text, gssize length, const char *what, GError **error);
/* The same for an answer of holdfastd or holdfast-api: up to JSON_ANSWER_MAX_BYTES. */
json_t *json_answer_parse(const char *text, gssize length, const char *what, GError **error);

/* Compact text with sorted keys. Caller frees. */
char *json_text_from(const json_t *value);

typedef enum {
    JSON_FIELD_STRING,  /* char *, owned; absent = NULL */
    JSON_FIELD_INT,     /* gint64, within [min, max] when max > min */
    JSON_FIELD_BOOL,    /* gboolean */
    JSON_FIELD_ENUM,    /* int, index into NULL-terminated `names` */
    JSON_FIELD_STRV,    /* char **, owned; absent = NULL, written as [] */
    JSON_FIELD_STRUCT,  /* embedded structure described by `sub` */
    JSON_FIELD_STRUCTS, /* GPtrArray * of structures described by `sub`; absent = empty array */
} JsonFieldKind;

typedef struct JsonStruct JsonStruct;

typedef struct {
    const char *name; /* NULL ends the table */
    JsonFieldKind kind;
    gsize offset;
    gboolean required;
    gboolean sparse; /* not written while zero, false or empty: without it a document is what it was before the field */
    gint64 min, max; /* INT */
    const char *const *names; /* ENUM */
    const JsonStruct *sub;    /* STRUCT, STRUCTS */
} JsonField;

struct JsonStruct {
    gsize size;              /* of the C structure; instances are zeroed, then decoded */
    const JsonField *fields; /* ends with name == NULL */
    void (*clear)(gpointer); /* releases members; NULL: json_struct_clear() from the table alone suffices */
    /* Unknown keys are passed over: for what others publish, maybe of a newer version, and nobody writes back. */
    gboolean open;
};

/* Decode `object` into *out, which the caller has zeroed (defaults may be preset: absent optional fields leave them).
 * Unknown keys (unless `open`), wrong types, values out of range and missing required fields are INVALID, the text
 * beginning with the dotted path of the field ("spec.nics[0].vlan: ..."). On error *out may be partly set: clear it. */
gboolean json_struct_decode(const json_t *object, const JsonStruct *type, const char *path, gpointer out,
                            GError **error);

/* The opposite. NULL strings are left out. Never fails. Caller owns the result. */
json_t *json_struct_encode(const JsonStruct *type, gconstpointer in);

/* Free what the table says the structure owns, and zero it. */
void json_struct_clear(const JsonStruct *type, gpointer structure);
