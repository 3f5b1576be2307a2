/* SPDX-License-Identifier: Apache-2.0
 * The demo guest's only service: it keeps a log of numbered records and acknowledges each one only when it is on the
 * disk.
 *
 * This is the witness of the whole lab: "no acknowledged record was lost" is judged by what it answered. So there is
 * one rule: "A" is sent after fdatasync() returned 0, and after any failed write or sync the process never acknowledges
 * again (on Linux a second fdatasync after a failed one may succeed although the data is gone).
 *
 * Protocol on TCP, one request a line: "W <client> <seq> <payload>" -> "A <client> <seq>" or "F <client> <seq>
 * <reason>"; "R" -> every record as "<number> <client> <seq> <payload>", then "E <count>"; "I" -> "I <boot_id>
 * <uptime_ms> <records> <instance> <ticks>". `instance` is random per process and `ticks` counts since its start: both
 * go on unchanged across a live migration and start anew after a restart.
 *
 * Log format, one record a line: "<number> <client> <seq> <payload> <crc32 of what precedes the last space, 8 hex>". A
 * torn last line, which can only be an unacknowledged record, is cut off at start; a bad record before the last one is
 * corruption: the recorder says so and serves nothing. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 32
#define MAX_LINE 8192
#define TICK_MS 200

typedef struct {
    int fd;
    size_t used;
    char input[MAX_LINE];
} Client;

typedef struct {
    int log_fd;
    bool broken; /* a write or sync failed: nothing is acknowledged any more */
    uint64_t records, ticks, instance;
    char boot_id[40];
    Client clients[MAX_CLIENTS];
} Recorder;

static uint32_t crc32_of(const char *data, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned char) data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
        }
    }
    return ~crc;
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return false;
        }
        data += done;
        size -= (size_t) done;
    }
    return true;
}

/* Answers go to a blocking socket with a send timeout: a client that does not read is dropped. */
static void client_close(Client *client)
{
    close(client->fd);
    client->fd = -1;
}

static void client_send(Client *client, const char *data, size_t size)
{
    if (client->fd >= 0 && !write_all(client->fd, data, size)) {
        client_close(client);
    }
}

/* --- the log
 * ------------------------------------------------------------------------------------------------------------- */

static bool line_is_good(const char *line, size_t length, uint64_t number)
{
    const char *space = memrchr(line, ' ', length);
    if (!space || (size_t) (line + length - space) != 9) {
        return false;
    }
    return strtoull(line, NULL, 10) == number &&
           strtoul(space + 1, NULL, 16) == crc32_of(line, (size_t) (space - line));
}

/* Count the records, cut off a torn tail. False: the log is corrupt before its end, or cannot be read. */
static bool log_recover(Recorder *recorder, const char *path)
{
    int copy = dup(recorder->log_fd);
    FILE *file = copy >= 0 ? fdopen(copy, "r") : NULL;
    if (!file) {
        return false;
    }
    char *line = NULL;
    size_t capacity = 0;
    off_t good_end = 0;
    bool torn = false, good = true;
    ssize_t length;
    while ((length = getline(&line, &capacity, file)) > 0) {
        if (torn) {
            fprintf(stderr, "recorder: %s: record %" PRIu64 " is corrupt and is not the last\n", path,
                    recorder->records + 1);
            good = false;
            break;
        }
        if (line[length - 1] == '\n' && line_is_good(line, (size_t) length - 1, recorder->records + 1)) {
            recorder->records++;
            good_end += length;
        } else {
            torn = true;
        }
    }
    good = good && !ferror(file);
    free(line);
    fclose(file);
    if (good && torn) {
        fprintf(stderr, "recorder: torn last record cut off\n");
        good = ftruncate(recorder->log_fd, good_end) == 0 && fsync(recorder->log_fd) == 0;
    }
    return good;
}

static bool log_append(Recorder *recorder, const char *text)
{
    char record[MAX_LINE + 64];
    int length = snprintf(record, sizeof record - 16, "%" PRIu64 " %s", recorder->records + 1, text);
    uint32_t crc = crc32_of(record, (size_t) length);
    length += snprintf(record + length, 16, " %08x\n", crc);
    if (recorder->broken || !write_all(recorder->log_fd, record, (size_t) length) || fdatasync(recorder->log_fd) != 0) {
        if (!recorder->broken) {
            fprintf(stderr, "recorder: I/O error: %s; nothing is acknowledged from here on\n", strerror(errno));
        }
        recorder->broken = true;
        return false;
    }
    recorder->records++;
    return true;
}

static void log_dump(Recorder *recorder, Client *client)
{
    int copy = dup(recorder->log_fd);
    FILE *file = copy >= 0 ? fdopen(copy, "r") : NULL;
    char *line = NULL;
    size_t capacity = 0;
    uint64_t count = 0;
    ssize_t length;
    if (!file || fseeko(file, 0, SEEK_SET) != 0) {
        client_close(client);
        return;
    }
    while (count < recorder->records && client->fd >= 0 && (length = getline(&line, &capacity, file)) > 10) {
        if (!line_is_good(line, (size_t) length - 1, count + 1)) {
            break;
        }
        line[length - 10] = '\n'; /* sent without the checksum */
        client_send(client, line, (size_t) length - 9);
        count++;
    }
    free(line);
    fclose(file);
    if (count != recorder->records) {
        client_close(client); /* a dump without its "E" line is no dump */
        return;
    }
    char end[32];
    client_send(client, end, (size_t) snprintf(end, sizeof end, "E %" PRIu64 "\n", count));
}

