/* SPDX-License-Identifier: Apache-2.0
 * HTTP client. Transfers run in a curl multi handle, so one poll waits for the network and for Ctrl-C. */
#include "webui-api/cli/http.h"

#include "common/error.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 5000L
#define REQUEST_TIMEOUT_MS 120000L
#define ANSWER_MAX_BYTES JSON_ANSWER_MAX_BYTES
#define STALL_S 120L

struct CliHttp {
    char *address, *base, *socket_path;
    char *authorization;
    CURL *easy;
    CURLM *multi;
    int signal_fd;
    gboolean interrupted;
};

/* One transfer. A stream's lines go out as they come, unless the answer is a problem. */
typedef struct {
    CliHttp *http;
    GString *body;
    CliHttpLine line;
    CliHttpProgress progress;
    gpointer user_data;
    gboolean stopped, too_large;
} Transfer;

static gboolean address_take(CliHttp *http, const char *address, GError **error)
{
    http->address = g_strdup(address);
    if (g_str_has_prefix(address, "unix:/")) {
        http->socket_path = g_strdup(address + strlen("unix:"));
        http->base = g_strdup("http://holdfast");
        return TRUE;
    }
    if (g_str_has_prefix(address, "http://") || g_str_has_prefix(address, "https://")) {
        http->base = g_strdup(address);
        if (g_str_has_suffix(http->base, "/")) {
            http->base[strlen(http->base) - 1] = '\0';
        }
        return TRUE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                "HOLDFAST_API: must be unix:/path, http://host:port or https://host, not '%s'", address);
    return FALSE;
}

CliHttp *cli_http_new(const char *address, const char *token, GError **error)
{
    CliHttp *http = g_new0(CliHttp, 1);
    http->signal_fd = -1;
    if (!address_take(http, address, error)) {
        cli_http_free(http);
        return NULL;
    }
    http->authorization = token ? g_strconcat("Authorization: Bearer ", token, NULL) : NULL;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    http->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    signal(SIGPIPE, SIG_IGN);
    http->easy = curl_easy_init();
    http->multi = curl_multi_init();
    return http;
}

void cli_http_free(CliHttp *http)
{
    if (!http) {
        return;
    }
    curl_easy_cleanup(http->easy);
    curl_multi_cleanup(http->multi);
    if (http->signal_fd >= 0) {
        close(http->signal_fd);
    }
    g_free(http->address);
    g_free(http->base);
    g_free(http->socket_path);
    g_free(http->authorization);
    g_free(http);
}

gboolean cli_http_is_local(const CliHttp *http)
{
    return http->socket_path != NULL;
}

gboolean cli_http_interrupted(const CliHttp *http)
{
    return http->interrupted;
}

gboolean cli_http_pause(CliHttp *http, int timeout_ms)
{
    struct pollfd fd = {.fd = http->signal_fd, .events = POLLIN};
    http->interrupted |= poll(&fd, 1, timeout_ms) > 0;
    return !http->interrupted;
}

/* Hand out whole lines; FALSE when the receiver wants no more. */
static gboolean give_lines(Transfer *transfer)
{
    char *newline;
    while ((newline = memchr(transfer->body->str, '\n', transfer->body->len))) {
        gsize length = (gsize) (newline - transfer->body->str);
        g_autofree char *line = g_strndup(transfer->body->str, length);
        g_string_erase(transfer->body, 0, (gssize) length + 1);
        g_strchomp(line);
        if (!transfer->line(line, transfer->user_data)) {
            transfer->stopped = TRUE;
            return FALSE;
        }
    }
    return TRUE;
}

static size_t on_data(char *data, size_t size, size_t count, void *closure)
{
    Transfer *transfer = closure;
    long status = 0;
    curl_easy_getinfo(transfer->http->easy, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->body->len + size * count > ANSWER_MAX_BYTES) {
        transfer->too_large = TRUE;
        return 0;
    }
    g_string_append_len(transfer->body, data, (gssize) (size * count));
    if (transfer->line && status == 200 && !give_lines(transfer)) {
        return 0;
    }
    return size * count;
}

static int on_progress(void *closure, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    (void) down_total;
    (void) down;
    Transfer *transfer = closure;
    if (transfer->progress && up_total > 0) {
        transfer->progress(up, up_total, transfer->user_data);
    }
    return 0;
}

