/* SPDX-License-Identifier: Apache-2.0
 * The projection of the store into Pacemaker's CIB: cluster options and defaults of projection_options.c, one stonith
 * device (or manual device) per node, one primitive and its location constraints per guest. Level-triggered: desired
 * CIB is a pure function of live CIB and snapshot; what is not ours in the CIB stays untouched. Written on the DC as a
 * versioned patch (crm_diff, cibadmin --patch), so a concurrent change loses nothing. */
#pragma once

#include "cluster/objects.h"
#include "cluster/store.h"
#include "common/process.h"
#include "storage/record_codec.h"

/* Ids of our elements in <fencing-topology>. */
#define PROJECTION_LEVEL_PREFIX "hf-level."

typedef struct {
    Guest *guest;
    gboolean ready; /* the record is not RECORD_NEW: may be in the CIB, and stays whatever its nodes are doing */
    gboolean have_record;
    Record record; /* out-of-sync nodes get -INFINITY */
} ProjectionGuest;
void projection_guest_free(ProjectionGuest *guest);

typedef struct {
    GPtrArray *nodes;         /* of Node */
    GPtrArray *fence_devices; /* of FenceDevice */
    GPtrArray *guests;        /* of ProjectionGuest */
    GPtrArray *node_statuses; /* of NodeStatus, for the nodes' memory; may be NULL, then the CIB's figures stay */
    /* of char *: nodes whose device's secrets every online node holds (fence_secret_everywhere); NULL: none. The
     * caller's to fill in. */
    GPtrArray *secrets_stored;
    gboolean quorum_device; /* corosync has a witness's vote */
    gint64 token_ms;        /* corosync's, when set by hand; 0: the default for the cluster's size */
    gboolean incomplete;    /* some guest could not be read: nothing is taken out of the CIB */
} ProjectionInput;
void projection_input_free(ProjectionInput *input);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProjectionInput, projection_input_free)

/* From the store itself, everything of one revision, linearizable: what is projected may be no older than the CIB it is
 * written over. A guest that does not decode makes the input incomplete (*ret_damaged names it, may be NULL); a damaged
 * node, fence device or witness, or no node at all, is an error: without them even the fencing would come out wrong. */
ProjectionInput *projection_input_read(Store *store, char **ret_damaged, GError **error);
/* The same from entries of the store. Pure. */
ProjectionInput *projection_input_from(const GPtrArray *entries, char **ret_damaged, GError **error);

/* Meta attribute of a fence device: FenceDevice.revision. */
#define PROJECTION_REVISION "hf-revision"

/* Whether a guest of this name can be in the CIB: "fence-..." and "hf-..." are ours, "cib-bootstrap-options" is
 * Pacemaker's. For the check of a new guest's name; INVALID begins with "name". */
gboolean projection_check_guest_name(const char *name, GError **error);

/* The CIB text as it should be. Only <configuration> differs. Ids we own begin with "hf-", are guests' names of class
 * ocf:holdfast, or are "fence-<node>". A guest that is there already stays when it is not ready (its node may just have
 * died) and is left as it is without a record. A guest whose id collides with a foreign element is left out. Caller
 * frees. INVALID when live_cib does not parse. Pure. */
char *projection_desired_cib(const ProjectionInput *input, const char *live_cib, GError **error);
/* Gives the input; called after the CIB was queried, again for every attempt. NULL: nothing is written. */
typedef ProjectionInput *(*ProjectionRead)(gpointer user_data, GError **error);
/* Query the CIB, read the input, compute, and patch when different. *ret_changed. That order makes it safe against a
 * slow twin (a DC that was): the patch fits only the CIB that was queried, so no older input ever replaces a newer one.
 * CONFLICT: others wrote all the time, call again. */
gboolean projection_apply(const ProcessRunner *runner, ProjectionRead read, gpointer user_data, gboolean *ret_changed,
                          GError **error);
