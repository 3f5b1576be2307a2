/* SPDX-License-Identifier: Apache-2.0
 * The store's JSON gateway over its unix socket (HTTP/1.0, so that the end of the answer is the end of the connection),
 * and calls of holdfastd.
 *
 * The record is read and written through the member of this node. Where there is none (no voter), or it gives no
 * answer, holdfastd is asked to do the same with whatever voter it reaches. A write that the member may have taken is
 * offered a second time that way; the compare with the revision lets one of the two happen at most. */
#include "fencing/fence-peer/io.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define STORE_SOCKET HANDLER_ROOT "run/holdfast-etcd/etcd.sock:0"
#define AGENT_SOCKET HANDLER_ROOT "run/holdfast/agent.sock"
#define RECORD_KEY "/holdfast/v1/record/%s"
#define ANSWER_MAX 65536
/* Shorter than the second a promotion may wait; a frozen Primary simply tries again. */
#define STORE_TIMEOUT_MS 800
#define AGENT_TIMEOUT_MS 3000

static int socket_open(const char *path, int timeout_ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool send_text(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t put = send(fd, text, left, MSG_NOSIGNAL);
        if (put <= 0) {
            return false;
        }
        text += put;
        left -= (size_t) put;
    }
    return true;
}

/* Until end of file or, with stop_at_line, the first line feed. NULL on error or time-out. Caller frees. */
static char *receive_text(int fd, bool stop_at_line)
{
    char *text = malloc(ANSWER_MAX);
    size_t length = 0;
    while (text && length < ANSWER_MAX - 1) {
        ssize_t got = recv(fd, text + length, ANSWER_MAX - 1 - length, 0);
        if (got < 0) {
            free(text);
            return NULL;
        }
        length += (size_t) got;
        text[length] = '\0';
        if (got == 0 || (stop_at_line && strchr(text, '\n'))) {
            break;
        }
    }
    return text;
}

/* POST `body` to the gateway; the parsed answer, or NULL for anything but 200. */
static json_t *store_post(const char *path, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    char head[200];
    int fd = text ? socket_open(STORE_SOCKET, STORE_TIMEOUT_MS) : -1;
    json_t *answer = NULL;
    if (fd >= 0) {
        snprintf(head, sizeof(head),
                 "POST %s HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", path,
                 strlen(text));
        char *reply = send_text(fd, head) && send_text(fd, text) ? receive_text(fd, false) : NULL;
        char *start = reply ? strstr(reply, "\r\n\r\n") : NULL;
        if (start && strncmp(reply, "HTTP/1.", 7) == 0 && strncmp(reply + 8, " 200", 4) == 0) {
            answer = json_loads(start + 4, JSON_REJECT_DUPLICATES, NULL);
        }
        free(reply);
        close(fd);
    }
    free(text);
    return answer;
}

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static json_t *base64_encode(const char *text)
{
    size_t length = strlen(text);
    char *out = malloc(length / 3 * 4 + 5), *end = out;
    for (size_t i = 0; out && i < length; i += 3) {
        unsigned left = (unsigned) (length - i);
        uint32_t word = (uint32_t) (unsigned char) text[i] << 16;
        word |= left > 1 ? (uint32_t) (unsigned char) text[i + 1] << 8 : 0;
        word |= left > 2 ? (uint32_t) (unsigned char) text[i + 2] : 0;
        *end++ = base64_alphabet[word >> 18];
        *end++ = base64_alphabet[word >> 12 & 63];
        *end++ = left > 1 ? base64_alphabet[word >> 6 & 63] : '=';
        *end++ = left > 2 ? base64_alphabet[word & 63] : '=';
    }
    json_t *value = out ? json_stringn(out, (size_t) (end - out)) : NULL;
    free(out);
    return value;
}

/* Into out (NUL-terminated); false when it is not base64 or does not fit. */
static bool base64_decode(const char *text, char *out, size_t size)
{
    uint32_t word = 0;
    size_t length = 0;
    int bits = 0;
    for (; *text && *text != '='; text++) {
        const char *place = strchr(base64_alphabet, *text);
        if (!place || length + 2 > size) {
            return false;
        }
        word = word << 6 | (uint32_t) (place - base64_alphabet);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[length++] = (char) (word >> bits & 255);
        }
    }
    out[length] = '\0';
    return true;
}

static json_t *record_key_encoded(const char *guest)
{
    char key[128];
    snprintf(key, sizeof(key), RECORD_KEY, guest);
    return base64_encode(key);
}

