/* SPDX-License-Identifier: Apache-2.0
 * Path, query and body to the arguments of a verb. */
#include "webui-api/server/arguments.h"

#include "common/error.h"

/* The arguments as text, or the error's text. Caller frees. */
static char *build(const char *method, const char *path, const char *query_name, const char *query_value,
                   const char *body)
{
    const Route *route = NULL;
    g_autoptr(GHashTable) variables = NULL;
    g_autoptr(GHashTable) query = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GString) text = g_string_new(body);
    g_autoptr(GError) error = NULL;
    char *allow = NULL;
    g_assert_cmpint(route_find(method, path, &route, &variables, &allow), ==, ROUTE_FOUND);
    if (query_name) {
        g_hash_table_insert(query, (gpointer) query_name, (gpointer) query_value);
    }
    g_autoptr(json_t) arguments = arguments_build(route, variables, query, text, &error);
    g_assert_true((arguments == NULL) == (error != NULL));
    if (error) {
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    }
    return arguments ? json_text_from(arguments) : g_strdup(error->message);
}

static void expect(const char *method, const char *path, const char *query_name, const char *query_value,
                   const char *body, const char *expected)
{
    g_autofree char *text = build(method, path, query_name, query_value, body);
    g_assert_cmpstr(text, ==, expected);
}

static void test_good(void)
{
    expect("GET", "/api/v1/status", NULL, NULL, "", "{}");
    expect("GET", "/api/v1/guests/web1", NULL, NULL, "", "{\"name\":\"web1\"}");
    expect("POST", "/api/v1/guests", NULL, NULL, "{\"spec\":{\"vcpus\":1},\"name\":\"a\"}",
           "{\"name\":\"a\",\"spec\":{\"vcpus\":1}}");
    expect("POST", "/api/v1/guests/a/actions/stop", NULL, NULL, "", "{\"name\":\"a\"}");
    expect("POST", "/api/v1/guests/a/actions/start", NULL, NULL, "{\"force\":true}", "{\"force\":true,\"name\":\"a\"}");
    expect("PATCH", "/api/v1/guests/a", NULL, NULL, "{\"spec\":{\"priority\":null}}",
           "{\"name\":\"a\",\"spec\":{\"priority\":null}}");
    expect("PATCH", "/api/v1/guests/a", NULL, NULL, "{\"spec\":[]}", "spec: must be an object");
    expect("PATCH", "/api/v1/guests/a", NULL, NULL, "{}", "spec: is required");
    expect("POST", "/api/v1/guests/a/actions/stop", NULL, NULL, "{\"force\":true}", "{\"force\":true,\"name\":\"a\"}");
    expect("GET", "/api/v1/operations/7", "wait", "30", "", "{\"id\":\"7\",\"wait_s\":30}");
    expect("POST", "/api/v1/networks", NULL, NULL, "{\"name\":\"lan\",\"interface\":null,\"vlan\":0}",
           "{\"interface\":null,\"name\":\"lan\",\"vlan\":0}");
}

static void test_bad(void)
{
    expect("POST", "/api/v1/guests", NULL, NULL, "[1]", "body: must be a JSON object");
    expect("POST", "/api/v1/guests", NULL, NULL, "{\"name\":\"a\"}", "spec: is required");
    expect("POST", "/api/v1/guests", NULL, NULL, "{\"name\":7,\"spec\":{}}", "name: must be a string");
    expect("POST", "/api/v1/guests", NULL, NULL, "{\"name\":\"a\",\"spec\":[]}", "spec: must be an object");
    expect("POST", "/api/v1/guests", NULL, NULL, "{\"name\":\"a\",\"spec\":{},\"x\":1}", "x: is not known here");
    expect("POST", "/api/v1/guests/a/actions/stop", NULL, NULL, "{\"force\":1}", "force: must be true or false");
    expect("POST", "/api/v1/volumes/a-0/actions/grow", NULL, NULL, "{\"size_mib\":1.5}",
           "size_mib: must be a whole number");
    expect("POST", "/api/v1/volumes/a-0/actions/grow", NULL, NULL, "{\"size_mib\":3}",
           "size_mib: must be between 4 and 67108864, not 3");
    /* The path says which guest; a body cannot say another. */
    expect("POST", "/api/v1/guests/a/actions/start", NULL, NULL, "{\"name\":\"b\"}", "name: is not known here");
    expect("GET", "/api/v1/operations/7", "wait", "-1", "", "wait: must be between 0 and 60, not -1");
    expect("GET", "/api/v1/operations/7", "wait", "x", "", "wait: must be a whole number");
    expect("GET", "/api/v1/operations/7", "wait", "%", "", "wait: is not properly escaped UTF-8");
    expect("GET", "/api/v1/guests", "state", "running", "", "state: is not a query parameter of this resource");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/arguments/good", test_good);
    g_test_add_func("/arguments/bad", test_bad);
    return g_test_run();
}
