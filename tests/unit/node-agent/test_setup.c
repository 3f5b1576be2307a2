/* SPDX-License-Identifier: Apache-2.0
 * Answers, the command line and the checks of the machine: every bad input is refused with a text that names it.
 * Certificates: names and purposes. */
#include "cluster/node_config.h"
#include "common/error.h"
#include "common/file.h"
#include "node-agent/join_wire.h"
#include "node-agent/setup/checks.h"
#include "node-agent/setup/options.h"
#include "node-agent/setup/reset.h"
#include "node-agent/setup/tls.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#define TOKEN "0123abcd.0123456789abcdef0123456789abcdef"

static void progress_quiet(const char *text)
{
    g_test_message("%s", text);
}

static SetupContext context_of(const char *prefix)
{
    return (SetupContext){
        .prefix = prefix, .runner = process_runner_default(), .progress = progress_quiet, .testing = FALSE};
}

#define GOOD_HEAD "\"version\":1,\"cluster\":\"demo\",\"node\":\"n1\",\"ring0\":\"10.77.0.1\",\"ring1\":\"10.77.1.1\","
#define WITNESS "\"version\":1,\"role\":\"witness\",\"node\":\"w1\",\"ring0\":\"10.77.0.9\","
#define WITNESS_JOIN "\"action\":\"join\",\"join\":{\"address\":\"10.77.0.2\",\"token\":\"" TOKEN "\"}"
#define GOOD_DISK "\"storage_device\":\"/dev/vdb\","

static const struct {
    const char *text;
    const char *begins; /* NULL: good */
} answer_cases[] = {
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"init\"}", NULL},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"init\",\"join_tokens\":[\"" TOKEN "\"],\"corosync\":{\"token_ms\":5000},"
     "\"etcd\":{\"heartbeat_ms\":500,\"election_ms\":5000},\"networks\":[{\"name\":\"lan\",\"interface\":\"lan0\","
     "\"vlan\":0}],"
     "\"fence\":{\"agent\":\"fence_ipmilan\",\"parameters\":{\"ip\":\"10.77.0.101\",\"password\":\"secret\"}}}",
     NULL},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"join\",\"join\":{\"address\":\"10.77.0.2\",\"token\":\"" TOKEN "\"}}", NULL},
    {"no json", "answers: "},
    {"[]", "document: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"init\",\"colour\":1}", "colour: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"destroy\"}", "action: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"join\"}", "join.address: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"join\",\"join\":{\"address\":\"10.77.0.1\",\"token\":\"" TOKEN "\"}}",
     "join.address: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"join\",\"join\":{\"address\":\"10.77.0.2\",\"token\":\"x\"}}",
     "join.token: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"join\",\"join\":{\"address\":\"10.77.0.2\"}}", "join.token: "},
    {"{" GOOD_HEAD "\"action\":\"init\"}", "storage_device: "},
    {"{" GOOD_HEAD "\"storage_device\":\"vdb\",\"action\":\"init\"}", "storage_device: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"init\",\"join_tokens\":[\"" TOKEN "\",\"bad\"]}", "join_tokens: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"init\",\"corosync\":{\"token_ms\":50}}", "corosync.token_ms: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"init\",\"etcd\":{\"heartbeat_ms\":500}}", "etcd.election_ms: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"init\",\"networks\":[{\"name\":\"lan\",\"vlan\":5000}]}",
     "networks[0].vlan: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"init\",\"fence\":{\"agent\":\"fence_none_such\"}}", "fence.agent"},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"init\",\"fence\":{\"agent\":\"fence_ipmilan\",\"parameters\":{\"ip\":1}}}",
     "fence.parameters.ip: "},
    {"{\"version\":1,\"node\":\"N 1\",\"ring0\":\"10.77.0.1\"," GOOD_DISK "\"action\":\"init\"}", "node: "},
    {"{\"version\":1,\"node\":\"n1\",\"ring0\":\"10.77.0\"," GOOD_DISK "\"action\":\"init\"}", "ring0: "},
    {"{\"version\":1,\"node\":\"n1\",\"ring0\":\"127.0.0.1\"," GOOD_DISK "\"action\":\"init\"}", "ring0: "},
    {"{\"version\":1,\"node\":\"n1\",\"ring0\":\"10.77.0.1\",\"ring1\":\"224.0.0.1\"," GOOD_DISK "\"action\":\"init\"}",
     "ring1: "},
    {"{\"version\":1,\"node\":\"n1\",\"ring0\":\"10.77.0.1\"," GOOD_DISK "\"action\":\"init\"}", "cluster: "},
    {"{" WITNESS WITNESS_JOIN "}", NULL},
    {"{" WITNESS "\"ring1\":\"10.77.1.9\"," WITNESS_JOIN "}", "ring1: "},
    {"{" WITNESS GOOD_DISK WITNESS_JOIN "}", "storage_device: "},
    {"{" WITNESS "\"fence\":{\"agent\":\"fence_ipmilan\"}," WITNESS_JOIN "}", "fence: "},
    {"{" WITNESS "\"action\":\"init\"}", "role: "},
    {"{" GOOD_HEAD GOOD_DISK "\"action\":\"init\",\"role\":\"judge\"}", "role: "},
};

