/* SPDX-License-Identifier: Apache-2.0
 * The API's route table: which method and path becomes which verb of holdfastd, with which arguments. Pure. */
#pragma once

#include <glib.h>

typedef enum {
    ROUTE_CALL,     /* arguments -> verb -> result */
    ROUTE_FEATURES, /* what this API can do; needs no agent */
    ROUTE_EVENTS,   /* a page, or a stream when text/event-stream is asked for */
    ROUTE_UPLOAD,   /* raw body to a spool file, then the verb with its path */
    ROUTE_HEALTH,   /* this process lives; no login */
    ROUTE_READY,    /* and holdfastd answers; no login */
} RouteKind;

typedef enum {
    ROUTE_FIELD_STRING,
    ROUTE_FIELD_NULLABLE_STRING,
    ROUTE_FIELD_INT,
    ROUTE_FIELD_BOOL,
    ROUTE_FIELD_OBJECT
} RouteFieldKind;

/* One member of a JSON body or one query parameter. */
typedef struct {
    const char *name; /* NULL ends a list */
    RouteFieldKind kind;
    gboolean required;
    gint64 min, max;      /* INT */
    const char *argument; /* the verb's name for it; NULL: the same */
} RouteField;

typedef struct {
    const char *method;
    const char *pattern; /* a {variable} fills one segment and becomes the verb's argument of that name */
    RouteKind kind;
    const char *verb;
    guint status;            /* 200, or 202: the result is an operation, whose address goes to Location */
    const RouteField *body;  /* NULL: no body is accepted */
    const RouteField *query; /* NULL: no parameter is accepted */
} Route;

typedef enum { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD } RouteResult;

/* All routes; the entry with method NULL ends the table. */
const Route *route_table(void);

/* Find the route of `method` (HEAD counts as GET) and the still escaped `path`. ROUTE_FOUND sets *ret_route and
 * *ret_variables (name -> decoded value; caller unrefs). ROUTE_NO_METHOD sets *ret_allow ("GET, POST"; caller frees).
 */
RouteResult route_find(const char *method, const char *path, const Route **ret_route, GHashTable **ret_variables,
                       char **ret_allow);

/* Percent-decode one path segment or query value. NULL for broken escapes, %00, control characters and text that is not
 * UTF-8; with `segment` also for an empty text, "/", "." and "..". '+' stays '+'. Caller frees. */
char *route_unescape(const char *text, gboolean segment);
