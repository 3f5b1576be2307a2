/* SPDX-License-Identifier: Apache-2.0
 * Run a program with a deadline. poll() loop over the child's pipes; GLib's spawn is not used because its asynchronous
 * form needs a main loop, which OCF agent and worker threads do not have, and its synchronous form knows no deadline.
 */
#include "common/process.h"

#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_WAIT_MS 1000

extern char **environ;

void process_result_clear(ProcessResult *result)
{
    g_clear_pointer(&result->stdout_text, g_free);
    g_clear_pointer(&result->stderr_text, g_free);
}

typedef struct {
    pid_t pid;
    int pidfd;
    int fds[3]; /* our ends: stdin of the child, its stdout, its stderr; -1 when closed */
} Child;

static void child_close(Child *child, int index)
{
    if (child->fds[index] >= 0) {
        close(child->fds[index]);
        child->fds[index] = -1;
    }
}

static void pipes_close(int pipes[3][2])
{
    for (int i = 0; i < 3; i++) {
        for (int end = 0; end < 2; end++) {
            if (pipes[i][end] >= 0) {
                close(pipes[i][end]);
            }
        }
    }
}

static gboolean child_spawn(const char *const *argv, Child *child, GError **error)
{
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    for (int i = 0; i < 3; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) != 0) {
            int err = errno;
            pipes_close(pipes);
            return holdfast_error_set_errno(error, err, "pipe for %s", argv[0]);
        }
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, pipes[0][0], 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[1][1], 1);
    posix_spawn_file_actions_adddup2(&actions, pipes[2][1], 2);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int rc = posix_spawn(&child->pid, argv[0], &actions, &attributes, (char *const *) argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (rc != 0) {
        pipes_close(pipes);
        return holdfast_error_set_errno(error, rc, "cannot start %s", argv[0]);
    }
    close(pipes[0][0]);
    close(pipes[1][1]);
    close(pipes[2][1]);
    child->fds[0] = pipes[0][1];
    child->fds[1] = pipes[1][0];
    child->fds[2] = pipes[2][0];
    for (int i = 0; i < 3; i++) {
        fcntl(child->fds[i], F_SETFL, O_NONBLOCK);
    }
    child->pidfd = (int) syscall(SYS_pidfd_open, child->pid, 0);
    return TRUE;
}

/* Move what is ready on one pipe; closes it at the end of file. Output beyond the limit is dropped, not an error. */
static void child_read(Child *child, int index, GString *sink)
{
    char buffer[65536];
    ssize_t got = read(child->fds[index], buffer, sizeof(buffer));
    if (got > 0) {
        gsize room = PROCESS_OUTPUT_MAX_BYTES - MIN(sink->len, PROCESS_OUTPUT_MAX_BYTES);
        g_string_append_len(sink, buffer, (gssize) MIN((gsize) got, room));
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        child_close(child, index);
    }
}

static void child_feed(Child *child, const char **input)
{
    gsize left = strlen(*input);
    ssize_t put = left > 0 ? write(child->fds[0], *input, left) : 0;
    if (put > 0) {
        *input += put;
    }
    if (**input == '\0' || (put < 0 && errno != EAGAIN && errno != EINTR)) {
        child_close(child, 0);
    }
}

/* Pump until the process ended and its output is drained, or the deadline passed (FALSE). A grandchild that keeps the
 * pipes open after the process itself ended does not hold us: one last read each, then done. */