static void test_answers(void)
{
    SetupContext context = context_of("");
    for (gsize i = 0; i < G_N_ELEMENTS(answer_cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Answers) answers = answers_parse(answer_cases[i].text, &error);
        gboolean ok = answers && answers_check(&context, answers, &error);
        g_test_message("%s -> %s", answer_cases[i].text, error ? error->message : "good");
        if (!answer_cases[i].begins) {
            g_assert_no_error(error);
            continue;
        }
        g_assert_false(ok);
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
        g_assert_true(g_str_has_prefix(error->message, answer_cases[i].begins));
        g_assert_null(strstr(error->message, "secret\""));
    }
}

static void test_answers_content(void)
{
    SetupContext context = context_of("");
    g_autoptr(GError) error = NULL;
    g_autoptr(Answers) answers = answers_parse(answer_cases[1].text, &error);
    g_assert_true(answers_check(&context, answers, &error));
    g_assert_cmpstr(answers->fence.agent, ==, "fence_ipmilan");
    g_assert_true(g_strv_contains((const char *const *) answers->fence.parameters, "ip=10.77.0.101"));
    g_assert_true(g_strv_contains((const char *const *) answers->fence.parameters, "password=secret"));
    g_assert_cmpint(answers->etcd.election_ms, ==, 5000);
    g_assert_cmpstr(((Network *) answers->networks->pdata[0])->interface, ==, "lan0");
}

static const struct {
    const char *line;
    const char *begins; /* NULL: good */
} option_cases[] = {
    {"init --cluster demo --node n1 --ring0 10.0.0.1 --ring1 10.0.1.1 --storage /dev/vdb", NULL},
    {"init --cluster demo --node n1 --ring0 10.0.0.1 --storage /dev/vdb --network lan:lan0:7 --network other "
     "--join-token " TOKEN " --fence-agent fence_ipmilan --fence-parameter ip=10.0.0.2 --fence-parameter lanplus=1",
     NULL},
    {"join --address 10.0.0.2 --token " TOKEN " --node n2 --ring0 10.0.0.1 --storage /dev/vdb", NULL},
    {"status", NULL},
    {"help", NULL},
    {"", NULL},
    {"explode", "'explode'"},
    {"status now", "'now'"},
    {"init --cluster demo --node n1 --ring0 10.0.0.1", "--storage: "},
    {"init --cluster demo --node n1 --ring0 10.0.0.1 --storage", "--storage: "},
    {"init --cluster demo --node n1 --ring0 here --storage /dev/vdb", "--ring0: "},
    {"init --cluster De_mo --node n1 --ring0 10.0.0.1 --storage /dev/vdb", "--cluster: "},
    {"init --cluster demo --node n1 --ring0 10.0.0.1 --storage /dev/vdb --colour red", "--colour: "},
    {"init --cluster demo --node n1 --ring0 10.0.0.1 --storage /dev/vdb red", "'red'"},
    {"init --cluster demo --node n1 --ring0 10.0.0.1 --storage /dev/vdb --corosync-token-ms x",
     "--corosync-token-ms: "},
    {"init --cluster demo --node n1 --ring0 10.0.0.1 --storage /dev/vdb --corosync-token-ms 5",
     "--corosync-token-ms: "},
    {"init --cluster demo --node n1 --ring0 10.0.0.1 --storage /dev/vdb --network lan:lan0:9999", "--network: "},
    {"init --cluster demo --node n1 --ring0 10.0.0.1 --storage /dev/vdb --fence-parameter ip", "--fence-parameter: "},
    {"init --cluster demo --node n1 --ring0 10.0.0.1 --storage /dev/vdb --fence-parameter ip=1", "--fence-parameter: "},
    {"join --token " TOKEN " --node n2 --ring0 10.0.0.1 --storage /dev/vdb", "--address: "},
    {"join --address 10.0.0.2 --token 1 --node n2 --ring0 10.0.0.1 --storage /dev/vdb", "--token: "},
    {"init --answers /nonexistent/answers.json --node n1", "/nonexistent/answers.json: cannot open"},
};

