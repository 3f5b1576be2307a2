/* SPDX-License-Identifier: Apache-2.0
 * The projection of the store into Pacemaker's CIB: cluster options and defaults of projection_options.c, one stonith
 * device (or manual device) per node, one primitive and its location constraints per guest. Level-triggered: desired
 * CIB is a pure function of live CIB and snapshot; what is not ours in the CIB stays untouched. Written on the DC as a
 * versioned patch (crm_diff, cibadmin --patch), so a concurrent change loses nothing. */
#pragma once

#include "cluster/objects.h"
#include "common/process.h"
#include "storage/record_codec.h"

typedef struct {
    Guest *guest;   /* borrowed */
    gboolean ready; /* all its replica nodes report ready and the record is not RECORD_NEW: may be in the CIB */
    gboolean have_record;
    Record record; /* out-of-sync nodes get -INFINITY */
} ProjectionGuest;

typedef struct {
    GPtrArray *nodes;         /* of Node */
    GPtrArray *fence_devices; /* of FenceDevice */
    GPtrArray *guests;        /* of ProjectionGuest */
    GPtrArray *node_statuses; /* of NodeStatus, for the nodes' memory; may be NULL, then the CIB's figures stay */
    gboolean quorum_device;   /* corosync has a witness's vote */
} ProjectionInput;

/* Whether a guest of this name can be in the CIB: "fence-..." and "hf-..." are ours, "cib-bootstrap-options" is
 * Pacemaker's. For the check of a new guest's name; INVALID begins with "name". */
gboolean projection_check_guest_name(const char *name, GError **error);

/* The CIB text as it should be. Only <configuration> differs. Ids we own begin with "hf-", are guests' names of class
 * ocf:holdfast, or are "fence-<node>". A guest that is there already stays when it is not ready (its node may just have
 * died) and is left as it is without a record. A guest whose id collides with a foreign element is left out. Caller
 * frees. INVALID when live_cib does not parse. Pure. */
char *projection_desired_cib(const ProjectionInput *input, const char *live_cib, GError **error);
/* Query, compute, and patch when different. *ret_changed. CONFLICT: somebody else wrote meanwhile, call again. */
gboolean projection_apply(const ProcessRunner *runner, const ProjectionInput *input, gboolean *ret_changed,
                          GError **error);
