/* SPDX-License-Identifier: Apache-2.0
 * Run a program: argv only, absolute path, deadline, bounded output, killed as a group, recordable in tests. */
#pragma once

#include <glib.h>

/* How a finished program ended. stdout_text and stderr_text are NUL-terminated, at most PROCESS_OUTPUT_MAX_BYTES each.
 */
typedef struct {
    int exit_status; /* exit code, or 128 + signal */
    char *stdout_text;
    char *stderr_text;
} ProcessResult;

#define PROCESS_OUTPUT_MAX_BYTES (16u * 1024 * 1024)

void process_result_clear(ProcessResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ProcessResult, process_result_clear)

/* A thing that runs programs. Tests replace `run`; `process_runner_default()` runs for real. Thread-safe. */
typedef struct ProcessRunner ProcessRunner;
struct ProcessRunner {
    /* Run argv (NULL-terminated, argv[0] absolute) with `input` on standard input (NULL: /dev/null). Blocks until it
     * ends or timeout_ms passes, when its whole process group is killed. TRUE: it ran, *ret is set, whatever its exit
     * status. FALSE: TIMEOUT, or NOT_FOUND/FAILED when it could not be started. */
    gboolean (*run)(const ProcessRunner *runner, const char *const *argv, const char *input, int timeout_ms,
                    ProcessResult *ret, GError **error);
    void *user_data;
};

const ProcessRunner *process_runner_default(void);

/* Run and demand exit status 0: anything else is FAILED with the command and the last line it said. ret_stdout may be
 * NULL. */
gboolean process_run_ok(const ProcessRunner *runner, const char *const *argv, const char *input, int timeout_ms,
                        char **ret_stdout, GError **error);

/* The same for a handful of arguments: process_call(runner, 5000, &out, error, "/sbin/lvs", "--noheadings", NULL). */
gboolean process_call(const ProcessRunner *runner, int timeout_ms, char **ret_stdout, GError **error,
                      const char *program, ...) G_GNUC_NULL_TERMINATED;
