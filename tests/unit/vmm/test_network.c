/* SPDX-License-Identifier: Apache-2.0
 * Bridges and taps with the real ip(8), in a network namespace of the test's own. */
#include "vmm/network.h"

#include "common/error.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

/* Runs for real and counts. */
typedef struct {
    int calls;
} Counter;

static gboolean count(const ProcessRunner *runner, const char *const *argv, const char *input, int timeout_ms,
                      ProcessResult *ret, GError **error)
{
    ((Counter *) runner->user_data)->calls++;
    return process_runner_default()->run(process_runner_default(), argv, input, timeout_ms, ret, error);
}

static gboolean namespace_enter(void)
{
    return unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/sys", "sysfs", 0, NULL) == 0;
}

static void ip_ok(const char *a, const char *b, const char *c, const char *d, const char *e, const char *f)
{
    g_autoptr(GError) error = NULL;
    process_call(process_runner_default(), 10000, NULL, &error, "/usr/sbin/ip", a, b, c, d, e, f, NULL);
    g_assert_no_error(error);
}

static void assert_sysfs(const char *path, const char *wanted)
{
    g_autofree char *full = g_build_filename("/sys/class/net", path, NULL);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(full, &text, NULL, NULL));
    g_assert_cmpstr(g_strstrip(text), ==, wanted);
}

static void assert_port(const char *link, const char *bridge)
{
    g_autofree char *path = g_strdup_printf("/sys/class/net/%s/master", link);
    g_autofree char *target = g_file_read_link(path, NULL);
    g_assert_nonnull(target);
    g_assert_true(g_str_has_suffix(target, bridge));
}

static gboolean link_there(const char *link)
{
    g_autofree char *path = g_build_filename("/sys/class/net", link, NULL);
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void test_for_real(void)
{
    if (!namespace_enter()) {
        g_test_skip("may not make a network namespace");
        return;
    }
    g_autoptr(GError) error = NULL;
    Counter counter = {0};
    ProcessRunner runner = {.run = count, .user_data = &counter};
    ip_ok("link", "add", "up0", "type", "veth", NULL);
    ip_ok("link", "set", "dev", "up0", "mtu", "9000");
    g_assert_true(network_bridge_ensure(&runner, "lan", "up0", 0, &error));
    assert_sysfs("hf-lan/bridge/stp_state", "0");
    assert_sysfs("hf-lan/bridge/forward_delay", "0");
    assert_sysfs("hf-lan/mtu", "9000");
    assert_port("up0", "hf-lan");
    g_assert_true(network_tap_ensure(&runner, "hft-1-0", 20001, "hf-lan", &error));
    assert_sysfs("hft-1-0/owner", "20001");
    assert_sysfs("hft-1-0/mtu", "9000");
    assert_port("hft-1-0", "hf-lan");
    /* All there: no program is started. */
    int calls = counter.calls;
    g_assert_true(network_bridge_ensure(&runner, "lan", "up0", 0, &error));
    g_assert_true(network_tap_ensure(&runner, "hft-1-0", 20001, "hf-lan", &error));
    g_assert_cmpint(counter.calls, ==, calls);
    /* A tap of another guest's uid is not handed out. */
    g_assert_true(network_tap_ensure(&runner, "hft-1-0", 20002, "hf-lan", &error));
    assert_sysfs("hft-1-0/owner", "20002");
    g_assert_true(network_tap_remove(&runner, "hft-1-0", &error));
    g_assert_true(network_tap_remove(&runner, "hft-1-0", &error));
    g_assert_false(link_there("hft-1-0"));
    g_assert_true(network_bridge_remove(&runner, "lan", &error));
    g_assert_true(network_bridge_remove(&runner, "lan", &error));
    g_assert_false(link_there("hf-lan"));
    g_assert_true(link_there("up0"));
    g_assert_no_error(error);
    g_assert_false(network_bridge_ensure(&runner, "lan", "no-such0", 0, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(network_tap_ensure(&runner, "hft-1-0", 1, "hf-none", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
}

/* The lines for what this kernel may not have: a VLAN. */
static gboolean record(const ProcessRunner *runner, const char *const *argv, const char *input G_GNUC_UNUSED,
                       int timeout_ms G_GNUC_UNUSED, ProcessResult *ret, GError **error G_GNUC_UNUSED)
{
    g_ptr_array_add(runner->user_data, g_strjoinv(" ", (char **) argv));
    *ret = (ProcessResult){.stdout_text = g_strdup(""), .stderr_text = g_strdup("")};
    return TRUE;
}

static gboolean recorded(const GPtrArray *lines, const char *part)
{
    for (guint i = 0; i < lines->len; i++) {
        if (strstr(lines->pdata[i], part)) {
            return TRUE;
        }
    }
    return FALSE;
}

static void test_vlan(void)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    ProcessRunner runner = {.run = record, .user_data = lines};
    g_assert_true(network_bridge_ensure(&runner, "unit-test-net", "lo", 42, NULL));
    g_assert_true(recorded(lines, "link add link lo name hfv-"));
    g_assert_true(recorded(lines, " type vlan id 42"));
    g_assert_true(recorded(lines, " master hf-"));
}

static void test_names(void)
{
    static const char *const networks[] = {"lan", "a-network-with-a-long-name", "a-network-with-a-long-nbme",
                                           "exactly-12-c"};
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(networks); i++) {
        char *bridge = network_bridge_name(networks[i]);
        g_assert_cmpuint(strlen(bridge), <=, 15);
        g_assert_true(g_hash_table_add(seen, bridge));
    }
    g_autofree char *lan = network_bridge_name("lan");
    g_assert_cmpstr(lan, ==, "hf-lan");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/network/names", test_names);
    g_test_add_func("/vmm/network/vlan", test_vlan);
    g_test_add_func("/vmm/network/real", test_for_real);
    return g_test_run();
}
