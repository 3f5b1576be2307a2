/* SPDX-License-Identifier: Apache-2.0
 * Fence devices through their stock agents: parameters on standard input as "name=value" lines, answer by exit status.
 */
#include "fencing/device.h"

#include "cluster/fence_secret.h"
#include "common/error.h"

#include <string.h>
#include <unistd.h>

#define AGENT_FOLDER "/usr/sbin"
#define STATUS_TIMEOUT_MS 30000
#define PIN_TIMEOUT_MS 20000
#define ON_TIMEOUT_MS 60000

static gboolean agent_name_ok(const char *agent)
{
    if (!agent || !g_str_has_prefix(agent, "fence_") || strlen(agent) > 64) {
        return FALSE;
    }
    for (const char *c = agent; *c; c++) {
        if (!g_ascii_isalnum(*c) && *c != '_' && *c != '-') {
            return FALSE;
        }
    }
    return TRUE;
}

/* "name=value", the name of letters, digits, '_' and '-'; no line breaks, for the agent reads lines. */
static gboolean parameter_ok(const char *parameter)
{
    const char *c = parameter;
    while (g_ascii_isalnum(*c) || *c == '_' || *c == '-') {
        c++;
    }
    return c > parameter && *c == '=' && !strpbrk(c, "\n\r") && g_utf8_validate(c, -1, NULL);
}

static gboolean parameter_is(const char *parameter, const char *name)
{
    gsize length = strlen(name);
    return strncmp(parameter, name, length) == 0 && parameter[length] == '=';
}

static const char *parameter_get(const FenceDevice *device, const char *name)
{
    for (char **each = device->parameters; each && *each; each++) {
        if (parameter_is(*each, name)) {
            return *each + strlen(name) + 1;
        }
    }
    return NULL;
}

/* Whom a device shoots and with what is decided by Holdfast, not by a parameter. */
static gboolean parameter_reserved(const char *parameter)
{
    static const char *const names[] = {"action", "nodename", "pcmk_host_list", "pcmk_host_map", "pcmk_host_check"};
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        if (parameter_is(parameter, names[i])) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean parameter_repeated(char *const *parameters, guint index)
{
    g_autofree char *name = g_strndup(parameters[index], strcspn(parameters[index], "="));
    for (guint i = 0; i < index; i++) {
        if (parameter_is(parameters[i], name)) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean check_parameters(const FenceDevice *device, GError **error)
{
    for (guint i = 0; device->parameters && device->parameters[i]; i++) {
        const char *parameter = device->parameters[i];
        /* The text may hold a password: name its place, never quote it whole. */
        if (!parameter_ok(parameter)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                        "parameters[%u]: must be name=value on one line, the name of letters, digits, '_' and '-'", i);
            return FALSE;
        }
        g_autofree char *name = g_strndup(parameter, strcspn(parameter, "="));
        if (parameter_reserved(parameter)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                        "parameters.%s: is set by Holdfast; leave it out", name);
            return FALSE;
        }
        if (fence_secret_parameter(parameter) && !fence_secret_fits(strchr(parameter, '=') + 1)) {
            g_set_error(
                error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                "parameters.%s: must be at most %d bytes and not end with white space: Pacemaker could not read "
                "it; choose another one on the device",
                name, FENCE_SECRET_MAX_BYTES);
            return FALSE;
        }
        if (parameter_repeated(device->parameters, i)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "parameters.%s: is given twice", name);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean fence_device_check(const FenceDevice *device, GError **error)
{
    if (!agent_name_ok(device->agent)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "agent: must be the name of a fence agent, such as fence_ipmilan or fence_redfish, not '%s'",
                    device->agent ? device->agent : "");
        return FALSE;
    }
    g_autofree char *path = g_build_filename(AGENT_FOLDER, device->agent, NULL);
    if (access(path, X_OK) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "agent: %s is not installed; the package fence-agents brings the usual ones", path);
        return FALSE;
    }
    return check_parameters(device, error);
}

/* The agent's input. Pacemaker's own pcmk_ parameters are not for the agent. */
static char *agent_input(const FenceDevice *device, const char *action)
{
    GString *input = g_string_new(NULL);
    g_string_append_printf(input, "action=%s\n", action);
    if (device->node) {
        g_string_append_printf(input, "nodename=%s\n", device->node);
    }
    for (char **each = device->parameters; each && *each; each++) {
        if (!g_str_has_prefix(*each, "pcmk_")) {
            g_string_append_printf(input, "%s\n", *each);
        }
    }
    if (g_strcmp0(device->agent, "fence_ipmilan") == 0 && !parameter_get(device, "lanplus")) {
        g_string_append(input, "lanplus=1\n"); /* as the projection does */
    }
    return g_string_free(input, FALSE);
}

/* Every value of a parameter that names a secret, blanked in a text for people. */
static char *without_secrets(const FenceDevice *device, const char *text)
{
    char *clean = g_strdup(text ? text : "");
    for (char **each = device->parameters; each && *each; each++) {
        if (fence_secret_parameter(*each)) {
            const char *value = strchr(*each, '=') + 1;
            g_autoptr(GString) replaced = g_string_new(clean);
            g_string_replace(replaced, value, "***", 0);
            g_free(clean);
            clean = g_strdup(replaced->str);
        }
    }
    return clean;
}

static gboolean agent_run(const ProcessRunner *runner, const FenceDevice *device, const char *action, int timeout_ms,
                          ProcessResult *result, GError **error)
{
    if (!agent_name_ok(device->agent)) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "agent: is not the name of a fence agent");
        return FALSE;
    }
    g_autofree char *path = g_build_filename(AGENT_FOLDER, device->agent, NULL);
    g_autofree char *input = agent_input(device, action);
    const char *argv[] = {path, NULL};
    return runner->run(runner, argv, input, timeout_ms, result, error);
}

