/* SPDX-License-Identifier: Apache-2.0
 * What set-up and join touch outside the process, in one place, so tests can give them a temporary folder and a fake
 * system. */
#pragma once

#include "cluster/membership.h"
#include "common/process.h"

#define JOIN_PORT 7420
#define SETUP_JOURNAL_PATH "/etc/holdfast/setup.json"
#define SETUP_AUTHKEY_PATH "/etc/corosync/authkey"
#define SETUP_QEMU_TLS_PATH "/etc/holdfast/tls/qemu"

typedef struct {
    const char *prefix; /* "" but in tests; begins every path */
    const ProcessRunner *runner;
    int etcd_client_port, etcd_peer_port;
    int join_port;    /* 0 in tests: any free one for the server */
    gboolean testing; /* loopback addresses are fine; owners of files and the host's name stay as they are */
    gboolean (*pool_create)(const ProcessRunner *runner, const char *device, GError **error);
    gboolean (*membership)(int timeout_ms, MembershipView *ret, GError **error);
    void (*progress)(const char *text); /* one line for people */
    int poll_ms;                        /* between two looks at something that is starting */
    int wait_ms;                        /* for one thing to start */
} SetupContext;

/* The real system. */
const SetupContext *setup_context_default(void);

/* `path` under the prefix. Caller frees. */
char *setup_path(const SetupContext *context, const char *path);

void setup_progress(const SetupContext *context, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Write durably under the prefix; `group` (may be NULL) owns the file with root when it exists and this is no test. */
gboolean setup_write(const SetupContext *context, const char *path, const char *text, gssize length, int mode,
                     const char *group, GError **error);
/* Read under the prefix, at most 64 KiB. NOT_FOUND when there is none. Caller frees. */
char *setup_read(const SetupContext *context, const char *path, GError **error);
gboolean setup_exists(const SetupContext *context, const char *path);
/* `bytes` random bytes as lower-case hex. Caller frees. */
char *setup_random_hex(gsize bytes);