/* --- requests
 * ------------------------------------------------------------------------------------------------------------ */

static uint64_t uptime_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

static void handle_write(Recorder *recorder, Client *client, const char *text)
{
    char name[64], answer[160];
    uint64_t sequence;
    int payload = 0;
    if (sscanf(text, "%63s %" SCNu64 " %n", name, &sequence, &payload) < 2 || payload == 0) {
        client_send(client, "? W <client> <seq> <payload>\n", 29);
        return;
    }
    bool stored = log_append(recorder, text);
    int length =
        snprintf(answer, sizeof answer, stored ? "A %s %" PRIu64 "\n" : "F %s %" PRIu64 " I/O error\n", name, sequence);
    client_send(client, answer, (size_t) length);
}

static void handle_line(Recorder *recorder, Client *client, const char *line)
{
    char answer[200];
    if (strncmp(line, "W ", 2) == 0) {
        handle_write(recorder, client, line + 2);
    } else if (strcmp(line, "R") == 0) {
        log_dump(recorder, client);
    } else if (strcmp(line, "I") == 0) {
        int length = snprintf(answer, sizeof answer, "I %s %" PRIu64 " %" PRIu64 " %016" PRIx64 " %" PRIu64 "\n",
                              recorder->boot_id, uptime_ms(), recorder->records, recorder->instance, recorder->ticks);
        client_send(client, answer, (size_t) length);
    } else {
        client_send(client, "? W, R or I\n", 12);
    }
}

static void client_read(Recorder *recorder, Client *client)
{
    ssize_t got = read(client->fd, client->input + client->used, sizeof client->input - client->used);
    if (got <= 0) {
        client_close(client);
        return;
    }
    client->used += (size_t) got;
    char *end, *start = client->input;
    while (client->fd >= 0 && (end = memchr(start, '\n', client->used - (size_t) (start - client->input)))) {
        *end = '\0';
        handle_line(recorder, client, start);
        start = end + 1;
    }
    client->used -= (size_t) (start - client->input);
    memmove(client->input, start, client->used);
    if (client->fd >= 0 && client->used == sizeof client->input) {
        client_close(client); /* a line longer than MAX_LINE */
    }
}

/* --- the process
 * --------------------------------------------------------------------------------------------------------- */

static void client_accept(Recorder *recorder, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
    if (fd < 0) {
        return;
    }
    struct timeval limit = {.tv_sec = 30};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    for (int i = 0; i < MAX_CLIENTS; i++) {
        if (recorder->clients[i].fd < 0) {
            recorder->clients[i] = (Client){.fd = fd};
            return;
        }
    }
    close(fd);
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof address) != 0 || listen(fd, 16) != 0) {
        return -1;
    }
    return fd;
}

static int ticker_start(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
    struct itimerspec every = {.it_interval = tick, .it_value = tick};
    timerfd_settime(fd, 0, &every, NULL);
    return fd;
}

static _Noreturn void serve(Recorder *recorder, int listener, int ticker)
{
    for (;;) {
        struct pollfd polls[MAX_CLIENTS + 2] = {{.fd = listener, .events = POLLIN}, {.fd = ticker, .events = POLLIN}};
        for (int i = 0; i < MAX_CLIENTS; i++) {
            polls[i + 2] = (struct pollfd){.fd = recorder->clients[i].fd, .events = POLLIN};
        }
        if (poll(polls, MAX_CLIENTS + 2, -1) < 0) {
            continue;
        }
        uint64_t elapsed;
        if (polls[1].revents && read(ticker, &elapsed, sizeof elapsed) == sizeof elapsed) {
            recorder->ticks += elapsed;
        }
        for (int i = 0; i < MAX_CLIENTS; i++) {
            if (polls[i + 2].revents) {
                client_read(recorder, &recorder->clients[i]);
            }
        }
        if (polls[0].revents) {
            client_accept(recorder, listener);
        }
    }
}

static void read_boot_id(Recorder *recorder)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (!file || fscanf(file, "%39s", recorder->boot_id) != 1) {
        strcpy(recorder->boot_id, "unknown");
    }
    if (file) {
        fclose(file);
    }
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/data/log";
    int port = argc > 2 ? atoi(argv[2]) : 7000;
    static Recorder recorder; /* large, and the process is this one thing */
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < MAX_CLIENTS; i++) {
        recorder.clients[i].fd = -1;
    }
    read_boot_id(&recorder);
    if (getrandom(&recorder.instance, sizeof recorder.instance, GRND_NONBLOCK) != sizeof recorder.instance) {
        recorder.instance = (uint64_t) time(NULL) << 32 ^ uptime_ms();
    }
    recorder.log_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (recorder.log_fd < 0 || fsync(recorder.log_fd) != 0 || !log_recover(&recorder, path)) {
        fprintf(stderr, "recorder: %s: cannot be used: %s\n", path, strerror(errno));
        return 1;
    }
    int listener = listen_on(port), ticker = ticker_start();
    if (listener < 0 || ticker < 0) {
        fprintf(stderr, "recorder: cannot listen on port %d: %s\n", port, strerror(errno));
        return 1;
    }
    printf("recorder: ready, %" PRIu64 " records, port %d, %" PRIu64 " ms after boot\n", recorder.records, port,
           uptime_ms());
    fflush(stdout);
    serve(&recorder, listener, ticker);
}
