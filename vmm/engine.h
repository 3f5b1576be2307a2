/* SPDX-License-Identifier: Apache-2.0
 * The engine table: every way of running a guest behind the same verbs. The VMM process lives in the systemd unit
 * holdfast-guest@NAME.service (vmm/unit.h), so no daemon of ours is its parent and each can find it again by its
 * control sockets under /run/holdfast/guests/NAME/. */
#pragma once

#include "common/process.h"

#include <glib.h>

typedef enum { VMM_STOPPED, VMM_RUNNING, VMM_PAUSED, VMM_INCOMING, VMM_BROKEN } VmmState;
const char *vmm_state_name(VmmState state); /* "stopped", "running", "paused", "incoming", "broken" */

typedef struct {
    char *mac;
    char *tap;
} VmmNic;

/* Everything needed to start a guest: data, no handles. */
typedef struct {
    char *name;
    char *uuid;
    int vcpus;
    int memory_mib;
    int uid;
    gboolean kvm;      /* /dev/kvm is usable here; FALSE: emulation */
    char **disk_paths; /* gates, in order; the first is booted */
    VmmNic *nics;
    int n_nics;
    char *run_folder;           /* /run/holdfast/guests/<name> */
    char *migration_uri_listen; /* NULL, or listen address for an incoming migration "10.0.0.2" */
    int migration_port;
    char *tls_folder; /* QEMU tls-creds-x509 folder (ca-cert.pem, server-*.pem, client-*.pem) for migration, or NULL */
    char *tls_peer_name; /* certificate name expected of the other side */
} VmmSpec;
void vmm_spec_clear(VmmSpec *spec);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VmmSpec, vmm_spec_clear)

typedef struct {
    char *status; /* "setup", "active", "pre-switchover", "completed", "failed", "cancelled", "none", ... (QEMU's words)
                   */
    gint64 transferred_bytes, remaining_bytes, total_bytes;
    gint64 downtime_ms, total_ms;
    char *error;
} VmmMigration;
void vmm_migration_clear(VmmMigration *migration);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VmmMigration, vmm_migration_clear)
/* So little memory is left to copy that it is time for the hand-over; what the guest dirties until then comes on top.
 */
gboolean vmm_migration_nearly_done(const VmmMigration *migration);

typedef struct {
    const char *name; /* "qemu" */
    /* Start the unit and return when the VMM answers on its control socket. incoming: waits for a migration, paused
     * (-S). Nothing is left on failure. */
    gboolean (*launch)(const ProcessRunner *runner, const VmmSpec *spec, gboolean incoming, GError **error);
    /* Never fails for a dead VMM: that is VMM_STOPPED. BROKEN: unit alive but not answering within 1 s. */
    VmmState (*query)(const char *run_folder, const char *guest);
    gboolean (*pause)(const char *run_folder, GError **error);
    gboolean (*resume)(const char *run_folder, GError **error);    /* also announces the NICs */
    gboolean (*powerdown)(const char *run_folder, GError **error); /* ACPI; returns at once */
    gboolean (*kill)(const ProcessRunner *runner, const char *guest,
                     GError **error); /* SIGKILL the unit, wait until its cgroup is empty */
    /* Source side of a live migration; see docs/ARCHITECTURE.md. begin: start pre-copy and return. hold: stay in
     * pre-copy without switching over, sending next to nothing; call it when little remains (a waiting pre-copy costs a
     * core). switchover: let it stop the guest; returns in pre-switchover (paused, disks flushed). finish: send the
     * rest; returns when completed. cancel: guest keeps running here (or is resumed); REFUSED after "completed", when
     * only the guest's record can say where it may run: resume() then. */
    gboolean (*migrate_begin)(const char *run_folder, const char *host, int port, const char *tls_peer_name,
                              GError **error);
    gboolean (*migrate_query)(const char *run_folder, VmmMigration *ret, GError **error);
    gboolean (*migrate_hold)(const char *run_folder, GError **error);
    gboolean (*migrate_switchover)(const char *run_folder, int timeout_ms, GError **error);
    gboolean (*migrate_finish)(const char *run_folder, int timeout_ms, GError **error);
    gboolean (*migrate_cancel)(const char *run_folder, GError **error);
    /* What the guest is shown of disk `index` (0: the first), and: tell VMM and guest that it has grown to size_bytes.
     * The second looks first, so it may be repeated; FAILED while the gate is smaller, REFUSED for less than now. */
    gboolean (*disk_size)(const char *run_folder, int index, gint64 *ret_bytes, GError **error);
    gboolean (*disk_resize)(const char *run_folder, int index, gint64 size_bytes, GError **error);
    /* Target side: TRUE in *ret when everything is loaded and it is paused, ready to resume. */
    gboolean (*incoming_ready)(const char *run_folder, gboolean *ret, GError **error);
    /* Have the engine's program, libraries and firmware in memory: a first start reads them from the disk, which on a
     * node that takes over guests is part of the outage. Nothing depends on its success. */
    gboolean (*warm_up)(const ProcessRunner *runner, gboolean kvm, GError **error);
} VmmEngine;

/* The engines of this build, NULL-terminated, and one by name (NULL: none such). */
extern const VmmEngine *const vmm_engines[];
const VmmEngine *vmm_engine_find(const char *name);