/* Call a verb of holdfastd: the whole answer when it is "ok", or NULL. Takes the arguments. */
static json_t *agent_call(const char *verb, json_t *arguments)
{
    json_t *request = json_pack("{s:i,s:s,s:s,s:o}", "v", 1, "id", "fence-peer", "verb", verb, "args", arguments);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    int fd = text ? socket_open(AGENT_SOCKET, AGENT_TIMEOUT_MS) : -1;
    json_t *answer = NULL;
    if (fd >= 0) {
        char *reply = send_text(fd, text) && send_text(fd, "\n") ? receive_text(fd, true) : NULL;
        answer = reply ? json_loads(reply, JSON_REJECT_DUPLICATES, NULL) : NULL;
        free(reply);
        close(fd);
    }
    if (!json_is_true(json_object_get(answer, "ok"))) {
        json_decref(answer);
        answer = NULL;
    }
    free(text);
    json_decref(request);
    return answer;
}

/* *ret_answered: the member here gave an answer, so there is no need to ask elsewhere. */
static bool read_here(const char *guest, Record *out, int64_t *revision, bool *ret_answered)
{
    json_t *body = json_pack("{s:o}", "key", record_key_encoded(guest));
    json_t *answer = store_post("/v3/kv/range", body);
    json_t *entry = json_array_get(json_object_get(answer, "kvs"), 0);
    const char *value = json_string_value(json_object_get(entry, "value"));
    const char *modified = json_string_value(json_object_get(entry, "mod_revision"));
    char text[8192], reason[200];
    bool ok = value && modified && base64_decode(value, text, sizeof(text)) &&
              record_decode(text, out, reason, sizeof(reason));
    if (ok) {
        *revision = strtoll(modified, NULL, 10);
    }
    *ret_answered = answer != NULL;
    json_decref(answer);
    json_decref(body);
    return ok;
}

static bool read_through_agent(const char *guest, Record *out, int64_t *revision)
{
    json_t *answer = agent_call("record.get", json_pack("{s:s}", "guest", guest));
    const json_t *result = json_object_get(answer, "result");
    const char *text = json_string_value(json_object_get(result, "record"));
    const json_t *number = json_object_get(result, "revision");
    char reason[200];
    bool ok = text && json_is_integer(number) && record_decode(text, out, reason, sizeof(reason));
    if (ok) {
        *revision = json_integer_value(number);
    }
    json_decref(answer);
    return ok;
}

bool handler_record_read(const char *guest, Record *out, int64_t *revision)
{
    bool answered;
    return read_here(guest, out, revision, &answered) || (!answered && read_through_agent(guest, out, revision));
}

static bool write_here(const char *guest, const char *text, int64_t revision, bool *ret_answered)
{
    char revision_text[32];
    snprintf(revision_text, sizeof(revision_text), "%lld", (long long) revision);
    json_t *body = json_pack("{s:[{s:o,s:s,s:s,s:s}],s:[{s:{s:o,s:o}}]}", "compare", "key", record_key_encoded(guest),
                             "target", "MOD", "result", "EQUAL", "mod_revision", revision_text, "success",
                             "request_put", "key", record_key_encoded(guest), "value", base64_encode(text));
    json_t *answer = store_post("/v3/kv/txn", body);
    bool ok = json_is_true(json_object_get(answer, "succeeded"));
    *ret_answered = answer != NULL;
    json_decref(answer);
    json_decref(body);
    return ok;
}

static bool write_through_agent(const char *guest, const char *text, int64_t revision)
{
    json_t *answer = agent_call(
        "record.cas", json_pack("{s:s,s:s,s:I}", "guest", guest, "record", text, "revision", (json_int_t) revision));
    bool ok = json_is_true(json_object_get(json_object_get(answer, "result"), "written"));
    json_decref(answer);
    return ok;
}

bool handler_record_write(const char *guest, const Record *record, int64_t revision)
{
    char *text = record_encode(record);
    bool answered;
    bool ok = text && (write_here(guest, text, revision, &answered) ||
                       (!answered && write_through_agent(guest, text, revision)));
    free(text);
    return ok;
}

bool handler_peer_outdated(const char *guest)
{
    json_t *answer = agent_call("peer.outdate", json_pack("{s:s}", "guest", guest));
    bool confirmed = json_is_true(json_object_get(json_object_get(answer, "result"), "outdated"));
    json_decref(answer);
    return confirmed;
}
