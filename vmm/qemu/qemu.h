/* SPDX-License-Identifier: Apache-2.0
 * What the files of the QEMU engine share; everybody else uses vmm/engine.h. */
#pragma once

#include "vmm/engine.h"
#include "vmm/qemu/qmp.h"

extern const VmmEngine qemu_engine;

/* argv.c: the command line for `spec`, pure. vhost: /dev/vhost-net may be used. INVALID when the machine has no room
 * for the devices or a string cannot be passed to QEMU. Caller frees with g_strfreev(). */
char **qemu_argv(const VmmSpec *spec, gboolean incoming, gboolean vhost, GError **error);
/* The smallest machine of the same make, which is never run; QMP on standard input. */
char **qemu_argv_warm_up(gboolean kvm);

/* launch.c */
gboolean qemu_warm_up(const ProcessRunner *runner, gboolean kvm, GError **error);
gboolean qemu_launch(const ProcessRunner *runner, const VmmSpec *spec, gboolean incoming, GError **error);
/* Fresh run folder for a VMM of spec->uid; removes what an earlier life left. */
gboolean qemu_run_folder_prepare(const VmmSpec *spec, GError **error);
void qemu_run_folder_remove(const char *run_folder);

/* credentials.c: TLS for one migration. Hands QEMU the node's certificate under the object ids below. */
typedef enum { QEMU_TLS_CLIENT, QEMU_TLS_SERVER } QemuTlsEndpoint;
gboolean qemu_credentials_add(Qmp *qmp, const char *run_folder, QemuTlsEndpoint endpoint, const char *peer_name,
                              GError **error);
void qemu_credentials_remove(Qmp *qmp); /* best effort */

/* state.c: QEMU's words for what a machine does, and ours. */
VmmState qemu_state_from(const char *run_state);
char *qemu_run_state(Qmp *qmp, GError **error); /* "running", "paused", ...; caller frees */

/* disk.c */
gboolean qemu_disk_size(const char *run_folder, int index, gint64 *ret_bytes, GError **error);
gboolean qemu_disk_resize(const char *run_folder, int index, gint64 size_bytes, GError **error);

/* migrate.c */
gboolean qemu_migrate_begin(const char *run_folder, const char *host, int port, const char *tls_peer_name,
                            GError **error);
gboolean qemu_migrate_query(const char *run_folder, VmmMigration *ret, GError **error);
gboolean qemu_migrate_hold(const char *run_folder, GError **error);
gboolean qemu_migrate_switchover(const char *run_folder, int timeout_ms, GError **error);
gboolean qemu_migrate_finish(const char *run_folder, int timeout_ms, GError **error);
gboolean qemu_migrate_cancel(const char *run_folder, GError **error);
/* Target: listen for the stream. The VMM was started with -incoming defer. */
gboolean qemu_incoming_prepare(const VmmSpec *spec, GError **error);
gboolean qemu_incoming_ready(const char *run_folder, gboolean *ret, GError **error);
/* Take away what a migration needed and a running guest does not (latch, credentials); best effort. */
void qemu_migration_tidy(Qmp *qmp);
