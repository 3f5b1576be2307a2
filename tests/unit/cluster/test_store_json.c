/* SPDX-License-Identifier: Apache-2.0
 * What etcd's answers are taken to mean, and keys on the wire. */
#include "cluster/store_internal.h"
#include "common/error.h"

#include <string.h>

static void test_judgement(void)
{
    static const struct {
        const char *text;
        long status;
        StoreAnswer answer;
        int code;
    } cases[] = {
        {"{\"succeeded\":true}", 200, STORE_ANSWER_OK, 0},
        {"{\"result\":{\"TTL\":\"1\"}}\n", 200, STORE_ANSWER_OK, 0},
        {"{\"error\":\"etcdserver: no leader\",\"code\":14}", 503, STORE_ANSWER_NOT_DONE, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"etcdserver: request timed out\",\"code\":14}", 503, STORE_ANSWER_UNKNOWN,
         HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"etcdserver: request timed out, possibly due to previous leader failure\",\"code\":14}", 503,
         STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"etcdserver: server stopped\",\"code\":14}", 503, STORE_ANSWER_UNKNOWN,
         HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"transport is closing\",\"code\":14}", 503, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"all SubConns are in TransientFailure, latest connection error\",\"code\":14}", 503,
         STORE_ANSWER_NOT_DONE, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"etcdserver: too many requests\",\"code\":8}", 429, STORE_ANSWER_NOT_DONE,
         HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}", 429, STORE_ANSWER_FINAL,
         HOLDFAST_ERROR_NO_SPACE},
        {"{\"error\":\"context canceled\",\"code\":1}", 408, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"x\",\"code\":3}", 400, STORE_ANSWER_FINAL, HOLDFAST_ERROR_INVALID},
        {"{\"error\":\"x\",\"code\":5}", 404, STORE_ANSWER_FINAL, HOLDFAST_ERROR_NOT_FOUND},
        {"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}", 200,
         STORE_ANSWER_NOT_DONE, HOLDFAST_ERROR_UNAVAILABLE},
        {"404 page not found", 404, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"[]", 200, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"", 200, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"succeeded\":true}", 502, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_t) document = NULL;
        g_autoptr(GError) error = NULL;
        g_test_message("%s", cases[i].text);
        StoreAnswer answer =
            store_json_answer(cases[i].text, strlen(cases[i].text), cases[i].status, &document, &error);
        g_assert_cmpint(answer, ==, cases[i].answer);
        g_assert_true((document != NULL) == (answer == STORE_ANSWER_OK));
        if (answer != STORE_ANSWER_OK) {
            g_assert_error(error, HOLDFAST_ERROR, cases[i].code);
        }
    }
}

static void test_prefix_end(void)
{
    static const struct {
        const char *prefix, *end;
        gsize length;
    } cases[] = {{"a", "b", 1}, {"w/", "w0", 2}, {"a\xff", "b", 1}, {"\xff\xff", "\0", 1}, {"", "\0", 1}};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_t) end = store_json_prefix_end(cases[i].prefix);
        gsize length = 0;
        g_autofree guchar *bytes = g_base64_decode(json_string_value(end), &length);
        g_assert_cmpmem(bytes, length, cases[i].end, cases[i].length);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store-json/judgement", test_judgement);
    g_test_add_func("/store-json/prefix-end", test_prefix_end);
    return g_test_run();
}
