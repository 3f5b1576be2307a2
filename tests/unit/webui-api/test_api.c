/* SPDX-License-Identifier: Apache-2.0
 * The real holdfast-api over real sockets, in front of a scripted agent. */
#include "tests/unit/webui-api/fake_agent.h"

#include <curl/curl.h>

#define SUCCEEDED "{\"id\":\"op-1\",\"kind\":\"image.import\",\"target\":\"image/d\",\"state\":\"succeeded\"}"
#define RUNNING "{\"id\":\"op-1\",\"kind\":\"guest.create\",\"target\":\"guest/a\",\"state\":\"running\"}"

typedef struct {
    const char *method, *path, *body;
    const char *headers[4]; /* NULL: no more */
    gboolean tcp;
    gsize filler_bytes; /* instead of body: so many bytes */
    const char *until;  /* hang up when this text has come */
} Ask;

typedef struct {
    long status;
    GString *head, *body;
    const char *until;
} Reply;

static void reply_free(Reply *reply)
{
    g_string_free(reply->head, TRUE);
    g_string_free(reply->body, TRUE);
    g_free(reply);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Reply, reply_free)

static size_t on_header(char *data, size_t size, size_t count, void *closure)
{
    Reply *reply = closure;
    g_string_append_len(reply->head, data, (gssize) (size * count));
    return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *closure)
{
    Reply *reply = closure;
    g_string_append_len(reply->body, data, (gssize) (size * count));
    return reply->until && strstr(reply->body->str, reply->until) ? 0 : size * count;
}

static Reply *ask(Fixture *fixture, const Ask *what)
{
    Reply *reply = g_new0(Reply, 1);
    reply->head = g_string_new(NULL);
    reply->body = g_string_new(NULL);
    reply->until = what->until;
    g_autofree char *url = g_strconcat(what->tcp ? fixture->tcp_base : "http://holdfast", what->path, NULL);
    g_autofree char *filler = what->filler_bytes ? g_strnfill(what->filler_bytes, 'x') : NULL;
    const char *body = filler ? filler : what->body;
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = NULL;
    for (guint i = 0; i < G_N_ELEMENTS(what->headers) && what->headers[i]; i++) {
        headers = curl_slist_append(headers, what->headers[i]);
    }
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, what->tcp ? NULL : fixture->socket_path);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, what->method);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, reply);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, reply);
    if (body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long) strlen(body));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    CURLcode result = curl_easy_perform(easy);
    g_assert_cmpint(result, ==, what->until ? CURLE_WRITE_ERROR : CURLE_OK);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &reply->status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
    return reply;
}

#define JSON_HEADER "Content-Type: application/json"

static void expect_problem(Fixture *fixture, const Ask *what, long status, const char *code, const char *detail_part)
{
    g_autoptr(Reply) reply = ask(fixture, what);
    g_test_message("%s %s: %ld %s", what->method, what->path, reply->status, reply->body->str);
    g_assert_cmpint(reply->status, ==, status);
    g_assert_nonnull(strstr(reply->head->str, "Content-Type: application/problem+json\r\n"));
    g_assert_nonnull(strstr(reply->head->str, "X-Request-Id: "));
    g_autoptr(json_t) problem = json_text_parse(reply->body->str, -1, "problem", NULL);
    g_assert_nonnull(problem);
    g_assert_cmpint(json_integer_value(json_object_get(problem, "status")), ==, status);
    g_assert_cmpstr(json_string_value(json_object_get(problem, "code")), ==, code);
    g_assert_nonnull(strstr(json_string_value(json_object_get(problem, "detail")), detail_part));
}

/* Bytes as they are, over the unix socket; the whole answer until the server closes. Caller frees. */
static char *raw(Fixture *fixture, const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, fixture->socket_path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *) &address, sizeof address), ==, 0);
    fake_send(fd, text);
    GString *answer = g_string_new(NULL);
    char chunk[4096];
    ssize_t n;
    while ((n = recv(fd, chunk, sizeof chunk, 0)) > 0) {
        g_string_append_len(answer, chunk, n);
    }
    close(fd);
    return g_string_free(answer, FALSE);
}

static void test_read(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "status", "{\"cluster\":\"demo\"}");
    g_autoptr(Reply) reply =
        ask(fixture, &(Ask){.method = "GET", .path = "/api/v1/status", .headers = {"X-Request-Id: my-id.1"}});
    g_assert_cmpint(reply->status, ==, 200);
    g_assert_cmpstr(reply->body->str, ==, "{\"cluster\":\"demo\"}");
    g_assert_nonnull(strstr(reply->head->str, "X-Request-Id: my-id.1\r\n"));
    g_autoptr(json_t) request = fake_agent_seen(fixture->agent, "status");
    g_assert_cmpstr(json_string_value(json_object_get(request, "id")), ==, "my-id.1");
    g_assert_nonnull(json_string_value(json_object_get(request, "user")));
    g_autoptr(Reply) features = ask(fixture, &(Ask){.method = "GET", .path = "/api/v1"});
    g_assert_nonnull(strstr(features->body->str, "images.upload"));
}

