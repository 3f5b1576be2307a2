/* SPDX-License-Identifier: Apache-2.0
 * The error table. */
#include "common/error.h"

#include <errno.h>
#include <string.h>

static void test_table(void)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    for (int code = 0; code < HOLDFAST_ERROR_N_CODES; code++) {
        const char *name = holdfast_error_name(code);
        g_assert_nonnull(name);
        g_assert_true(g_hash_table_add(names, (gpointer) name));
        g_assert_cmpint(holdfast_error_from_name(name), ==, code);
        g_assert_cmpint(holdfast_error_http_status(code), >=, 400);
        g_assert_cmpint(holdfast_error_http_status(code), <, 600);
        g_assert_cmpint(holdfast_error_exit_code(code), >, 0);
    }
    g_assert_cmpstr(holdfast_error_name(HOLDFAST_ERROR_NO_SPACE), ==, "no_space");
    g_assert_cmpint(holdfast_error_http_status(HOLDFAST_ERROR_CONFLICT), ==, 412);
    g_assert_true(holdfast_error_retryable(HOLDFAST_ERROR_UNAVAILABLE));
    g_assert_false(holdfast_error_retryable(HOLDFAST_ERROR_REFUSED));
}

static void test_unknown(void)
{
    g_assert_cmpstr(holdfast_error_name(-1), ==, "failed");
    g_assert_cmpstr(holdfast_error_name(HOLDFAST_ERROR_N_CODES), ==, "failed");
    g_assert_cmpint(holdfast_error_from_name("nonsense"), ==, HOLDFAST_ERROR_FAILED);
    g_assert_cmpint(holdfast_error_from_name(NULL), ==, HOLDFAST_ERROR_FAILED);
}

static void test_code(void)
{
    g_autoptr(GError) ours = g_error_new(HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY, "x");
    g_autoptr(GError) foreign = g_error_new(G_FILE_ERROR, HOLDFAST_ERROR_BUSY, "x");
    g_assert_cmpint(holdfast_error_code(ours), ==, HOLDFAST_ERROR_BUSY);
    g_assert_cmpint(holdfast_error_code(foreign), ==, HOLDFAST_ERROR_FAILED);
    g_assert_cmpint(holdfast_error_code(NULL), ==, HOLDFAST_ERROR_FAILED);
}

static void test_errno(void)
{
    static const struct {
        int err, code;
    } cases[] = {{ENOENT, HOLDFAST_ERROR_NOT_FOUND},
                 {EEXIST, HOLDFAST_ERROR_EXISTS},
                 {ENOSPC, HOLDFAST_ERROR_NO_SPACE},
                 {EBUSY, HOLDFAST_ERROR_BUSY},
                 {EACCES, HOLDFAST_ERROR_DENIED},
                 {ETIMEDOUT, HOLDFAST_ERROR_TIMEOUT},
                 {ECONNREFUSED, HOLDFAST_ERROR_UNAVAILABLE},
                 {EIO, HOLDFAST_ERROR_FAILED}};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(holdfast_error_set_errno(&error, cases[i].err, "opening %s", "thing"));
        g_assert_error(error, HOLDFAST_ERROR, cases[i].code);
        g_assert_true(g_str_has_prefix(error->message, "opening thing: "));
    }
    g_assert_false(holdfast_error_set_errno(NULL, EIO, "nobody listens"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/table", test_table);
    g_test_add_func("/error/unknown", test_unknown);
    g_test_add_func("/error/code", test_code);
    g_test_add_func("/error/errno", test_errno);
    return g_test_run();
}
