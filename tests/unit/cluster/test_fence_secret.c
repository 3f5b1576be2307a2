/* SPDX-License-Identifier: Apache-2.0
 * Which parameters are secret, and who has them. */
#include "cluster/fence_secret.h"

#include <string.h>

static void test_names(void)
{
    static const struct {
        const char *parameter;
        gboolean secret;
    } cases[] = {
        {"password=x", TRUE},         {"passwd=x", TRUE},        {"PassWord=x", TRUE},
        {"snmp_priv_passwd=x", TRUE}, {"api_token=x", TRUE},     {"session_key=x", TRUE},
        {"client_secret=a=b", TRUE},  {"password=", FALSE},      {"password", FALSE},
        {"ip=password", FALSE},       {"username=admin", FALSE}, {"pcmk_host_map=n1:key", FALSE},
        {"pcmk_password=x", FALSE},   {"cipher=3", FALSE},       {"=x", FALSE},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].parameter);
        g_assert_cmpint(fence_secret_parameter(cases[i].parameter), ==, cases[i].secret);
    }
}

/* pcmk__substitute_secrets() of Pacemaker 2.1.5: fgets into 255 bytes, one line, trailing white space off. */
static void test_fits(void)
{
    g_autofree char *longest = g_strnfill(FENCE_SECRET_MAX_BYTES, 'x');
    g_autofree char *too_long = g_strnfill(FENCE_SECRET_MAX_BYTES + 1, 'x');
    g_assert_true(fence_secret_fits(longest));
    g_assert_false(fence_secret_fits(too_long));
    g_assert_true(fence_secret_fits(" in front and between"));
    static const char *const bad[] = {"", " ", "x ", "x\t", "x\v", "x\n", "x\ny", "x\r"};
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(fence_secret_fits(bad[i]));
    }
}

static FenceDevice *device_new(const char *node, const char *password)
{
    FenceDevice *device = object_new(&fence_device_type);
    g_autofree char *pair = g_strconcat("password=", password, NULL);
    const char *parameters[] = {"ip=192.0.2.1", pair, NULL};
    device->node = g_strdup(node);
    device->parameters = g_strdupv((char **) parameters);
    return device;
}

static FenceSecrets *secrets_new(const char *node, const char *first, const char *second)
{
    FenceSecrets *secrets = object_new(&fence_secrets_type);
    const char *devices[] = {first, second, NULL};
    secrets->version = 1;
    secrets->node = g_strdup(node);
    secrets->devices = g_strdupv((char **) devices);
    return secrets;
}

static void test_everywhere(void)
{
    g_autoptr(FenceDevice) device = device_new("n2", "old");
    g_autoptr(FenceDevice) changed = device_new("n2", "new");
    g_autoptr(FenceDevice) other = device_new("n3", "old");
    g_autofree char *digest = fence_secret_digest(device);
    g_autofree char *changed_digest = fence_secret_digest(changed);
    g_autofree char *other_digest = fence_secret_digest(other);
    g_assert_true(g_str_has_prefix(digest, "n2="));
    g_assert_null(strstr(digest, "old"));
    g_assert_cmpstr(digest, !=, changed_digest);

    g_autoptr(GPtrArray) statuses = g_ptr_array_new_with_free_func((GDestroyNotify) fence_secrets_free);
    g_autoptr(GPtrArray) online = g_ptr_array_new();
    g_ptr_array_add(online, "n1");
    g_ptr_array_add(online, "n2");
    g_ptr_array_add(online, "n3");
    g_assert_false(fence_secret_everywhere(device, online, statuses));
    g_ptr_array_add(statuses, secrets_new("n1", other_digest, digest));
    g_assert_false(fence_secret_everywhere(device, online, statuses)); /* n3 says nothing */
    g_ptr_array_remove_index(online, 2);
    g_assert_true(fence_secret_everywhere(device, online, statuses)); /* n3 is not there */
    g_assert_false(fence_secret_everywhere(changed, online, statuses));
    g_assert_false(fence_secret_everywhere(other, online, statuses)); /* n2 says nothing about n3's */
    g_ptr_array_add(online, "n3");
    g_ptr_array_add(statuses, secrets_new("n3", changed_digest, NULL));
    g_assert_false(fence_secret_everywhere(device, online, statuses));
}

static void test_no_secret(void)
{
    g_autoptr(FenceDevice) device = device_new("n2", "");
    g_autoptr(GPtrArray) none = g_ptr_array_new();
    g_autoptr(GPtrArray) online = g_ptr_array_new();
    g_ptr_array_add(online, "n1");
    g_assert_null(fence_secret_digest(device));
    g_assert_true(fence_secret_everywhere(device, online, none));
}

static void test_document(void)
{
    g_autoptr(FenceSecrets) secrets = secrets_new("n1", "n2=abc", NULL);
    g_autofree char *text = object_to_text(&fence_secrets_type, secrets);
    g_assert_cmpstr(text, ==, "{\"devices\":[\"n2=abc\"],\"node\":\"n1\",\"version\":1}");
    g_autoptr(FenceSecrets) again = object_from_text(&fence_secrets_type, text, "secrets", NULL);
    g_assert_nonnull(again);
    g_assert_cmpstr(again->devices[0], ==, "n2=abc");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fence-secret/names", test_names);
    g_test_add_func("/fence-secret/fits", test_fits);
    g_test_add_func("/fence-secret/everywhere", test_everywhere);
    g_test_add_func("/fence-secret/no-secret", test_no_secret);
    g_test_add_func("/fence-secret/document", test_document);
    return g_test_run();
}