static gboolean agent_failed(const FenceDevice *device, const char *action, const ProcessResult *result, GError **error)
{
    const char *said = result->stderr_text && *result->stderr_text ? result->stderr_text : result->stdout_text;
    g_autofree char *clean = g_strstrip(without_secrets(device, said));
    g_set_error(
        error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
        "fence device of node %s: %s %s failed with status %d: %s; check address, user and password, and that the "
        "device is reachable from this node",
        device->node ? device->node : "?", device->agent, action, result->exit_status, clean);
    return FALSE;
}

gboolean fence_device_status_within(const ProcessRunner *runner, const FenceDevice *device, int timeout_ms,
                                    FencePower *ret, GError **error)
{
    g_auto(ProcessResult) result = {0};
    if (!agent_run(runner, device, "status", timeout_ms, &result, error)) {
        return FALSE;
    }
    switch (result.exit_status) {
    case 0:
        *ret = FENCE_POWER_ON;
        return TRUE;
    case 2:
        *ret = FENCE_POWER_OFF;
        return TRUE;
    default:
        *ret = FENCE_POWER_UNKNOWN;
        return agent_failed(device, "status", &result, error);
    }
}

gboolean fence_device_status(const ProcessRunner *runner, const FenceDevice *device, FencePower *ret, GError **error)
{
    return fence_device_status_within(runner, device, STATUS_TIMEOUT_MS, ret, error);
}

gboolean fence_device_power_on(const ProcessRunner *runner, const FenceDevice *device, GError **error)
{
    g_auto(ProcessResult) result = {0};
    if (!agent_run(runner, device, "on", ON_TIMEOUT_MS, &result, error)) {
        return FALSE;
    }
    return result.exit_status == 0 || agent_failed(device, "on", &result, error);
}

static void parameter_append(FenceDevice *device, const char *parameter)
{
    guint count = device->parameters ? g_strv_length(device->parameters) : 0;
    device->parameters = g_renew(char *, device->parameters, count + 2);
    device->parameters[count] = g_strdup(parameter);
    device->parameters[count + 1] = NULL;
}

static void parameter_drop_last(FenceDevice *device)
{
    guint count = g_strv_length(device->parameters);
    g_clear_pointer(&device->parameters[count - 1], g_free);
}

/* Left to itself ipmitool asks the BMC for its cipher suites, and a BMC that ignores the question costs 44 s a shot. */
gboolean fence_device_pin(const ProcessRunner *runner, FenceDevice *device, GError **error)
{
    static const char *const ciphers[] = {"cipher=17", "cipher=3"};
    if (g_strcmp0(device->agent, "fence_ipmilan") != 0 || parameter_get(device, "cipher")) {
        return TRUE;
    }
    g_autoptr(GError) problem = NULL;
    for (guint i = 0; i < G_N_ELEMENTS(ciphers); i++) {
        g_clear_error(&problem);
        parameter_append(device, ciphers[i]);
        g_auto(ProcessResult) result = {0};
        if (agent_run(runner, device, "status", PIN_TIMEOUT_MS, &result, &problem)) {
            if (result.exit_status == 0 || result.exit_status == 2) {
                return TRUE;
            }
            agent_failed(device, "status", &result, &problem);
        }
        parameter_drop_last(device);
    }
    g_propagate_prefixed_error(error, g_steal_pointer(&problem), "parameters.cipher: neither 17 nor 3 works: ");
    return FALSE;
}
