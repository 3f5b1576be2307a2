/* SPDX-License-Identifier: Apache-2.0
 * One transient systemd unit per guest, holdfast-guest@NAME.service: own uid, own cgroup limits, Restart=no, never
 * stopped with a daemon. */
#pragma once

#include "common/process.h"

/* What the process of a unit may have and use. */
typedef struct {
    int uid;                     /* numeric, without passwd entry; the primary group has the same number */
    gint64 memory_max_mib;       /* 0: none */
    const char *const *devices;  /* device nodes it may open, NULL-terminated; all others are refused by the kernel */
    const char *writable_folder; /* the one folder of the host it may write to, or NULL */
} UnitLimits;

char *unit_name(const char *guest); /* caller frees */
/* Start argv under `limits` with supplementary group kvm; stdout/stderr to the journal. Returns when it was executed.
 */
gboolean unit_start(const ProcessRunner *runner, const char *guest, const char *const *argv, const UnitLimits *limits,
                    GError **error);
/* Whether any process of the unit is alive: reads its cgroup.procs, no process is started, works with systemd hung. */
gboolean unit_is_alive(const char *guest);
/* SIGKILL everything in the cgroup (cgroup.kill) and wait until it is empty. TIMEOUT when a process is stuck in the
 * kernel. */
gboolean unit_kill(const ProcessRunner *runner, const char *guest, int timeout_ms, GError **error);

/* The same two on another cgroup tree, for tests. */
gboolean unit_cgroup_is_alive(const char *cgroup_root, const char *guest);
gboolean unit_cgroup_kill(const char *cgroup_root, const char *guest, int timeout_ms, GError **error);
