/* SPDX-License-Identifier: Apache-2.0
 * From a manifest to what storage and vmm want to hear. Shared by the OCF agent and by holdfastd on the target of a
 * live migration. */
#pragma once

#include "cluster/manifest.h"
#include "storage/volume.h"
#include "vmm/engine.h"

#define GUEST_RUN_FOLDER "/run/holdfast/guests"
#define GUEST_MIGRATION_PORT_BASE 12000 /* above the DRBD ports of all slots, 7801 to 11800 */
/* Files in a guest's run folder: a graceful stop is under way; the id of the pre-copy under way. */
#define GUEST_STOPPING_MARKER "stopping"
#define GUEST_MIGRATION_ID "migration-id"

/* Borrows from the manifest, which must outlive it. `detached` is set while a note about a lost copy stands here: the
 * one caller that may bring such a copy back (reconcile_guest.c) takes it off. */
VolumeSet guest_volume_set(const ProcessRunner *runner, const Manifest *manifest);
/* Whether a disk of the guest failed here and its copy has not been brought up to date since: it must not be started.
 * REFUSED, for people. With one replica there is no better copy, so that starts. */
gboolean guest_copy_trusted(const Manifest *manifest, GError **error);
const VmmEngine *guest_engine(const Guest *guest);
char *guest_run_folder(const char *guest); /* caller frees */
int guest_migration_port(const Guest *guest);

/* Taps of the guest's NICs in their bridges; removal ignores what is not there. */
gboolean guest_taps_ensure(const ProcessRunner *runner, const Manifest *manifest, GError **error);
void guest_taps_remove(const ProcessRunner *runner, const Manifest *manifest);

/* Start the VMM on the guest's gates; incoming: paused, waiting for a migration on this node's replication address. */
gboolean guest_launch(const ProcessRunner *runner, const Manifest *manifest, gboolean incoming, GError **error);