static void test_options(void)
{
    SetupContext context = context_of("");
    for (gsize i = 0; i < G_N_ELEMENTS(option_cases); i++) {
        g_autofree char *line = g_strconcat("holdfast-setup ", option_cases[i].line, NULL);
        g_auto(GStrv) argv = g_strsplit(g_strchomp(line), " ", -1);
        g_auto(Options) options = {0};
        g_autoptr(GError) error = NULL;
        gboolean ok = options_parse(&context, (int) g_strv_length(argv), argv, &options, &error);
        g_test_message("%s -> %s", option_cases[i].line, error ? error->message : "good");
        if (!option_cases[i].begins) {
            g_assert_no_error(error);
            g_assert_true(ok);
        } else {
            g_assert_false(ok);
            g_assert_true(g_str_has_prefix(error->message, option_cases[i].begins));
        }
    }
}

static void test_checks(void)
{
    SetupContext context = context_of("");
    g_autoptr(GError) error = NULL;
    g_assert_false(check_address_here(&context, "192.0.2.77", "ring0", &error)); /* reserved for documentation */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_assert_true(g_str_has_prefix(error->message, "ring0: 192.0.2.77"));
    g_clear_error(&error);
    context.testing = TRUE;
    g_assert_true(check_address_here(&context, "127.0.0.1", "ring0", &error));
    context.testing = FALSE;
    const char *const devices[] = {"vdb", "/nonexistent/vdb", "/dev/null"};
    for (gsize i = 0; i < G_N_ELEMENTS(devices); i++) {
        g_assert_false(check_device(&context, devices[i], "storage_device", &error));
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
        g_assert_true(g_str_has_prefix(error->message, "storage_device: "));
        g_clear_error(&error);
    }
}

static void test_token(void)
{
    const char *const bad[] = {
        "", "x", "0123abcd", "0123ABCD.0123456789abcdef0123456789abcdef", "0123abcd.0123", TOKEN ".", TOKEN "0"};
    g_autofree char *id = NULL, *secret = NULL;
    g_autoptr(GError) error = NULL;
    g_assert_true(join_token_split(TOKEN, "token", &id, &secret, &error));
    g_assert_cmpstr(id, ==, "0123abcd");
    g_assert_cmpstr(secret, ==, "0123456789abcdef0123456789abcdef");
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) problem = NULL;
        char *none = NULL;
        g_assert_false(join_token_split(bad[i], "token", &none, &none, &problem));
        g_assert_error(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    }
}

/* What openssl(1) reads out of a certificate. */
static char *certificate_text(const char *path)
{
    char *text = NULL;
    g_autoptr(GError) error = NULL;
    process_call(process_runner_default(), 30000, &text, &error, "/usr/bin/openssl", "x509", "-in", path, "-noout",
                 "-text", NULL);
    g_assert_no_error(error);
    return text;
}

