/* SPDX-License-Identifier: Apache-2.0
 * The error table. */
#include "common/error.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    int http_status;
    int exit_code;
    gboolean retryable;
} error_table[HOLDFAST_ERROR_N_CODES] = {
    [HOLDFAST_ERROR_FAILED] = {"failed", 500, 1, FALSE},
    [HOLDFAST_ERROR_INVALID] = {"invalid", 400, 2, FALSE},
    [HOLDFAST_ERROR_NOT_FOUND] = {"not_found", 404, 3, FALSE},
    [HOLDFAST_ERROR_EXISTS] = {"exists", 409, 4, FALSE},
    [HOLDFAST_ERROR_CONFLICT] = {"conflict", 412, 5, TRUE},
    [HOLDFAST_ERROR_BUSY] = {"busy", 409, 6, TRUE},
    [HOLDFAST_ERROR_UNAVAILABLE] = {"unavailable", 503, 7, TRUE},
    [HOLDFAST_ERROR_TIMEOUT] = {"timeout", 504, 8, TRUE},
    [HOLDFAST_ERROR_REFUSED] = {"refused", 409, 9, FALSE},
    [HOLDFAST_ERROR_NO_SPACE] = {"no_space", 507, 10, FALSE},
    [HOLDFAST_ERROR_UNSUPPORTED] = {"unsupported", 422, 11, FALSE},
    [HOLDFAST_ERROR_CANCELLED] = {"cancelled", 409, 12, FALSE},
    [HOLDFAST_ERROR_DENIED] = {"denied", 403, 13, FALSE},
};

G_DEFINE_QUARK(holdfast - error - quark, holdfast_error)

static int error_index(int code)
{
    return code >= 0 && code < HOLDFAST_ERROR_N_CODES ? code : HOLDFAST_ERROR_FAILED;
}

const char *holdfast_error_name(int code)
{
    return error_table[error_index(code)].name;
}

int holdfast_error_http_status(int code)
{
    return error_table[error_index(code)].http_status;
}

int holdfast_error_exit_code(int code)
{
    return error_table[error_index(code)].exit_code;
}

int holdfast_error_from_name(const char *name)
{
    for (int code = 0; name && code < HOLDFAST_ERROR_N_CODES; code++) {
        if (strcmp(error_table[code].name, name) == 0) {
            return code;
        }
    }
    return HOLDFAST_ERROR_FAILED;
}

int holdfast_error_code(const GError *error)
{
    return error && error->domain == HOLDFAST_ERROR ? error->code : HOLDFAST_ERROR_FAILED;
}

gboolean holdfast_error_retryable(int code)
{
    return error_table[error_index(code)].retryable;
}

static int error_code_from_errno(int err)
{
    switch (err) {
    case ENOENT:
        return HOLDFAST_ERROR_NOT_FOUND;
    case EEXIST:
        return HOLDFAST_ERROR_EXISTS;
    case ENOSPC:
        return HOLDFAST_ERROR_NO_SPACE;
    case EBUSY:
        return HOLDFAST_ERROR_BUSY;
    case EACCES:
    case EPERM:
        return HOLDFAST_ERROR_DENIED;
    case ETIMEDOUT:
        return HOLDFAST_ERROR_TIMEOUT;
    case ECONNREFUSED:
    case EAGAIN:
        return HOLDFAST_ERROR_UNAVAILABLE;
    default:
        return HOLDFAST_ERROR_FAILED;
    }
}

gboolean holdfast_error_fail(GError **error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error_literal(error, HOLDFAST_ERROR, code, text);
    return FALSE;
}

gboolean holdfast_error_set_errno(GError **error, int err, const char *what_format, ...)
{
    va_list arguments;
    va_start(arguments, what_format);
    g_autofree char *what = g_strdup_vprintf(what_format, arguments);
    va_end(arguments);
    g_set_error(error, HOLDFAST_ERROR, error_code_from_errno(err), "%s: %s", what, g_strerror(err));
    return FALSE;
}