static void setup(CliHttp *http, Transfer *transfer, const char *method, const char *path)
{
    g_autofree char *url = g_strconcat(http->base, path, NULL);
    curl_easy_reset(http->easy);
    curl_easy_setopt(http->easy, CURLOPT_URL, url);
    curl_easy_setopt(http->easy, CURLOPT_UNIX_SOCKET_PATH, http->socket_path);
    curl_easy_setopt(http->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(http->easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(http->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(http->easy, CURLOPT_USERAGENT, "holdfast-cli/1");
    curl_easy_setopt(http->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(http->easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(http->easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(http->easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(http->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(http->easy, CURLOPT_XFERINFODATA, transfer);
    curl_easy_setopt(http->easy, CURLOPT_NOPROGRESS, 0L);
    if (http->socket_path) {
        curl_easy_setopt(http->easy, CURLOPT_PROXY, "");
    }
}

/* Drive the transfer to its end; CURLE_ABORTED_BY_CALLBACK on Ctrl-C. */
static CURLcode drive(CliHttp *http)
{
    int running = 1;
    curl_multi_add_handle(http->multi, http->easy);
    while (running && !http->interrupted) {
        struct curl_waitfd signals = {.fd = http->signal_fd, .events = CURL_WAIT_POLLIN};
        if (curl_multi_perform(http->multi, &running) != CURLM_OK) {
            break;
        }
        if (running) {
            curl_multi_poll(http->multi, &signals, 1, 1000, NULL);
            http->interrupted |= signals.revents != 0;
        }
    }
    CURLcode result = CURLE_ABORTED_BY_CALLBACK;
    int left = 0;
    CURLMsg *message = curl_multi_info_read(http->multi, &left);
    if (message && message->msg == CURLMSG_DONE) {
        result = message->data.result;
    }
    curl_multi_remove_handle(http->multi, http->easy);
    return result;
}

static gboolean unreachable(const CliHttp *http, CURLcode result, const char *detail, GError **error)
{
    long os_errno = 0;
    curl_easy_getinfo(http->easy, CURLINFO_OS_ERRNO, &os_errno);
    if (http->socket_path && access(http->socket_path, W_OK) != 0 && errno == EACCES) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED, "only root may use %s: run the command with sudo",
                    http->socket_path);
        return FALSE;
    }
    gboolean timeout = result == CURLE_OPERATION_TIMEDOUT && os_errno == 0;
    g_set_error(error, HOLDFAST_ERROR, timeout ? HOLDFAST_ERROR_TIMEOUT : HOLDFAST_ERROR_UNAVAILABLE,
                "no answer from the Holdfast API at %s: %s; guests keep running; see `systemctl status holdfast-api`",
                http->address, *detail ? detail : curl_easy_strerror(result));
    return FALSE;
}

static gboolean problem_take(const GString *body, long status, GError **error)
{
    g_autoptr(json_t) problem = json_text_parse(body->str, (gssize) body->len, "problem", NULL);
    const char *code = json_string_value(json_object_get(problem, "code"));
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    if (code && detail) {
        g_set_error_literal(error, HOLDFAST_ERROR, holdfast_error_from_name(code), detail);
    } else {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                    "HTTP status %ld from something that is not the Holdfast API", status);
    }
    return FALSE;
}

/* Perform what setup() and its caller prepared. FALSE: *error. */
static gboolean transfer_run(CliHttp *http, Transfer *transfer, struct curl_slist *headers, GError **error)
{
    char detail[CURL_ERROR_SIZE] = "";
    if (http->authorization) {
        headers = curl_slist_append(headers, http->authorization);
    }
    curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(http->easy, CURLOPT_ERRORBUFFER, detail);
    CURLcode result = drive(http);
    long status = 0;
    curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(http->easy, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    if (transfer->stopped) {
        return TRUE;
    }
    if (http->interrupted) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED, "interrupted");
        return FALSE;
    }
    if (transfer->too_large) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                            "the answer of the Holdfast API is larger than 16 MiB");
        return FALSE;
    }
    /* A refused upload may be answered, and then cut off, before all of it was sent: the answer counts. */
    if (result != CURLE_OK && status < 400) {
        return unreachable(http, result, detail, error);
    }
    return status < 400 || problem_take(transfer->body, status, error);
}

static json_t *transfer_json(const Transfer *transfer, GError **error)
{
    if (transfer->body->len == 0) {
        return json_object();
    }
    return json_answer_parse(transfer->body->str, (gssize) transfer->body->len, "answer", error);
}

json_t *cli_http_request(CliHttp *http, const char *method, const char *path, const json_t *body, GError **error)
{
    g_autoptr(GString) answer = g_string_new(NULL);
    Transfer transfer = {.http = http, .body = answer};
    setup(http, &transfer, method, path);
    curl_easy_setopt(http->easy, CURLOPT_TIMEOUT_MS, REQUEST_TIMEOUT_MS);
    g_autofree char *text = body ? json_text_from(body) : NULL;
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
    if (text) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(http->easy, CURLOPT_POSTFIELDS, text);
    } else if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(http->easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "GET") != 0) {
        curl_easy_setopt(http->easy, CURLOPT_POSTFIELDS, "");
        headers = curl_slist_append(headers, "Content-Type:");
    }
    return transfer_run(http, &transfer, headers, error) ? transfer_json(&transfer, error) : NULL;
}

json_t *cli_http_upload(CliHttp *http, const char *path, const char *file_path, CliHttpProgress progress,
                        gpointer user_data, GError **error)
{
    struct stat info;
    FILE *file = fopen(file_path, "re");
    if (!file || fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode)) {
        holdfast_error_set_errno(error, file ? EINVAL : errno, "cannot read the file %s", file_path);
        if (file) {
            fclose(file);
        }
        return NULL;
    }
    g_autoptr(GString) answer = g_string_new(NULL);
    Transfer transfer = {.http = http, .body = answer, .progress = progress, .user_data = user_data};
    setup(http, &transfer, "PUT", path);
    curl_easy_setopt(http->easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(http->easy, CURLOPT_READDATA, file);
    curl_easy_setopt(http->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t) info.st_size);
    curl_easy_setopt(http->easy, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
    curl_easy_setopt(http->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(http->easy, CURLOPT_LOW_SPEED_TIME, STALL_S);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/octet-stream");
    gboolean ok = transfer_run(http, &transfer, headers, error);
    fclose(file);
    return ok ? transfer_json(&transfer, error) : NULL;
}

gboolean cli_http_stream(CliHttp *http, const char *path, CliHttpLine line, gpointer user_data, GError **error)
{
    g_autoptr(GString) answer = g_string_new(NULL);
    g_autoptr(GError) problem = NULL;
    Transfer transfer = {.http = http, .body = answer, .line = line, .user_data = user_data};
    setup(http, &transfer, "GET", path);
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: text/event-stream");
    if (transfer_run(http, &transfer, headers, &problem)) {
        if (!transfer.stopped) {
            g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                                "the event stream ended: holdfast-api or holdfastd was stopped");
        }
        return transfer.stopped;
    }
    if (http->interrupted) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}
