/* SPDX-License-Identifier: Apache-2.0
 * Running programs: output, input, status, deadline, limits. */
#include "common/error.h"
#include "common/process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define LIMIT_MS 60000

static gboolean shell(const char *script, const char *input, int timeout_ms, ProcessResult *ret, GError **error)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    const ProcessRunner *runner = process_runner_default();
    return runner->run(runner, argv, input, timeout_ms, ret, error);
}

static void test_output_and_status(void)
{
    g_auto(ProcessResult) result = {0};
    g_autoptr(GError) error = NULL;
    g_assert_true(shell("echo out; echo err >&2; exit 7", NULL, LIMIT_MS, &result, &error));
    g_assert_cmpint(result.exit_status, ==, 7);
    g_assert_cmpstr(result.stdout_text, ==, "out\n");
    g_assert_cmpstr(result.stderr_text, ==, "err\n");
}

static void test_input(void)
{
    g_auto(ProcessResult) result = {0};
    g_autofree char *large = g_strnfill(300000, 'x'); /* more than a pipe holds, both ways */
    g_assert_true(shell("cat", large, LIMIT_MS, &result, NULL));
    g_assert_cmpstr(result.stdout_text, ==, large);
    g_auto(ProcessResult) none = {0};
    g_assert_true(shell("cat", NULL, LIMIT_MS, &none, NULL));
    g_assert_cmpstr(none.stdout_text, ==, "");
    g_auto(ProcessResult) unread = {0};
    g_assert_true(shell("exec true", large, LIMIT_MS, &unread, NULL)); /* no SIGPIPE reaches us */
    g_assert_cmpint(unread.exit_status, ==, 0);
}

static void test_signal(void)
{
    g_auto(ProcessResult) result = {0};
    g_assert_true(shell("kill -TERM $$", NULL, LIMIT_MS, &result, NULL));
    g_assert_cmpint(result.exit_status, ==, 128 + SIGTERM);
}

static void test_deadline(void)
{
    g_auto(ProcessResult) result = {0};
    g_autoptr(GError) error = NULL;
    /* The grandchild has the pipe too and must not outlive the group. */
    g_assert_false(shell("sleep 1000 & sleep 1000", NULL, 200, &result, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT);
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1); /* no zombie is left */
    g_assert_cmpint(errno, ==, ECHILD);
}

static void test_grandchild_keeps_pipe(void)
{
    g_auto(ProcessResult) result = {0};
    g_autoptr(GError) error = NULL;
    gboolean ended = shell("sleep 600 & echo $!", NULL, LIMIT_MS, &result, &error);
    g_assert_no_error(error);
    g_assert_true(ended);
    pid_t grandchild = (pid_t) g_ascii_strtoll(result.stdout_text, NULL, 10);
    g_assert_cmpint(grandchild, >, 1);
    g_assert_cmpint(kill(grandchild, SIGKILL), ==, 0);
}

static void test_output_limit(void)
{
    g_auto(ProcessResult) result = {0};
    g_assert_true(shell("head -c 20000000 /dev/zero | tr '\\0' x", NULL, LIMIT_MS, &result, NULL));
    g_assert_cmpint(result.exit_status, ==, 0);
    g_assert_cmpuint(strlen(result.stdout_text), ==, PROCESS_OUTPUT_MAX_BYTES);
}

static void test_missing(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(process_call(process_runner_default(), LIMIT_MS, NULL, &error, "/no/such/program", NULL));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
}

static void test_call(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *out = NULL;
    g_assert_true(process_call(process_runner_default(), LIMIT_MS, &out, &error, "/bin/echo", "a b", "c", NULL));
    g_assert_cmpstr(out, ==, "a b c\n");
    g_assert_false(process_call(process_runner_default(), LIMIT_MS, NULL, &error, "/bin/sh", "-c",
                                "echo warning >&2; echo 'no space' >&2; exit 5", NULL));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    g_assert_nonnull(strstr(error->message, "status 5: no space"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/process/output-and-status", test_output_and_status);
    g_test_add_func("/process/input", test_input);
    g_test_add_func("/process/signal", test_signal);
    g_test_add_func("/process/deadline", test_deadline);
    g_test_add_func("/process/grandchild-keeps-pipe", test_grandchild_keeps_pipe);
    g_test_add_func("/process/output-limit", test_output_limit);
    g_test_add_func("/process/missing", test_missing);
    g_test_add_func("/process/call", test_call);
    return g_test_run();
}