static void test_mutation(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "guest.create", RUNNING);
    g_autoptr(Reply) reply = ask(fixture, &(Ask){.method = "POST",
                                                 .path = "/api/v1/guests",
                                                 .headers = {JSON_HEADER},
                                                 .body = "{\"name\":\"a\",\"spec\":{\"memory_mib\":64}}"});
    g_assert_cmpint(reply->status, ==, 202);
    g_assert_nonnull(strstr(reply->head->str, "Location: /api/v1/operations/op-1\r\n"));
    g_autofree char *args = fake_agent_args(fixture->agent, "guest.create");
    g_assert_cmpstr(args, ==, "{\"name\":\"a\",\"spec\":{\"memory_mib\":64}}");
    fake_agent_result(fixture->agent, "guest.start", RUNNING);
    g_autoptr(Reply) start =
        ask(fixture, &(Ask){.method = "POST", .path = "/api/v1/guests/a/actions/start", .body = ""});
    g_assert_cmpint(start->status, ==, 202);
}

static void test_etag(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "guest.show", "{\"name\":\"a\",\"revision\":42}");
    g_autoptr(Reply) first = ask(fixture, &(Ask){.method = "GET", .path = "/api/v1/guests/a"});
    g_assert_nonnull(strstr(first->head->str, "ETag: \"42\"\r\n"));
    g_autoptr(Reply) same =
        ask(fixture, &(Ask){.method = "GET", .path = "/api/v1/guests/a", .headers = {"If-None-Match: \"41\", \"42\""}});
    g_assert_cmpint(same->status, ==, 304);
    g_assert_cmpuint(same->body->len, ==, 0);
    g_autoptr(Reply) other =
        ask(fixture, &(Ask){.method = "GET", .path = "/api/v1/guests/a", .headers = {"If-None-Match: \"41\""}});
    g_assert_cmpint(other->status, ==, 200);
}

static void test_agent_errors(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    Ask show = {.method = "GET", .path = "/api/v1/guests/a"};
    fake_agent_fail(fixture->agent, "guest.show", "not_found", "guest a does not exist");
    expect_problem(fixture, &show, 404, "not_found", "guest a does not exist");
    fake_agent_fail(fixture->agent, "guest.show", "invalid", "name: too long");
    expect_problem(fixture, &show, 400, "invalid", "name: too long");
    fake_agent_script(fixture->agent, "guest.show", "this is no JSON");
    expect_problem(fixture, &show, 500, "failed", "makes no sense");
    fake_agent_script(fixture->agent, "guest.show", "{\"v\":1,\"ok\":false}");
    expect_problem(fixture, &show, 500, "failed", "neither result nor error");
}

static void test_agent_dead(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "status", "{}");
    g_autoptr(Reply) ready = ask(fixture, &(Ask){.method = "GET", .path = "/readyz", .tcp = TRUE});
    g_assert_cmpint(ready->status, ==, 200);
    fixture_kill_agent(fixture);
    expect_problem(fixture, &(Ask){.method = "GET", .path = "/api/v1/guests"}, 503, "unavailable",
                   "holdfastd is not answering on this node; guests keep running; see `systemctl status holdfastd`");
    expect_problem(fixture, &(Ask){.method = "GET", .path = "/readyz"}, 503, "unavailable",
                   "holdfastd is not answering");
    g_autoptr(Reply) health = ask(fixture, &(Ask){.method = "GET", .path = "/healthz", .tcp = TRUE});
    g_assert_cmpint(health->status, ==, 200);
}

static void test_bad_bodies(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    Ask post = {.method = "POST", .path = "/api/v1/guests", .headers = {JSON_HEADER}};
    g_autofree char *deep = g_strnfill(40, '[');
    const struct {
        const char *body, *detail;
    } bodies[] = {
        {"{\"name\":", "not valid JSON"},
        {"{\"name\":\"a\",\"name\":\"b\"}", "not valid JSON"},
        {deep, "nested deeper"},
        {"{} {}", "not valid JSON"},
        {"{\"name\":\"a\",\"spek\":{}}", "spek"},
        {"{\"name\":\"a\"}", "spec: is required"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bodies); i++) {
        post.body = bodies[i].body;
        expect_problem(fixture, &post, 400, "invalid", bodies[i].detail);
    }
    post.body = NULL;
    post.filler_bytes = 2 * 1024 * 1024;
    expect_problem(fixture, &post, 413, "invalid", "at most 1 MiB");
    post.headers[1] = "Expect:"; /* curl then sends it all at once */
    expect_problem(fixture, &post, 413, "invalid", "at most 1 MiB");
    post.headers[1] = "Transfer-Encoding: chunked";
    expect_problem(fixture, &post, 413, "invalid", "at most 1 MiB");
    expect_problem(fixture, &(Ask){.method = "POST", .path = "/api/v1/guests", .body = "a=b"}, 415, "unsupported",
                   "application/json");
    expect_problem(fixture,
                   &(Ask){.method = "DELETE", .path = "/api/v1/guests/a", .body = "{}", .headers = {JSON_HEADER}}, 400,
                   "invalid", "takes none");
}