static void test_certificates(void)
{
    g_autofree char *prefix = g_dir_make_tmp("holdfast-tls-test-XXXXXX", NULL);
    SetupContext context = context_of(prefix);
    context.testing = TRUE;
    g_autoptr(GError) error = NULL;
    g_assert_true(tls_ca_ensure(&context, "demo", &error));
    g_assert_true(tls_key_ensure(&context, &error));
    g_autofree char *request = tls_request(&context, "n1", &error);
    g_assert_no_error(error);
    /* The subject comes from the request, the names do not. */
    g_autofree char *certificate = tls_sign(&context, request, "n1", "10.0.0.1", "10.0.1.1", FALSE, &error);
    g_assert_no_error(error);
    g_assert_true(setup_write(&context, NODE_CERT_FILE, certificate, -1, 0644, NULL, &error));
    g_autofree char *path = setup_path(&context, NODE_CERT_FILE);
    g_autofree char *ca_path = setup_path(&context, NODE_CA_FILE);
    g_autofree char *text = certificate_text(path);
    g_assert_nonnull(
        strstr(text, "DNS:n1, DNS:localhost, IP Address:10.0.0.1, IP Address:10.0.1.1, IP Address:127.0.0.1"));
    g_assert_nonnull(strstr(text, "TLS Web Server Authentication, TLS Web Client Authentication"));
    g_assert_nonnull(strstr(text, "CA:FALSE"));
    g_assert_nonnull(strstr(text, "prime256v1"));
    g_autofree char *ca_text = certificate_text(ca_path);
    g_assert_nonnull(strstr(ca_text, "CA:TRUE, pathlen:0"));
    g_assert_true(process_call(process_runner_default(), 30000, NULL, &error, "/usr/bin/openssl", "verify",
                               "-x509_strict", "-CAfile", ca_path, path, NULL));
    g_assert_no_error(error);

    /* Good for a joiner whose clock is an hour behind. */
    g_autofree char *past = g_strdup_printf("%" G_GINT64_FORMAT, g_get_real_time() / G_USEC_PER_SEC - 3600);
    g_assert_true(process_call(process_runner_default(), 30000, NULL, &error, "/usr/bin/openssl", "verify", "-attime",
                               past, "-CAfile", ca_path, path, NULL));
    g_assert_no_error(error);

    g_assert_true(tls_qemu_folder(&context, &error));
    g_autofree char *folder = setup_path(&context, SETUP_QEMU_TLS_PATH);
    struct stat status;
    g_assert_cmpint(stat(folder, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 07777, ==, 0700);
    g_autofree char *ca_key = setup_path(&context, NODE_CA_KEY_FILE);
    g_assert_cmpint(stat(ca_key, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 07777, ==, 0600);

    g_assert_null(tls_sign(&context, "hello", "n2", "10.0.0.2", NULL, FALSE, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_assert_true(process_call(process_runner_default(), 10000, NULL, NULL, "/bin/rm", "-rf", "--", prefix, NULL));
}

static void test_status(void)
{
    g_autofree char *prefix = g_dir_make_tmp("holdfast-status-XXXXXX", NULL);
    SetupContext context = context_of(prefix);
    g_autoptr(GError) error = NULL;
    g_autofree char *nothing = reset_status_text(&context, &error);
    g_assert_nonnull(strstr(nothing, "not a node yet"));
    g_assert_true(
        setup_write(&context, NODE_CONFIG_PATH,
                    "{\"version\":1,\"cluster\":\"demo\",\"node\":\"n1\",\"node_id\":1,\"ring0\":\"10.0.0.1\"}", -1,
                    0644, NULL, &error));
    g_autofree char *node = reset_status_text(&context, &error);
    g_assert_no_error(error);
    g_assert_nonnull(strstr(node, "demo"));
    g_assert_true(process_call(process_runner_default(), 10000, NULL, NULL, "/bin/rm", "-rf", "--", prefix, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/setup/answers", test_answers);
    g_test_add_func("/setup/answers-content", test_answers_content);
    g_test_add_func("/setup/options", test_options);
    g_test_add_func("/setup/checks", test_checks);
    g_test_add_func("/setup/token", test_token);
    g_test_add_func("/setup/certificates", test_certificates);
    g_test_add_func("/setup/status", test_status);
    return g_test_run();
}
