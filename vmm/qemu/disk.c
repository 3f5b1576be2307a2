/* SPDX-License-Identifier: Apache-2.0
 * A running guest's disks. QEMU keeps the size of a disk from the moment it opened it: a gate that grows under it stays
 * as it was for the guest until block_resize, which also raises the guest's configuration interrupt. On a block device
 * QEMU changes nothing by that but its own number, and refuses one beyond the device. */
#include "vmm/qemu/qemu.h"

#include "common/error.h"

#include <string.h>

#define DISK_TIMEOUT_MS 5000

/* As argv.c names them. */
static char *node_name(int index)
{
    return g_strdup_printf("disk%d", index);
}

static gboolean size_query(Qmp *qmp, int index, gint64 *ret_bytes, GError **error)
{
    g_autofree char *wanted = node_name(index);
    g_autoptr(json_t) nodes = qmp_execute(qmp, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), error);
    gsize i;
    json_t *node;
    json_array_foreach (nodes, i, node) {
        const char *name = json_string_value(json_object_get(node, "node-name"));
        if (g_strcmp0(name, wanted) == 0) {
            *ret_bytes = json_integer_value(json_object_get(json_object_get(node, "image"), "virtual-size"));
            return TRUE;
        }
    }
    if (nodes) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "the VMM has no disk %d", index);
    }
    return FALSE;
}

gboolean qemu_disk_size(const char *run_folder, int index, gint64 *ret_bytes, GError **error)
{
    g_autoptr(Qmp) qmp = qmp_open(run_folder, DISK_TIMEOUT_MS, error);
    return qmp && size_query(qmp, index, ret_bytes, error);
}

gboolean qemu_disk_resize(const char *run_folder, int index, gint64 size_bytes, GError **error)
{
    gint64 now = 0;
    g_autoptr(Qmp) qmp = qmp_open(run_folder, DISK_TIMEOUT_MS, error);
    if (!qmp || !size_query(qmp, index, &now, error)) {
        return FALSE;
    }
    if (size_bytes < now) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "disk %d of the guest has %" G_GINT64_FORMAT " bytes and cannot shrink to %" G_GINT64_FORMAT, index,
                    now, size_bytes);
        return FALSE;
    }
    if (size_bytes == now) {
        return TRUE;
    }
    g_autofree char *name = node_name(index);
    return qmp_run(qmp, "block_resize", json_pack("{s:s, s:I}", "node-name", name, "size", (json_int_t) size_bytes),
                   error);
}
