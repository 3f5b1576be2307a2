/* SPDX-License-Identifier: Apache-2.0
 * Carrying the projection out: query, compute, and write the difference as a patch that names the version it was made
 * from. Pacemaker 2.1.5 has no transactions and does not check quorum on writes: a patch that fits
 * only one version of the CIB and our own look at have-quorum stand in for both. */
#include "cluster/projection_parts.h"
#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define RUN_FOLDER "/run/holdfast"
#define TOOL_TIMEOUT_MS 30000
#define ATTEMPTS 5 /* every monitor result changes the CIB's version, so a lost race is common and cheap */

/* Exit codes of Pacemaker's programs (`crm_error --exit --list`). */
#define CRM_EX_DISCONNECT 102
#define CRM_EX_OLD 103
#define CRM_EX_TIMEOUT 124

static gboolean tool_failed(GError **error, const ProcessResult *result, const char *what)
{
    int status = result->exit_status;
    const char *said = result->stderr_text ? result->stderr_text : "";
    g_autofree char *text = g_strstrip(g_strdup(said));
    int code = status == CRM_EX_OLD                                      ? HOLDFAST_ERROR_CONFLICT
               : status == CRM_EX_DISCONNECT || status == CRM_EX_TIMEOUT ? HOLDFAST_ERROR_UNAVAILABLE
                                                                         : HOLDFAST_ERROR_FAILED;
    g_set_error(error, HOLDFAST_ERROR, code, "CIB: %s failed with status %d: %s", what, status, text);
    return FALSE;
}

static char *query_cib(const ProcessRunner *runner, GError **error)
{
    const char *argv[] = {"/usr/sbin/cibadmin", "--query", NULL};
    g_auto(ProcessResult) result = {0};
    if (!runner->run(runner, argv, NULL, TOOL_TIMEOUT_MS, &result, error)) {
        return NULL;
    }
    if (result.exit_status != 0) {
        tool_failed(error, &result, "cibadmin --query");
        return NULL;
    }
    return g_steal_pointer(&result.stdout_text);
}

/* A temporary file readable by root only: the CIB holds the devices' passwords. */
static char *write_temporary(const char *folder, const char *text, GError **error)
{
    g_autofree char *path = g_build_filename(folder, "cib-XXXXXX", NULL);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        int err = errno;
        holdfast_error_set_errno(error, err, "cannot make a temporary file in %s", folder);
        return NULL;
    }
    gsize length = strlen(text);
    gsize done = 0;
    while (done < length) {
        ssize_t put = write(fd, text + done, length - done);
        if (put < 0 && errno != EINTR) {
            int err = errno;
            close(fd);
            unlink(path);
            holdfast_error_set_errno(error, err, "write %s", path);
            return NULL;
        }
        done += put > 0 ? (gsize) put : 0;
    }
    close(fd);
    return g_steal_pointer(&path);
}

/* The patch from one CIB text to another; *ret stays NULL when they are equal. */
static gboolean make_patch(const ProcessRunner *runner, const char *folder, const char *before, const char *after,
                           char **ret, GError **error)
{
    g_autofree char *before_path = write_temporary(folder, before, error);
    g_autofree char *after_path = before_path ? write_temporary(folder, after, error) : NULL;
    gboolean ran = FALSE;
    g_auto(ProcessResult) result = {0};
    if (after_path) {
        const char *argv[] = {"/usr/sbin/crm_diff", "--original", before_path, "--new", after_path, NULL};
        ran = runner->run(runner, argv, NULL, TOOL_TIMEOUT_MS, &result, error);
        unlink(after_path);
    }
    if (before_path) {
        unlink(before_path);
    }
    if (!ran) {
        return FALSE;
    }
    if (result.exit_status > 1) { /* as diff: 0 equal, 1 different */
        return tool_failed(error, &result, "crm_diff");
    }
    *ret = result.exit_status == 1 ? g_steal_pointer(&result.stdout_text) : NULL;
    return TRUE;
}

static gboolean send_patch(const ProcessRunner *runner, const char *patch, GError **error)
{
    const char *argv[] = {"/usr/sbin/cibadmin", "--patch", "--sync-call", "--xml-pipe", NULL};
    g_auto(ProcessResult) result = {0};
    if (!runner->run(runner, argv, patch, TOOL_TIMEOUT_MS, &result, error)) {
        return FALSE;
    }
    return result.exit_status == 0 || tool_failed(error, &result, "cibadmin --patch");
}

/* The next version of a document: a patch that changes no version is refused as old. */
static void bump_epoch(xmlNode *cib)
{
    g_autofree char *epoch = xml_get(cib, "epoch");
    g_autofree char *next = g_strdup_printf("%" G_GUINT64_FORMAT, g_ascii_strtoull(epoch ? epoch : "0", NULL, 10) + 1);
    xml_set(cib, "epoch", next);
    xml_set(cib, "num_updates", "0");
}

/* *ret_after: the text to reach, or NULL when the live CIB is as it should be. */
static gboolean compute(ProjectionRead read, gpointer user_data, const char *live, char **ret_after, GError **error)
{
    g_autoptr(xmlDoc) live_document = xml_parse(live, "CIB", error);
    if (!live_document) {
        return FALSE;
    }
    xmlNode *live_root = xmlDocGetRootElement(live_document);
    if (!xml_is(live_root, "have-quorum", "1")) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                            "CIB: not written: this part of the cluster has no quorum");
        return FALSE;
    }
    g_autoptr(ProjectionInput) input = read(user_data, error);
    g_autofree char *desired = input ? projection_desired_cib(input, live, error) : NULL;
    g_autoptr(xmlDoc) document = desired ? xml_parse(desired, "CIB", error) : NULL;
    if (!document) {
        return FALSE;
    }
    xmlNode *root = xmlDocGetRootElement(document);
    if (!xml_equal(live_root, root)) {
        bump_epoch(root);
        *ret_after = xml_to_text(document);
    }
    return TRUE;
}

static gboolean apply_once(const ProcessRunner *runner, const char *folder, ProjectionRead read, gpointer user_data,
                           gboolean *ret_changed, GError **error)
{
    g_autofree char *live = query_cib(runner, error);
    g_autofree char *after = NULL;
    g_autofree char *patch = NULL;
    if (!live || !compute(read, user_data, live, &after, error)) {
        return FALSE;
    }
    if (after && !make_patch(runner, folder, live, after, &patch, error)) {
        return FALSE;
    }
    if (patch && !send_patch(runner, patch, error)) {
        return FALSE;
    }
    *ret_changed = patch != NULL;
    return TRUE;
}

gboolean projection_apply_in(const ProcessRunner *runner, const char *folder, ProjectionRead read, gpointer user_data,
                             gboolean *ret_changed, GError **error)
{
    for (int attempt = 1;; attempt++) {
        g_autoptr(GError) problem = NULL;
        if (apply_once(runner, folder, read, user_data, ret_changed, &problem)) {
            return TRUE;
        }
        if (attempt == ATTEMPTS || !g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
    }
}

gboolean projection_apply(const ProcessRunner *runner, ProjectionRead read, gpointer user_data, gboolean *ret_changed,
                          GError **error)
{
    return projection_apply_in(runner, RUN_FOLDER, read, user_data, ret_changed, error);
}