static gboolean child_pump(Child *child, const char *input, gint64 deadline_us, GString *out, GString *err)
{
    for (;;) {
        struct pollfd polls[4] = {
            {.fd = child->fds[0], .events = POLLOUT},
            {.fd = child->fds[1], .events = POLLIN},
            {.fd = child->fds[2], .events = POLLIN},
            {.fd = child->pidfd, .events = POLLIN},
        };
        gint64 left_us = deadline_us - g_get_monotonic_time();
        if (left_us <= 0) {
            return FALSE;
        }
        if (poll(polls, 4, (int) ((left_us + 999) / 1000)) < 0 && errno != EINTR) {
            return FALSE;
        }
        if (polls[0].revents) {
            child_feed(child, &input);
        }
        if (polls[1].revents) {
            child_read(child, 1, out);
        }
        if (polls[2].revents) {
            child_read(child, 2, err);
        }
        if (polls[3].revents && !polls[1].revents && !polls[2].revents) {
            return TRUE;
        }
    }
}

static gboolean run_for_real(const ProcessRunner *runner G_GNUC_UNUSED, const char *const *argv, const char *input,
                             int timeout_ms, ProcessResult *ret, GError **error)
{
    g_return_val_if_fail(argv[0] && argv[0][0] == '/', FALSE);
    Child child;
    if (!child_spawn(argv, &child, error)) {
        return FALSE;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(GString) err = g_string_new(NULL);
    gint64 deadline_us = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
    sigset_t sigpipe, saved;
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, &saved);
    gboolean ended = child_pump(&child, input ? input : "", deadline_us, out, err);
    sigtimedwait(&sigpipe, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    if (!ended) {
        kill(-child.pid, SIGKILL);
    }
    for (int i = 0; i < 3; i++) {
        child_close(&child, i);
    }
    if (!ended) {
        /* The killed one needs a moment to die, and must not stay a zombie. One stuck in the kernel (a frozen disk)
         * does stay: a reaper thread would only hide it. */
        poll(&(struct pollfd){.fd = child.pidfd, .events = POLLIN}, 1, KILL_WAIT_MS);
    }
    close(child.pidfd);
    int status = 0;
    while (waitpid(child.pid, &status, ended ? 0 : WNOHANG) < 0 && errno == EINTR) {
    }
    if (!ended) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "%s did not end within %d ms and was killed",
                    argv[0], timeout_ms);
        return FALSE;
    }
    ret->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    ret->stdout_text = g_string_free(g_steal_pointer(&out), FALSE);
    ret->stderr_text = g_string_free(g_steal_pointer(&err), FALSE);
    return TRUE;
}

const ProcessRunner *process_runner_default(void)
{
    static const ProcessRunner runner = {.run = run_for_real};
    return &runner;
}

/* The last line that is not empty: programs warn first and fail last. */
static char *last_line(const ProcessResult *result)
{
    const char *said = result->stderr_text && *result->stderr_text ? result->stderr_text : result->stdout_text;
    g_autofree char *text = g_strstrip(g_strdup(said ? said : ""));
    const char *newline = strrchr(text, '\n');
    return g_strdup(newline ? newline + 1 : text);
}

gboolean process_run_ok(const ProcessRunner *runner, const char *const *argv, const char *input, int timeout_ms,
                        char **ret_stdout, GError **error)
{
    g_auto(ProcessResult) result = {0};
    if (!runner->run(runner, argv, input, timeout_ms, &result, error)) {
        return FALSE;
    }
    if (result.exit_status != 0) {
        g_autofree char *text = last_line(&result);
        g_autofree char *command = g_strjoinv(" ", (char **) argv);
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "'%s' failed with status %d: %s", command,
                    result.exit_status, text);
        return FALSE;
    }
    if (ret_stdout) {
        *ret_stdout = g_steal_pointer(&result.stdout_text);
    }
    return TRUE;
}

gboolean process_call(const ProcessRunner *runner, int timeout_ms, char **ret_stdout, GError **error,
                      const char *program, ...)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    va_list arguments;
    va_start(arguments, program);
    for (const char *word = program; word; word = va_arg(arguments, const char *)) {
        g_ptr_array_add(argv, (gpointer) word);
    }
    va_end(arguments);
    g_ptr_array_add(argv, NULL);
    return process_run_ok(runner, (const char *const *) argv->pdata, NULL, timeout_ms, ret_stdout, error);
}
