/* SPDX-License-Identifier: Apache-2.0
 * What corosync here knows of its quorum device: the witness's vote. */
#pragma once

#include <glib.h>

typedef struct {
    gboolean registered; /* corosync-qdevice runs here */
    gboolean voting;     /* the witness answers, and its vote is ours */
} QuorumDevice;

/* Blocking. UNAVAILABLE: corosync does not answer. */
gboolean quorum_device_query(QuorumDevice *ret, GError **error);