static void test_bad_paths(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    expect_problem(fixture, &(Ask){.method = "GET", .path = "/api/v1/nonsense"}, 404, "not_found", "no such resource");
    expect_problem(fixture, &(Ask){.method = "GET", .path = "/api/v1/guests/a%00b"}, 404, "not_found",
                   "no such resource");
    expect_problem(fixture, &(Ask){.method = "GET", .path = "/api/v1/guests%00"}, 404, "not_found", "no such resource");
    expect_problem(fixture, &(Ask){.method = "PUT", .path = "/api/v1/guests/a", .body = "{}"}, 405, "unsupported",
                   "GET, PATCH, DELETE");
    g_autoptr(Reply) reply = ask(fixture, &(Ask){.method = "PUT", .path = "/api/v1/guests"});
    g_assert_nonnull(strstr(reply->head->str, "Allow: GET, POST\r\n"));
    expect_problem(fixture, &(Ask){.method = "GET", .path = "/api/v1/guests?x=1"}, 400, "invalid", "x: ");
    expect_problem(fixture, &(Ask){.method = "GET", .path = "/api/v1/operations/1?wait=1&wait=2"}, 400, "invalid",
                   "wait: ");
}

static void test_framing(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    const char *const texts[] = {
        "POST /api/v1/guests HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: "
        "2\r\nContent-Length: 3\r\n\r\n{}x",
        "POST /api/v1/guests HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *answer = raw(fixture, texts[i]);
        g_test_message("%s", answer);
        g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 400 "));
    }
}

static void test_token(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "guest.list", "[]");
    Ask list = {.method = "GET", .path = "/api/v1/guests", .tcp = TRUE};
    expect_problem(fixture, &list, 401, "denied", "a token is needed");
    list.headers[0] = "Authorization: Bearer " FAKE_TOKEN "x";
    expect_problem(fixture, &list, 401, "denied", "the token is wrong");
    list.path = "/api/v1/nonsense"; /* which paths exist is no stranger's business */
    expect_problem(fixture, &list, 401, "denied", "the token is wrong");
    list.path = "/api/v1/guests";
    list.headers[0] = "Authorization: Bearer " FAKE_TOKEN;
    g_autoptr(Reply) reply = ask(fixture, &list);
    g_assert_cmpint(reply->status, ==, 200);
    g_assert_true(g_file_set_contents(fixture->token_path, "short\n", -1, NULL));
    expect_problem(fixture, &list, 401, "denied", "too short");
    g_unlink(fixture->token_path);
    expect_problem(fixture, &list, 401, "denied", "no API token is set up on this node");
}

static gpointer long_poll(gpointer data)
{
    return ask(data, &(Ask){.method = "GET", .path = "/api/v1/operations/op-1?wait=30"});
}

static void test_long_poll(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "op.show", SUCCEEDED);
    fake_agent_result(fixture->agent, "guest.list", "[]");
    fake_agent_hold(fixture->agent, TRUE);
    GThread *waiting[8];
    for (gsize i = 0; i < G_N_ELEMENTS(waiting); i++) {
        waiting[i] = g_thread_new("poll", long_poll, fixture);
    }
    g_autofree char *args = fake_agent_args(fixture->agent, "op.show");
    g_assert_cmpstr(args, ==, "{\"id\":\"op-1\",\"wait_s\":30}");
    g_autoptr(Reply) meanwhile = ask(fixture, &(Ask){.method = "GET", .path = "/api/v1/guests"});
    g_assert_cmpint(meanwhile->status, ==, 200);
    fake_agent_hold(fixture->agent, FALSE);
    for (gsize i = 0; i < G_N_ELEMENTS(waiting); i++) {
        g_autoptr(Reply) reply = g_thread_join(waiting[i]);
        g_assert_cmpint(reply->status, ==, 200);
        g_assert_cmpstr(reply->body->str, ==, SUCCEEDED);
    }
}

/* The agent never answers: only the end of the process can end this wait. */
static void test_stop_ends_waits(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_hold(fixture->agent, TRUE);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, fixture->socket_path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *) &address, sizeof address), ==, 0);
    fake_send(fd, "GET /api/v1/operations/op-1?wait=60 HTTP/1.1\r\nHost: a\r\n\r\n");
    json_decref(fake_agent_seen(fixture->agent, "op.show"));
    fixture_stop_api(fixture);
    close(fd);
}

