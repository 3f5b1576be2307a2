/* SPDX-License-Identifier: Apache-2.0
 * Fence devices through a recorded agent. */
#include "fencing/device.h"

#include "common/error.h"

#include <string.h>
#include <unistd.h>

static FenceDevice *device_new(const char *agent, const char *const *parameters)
{
    FenceDevice *device = object_new(&fence_device_type);
    device->node = g_strdup("n2");
    device->agent = g_strdup(agent);
    device->parameters = g_strdupv((char **) parameters);
    return device;
}

/* An agent that ends with `status`, or only works when its input has `works_with`. */
typedef struct {
    int status;
    const char *works_with;
    const char *says;
    char *command, *input;
    guint calls;
} Agent;

static gboolean agent_run(const ProcessRunner *runner, const char *const *argv, const char *input, int timeout_ms,
                          ProcessResult *ret, GError **error G_GNUC_UNUSED)
{
    Agent *agent = runner->user_data;
    g_assert_cmpint(timeout_ms, >, 0);
    g_free(agent->command);
    g_free(agent->input);
    agent->command = g_strjoinv(" ", (char **) argv);
    agent->input = g_strdup(input);
    agent->calls++;
    gboolean works = !agent->works_with || strstr(input, agent->works_with);
    *ret = (ProcessResult){.exit_status = works ? agent->status : 1};
    ret->stdout_text = g_strdup("");
    ret->stderr_text = g_strdup(agent->says ? agent->says : "");
    return TRUE;
}

static void agent_clear(Agent *agent)
{
    g_clear_pointer(&agent->command, g_free);
    g_clear_pointer(&agent->input, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Agent, agent_clear)

static const char *const ipmi[] = {"ip=192.0.2.1", "username=admin", "password=s3cret", "pcmk_off_timeout=20s", NULL};

static void test_status(void)
{
    static const struct {
        int status;
        gboolean ok;
        FencePower power;
    } cases[] = {{0, TRUE, FENCE_POWER_ON},
                 {2, TRUE, FENCE_POWER_OFF},
                 {1, FALSE, FENCE_POWER_UNKNOWN},
                 {137, FALSE, FENCE_POWER_UNKNOWN}};
    g_autoptr(FenceDevice) device = device_new("fence_ipmilan", ipmi);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Agent) agent = {.status = cases[i].status, .says = "cannot log in with s3cret"};
        ProcessRunner runner = {.run = agent_run, .user_data = &agent};
        FencePower power = FENCE_POWER_UNKNOWN;
        g_autoptr(GError) error = NULL;
        g_assert_cmpint(fence_device_status(&runner, device, &power, &error), ==, cases[i].ok);
        g_assert_cmpint(power, ==, cases[i].power);
        g_assert_cmpstr(agent.command, ==, "/usr/sbin/fence_ipmilan"); /* nothing secret on the command line */
        g_assert_cmpstr(agent.input, ==,
                        "action=status\nnodename=n2\nip=192.0.2.1\nusername=admin\npassword=s3cret\nlanplus=1\n");
        if (!cases[i].ok) {
            g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
            g_assert_nonnull(strstr(error->message, "node n2"));
            g_assert_nonnull(strstr(error->message, "cannot log in with ***"));
        }
    }
}

