/* SPDX-License-Identifier: Apache-2.0
 * The wire format of peer calls. */
#include "cluster/peer_json.h"
#include "common/error.h"

#include <string.h>

static void round_trip(const PeerMessage *message, PeerMessage *out, const char *wanted)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) bytes = peer_message_encode(message, &error);
    g_assert_no_error(error);
    gsize length = 0;
    const char *data = g_bytes_get_data(bytes, &length);
    g_autofree char *text = g_strndup(data, length);
    g_assert_cmpstr(text, ==, wanted);
    g_assert_true(peer_message_decode(data, length, out, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(out->from, ==, message->from);
    g_assert_cmpuint(out->to, ==, message->to);
    g_assert_cmpint(out->seq, ==, message->seq);
}

static void test_call(void)
{
    g_autoptr(json_t) args = json_pack("{s:i}", "x", 1);
    char verb[] = "replica.prepare";
    PeerMessage message = {
        .is_call = TRUE, .from = 1, .to = G_MAXUINT32, .seq = G_MAXINT64, .verb = verb, .args = args};
    g_auto(PeerMessage) out = {0};
    round_trip(&message, &out,
               "{\"args\":{\"x\":1},\"from\":1,\"seq\":9223372036854775807,\"t\":\"call\",\"to\":4294967295,\"v\":1,"
               "\"verb\":\"replica.prepare\"}");
    g_assert_true(out.is_call);
    g_assert_cmpstr(out.verb, ==, verb);
    g_assert_true(json_equal(out.args, args));
    message.args = NULL; /* no arguments are empty arguments */
    g_auto(PeerMessage) bare = {0};
    round_trip(&message, &bare,
               "{\"args\":{},\"from\":1,\"seq\":9223372036854775807,\"t\":\"call\",\"to\":4294967295,\"v\":1,"
               "\"verb\":\"replica.prepare\"}");
}

static void test_reply(void)
{
    g_autoptr(json_t) result = json_string("done");
    PeerMessage message = {.from = 2, .to = 1, .seq = 7, .result = result};
    g_auto(PeerMessage) out = {0};
    round_trip(&message, &out,
               "{\"from\":2,\"ok\":true,\"result\":\"done\",\"seq\":7,\"t\":\"reply\",\"to\":1,\"v\":1}");
    g_assert_false(out.is_call);
    g_assert_no_error(out.error);
    g_assert_cmpstr(json_string_value(out.result), ==, "done");
    message.result = NULL;
    g_auto(PeerMessage) empty = {0};
    round_trip(&message, &empty, "{\"from\":2,\"ok\":true,\"result\":null,\"seq\":7,\"t\":\"reply\",\"to\":1,\"v\":1}");
    g_assert_true(json_is_null(empty.result));
}

static void test_error_reply(void)
{
    g_autoptr(GError) failure = g_error_new_literal(HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "not \xff now");
    PeerMessage message = {.from = 2, .to = 1, .seq = 7, .error = failure};
    g_auto(PeerMessage) out = {0};
    round_trip(
        &message, &out,
        "{\"error\":{\"code\":\"refused\",\"message\":\"not \xef\xbf\xbd now\"},\"from\":2,\"ok\":false,\"seq\":7,"
        "\"t\":\"reply\",\"to\":1,\"v\":1}");
    g_assert_error(out.error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_assert_null(out.result);
}

static void test_too_large(void)
{
    g_autofree char *text = g_strnfill(PEER_MESSAGE_MAX_BYTES, 'x');
    g_autoptr(json_t) result = json_string(text);
    PeerMessage message = {.from = 2, .to = 1, .seq = 7, .result = result};
    g_autoptr(GError) error = NULL;
    g_assert_null(peer_message_encode(&message, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE);
    g_auto(PeerMessage) out = {0};
    g_assert_false(peer_message_decode(text, PEER_MESSAGE_MAX_BYTES + 1, &out, NULL));
}

static void test_refused(void)
{
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"", HOLDFAST_ERROR_INVALID},
        {"[]", HOLDFAST_ERROR_INVALID},
        {"{\"v\":2,\"t\":\"call\",\"from\":1,\"to\":2,\"seq\":1,\"verb\":\"x\",\"args\":{}}",
         HOLDFAST_ERROR_UNSUPPORTED},
        {"{\"v\":1,\"t\":\"shout\",\"from\":1,\"to\":2,\"seq\":1}", HOLDFAST_ERROR_INVALID},
        {"{\"v\":1,\"t\":\"call\",\"from\":0,\"to\":2,\"seq\":1,\"verb\":\"x\",\"args\":{}}", HOLDFAST_ERROR_INVALID},
        {"{\"v\":1,\"t\":\"call\",\"from\":1,\"to\":4294967296,\"seq\":1,\"verb\":\"x\",\"args\":{}}",
         HOLDFAST_ERROR_INVALID},
        {"{\"v\":1,\"t\":\"call\",\"from\":1,\"to\":2,\"seq\":0,\"verb\":\"x\",\"args\":{}}", HOLDFAST_ERROR_INVALID},
        {"{\"v\":1,\"t\":\"call\",\"from\":1,\"to\":2,\"seq\":1,\"verb\":\"\",\"args\":{}}", HOLDFAST_ERROR_INVALID},
        {"{\"v\":1,\"t\":\"call\",\"from\":1,\"to\":2,\"seq\":1,\"verb\":\"x\",\"args\":[]}", HOLDFAST_ERROR_INVALID},
        {"{\"v\":1,\"t\":\"call\",\"from\":1,\"to\":2,\"seq\":1,\"verb\":\"x\",\"args\":{},\"ok\":true}",
         HOLDFAST_ERROR_INVALID},
        {"{\"v\":1,\"t\":\"reply\",\"from\":1,\"to\":2,\"seq\":1,\"ok\":true}", HOLDFAST_ERROR_INVALID},
        {"{\"v\":1,\"t\":\"reply\",\"from\":1,\"to\":2,\"seq\":1,\"ok\":1,\"result\":1}", HOLDFAST_ERROR_INVALID},
        {"{\"v\":1,\"t\":\"reply\",\"from\":1,\"to\":2,\"seq\":1,\"ok\":false}", HOLDFAST_ERROR_INVALID},
        {"{\"v\":1,\"t\":\"reply\",\"from\":1,\"to\":2,\"seq\":1,\"ok\":false,\"error\":\"x\"}",
         HOLDFAST_ERROR_INVALID},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(PeerMessage) out = {0};
        g_autoptr(GError) error = NULL;
        g_assert_false(peer_message_decode(cases[i].text, strlen(cases[i].text), &out, &error));
        g_assert_error(error, HOLDFAST_ERROR, cases[i].code);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/peer/call", test_call);
    g_test_add_func("/peer/reply", test_reply);
    g_test_add_func("/peer/error-reply", test_error_reply);
    g_test_add_func("/peer/too-large", test_too_large);
    g_test_add_func("/peer/refused", test_refused);
    return g_test_run();
}
