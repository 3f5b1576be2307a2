/* SPDX-License-Identifier: Apache-2.0
 * A small blocking QMP client with deadlines, for connections that live for a few commands. Not shared between threads.
 */
#pragma once

#include "common/json.h"

typedef struct Qmp Qmp;

/* Connect to one of QEMU's two monitors in run_folder (qmp.sock, and agent.sock when somebody sits on the first) and
 * negotiate. timeout_ms bounds this and everything that follows until qmp_set_timeout(). UNAVAILABLE: nobody listens.
 * TIMEOUT: no answer. */
Qmp *qmp_open(const char *run_folder, int timeout_ms, GError **error);
void qmp_close(Qmp *qmp);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qmp, qmp_close)

/* From now on there are timeout_ms left. */
void qmp_set_timeout(Qmp *qmp, int timeout_ms);

/* Run one command. `arguments` is taken over (NULL: none). Returns what QEMU returned, the caller's; events are
 * skipped. FAILED with QEMU's own words when it refuses, TIMEOUT, UNAVAILABLE when QEMU hung up. */
json_t *qmp_execute(Qmp *qmp, const char *command, json_t *arguments, GError **error);
/* The same when the answer does not matter. */
gboolean qmp_run(Qmp *qmp, const char *command, json_t *arguments, GError **error);
