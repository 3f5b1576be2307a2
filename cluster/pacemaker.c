/* SPDX-License-Identifier: Apache-2.0
 * Pacemaker's programs, run. */
#include "cluster/pacemaker.h"

#include "common/error.h"
#include "common/ident.h"

#define QUERY_TIMEOUT_MS 10000
#define CHANGE_TIMEOUT_MS 30000

/* Exit codes of Pacemaker's programs (crm/common/results.h). */
#define CRM_EX_NOSUCH 105
#define CRM_EX_DISCONNECT 102
#define CRM_EX_QUORUM 106
#define CRM_EX_TIMEOUT 124

/* Run one program; another exit status than 0 becomes an error: UNAVAILABLE when the cluster is not there, FAILED
 * otherwise. */
static gboolean tool_run(const ProcessRunner *runner, const char *const *argv, int timeout_ms, ProcessResult *result,
                         GError **error)
{
    if (!runner->run(runner, argv, NULL, timeout_ms, result, error)) {
        return FALSE;
    }
    if (result->exit_status == 0) {
        return TRUE;
    }
    gboolean away = result->exit_status == CRM_EX_DISCONNECT || result->exit_status == CRM_EX_QUORUM ||
                    result->exit_status == CRM_EX_TIMEOUT;
    const char *said = result->stderr_text && *result->stderr_text ? result->stderr_text : result->stdout_text;
    g_autofree char *text = g_strstrip(g_strdup(said ? said : ""));
    g_set_error(error, HOLDFAST_ERROR, away ? HOLDFAST_ERROR_UNAVAILABLE : HOLDFAST_ERROR_FAILED,
                "%s failed with status %d: %s%s", argv[0], result->exit_status, text,
                away ? "; is Pacemaker running and quorate here?" : "");
    return FALSE;
}

PacemakerStatus *pacemaker_status(const ProcessRunner *runner, GError **error)
{
    const char *argv[] = {"/usr/sbin/crm_mon", "--one-shot", "--inactive", "--output-as=xml", NULL};
    g_auto(ProcessResult) result = {0};
    if (!tool_run(runner, argv, QUERY_TIMEOUT_MS, &result, error)) {
        return NULL;
    }
    return pacemaker_status_parse(result.stdout_text, error);
}

gboolean pacemaker_node_is_clean_down(const ProcessRunner *runner, const char *node, gboolean *ret, GError **error)
{
    if (!ident_check_name(node, "node", error)) {
        return FALSE; /* it goes into an XPath */
    }
    g_autofree char *xpath = g_strdup_printf("//status/node_state[@uname='%s']", node);
    const char *argv[] = {"/usr/sbin/cibadmin", "--query", "--local", "--xpath", xpath, NULL};
    g_auto(ProcessResult) result = {0};
    g_autoptr(GError) problem = NULL;
    if (tool_run(runner, argv, QUERY_TIMEOUT_MS, &result, &problem)) {
        return pacemaker_node_clean_down_parse(result.stdout_text, ret, error);
    }
    if (result.exit_status == CRM_EX_NOSUCH) {
        *ret = FALSE; /* Pacemaker knows nothing of that node: no proof of anything */
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

gboolean pacemaker_standby(const ProcessRunner *runner, const char *node, gboolean on, GError **error)
{
    if (!ident_check_name(node, "node", error)) {
        return FALSE;
    }
    const char *argv[] = {
        "/usr/sbin/crm_attribute", "--node", node, "--name", "standby", "--lifetime", "forever", "--update",
        on ? "on" : "off",         NULL};
    g_auto(ProcessResult) result = {0};
    return tool_run(runner, argv, CHANGE_TIMEOUT_MS, &result, error);
}

gboolean pacemaker_cleanup(const ProcessRunner *runner, const char *resource, GError **error)
{
    const char *argv[] = {"/usr/sbin/crm_resource", "--cleanup", "--resource", resource, NULL};
    g_auto(ProcessResult) result = {0};
    return tool_run(runner, argv, CHANGE_TIMEOUT_MS, &result, error);
}

gboolean pacemaker_confirm_off(const ProcessRunner *runner, const char *node, GError **error)
{
    return process_call(runner, 30000, NULL, error, "/usr/sbin/stonith_admin", "--confirm", node, NULL);
}

gboolean pacemaker_fence(const ProcessRunner *runner, const char *node, int timeout_s, GError **error)
{
    if (!ident_check_name(node, "node", error)) {
        return FALSE;
    }
    g_autofree char *timeout = g_strdup_printf("%d", timeout_s); /* it takes plain seconds only */
    /* tolerance 0: a shot of a minute ago proves nothing today. */
    const char *argv[] = {"/usr/sbin/stonith_admin", "--fence", node, "--tolerance", "0", "--timeout", timeout, NULL};
    g_auto(ProcessResult) result = {0};
    return tool_run(runner, argv, timeout_s * 1000 + 5000, &result, error);
}
