/* SPDX-License-Identifier: Apache-2.0
 * Problem bodies. */
#include "webui-api/server/problem.h"

#include "common/error.h"

#include <string.h>

/* Titles are for people and stable per code; statuses only HTTP knows have their own. */
static const struct {
    guint status;
    const char *title;
} http_titles[] = {
    {401, "Authentication is needed"},        {405, "This method is not for this resource"},
    {413, "The request body is too large"},   {415, "The content type is not supported"},
    {406, "No representation is acceptable"},
};

static const char *const code_titles[HOLDFAST_ERROR_N_CODES] = {
    [HOLDFAST_ERROR_FAILED] = "The request failed",        [HOLDFAST_ERROR_INVALID] = "The request is not valid",
    [HOLDFAST_ERROR_NOT_FOUND] = "There is no such thing", [HOLDFAST_ERROR_EXISTS] = "The name is taken",
    [HOLDFAST_ERROR_CONFLICT] = "The object has changed",  [HOLDFAST_ERROR_BUSY] = "The object is in use",
    [HOLDFAST_ERROR_UNAVAILABLE] = "Not available now",    [HOLDFAST_ERROR_TIMEOUT] = "The deadline passed",
    [HOLDFAST_ERROR_REFUSED] = "A safety rule forbids it", [HOLDFAST_ERROR_NO_SPACE] = "There is no space",
    [HOLDFAST_ERROR_UNSUPPORTED] = "Not supported here",   [HOLDFAST_ERROR_CANCELLED] = "It was cancelled",
    [HOLDFAST_ERROR_DENIED] = "Permission denied",
};

static const char *problem_title(int code, guint status)
{
    for (gsize i = 0; i < G_N_ELEMENTS(http_titles); i++) {
        if (http_titles[i].status == status) {
            return http_titles[i].title;
        }
    }
    return code_titles[code >= 0 && code < HOLDFAST_ERROR_N_CODES ? code : HOLDFAST_ERROR_FAILED];
}

char *problem_field_of(const char *detail)
{
    gsize length = strspn(detail, "abcdefghijklmnopqrstuvwxyz0123456789_.[]");
    if (length == 0 || detail[length] != ':' || !g_ascii_islower(detail[0])) {
        return NULL;
    }
    return g_strndup(detail, length);
}

json_t *problem_encode(int code, guint status, const char *detail, const char *request_id)
{
    status = status ? status : (guint) holdfast_error_http_status(code);
    g_autofree char *type = g_strconcat("urn:holdfast:problem:", holdfast_error_name(code), NULL);
    g_autofree char *text = g_utf8_make_valid(detail, -1);
    json_t *fields = json_array();
    g_autofree char *field = code == HOLDFAST_ERROR_INVALID ? problem_field_of(text) : NULL;
    if (field) {
        json_array_append_new(fields, json_string(field));
    }
    return json_pack("{s:s, s:s, s:i, s:s, s:s, s:b, s:s, s:o}", "type", type, "title", problem_title(code, status),
                     "status", (int) status, "detail", text, "code", holdfast_error_name(code), "retryable",
                     holdfast_error_retryable(code), "request_id", request_id, "fields", fields);
}
