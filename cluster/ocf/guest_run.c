/* SPDX-License-Identifier: Apache-2.0
 * From a manifest to what storage and vmm want to hear. */
#include "cluster/ocf/guest_run.h"

#include "cluster/node_config.h"
#include "common/error.h"
#include "common/ident.h"
#include "storage/gate.h"
#include "storage/lost_copy.h"
#include "vmm/network.h"

#include <unistd.h>

#define TLS_FOLDER "/etc/holdfast/tls/qemu"

gboolean guest_copy_trusted(const Manifest *manifest, GError **error)
{
    LostCopy lost;
    const char *name = manifest->guest.name;
    lost_copy_look(LOST_COPY_ROOT, name, ident_boot_id(), &lost);
    if (!lost.stands || !manifest->peer_node) {
        return TRUE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                "guest '%s': a disk failed on %s and what was written since is only on %s: start it there; here it can "
                "start after a resync ('holdfast guest reattach %s --node %s' or a restart of the node begins it)",
                name, ident_node_name(), manifest->peer_node, name, ident_node_name());
    return FALSE;
}

static gboolean copy_is_lost(const Manifest *manifest)
{
    LostCopy lost;
    lost_copy_look(LOST_COPY_ROOT, manifest->guest.name, ident_boot_id(), &lost);
    return lost.held || (lost.stands && manifest->peer_node);
}

VolumeSet guest_volume_set(const ProcessRunner *runner, const Manifest *manifest)
{
    return (VolumeSet){
        .runner = runner,
        .guest = &manifest->guest,
        .volumes = manifest->volumes,
        .node = ident_node_name(),
        .address = manifest->address,
        .peer_address = manifest->peer_address,
        .detached = copy_is_lost(manifest),
    };
}

const VmmEngine *guest_engine(const Guest *guest G_GNUC_UNUSED)
{
    /* `auto` and `kvm` mean QEMU until our own VMM is there. */
    return vmm_engine_find("qemu");
}

char *guest_run_folder(const char *guest)
{
    return g_build_filename(GUEST_RUN_FOLDER, guest, NULL);
}

int guest_migration_port(const Guest *guest)
{
    return GUEST_MIGRATION_PORT_BASE + (int) guest->slot;
}

gboolean guest_taps_ensure(const ProcessRunner *runner, const Manifest *manifest, GError **error)
{
    for (guint i = 0; i < manifest->guest.spec.nics->len; i++) {
        g_autofree char *tap = guest_tap_name(&manifest->guest, (int) i);
        if (!network_tap_ensure(runner, tap, guest_uid(&manifest->guest), manifest->bridges[i], error)) {
            return FALSE;
        }
    }
    return TRUE;
}

void guest_taps_remove(const ProcessRunner *runner, const Manifest *manifest)
{
    for (guint i = 0; i < manifest->guest.spec.nics->len; i++) {
        g_autofree char *tap = guest_tap_name(&manifest->guest, (int) i);
        network_tap_remove(runner, tap, NULL);
    }
}

static void spec_fill(const Manifest *manifest, gboolean incoming, VmmSpec *spec)
{
    const Guest *guest = &manifest->guest;
    spec->name = g_strdup(guest->name);
    spec->uuid = g_strdup(guest->uuid);
    spec->vcpus = (int) guest->spec.vcpus;
    spec->memory_mib = (int) guest->spec.memory_mib;
    spec->uid = guest_uid(guest);
    spec->kvm = access("/dev/kvm", R_OK | W_OK) == 0;
    spec->disk_paths = g_new0(char *, manifest->volumes->len + 1);
    for (guint i = 0; i < manifest->volumes->len; i++) {
        g_autofree char *gate = guest_gate_name(guest->name, (int) i);
        spec->disk_paths[i] = gate_path(gate);
    }
    spec->n_nics = (int) guest->spec.nics->len;
    spec->nics = g_new0(VmmNic, guest->spec.nics->len);
    for (int i = 0; i < spec->n_nics; i++) {
        const GuestNic *nic = g_ptr_array_index(guest->spec.nics, i);
        spec->nics[i] = (VmmNic){.mac = g_strdup(nic->mac), .tap = guest_tap_name(guest, i)};
    }
    spec->run_folder = guest_run_folder(guest->name);
    spec->tls_folder = g_strdup(TLS_FOLDER);
    spec->tls_peer_name = g_strdup(manifest->peer_node);
    if (incoming) {
        spec->migration_uri_listen = g_strdup(manifest->address);
        spec->migration_port = guest_migration_port(guest);
    }
}

gboolean guest_launch(const ProcessRunner *runner, const Manifest *manifest, gboolean incoming, GError **error)
{
    g_auto(VmmSpec) spec = {0};
    if (!guest_taps_ensure(runner, manifest, error)) {
        return FALSE;
    }
    spec_fill(manifest, incoming, &spec);
    return guest_engine(&manifest->guest)->launch(runner, &spec, incoming, error);
}
