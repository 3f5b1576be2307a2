/* SPDX-License-Identifier: Apache-2.0
 * Problem bodies. */
#include "webui-api/server/problem.h"

#include "common/error.h"

static void test_known(void)
{
    g_autoptr(json_t) problem = problem_encode(HOLDFAST_ERROR_INVALID, 0, "spec.nics[0].vlan: must be less", "r-1");
    g_autofree char *text = json_text_from(problem);
    g_assert_cmpstr(
        text, ==,
        "{\"code\":\"invalid\",\"detail\":\"spec.nics[0].vlan: must be less\",\"fields\":[\"spec.nics[0].vlan\"],"
        "\"request_id\":\"r-1\",\"retryable\":false,\"status\":400,\"title\":\"The request is not valid\","
        "\"type\":\"urn:holdfast:problem:invalid\"}");
}

static void test_statuses(void)
{
    g_autoptr(json_t) busy = problem_encode(HOLDFAST_ERROR_UNAVAILABLE, 0, "no quorum: wait", "r");
    g_assert_cmpint(json_integer_value(json_object_get(busy, "status")), ==, 503);
    g_assert_true(json_is_true(json_object_get(busy, "retryable")));
    g_assert_cmpuint(json_array_size(json_object_get(busy, "fields")), ==, 0);
    g_autoptr(json_t) login = problem_encode(HOLDFAST_ERROR_DENIED, 401, "a token is needed", "r");
    g_assert_cmpint(json_integer_value(json_object_get(login, "status")), ==, 401);
    g_assert_cmpstr(json_string_value(json_object_get(login, "title")), ==, "Authentication is needed");
    for (int code = 0; code < HOLDFAST_ERROR_N_CODES; code++) {
        g_autoptr(json_t) problem = problem_encode(code, 0, "x", "r");
        g_assert_nonnull(json_string_value(json_object_get(problem, "title")));
    }
}

/* A detail may hold anything; the body must be JSON all the same. */
static void test_broken_text(void)
{
    g_autoptr(json_t) problem = problem_encode(HOLDFAST_ERROR_FAILED, 0, "bad \xff byte", "r");
    g_assert_nonnull(problem);
    g_assert_nonnull(json_string_value(json_object_get(problem, "detail")));
}

static void test_field(void)
{
    g_autofree char *field = problem_field_of("spec.memory_mib: must be at least 32");
    g_assert_cmpstr(field, ==, "spec.memory_mib");
    g_assert_null(problem_field_of("the node: is not there"));
    g_assert_null(problem_field_of("no colon"));
    g_assert_null(problem_field_of(": x"));
    g_assert_null(problem_field_of(""));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/problem/known", test_known);
    g_test_add_func("/problem/statuses", test_statuses);
    g_test_add_func("/problem/broken-text", test_broken_text);
    g_test_add_func("/problem/field", test_field);
    return g_test_run();
}