static void test_power_on(void)
{
    g_autoptr(FenceDevice) device = device_new("fence_redfish", ipmi);
    g_auto(Agent) agent = {.status = 0};
    ProcessRunner runner = {.run = agent_run, .user_data = &agent};
    g_autoptr(GError) error = NULL;
    g_assert_true(fence_device_power_on(&runner, device, &error));
    g_assert_true(g_str_has_prefix(agent.input, "action=on\n"));
    g_assert_null(strstr(agent.input, "lanplus"));
    agent.status = 2; /* off is no success of "on" */
    g_assert_false(fence_device_power_on(&runner, device, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
}

static void test_pin(void)
{
    static const struct {
        const char *works_with, *pinned;
        guint calls;
    } cases[] = {{"cipher=17\n", "cipher=17", 1}, {"cipher=3\n", "cipher=3", 2}, {"cipher=99\n", NULL, 2}};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(FenceDevice) device = device_new("fence_ipmilan", ipmi);
        g_auto(Agent) agent = {.status = 2, .works_with = cases[i].works_with};
        ProcessRunner runner = {.run = agent_run, .user_data = &agent};
        g_autoptr(GError) error = NULL;
        g_assert_cmpint(fence_device_pin(&runner, device, &error), ==, cases[i].pinned != NULL);
        g_assert_cmpuint(agent.calls, ==, cases[i].calls);
        g_assert_cmpuint(g_strv_length(device->parameters), ==, cases[i].pinned ? 5 : 4);
        if (cases[i].pinned) {
            g_assert_cmpstr(device->parameters[4], ==, cases[i].pinned);
        } else {
            g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
        }
    }
}

static void test_pin_leaves_others(void)
{
    const char *const chosen[] = {"ip=192.0.2.1", "cipher=8", NULL};
    g_autoptr(FenceDevice) pinned = device_new("fence_ipmilan", chosen);
    g_autoptr(FenceDevice) redfish = device_new("fence_redfish", ipmi);
    g_auto(Agent) agent = {.status = 0};
    ProcessRunner runner = {.run = agent_run, .user_data = &agent};
    g_assert_true(fence_device_pin(&runner, pinned, NULL));
    g_assert_true(fence_device_pin(&runner, redfish, NULL));
    g_assert_cmpuint(agent.calls, ==, 0);
    g_assert_cmpuint(g_strv_length(redfish->parameters), ==, 4);
}

static void test_check(void)
{
    static const struct {
        const char *agent, *parameter, *begins; /* NULL: fine */
    } cases[] = {
        {"fence_ipmilan", "ip=192.0.2.1", NULL},
        {"fence_ipmilan", "password=a=b c", NULL},
        {"fence_no_such_agent", "ip=1", "agent: "},
        {"/bin/sh", "ip=1", "agent: "},
        {"fence_../sh", "ip=1", "agent: "},
        {"fence_ipmilan", "ip", "parameters[0]: "},
        {"fence_ipmilan", "=x", "parameters[0]: "},
        {"fence_ipmilan", "password=a\naction=on", "parameters[0]: "},
        {"fence_ipmilan", "action=on", "parameters.action: "},
        {"fence_ipmilan", "password=ends with a blank ", "parameters.password: "},
        {"fence_ipmilan", "username=ends with a blank ", NULL},
        {"fence_ipmilan", "pcmk_host_list=n1", "parameters.pcmk_host_list: "},
    };
    gboolean have_agent = access("/usr/sbin/fence_ipmilan", X_OK) == 0;
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *const parameters[] = {cases[i].parameter, NULL};
        g_autoptr(FenceDevice) device = device_new(cases[i].agent, parameters);
        g_autoptr(GError) error = NULL;
        gboolean ok = fence_device_check(device, &error);
        if (!have_agent) {
            continue;
        }
        g_assert_cmpint(ok, ==, cases[i].begins == NULL);
        if (cases[i].begins) {
            g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
            g_assert_true(g_str_has_prefix(error->message, cases[i].begins));
        }
    }
    const char *const twice[] = {"ip=1", "ip=2", NULL};
    g_autoptr(FenceDevice) device = device_new("fence_ipmilan", twice);
    g_assert_false(fence_device_check(device, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/device/status", test_status);
    g_test_add_func("/device/power-on", test_power_on);
    g_test_add_func("/device/pin", test_pin);
    g_test_add_func("/device/pin-leaves-others", test_pin_leaves_others);
    g_test_add_func("/device/check", test_check);
    return g_test_run();
}
