/* SPDX-License-Identifier: Apache-2.0
 * Route table and path matching. */
#include "webui-api/server/route.h"

#include <string.h>

static void find(const char *method, const char *path, const char *verb, const char *variable, const char *value)
{
    const Route *route = NULL;
    g_autoptr(GHashTable) variables = NULL;
    g_autofree char *allow = NULL;
    g_assert_cmpint(route_find(method, path, &route, &variables, &allow), ==, ROUTE_FOUND);
    g_assert_cmpstr(route->verb, ==, verb);
    if (variable) {
        g_assert_cmpstr(g_hash_table_lookup(variables, variable), ==, value);
    }
}

static RouteResult miss(const char *method, const char *path, char **ret_allow)
{
    const Route *route = NULL;
    g_autoptr(GHashTable) variables = NULL;
    return route_find(method, path, &route, &variables, ret_allow);
}

static void test_found(void)
{
    find("GET", "/api/v1/guests", "guest.list", NULL, NULL);
    find("HEAD", "/api/v1/guests", "guest.list", NULL, NULL);
    find("POST", "/api/v1/guests", "guest.create", NULL, NULL);
    find("GET", "/api/v1/guests/web1", "guest.show", "name", "web1");
    find("PATCH", "/api/v1/guests/web1", "guest.update", "name", "web1");
    find("GET", "/api/v1/guests/web1/recoveries", "guest.recoveries", "name", "web1");
    find("GET", "/api/v1/guests/w%65b1", "guest.show", "name", "web1");
    find("POST", "/api/v1/guests/web1/actions/migrate", "guest.migrate", "name", "web1");
    find("POST", "/api/v1/guests/web1/actions/replace-replica", "guest.replace_replica", "name", "web1");
    find("POST", "/api/v1/guests/web1/actions/reattach", "guest.reattach", "name", "web1");
    find("POST", "/api/v1/fencing/n2/actions/confirm", "fence.confirm", "node", "n2");
    find("DELETE", "/api/v1/operations/0193", "op.cancel", "id", "0193");
    find("PUT", "/api/v1/images/debian", "image.import", "name", "debian");
}

static void test_no_path(void)
{
    const char *const paths[] = {
        "/",
        "",
        "/api/v2/guests",
        "/api/v1/guests/",
        "/api/v1/guests//actions/start",
        "/api/v1/guests/web1/actions/explode",
        "/api/v1/guests/web1%00",
        "/api/v1/guests/a%2Fb",
        "/api/v1/guests/..",
        "/api/v1/guests/%2e%2e",
        "/api/v1/guests/%zz",
        "/api/v1/guests/%4",
        "/api/v1/guests/%ff",
        "/api/v1/guests%00x",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *allow = NULL;
        g_test_message("%s", paths[i]);
        g_assert_cmpint(miss("GET", paths[i], &allow), ==, ROUTE_NO_PATH);
        g_assert_null(allow);
    }
}

static void test_no_method(void)
{
    g_autofree char *allow = NULL;
    g_assert_cmpint(miss("PUT", "/api/v1/guests/web1", &allow), ==, ROUTE_NO_METHOD);
    g_assert_cmpstr(allow, ==, "GET, PATCH, DELETE");
    g_autofree char *only_post = NULL;
    g_assert_cmpint(miss("GET", "/api/v1/guests/web1/actions/start", &only_post), ==, ROUTE_NO_METHOD);
    g_assert_cmpstr(only_post, ==, "POST");
}

/* What the rest of the server relies on for every line of the table. */
static void test_table(void)
{
    guint n = 0;
    for (const Route *route = route_table(); route->method; route++, n++) {
        g_test_message("%s %s", route->method, route->pattern);
        g_assert_true(route->pattern[0] == '/');
        g_assert_true(route->status == 200 || route->status == 202);
        g_assert_true(route->kind != ROUTE_CALL || route->verb);
        g_assert_true(!route->body || strcmp(route->method, "GET") != 0);
        g_assert_true(route->status == 200 || strcmp(route->method, "GET") != 0);
        for (const RouteField *field = route->query; field && field->name; field++) {
            g_assert_true(field->kind == ROUTE_FIELD_INT || field->kind == ROUTE_FIELD_STRING);
        }
        g_autofree char *allow = NULL;
        g_assert_cmpint(miss("NOSUCH", route->pattern, &allow), ==, ROUTE_NO_METHOD);
    }
    g_assert_cmpuint(n, >, 30);
}

static void test_unescape(void)
{
    g_autofree char *plain = route_unescape("a+b%20c", FALSE);
    g_assert_cmpstr(plain, ==, "a+b c");
    g_autofree char *utf8 = route_unescape("%C3%A4", TRUE);
    g_assert_cmpstr(utf8, ==, "ä");
    g_autofree char *empty = route_unescape("", FALSE);
    g_assert_cmpstr(empty, ==, "");
    g_assert_null(route_unescape("", TRUE));
    g_assert_null(route_unescape("%0a", FALSE));
    g_assert_null(route_unescape("%7f", FALSE));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/route/found", test_found);
    g_test_add_func("/route/no-path", test_no_path);
    g_test_add_func("/route/no-method", test_no_method);
    g_test_add_func("/route/table", test_table);
    g_test_add_func("/route/unescape", test_unescape);
    return g_test_run();
}
