/* SPDX-License-Identifier: Apache-2.0
 * The table of VMM engines, and what all of them share. */
#include "vmm/engine.h"

#include "vmm/qemu/qemu.h"

#include <string.h>

#define NEARLY_DONE_BYTES (32 * 1024 * 1024)

const VmmEngine *const vmm_engines[] = {&qemu_engine, NULL};

const VmmEngine *vmm_engine_find(const char *name)
{
    for (const VmmEngine *const *engine = vmm_engines; *engine; engine++) {
        if (g_strcmp0((*engine)->name, name) == 0) {
            return *engine;
        }
    }
    return NULL;
}

const char *vmm_state_name(VmmState state)
{
    static const char *const names[] = {
        [VMM_STOPPED] = "stopped",   [VMM_RUNNING] = "running", [VMM_PAUSED] = "paused",
        [VMM_INCOMING] = "incoming", [VMM_BROKEN] = "broken",
    };
    return (guint) state < G_N_ELEMENTS(names) ? names[state] : "unknown";
}

void vmm_spec_clear(VmmSpec *spec)
{
    for (int i = 0; i < spec->n_nics; i++) {
        g_free(spec->nics[i].mac);
        g_free(spec->nics[i].tap);
    }
    g_free(spec->nics);
    g_free(spec->name);
    g_free(spec->uuid);
    g_strfreev(spec->disk_paths);
    g_free(spec->run_folder);
    g_free(spec->migration_uri_listen);
    g_free(spec->tls_folder);
    g_free(spec->tls_peer_name);
    memset(spec, 0, sizeof(*spec));
}

void vmm_migration_clear(VmmMigration *migration)
{
    g_free(migration->status);
    g_free(migration->error);
    memset(migration, 0, sizeof(*migration));
}

gboolean vmm_migration_nearly_done(const VmmMigration *migration)
{
    return g_strcmp0(migration->status, "pre-switchover") == 0 ||
           (g_strcmp0(migration->status, "active") == 0 && migration->total_bytes > 0 &&
            migration->transferred_bytes > 0 && migration->remaining_bytes < NEARLY_DONE_BYTES);
}
