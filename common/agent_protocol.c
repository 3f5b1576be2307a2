/* SPDX-License-Identifier: Apache-2.0
 * The lines of holdfastd's socket. */
#include "common/agent_protocol.h"

#include "common/error.h"

char *agent_request_line(const char *id, const char *verb, json_t *arguments, const char *user)
{
    g_autoptr(json_t) envelope =
        json_pack("{s:i, s:s, s:s, s:O*, s:s*}", "v", 1, "id", id, "verb", verb, "args", arguments, "user", user);
    g_autofree char *text = json_text_from(envelope);
    return g_strconcat(text, "\n", NULL);
}

static json_t *bad_answer(const char *verb, const char *why, GError **error)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                "holdfastd's answer to '%s' makes no sense (%s); are all of Holdfast's packages of one version?", verb,
                why);
    return NULL;
}

json_t *agent_answer_result(const char *line, const char *verb, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(json_t) answer = json_answer_parse(line, -1, "answer", &problem);
    if (!answer) {
        return bad_answer(verb, problem->message, error);
    }
    if (json_integer_value(json_object_get(answer, "v")) != 1) {
        return bad_answer(verb, "its version is not 1", error);
    }
    if (json_is_true(json_object_get(answer, "ok"))) {
        json_t *result = json_object_get(answer, "result");
        return result ? json_incref(result) : json_object();
    }
    json_t *refusal = json_object_get(answer, "error");
    const char *code = json_string_value(json_object_get(refusal, "code"));
    const char *message = json_string_value(json_object_get(refusal, "message"));
    if (!code || !message) {
        return bad_answer(verb, "neither result nor error", error);
    }
    g_set_error_literal(error, HOLDFAST_ERROR, holdfast_error_from_name(code), message);
    return NULL;
}
