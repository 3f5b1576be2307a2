/* SPDX-License-Identifier: Apache-2.0
 * For tests: a holdfastd that answers what it was told to, and a holdfast-api process in front of it. Header-only,
 * because every test program is one source file. */
#pragma once

#include "common/json.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FAKE_TOKEN "test-token-0123456789abcdef"

typedef struct {
    int listen_fd;
    GThread *acceptor;
    GMutex lock;
    GCond changed;
    GPtrArray *threads;
    GArray *connections; /* int */
    GHashTable *answers; /* verb -> answer line without v and id */
    GPtrArray *requests; /* request lines */
    gboolean hold_waits; /* op.show with wait_s is not answered until this is FALSE */
    gboolean stopping;
    gint64 imported_bytes; /* size of the file of the last image.import, seen while it was there */
} FakeAgent;

typedef struct {
    FakeAgent *agent;
    int fd;
} FakeConnection;

static inline void fake_send(int fd, const char *text)
{
    for (gsize left = strlen(text); left > 0;) {
        ssize_t n = send(fd, text, left, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        text += n;
        left -= (gsize) n;
    }
}

/* Called with the lock held; may wait. */
static inline char *fake_answer(FakeAgent *agent, const json_t *request)
{
    const char *verb = json_string_value(json_object_get(request, "verb"));
    const json_t *args = json_object_get(request, "args");
    while (strcmp(verb, "op.show") == 0 && json_integer_value(json_object_get(args, "wait_s")) > 0 &&
           agent->hold_waits && !agent->stopping) {
        g_cond_wait(&agent->changed, &agent->lock);
    }
    const char *path = json_string_value(json_object_get(args, "path"));
    GStatBuf info;
    if (strcmp(verb, "image.import") == 0 && path && g_stat(path, &info) == 0) {
        agent->imported_bytes = info.st_size;
    }
    const char *answer = g_hash_table_lookup(agent->answers, verb);
    return g_strdup(
        answer ? answer : "{\"v\":1,\"ok\":false,\"error\":{\"code\":\"unsupported\",\"message\":\"not scripted\"}}");
}

static inline void fake_take(FakeConnection *connection, const char *line)
{
    FakeAgent *agent = connection->agent;
    g_autoptr(json_t) request = json_text_parse(line, -1, "request", NULL);
    g_assert_nonnull(request);
    g_assert_cmpint(json_integer_value(json_object_get(request, "v")), ==, 1);
    g_mutex_lock(&agent->lock);
    g_ptr_array_add(agent->requests, g_strdup(line));
    g_cond_broadcast(&agent->changed);
    g_autofree char *answer = fake_answer(agent, request);
    g_mutex_unlock(&agent->lock);
    fake_send(connection->fd, answer);
    fake_send(connection->fd, "\n");
}

static inline gpointer fake_serve(gpointer data)
{
    FakeConnection *connection = data;
    g_autoptr(GString) buffer = g_string_new(NULL);
    char chunk[65536];
    ssize_t n;
    while ((n = recv(connection->fd, chunk, sizeof chunk, 0)) > 0) {
        g_string_append_len(buffer, chunk, n);
        char *newline;
        while ((newline = strchr(buffer->str, '\n'))) {
            *newline = '\0';
            fake_take(connection, buffer->str);
            g_string_erase(buffer, 0, newline - buffer->str + 1);
        }
    }
    shutdown(connection->fd, SHUT_RDWR);
    g_free(connection);
    return NULL;
}

static inline gpointer fake_accept(gpointer data)
{
    FakeAgent *agent = data;
    int fd;
    while ((fd = accept(agent->listen_fd, NULL, NULL)) >= 0) {
        FakeConnection *connection = g_new0(FakeConnection, 1);
        *connection = (FakeConnection){agent, fd};
        g_mutex_lock(&agent->lock);
        g_array_append_val(agent->connections, fd);
        g_ptr_array_add(agent->threads, g_thread_new("fake-agent", fake_serve, connection));
        g_mutex_unlock(&agent->lock);
    }
    return NULL;
}

static inline FakeAgent *fake_agent_start(const char *path)
{
    FakeAgent *agent = g_new0(FakeAgent, 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_mutex_init(&agent->lock);
    g_cond_init(&agent->changed);
    agent->threads = g_ptr_array_new();
    agent->connections = g_array_new(FALSE, FALSE, sizeof(int));
    agent->answers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    agent->requests = g_ptr_array_new_with_free_func(g_free);
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    agent->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(agent->listen_fd, (struct sockaddr *) &address, sizeof address), ==, 0);
    g_assert_cmpint(listen(agent->listen_fd, 64), ==, 0);
    agent->acceptor = g_thread_new("fake-accept", fake_accept, agent);
    return agent;
}

static inline void fake_agent_stop(FakeAgent *agent)
{
    shutdown(agent->listen_fd, SHUT_RDWR);
    g_thread_join(agent->acceptor);
    close(agent->listen_fd);
    g_mutex_lock(&agent->lock);
    agent->stopping = TRUE;
    g_cond_broadcast(&agent->changed);
    g_mutex_unlock(&agent->lock);
    for (guint i = 0; i < agent->threads->len; i++) {
        shutdown(g_array_index(agent->connections, int, i), SHUT_RDWR);
        g_thread_join(agent->threads->pdata[i]);
        close(g_array_index(agent->connections, int, i));
    }
    g_ptr_array_unref(agent->threads);
    g_array_unref(agent->connections);
    g_hash_table_unref(agent->answers);
    g_ptr_array_unref(agent->requests);
    g_mutex_clear(&agent->lock);
    g_cond_clear(&agent->changed);
    g_free(agent);
}

/* From now on `verb` is answered with this line, whatever it is. */
static inline void fake_agent_script(FakeAgent *agent, const char *verb, const char *line)
{
    g_mutex_lock(&agent->lock);
    g_hash_table_insert(agent->answers, g_strdup(verb), g_strdup(line));
    g_mutex_unlock(&agent->lock);
}

static inline void fake_agent_result(FakeAgent *agent, const char *verb, const char *result)
{
    g_autofree char *line = g_strdup_printf("{\"v\":1,\"id\":\"x\",\"ok\":true,\"result\":%s}", result);
    fake_agent_script(agent, verb, line);
}

static inline void fake_agent_fail(FakeAgent *agent, const char *verb, const char *code, const char *message)
{
    g_autoptr(json_t) answer = json_pack("{s:i, s:s, s:b, s:{s:s, s:s}}", "v", 1, "id", "x", "ok", 0, "error", "code",
                                         code, "message", message);
    g_autofree char *line = json_text_from(answer);
    fake_agent_script(agent, verb, line);
}

/* The newest request for `verb`, waiting until there is one. Caller owns. */
static inline json_t *fake_agent_seen(FakeAgent *agent, const char *verb)
{
    json_t *found = NULL;
    g_mutex_lock(&agent->lock);
    while (!found) {
        for (guint i = agent->requests->len; i > 0 && !found; i--) {
            g_autoptr(json_t) request = json_text_parse(agent->requests->pdata[i - 1], -1, "request", NULL);
            if (strcmp(json_string_value(json_object_get(request, "verb")), verb) == 0) {
                found = json_incref(request);
            }
        }
        if (!found) {
            g_cond_wait(&agent->changed, &agent->lock);
        }
    }
    g_mutex_unlock(&agent->lock);
    return found;
}

/* Compact text of the args of the newest request for `verb`. Caller frees. */
static inline char *fake_agent_args(FakeAgent *agent, const char *verb)
{
    g_autoptr(json_t) request = fake_agent_seen(agent, verb);
    return json_text_from(json_object_get(request, "args"));
}

static inline void fake_agent_hold(FakeAgent *agent, gboolean hold)
{
    g_mutex_lock(&agent->lock);
    agent->hold_waits = hold;
    g_cond_broadcast(&agent->changed);
    g_mutex_unlock(&agent->lock);
}

/* ---- holdfast-api in front of it ---- */

typedef struct {
    char *dir, *spool, *socket_path, *token_path, *tcp_base;
    FakeAgent *agent; /* NULL after fixture_kill_agent() */
    GSubprocess *api; /* NULL after fixture_stop_api() */
    GDataInputStream *log;
} Fixture;

static inline char *program_path(const char *name)
{
    const char *folder = g_getenv("HOLDFAST_BIN_DIR");
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *here = g_path_get_dirname(self);
    char *path =
        folder ? g_build_filename(folder, name, NULL) : g_build_filename(here, "..", "..", "..", "bin", name, NULL);
    if (!g_file_test(path, G_FILE_TEST_IS_EXECUTABLE)) {
        g_error("%s is not there: build the programs first, or set HOLDFAST_BIN_DIR", path);
    }
    return path;
}

/* The log says when both listeners are open, and which port was given. */
static inline void fixture_wait_ready(Fixture *fixture)
{
    for (;;) {
        g_autofree char *line = g_data_input_stream_read_line(fixture->log, NULL, NULL, NULL);
        g_assert_nonnull(line);
        char *url = strstr(line, "http://127.0.0.1:");
        if (url) {
            fixture->tcp_base = g_strndup(url, strcspn(url, " "));
        }
        if (strstr(line, "ready (")) {
            return;
        }
    }
}

/* A test that aborts must not leave its API behind. */
static inline void fixture_child_setup(gpointer unused)
{
    (void) unused;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static inline void fixture_setup(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fixture->dir = g_dir_make_tmp("hfapi-XXXXXX", NULL);
    fixture->spool = g_build_filename(fixture->dir, "spool", NULL);
    fixture->socket_path = g_build_filename(fixture->dir, "api.sock", NULL);
    fixture->token_path = g_build_filename(fixture->dir, "token", NULL);
    g_autofree char *agent_path = g_build_filename(fixture->dir, "agent.sock", NULL);
    g_assert_cmpint(g_mkdir(fixture->spool, 0700), ==, 0);
    g_assert_true(g_file_set_contents(fixture->token_path, FAKE_TOKEN "\n", -1, NULL));
    fixture->agent = fake_agent_start(agent_path);
    g_autofree char *program = program_path("holdfast-api");
    g_autoptr(GError) error = NULL;
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_subprocess_launcher_set_child_setup(launcher, fixture_child_setup, NULL, NULL);
    fixture->api = g_subprocess_launcher_spawn(launcher, &error, program, "--socket", fixture->socket_path, "--listen",
                                               "127.0.0.1:0", "--agent", agent_path, "--token-file",
                                               fixture->token_path, "--spool", fixture->spool, NULL);
    g_assert_no_error(error);
    fixture->log = g_data_input_stream_new(g_subprocess_get_stderr_pipe(fixture->api));
    fixture_wait_ready(fixture);
}

static inline void fixture_kill_agent(Fixture *fixture)
{
    if (fixture->agent) {
        g_autofree char *agent_path = g_build_filename(fixture->dir, "agent.sock", NULL);
        fake_agent_stop(g_steal_pointer(&fixture->agent));
        g_unlink(agent_path);
    }
}

/* Ends the API as systemd does and demands a clean exit (under the sanitizers: no leak, no error). */
static inline void fixture_stop_api(Fixture *fixture)
{
    if (fixture->api) {
        g_autoptr(GError) error = NULL;
        g_subprocess_send_signal(fixture->api, SIGTERM);
        g_subprocess_wait(fixture->api, NULL, &error);
        g_assert_no_error(error);
        g_assert_true(g_subprocess_get_if_exited(fixture->api));
        g_assert_cmpint(g_subprocess_get_exit_status(fixture->api), ==, 0);
        g_clear_object(&fixture->log);
        g_clear_object(&fixture->api);
    }
}

static inline guint folder_entries(const char *path)
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    guint n = 0;
    while (g_dir_read_name(folder)) {
        n++;
    }
    return n;
}

static inline void fixture_teardown(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fixture_stop_api(fixture);
    fixture_kill_agent(fixture);
    const char *const names[] = {"api.sock", "token", "spec.json", "image.raw"};
    g_rmdir(fixture->spool);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(fixture->dir, names[i], NULL);
        g_unlink(path);
    }
    g_assert_cmpint(g_rmdir(fixture->dir), ==, 0);
    g_free(fixture->dir);
    g_free(fixture->spool);
    g_free(fixture->socket_path);
    g_free(fixture->token_path);
    g_free(fixture->tcp_base);
}
