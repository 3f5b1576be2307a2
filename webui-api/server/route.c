/* SPDX-License-Identifier: Apache-2.0
 * The route table and the matching of paths. A new verb is one line here. */
#include "webui-api/server/route.h"

#include <string.h>

#define API "/api/v1"
#define WAIT_MAX_S 60

static const RouteField no_fields[] = {{.name = NULL}};
static const RouteField guest_create_body[] = {
    {"name", ROUTE_FIELD_STRING, TRUE, 0, 0, NULL},
    {"spec", ROUTE_FIELD_OBJECT, TRUE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField guest_update_body[] = {
    {"spec", ROUTE_FIELD_OBJECT, TRUE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField guest_start_body[] = {
    {"force", ROUTE_FIELD_BOOL, FALSE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField guest_stop_body[] = {
    {"force", ROUTE_FIELD_BOOL, FALSE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField guest_migrate_body[] = {
    {"node", ROUTE_FIELD_STRING, TRUE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField guest_replace_replica_body[] = {
    {"from", ROUTE_FIELD_STRING, TRUE, 0, 0, NULL},
    {"to", ROUTE_FIELD_STRING, FALSE, 0, 0, NULL},
    {"unprotected", ROUTE_FIELD_BOOL, FALSE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField node_remove_body[] = {
    {"gone", ROUTE_FIELD_BOOL, FALSE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField guest_reattach_body[] = {
    {"node", ROUTE_FIELD_STRING, FALSE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField volume_grow_body[] = {
    {"size_mib", ROUTE_FIELD_INT, TRUE, 4, 67108864, NULL},
    {.name = NULL},
};
static const RouteField image_import_body[] = {
    {"name", ROUTE_FIELD_STRING, TRUE, 0, 0, NULL},
    {"path", ROUTE_FIELD_STRING, TRUE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField network_create_body[] = {
    {"name", ROUTE_FIELD_STRING, TRUE, 0, 0, NULL},
    {"interface", ROUTE_FIELD_NULLABLE_STRING, FALSE, 0, 0, NULL},
    {"vlan", ROUTE_FIELD_INT, FALSE, 0, 4094, NULL},
    {.name = NULL},
};
static const RouteField fence_set_body[] = {
    {"agent", ROUTE_FIELD_STRING, TRUE, 0, 0, NULL},
    {"parameters", ROUTE_FIELD_OBJECT, TRUE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField fence_confirm_body[] = {
    {"confirm", ROUTE_FIELD_STRING, TRUE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField guest_verify_body[] = {
    {"repair", ROUTE_FIELD_BOOL, FALSE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField guest_confirm_body[] = {
    {"node", ROUTE_FIELD_STRING, TRUE, 0, 0, NULL},
    {"confirm", ROUTE_FIELD_STRING, TRUE, 0, 0, NULL},
    {.name = NULL},
};
static const RouteField token_create_body[] = {
    {"ttl_s", ROUTE_FIELD_INT, FALSE, 60, 7 * 86400, NULL},
    {.name = NULL},
};
static const RouteField operation_show_query[] = {
    {"wait", ROUTE_FIELD_INT, FALSE, 0, WAIT_MAX_S, "wait_s"},
    {.name = NULL},
};
static const RouteField events_query[] = {
    {"since", ROUTE_FIELD_INT, FALSE, 0, G_MAXINT64, NULL},
    {.name = NULL},
};

static const Route routes[] = {
    {"GET", API, ROUTE_FEATURES, NULL, 200, NULL, NULL},
    {"GET", "/healthz", ROUTE_HEALTH, NULL, 200, NULL, NULL},
    {"GET", "/readyz", ROUTE_READY, "status", 200, NULL, NULL},

    {"GET", API "/status", ROUTE_CALL, "status", 200, NULL, NULL},

    {"GET", API "/nodes", ROUTE_CALL, "node.list", 200, NULL, NULL},
    {"GET", API "/nodes/{name}", ROUTE_CALL, "node.show", 200, NULL, NULL},
    {"POST", API "/nodes/{name}/actions/standby", ROUTE_CALL, "node.standby", 202, no_fields, NULL},
    {"POST", API "/nodes/{name}/actions/online", ROUTE_CALL, "node.online", 202, no_fields, NULL},
    {"POST", API "/nodes/{name}/actions/remove", ROUTE_CALL, "node.remove", 202, node_remove_body, NULL},

    {"GET", API "/guests", ROUTE_CALL, "guest.list", 200, NULL, NULL},
    {"POST", API "/guests", ROUTE_CALL, "guest.create", 202, guest_create_body, NULL},
    {"GET", API "/guests/{name}", ROUTE_CALL, "guest.show", 200, NULL, NULL},
    {"PATCH", API "/guests/{name}", ROUTE_CALL, "guest.update", 200, guest_update_body, NULL},
    {"GET", API "/guests/{name}/recoveries", ROUTE_CALL, "guest.recoveries", 200, NULL, NULL},
    {"DELETE", API "/guests/{name}", ROUTE_CALL, "guest.delete", 202, NULL, NULL},
    {"POST", API "/guests/{name}/actions/start", ROUTE_CALL, "guest.start", 202, guest_start_body, NULL},
    {"POST", API "/guests/{name}/actions/stop", ROUTE_CALL, "guest.stop", 202, guest_stop_body, NULL},
    {"POST", API "/guests/{name}/actions/migrate", ROUTE_CALL, "guest.migrate", 202, guest_migrate_body, NULL},
    {"POST", API "/guests/{name}/actions/replace-replica", ROUTE_CALL, "guest.replace_replica", 202,
     guest_replace_replica_body, NULL},
    {"POST", API "/guests/{name}/actions/reattach", ROUTE_CALL, "guest.reattach", 200, guest_reattach_body, NULL},
    {"POST", API "/guests/{name}/actions/verify", ROUTE_CALL, "guest.verify", 202, guest_verify_body, NULL},
    {"POST", API "/guests/{name}/actions/confirm", ROUTE_CALL, "guest.confirm", 200, guest_confirm_body, NULL},
    {"POST", API "/guests/{name}/actions/discard-copy", ROUTE_CALL, "guest.discard_copy", 200, guest_confirm_body,
     NULL},

    {"GET", API "/volumes", ROUTE_CALL, "volume.list", 200, NULL, NULL},
    {"GET", API "/volumes/{name}", ROUTE_CALL, "volume.show", 200, NULL, NULL},
    {"POST", API "/volumes/{name}/actions/grow", ROUTE_CALL, "volume.grow", 202, volume_grow_body, NULL},

    {"GET", API "/images", ROUTE_CALL, "image.list", 200, NULL, NULL},
    {"POST", API "/images", ROUTE_CALL, "image.import", 202, image_import_body, NULL},
    {"GET", API "/images/{name}", ROUTE_CALL, "image.show", 200, NULL, NULL},
    {"PUT", API "/images/{name}", ROUTE_UPLOAD, "image.import", 202, NULL, NULL},
    {"DELETE", API "/images/{name}", ROUTE_CALL, "image.delete", 200, NULL, NULL},

    {"GET", API "/networks", ROUTE_CALL, "network.list", 200, NULL, NULL},
    {"POST", API "/networks", ROUTE_CALL, "network.create", 200, network_create_body, NULL},
    {"DELETE", API "/networks/{name}", ROUTE_CALL, "network.delete", 200, NULL, NULL},

    {"GET", API "/fencing", ROUTE_CALL, "fence.list", 200, NULL, NULL},
    {"PUT", API "/fencing/{node}", ROUTE_CALL, "fence.set", 200, fence_set_body, NULL},
    {"POST", API "/fencing/{node}/actions/prove", ROUTE_CALL, "fence.prove", 202, no_fields, NULL},
    {"POST", API "/fencing/{node}/actions/confirm", ROUTE_CALL, "fence.confirm", 200, fence_confirm_body, NULL},

    {"GET", API "/store/snapshots", ROUTE_CALL, "store.snapshots", 200, NULL, NULL},
    {"POST", API "/store/actions/snapshot", ROUTE_CALL, "store.snapshot", 200, no_fields, NULL},
    {"POST", API "/store/actions/confirm", ROUTE_CALL, "store.confirm", 200, fence_confirm_body, NULL},

    {"GET", API "/operations", ROUTE_CALL, "op.list", 200, NULL, NULL},
    {"GET", API "/operations/{id}", ROUTE_CALL, "op.show", 200, NULL, operation_show_query},
    {"DELETE", API "/operations/{id}", ROUTE_CALL, "op.cancel", 202, NULL, NULL},

    {"GET", API "/events", ROUTE_EVENTS, "event.list", 200, NULL, events_query},
    {"GET", API "/incidents", ROUTE_CALL, "incident.list", 200, NULL, NULL},
    {"GET", API "/incidents/{id}", ROUTE_CALL, "incident.show", 200, NULL, NULL},
    {"POST", API "/tokens", ROUTE_CALL, "token.create", 200, token_create_body, NULL},
    {.method = NULL},
};

const Route *route_table(void)
{
    return routes;
}

static gboolean segment_is_harmless(const char *text)
{
    return *text != '\0' && strchr(text, '/') == NULL && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

char *route_unescape(const char *text, gboolean segment)
{
    g_autoptr(GString) out = g_string_new(NULL);
    for (const char *c = text; *c; c++) {
        int byte = (guchar) *c;
        if (*c == '%') {
            if (!g_ascii_isxdigit(c[1]) || !g_ascii_isxdigit(c[2])) {
                return NULL;
            }
            byte = g_ascii_xdigit_value(c[1]) * 16 + g_ascii_xdigit_value(c[2]);
            c += 2;
        }
        if (byte < 0x20 || byte == 0x7f) {
            return NULL;
        }
        g_string_append_c(out, (char) byte);
    }
    if (!g_utf8_validate(out->str, (gssize) out->len, NULL) || (segment && !segment_is_harmless(out->str))) {
        return NULL;
    }
    return g_strdup(out->str);
}

/* The variables of a matching path, or NULL. Both sides begin with "/", so both split into an empty first segment. */
static GHashTable *match_path(const char *pattern, char **segments)
{
    g_auto(GStrv) wanted = g_strsplit(pattern, "/", -1);
    if (g_strv_length(wanted) != g_strv_length(segments)) {
        return NULL;
    }
    g_autoptr(GHashTable) variables = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (guint i = 0; wanted[i]; i++) {
        gsize length = strlen(wanted[i]);
        if (wanted[i][0] != '{') {
            if (strcmp(wanted[i], segments[i]) != 0) {
                return NULL;
            }
            continue;
        }
        char *value = route_unescape(segments[i], TRUE);
        if (!value) {
            return NULL;
        }
        g_hash_table_insert(variables, g_strndup(wanted[i] + 1, length - 2), value);
    }
    return g_steal_pointer(&variables);
}

RouteResult route_find(const char *method, const char *path, const Route **ret_route, GHashTable **ret_variables,
                       char **ret_allow)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    g_auto(GStrv) segments = g_strsplit(path, "/", -1);
    g_autoptr(GPtrArray) allowed = g_ptr_array_new();
    for (const Route *route = routes; route->method; route++) {
        g_autoptr(GHashTable) variables = match_path(route->pattern, segments);
        if (!variables) {
            continue;
        }
        if (strcmp(route->method, wanted) == 0) {
            *ret_route = route;
            *ret_variables = g_steal_pointer(&variables);
            return ROUTE_FOUND;
        }
        g_ptr_array_add(allowed, (gpointer) route->method);
    }
    if (allowed->len == 0) {
        return ROUTE_NO_PATH;
    }
    g_ptr_array_add(allowed, NULL);
    *ret_allow = g_strjoinv(", ", (char **) allowed->pdata);
    return ROUTE_NO_METHOD;
}
