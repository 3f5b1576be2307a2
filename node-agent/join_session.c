/* SPDX-License-Identifier: Apache-2.0
 * The server's half of one join: hello and proofs, the bundle, then the joiner's steps one by one. */
#include "node-agent/join_session.h"

#include "common/error.h"
#include "common/json.h"
#include "node-agent/join_admit.h"

#include <string.h>

static gboolean wrong(GError **error, int code, const char *text)
{
    g_set_error_literal(error, HOLDFAST_ERROR, code, text);
    return FALSE;
}

/* The same text for an unknown token and a wrong proof: a stranger learns nothing. */
#define DENIED_TEXT                                                                                                    \
    "token: unknown, expired, used already, or its secret is wrong: make a new one with `holdfast token create` on a " \
    "member"

typedef struct {
    char *token_id, *nonce_client, *nonce_server;
} Hello;

static void hello_clear(Hello *hello)
{
    g_free(hello->token_id);
    g_free(hello->nonce_client);
    g_free(hello->nonce_server);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Hello, hello_clear)

static gboolean hello_receive(JoinWire *wire, Hello *hello, GError **error)
{
    g_autoptr(json_t) message = join_wire_receive(wire, error);
    if (!message) {
        return FALSE;
    }
    if (json_integer_value(json_object_get(message, "v")) != JOIN_WIRE_VERSION) {
        return wrong(error, HOLDFAST_ERROR_UNSUPPORTED,
                     "v: this member speaks version 1 of the join protocol: install the same release");
    }
    const json_t *body = json_object_get(message, "hello");
    hello->token_id = g_strdup(json_string_value(json_object_get(body, "token_id")));
    hello->nonce_client = g_strdup(json_string_value(json_object_get(body, "nonce")));
    if (!join_is_hex(hello->token_id, 8) || !join_is_hex(hello->nonce_client, 2 * JOIN_NONCE_BYTES)) {
        return wrong(error, HOLDFAST_ERROR_INVALID,
                     "hello: must have token_id (8 hex digits) and nonce (64 hex digits)");
    }
    hello->nonce_server = setup_random_hex(JOIN_NONCE_BYTES);
    return TRUE;
}

/* TRUE when the joiner proved that it knows the secret; its request is then in `admission`. */
static gboolean authenticate(const JoinSession *session, JoinWire *wire, JoinAdmission *admission, GError **error)
{
    g_auto(Hello) hello = {0};
    if (!hello_receive(wire, &hello, error)) {
        return FALSE;
    }
    g_autoptr(GError) problem = NULL;
    if (!join_admission_load(admission, hello.token_id, &problem)) {
        gboolean denied = g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED);
        return wrong(error, holdfast_error_code(problem), denied ? DENIED_TEXT : problem->message);
    }
    const char *secret = admission->token.secret;
    g_autofree char *own = join_proof(secret, "server", hello.nonce_client, hello.nonce_server, session->certificate);
    g_autofree char *expected =
        join_proof(secret, "client", hello.nonce_client, hello.nonce_server, session->certificate);
    g_autoptr(json_t) answer = json_pack("{s:s,s:s}", "nonce", hello.nonce_server, "proof", own);
    g_autoptr(json_t) request = join_wire_send(wire, answer, error) ? join_wire_receive(wire, error) : NULL;
    if (!request) {
        return FALSE;
    }
    const char *proof = json_string_value(json_object_get(request, "proof"));
    if (!proof || !join_proof_equal(proof, expected)) {
        return wrong(error, HOLDFAST_ERROR_DENIED, DENIED_TEXT);
    }
    return json_struct_decode(request, &join_request_type, "", &admission->request, error);
}

typedef struct {
    const char *said, *answer;
    gboolean (*act)(JoinAdmission *admission, GError **error);
    gboolean last;
} Step;

static const Step steps[] = {
    {"ready", "added", join_admit_add_member, FALSE},
    {"started", "promoted", join_admit_promote, FALSE},
    {"done", "bye", join_admit_finish, TRUE},
    {"ping", "pong", NULL, FALSE},
};

static const Step *step_find(const json_t *message)
{
    for (gsize i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (json_is_true(json_object_get(message, steps[i].said))) {
            return &steps[i];
        }
    }
    return NULL;
}

/* Every step is repeatable and checks by itself what it needs, so their order is the joiner's affair. */
static gboolean serve_steps(JoinWire *wire, JoinAdmission *admission, GError **error)
{
    for (;;) {
        g_autoptr(json_t) message = join_wire_receive(wire, error);
        const Step *step = message ? step_find(message) : NULL;
        if (!step) {
            return message ? wrong(error, HOLDFAST_ERROR_INVALID, "join message: not a step of a join") : FALSE;
        }
        if (!store_lease_keepalive(admission->store, admission->lock_lease, error) ||
            (step->act && !step->act(admission, error))) {
            return FALSE;
        }
        g_autoptr(json_t) answer = json_pack("{s:b}", step->answer, 1);
        if (!join_wire_send(wire, answer, error)) {
            return FALSE;
        }
        if (step->last) {
            return TRUE;
        }
    }
}

static gboolean serve(const JoinSession *session, JoinWire *wire, GError **error)
{
    g_auto(JoinAdmission) admission = {.context = session->context,
                                       .store = session->store,
                                       .self = session->self,
                                       .cancellable = session->cancellable};
    g_autoptr(json_t) bundle = NULL;
    if (!authenticate(session, wire, &admission, error)) {
        return FALSE;
    }
    session->on_trusted(session->user_data);
    wire->line_max_bytes = JOIN_LINE_MAX_BYTES;
    return join_admit(&admission, &bundle, error) && join_wire_send(wire, bundle, error) &&
           serve_steps(wire, &admission, error);
}

gboolean join_session_run(const JoinSession *session, JoinWire *wire, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (serve(session, wire, &problem)) {
        return TRUE;
    }
    g_autoptr(json_t) answer = join_wire_error(problem);
    join_wire_send(wire, answer, NULL);
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}
