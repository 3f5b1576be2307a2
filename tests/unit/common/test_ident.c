/* SPDX-License-Identifier: Apache-2.0
 * Names, ids and time for people. */
#include "common/error.h"
#include "common/ident.h"

#include <string.h>

static void test_good_names(void)
{
    static const char *const names[] = {"a", "web1", "a-b", "n1", "x9-9", "abcdefghijabcdefghijabcdefghijabcdefghij"};
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(ident_check_name(names[i], "name", &error));
        g_assert_no_error(error);
    }
}

static void test_bad_names(void)
{
    static const char *const names[] = {NULL,  "",    "1a",  "-a",    "a-",
                                        "A",   "a_b", "a.b", "a/b",   "..",
                                        "a b", "a\n", "wéb", "web1 ", "abcdefghijabcdefghijabcdefghijabcdefghijk"};
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("name '%s'", names[i] ? names[i] : "(null)");
        g_assert_false(ident_check_name(names[i], "spec.field", &error));
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
        g_assert_true(g_str_has_prefix(error->message, "spec.field: "));
    }
}

static void test_uuid(void)
{
    g_autofree char *first = ident_new_uuid();
    g_autofree char *second = ident_new_uuid();
    g_assert_true(g_uuid_string_is_valid(first));
    g_assert_cmpstr(first, !=, second);
    g_assert_cmpint(first[14], ==, '7');
    g_assert_nonnull(strchr("89ab", first[19]));
    g_assert_cmpint(strncmp(first, second, 13), <=, 0); /* the time part does not go back */
}

static void test_self(void)
{
    g_assert_null(strchr(ident_node_name(), '.'));
    g_assert_true(ident_node_name() == ident_node_name());
    g_assert_true(g_uuid_string_is_valid(ident_boot_id()));
}

static void test_timestamp(void)
{
    g_autofree char *now = ident_timestamp();
    g_assert_true(g_regex_match_simple("^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$", now, 0, 0));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ident/good-names", test_good_names);
    g_test_add_func("/ident/bad-names", test_bad_names);
    g_test_add_func("/ident/uuid", test_uuid);
    g_test_add_func("/ident/self", test_self);
    g_test_add_func("/ident/timestamp", test_timestamp);
    return g_test_run();
}
