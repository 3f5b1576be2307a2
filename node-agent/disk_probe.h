/* SPDX-License-Identifier: Apache-2.0
 * The probe of this node's pool (storage/probe) as a child, and what it said last. */
#pragma once

#include <glib.h>

typedef struct DiskProbe DiskProbe;

typedef struct {
    gboolean pending; /* a round has begun and not ended */
    guint64 rounds;   /* changes whenever it says something */
    char error[120];  /* of the last round that ended; empty: none */
} DiskProbeSaid;

/* From the main thread. argv NULL-terminated, the caller's for good. */
DiskProbe *disk_probe_start(const char *const *argv);
void disk_probe_stop(DiskProbe *probe);
/* Any thread. A probe that waits for the processor and not for the disk is not pending. */
DiskProbeSaid disk_probe_said(DiskProbe *probe);