static void test_events(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_script(fixture->agent, "events.watch",
                      "{\"v\":1,\"ok\":true,\"result\":{}}\n{\"v\":1,\"event\":{\"index\":7,\"kind\":\"guest.started\","
                      "\"text\":\"a\"}}");
    g_autoptr(Reply) stream = ask(fixture, &(Ask){.method = "GET",
                                                  .path = "/api/v1/events",
                                                  .until = "\n\nid: 7\ndata: {",
                                                  .headers = {"Accept: text/event-stream", "Last-Event-ID: 6"}});
    g_assert_cmpint(stream->status, ==, 200);
    g_assert_nonnull(strstr(stream->head->str, "Content-Type: text/event-stream\r\n"));
    g_assert_true(g_str_has_prefix(stream->body->str, ": connected\n"));
    g_autofree char *args = fake_agent_args(fixture->agent, "events.watch");
    g_assert_cmpstr(args, ==, "{\"since\":6}");
    fake_agent_result(fixture->agent, "event.list", "[{\"index\":7}]");
    g_autoptr(Reply) page = ask(fixture, &(Ask){.method = "GET", .path = "/api/v1/events?since=3"});
    g_assert_cmpstr(page->body->str, ==, "[{\"index\":7}]");
    fake_agent_fail(fixture->agent, "events.watch", "unavailable", "no store");
    expect_problem(fixture, &(Ask){.method = "GET", .path = "/api/v1/events", .headers = {"Accept: text/event-stream"}},
                   503, "unavailable", "no store");
}

#define RAW_HEADER "Content-Type: application/octet-stream"

static void test_upload(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    fake_agent_result(fixture->agent, "image.import", RUNNING);
    fake_agent_result(fixture->agent, "op.show", SUCCEEDED);
    g_autoptr(Reply) reply = ask(fixture, &(Ask){.method = "PUT",
                                                 .path = "/api/v1/images/debian",
                                                 .headers = {RAW_HEADER},
                                                 .filler_bytes = 3 * 1024 * 1024 + 1});
    g_assert_cmpint(reply->status, ==, 202);
    g_assert_nonnull(strstr(reply->head->str, "Location: /api/v1/operations/op-1\r\n"));
    g_assert_cmpint(fixture->agent->imported_bytes, ==, 3 * 1024 * 1024 + 1);
    g_autofree char *args = fake_agent_args(fixture->agent, "image.import");
    g_assert_nonnull(strstr(args, "\"name\":\"debian\""));
    g_assert_nonnull(strstr(args, fixture->spool));
    /* The sweeper learns that the import ended and removes the file; a stop before it has read that answer would leave
     * the file to the next start. */
    json_decref(fake_agent_seen(fixture->agent, "op.show"));
    gint64 deadline_us = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    while (folder_entries(fixture->spool) > 0 && g_get_monotonic_time() < deadline_us) {
        g_usleep(10 * 1000);
    }
    g_assert_cmpuint(folder_entries(fixture->spool), ==, 0);
    fixture_stop_api(fixture);
}

static void test_upload_refused(Fixture *fixture, gconstpointer unused)
{
    (void) unused;
    Ask put = {.method = "PUT", .path = "/api/v1/images/debian", .filler_bytes = 70000};
    expect_problem(fixture, &put, 415, "unsupported", "octet-stream");
    put.headers[0] = RAW_HEADER;
    put.path = "/api/v1/images/De_bian";
    expect_problem(fixture, &put, 400, "invalid", "name");
    put.path = "/api/v1/images/debian";
    fake_agent_fail(fixture->agent, "image.import", "exists", "image debian exists");
    expect_problem(fixture, &put, 409, "exists", "image debian exists");
    put.filler_bytes = 0;
    put.body = "";
    expect_problem(fixture, &put, 400, "invalid", "cannot be empty");
    g_assert_cmpuint(folder_entries(fixture->spool), ==, 0);
}

static void add(const char *path, void (*test)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, NULL, fixture_setup, test, fixture_teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    add("/api/read", test_read);
    add("/api/mutation", test_mutation);
    add("/api/etag", test_etag);
    add("/api/agent-errors", test_agent_errors);
    add("/api/agent-dead", test_agent_dead);
    add("/api/bad-bodies", test_bad_bodies);
    add("/api/bad-paths", test_bad_paths);
    add("/api/framing", test_framing);
    add("/api/token", test_token);
    add("/api/long-poll", test_long_poll);
    add("/api/stop-ends-waits", test_stop_ends_waits);
    add("/api/events", test_events);
    add("/api/upload", test_upload);
    add("/api/upload-refused", test_upload_refused);
    int failed = g_test_run();
    curl_global_cleanup();
    return failed;
}
