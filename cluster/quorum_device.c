/* SPDX-License-Identifier: Apache-2.0
 * The quorum device through libvotequorum. */
#include "cluster/quorum_device.h"

#include "cluster/corosync_link.h"

#include <corosync/votequorum.h>

gboolean quorum_device_query(QuorumDevice *ret, GError **error)
{
    votequorum_handle_t handle = 0;
    votequorum_callbacks_t callbacks = {0};
    struct votequorum_info info = {0};
    cs_error_t code = votequorum_initialize(&handle, &callbacks);
    if (code == CS_OK) {
        code = votequorum_getinfo(handle, VOTEQUORUM_QDEVICE_NODEID, &info);
        votequorum_finalize(handle);
    }
    if (code != CS_OK) {
        return corosync_error_set(error, code, "ask for the quorum device");
    }
    ret->registered = (info.flags & VOTEQUORUM_INFO_QDEVICE_REGISTERED) != 0;
    ret->voting = ret->registered && (info.flags & VOTEQUORUM_INFO_QDEVICE_ALIVE) != 0 &&
                  (info.flags & VOTEQUORUM_INFO_QDEVICE_CAST_VOTE) != 0;
    return TRUE;
}
