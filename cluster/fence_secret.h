/* SPDX-License-Identifier: Apache-2.0
 * Which parameters of a fence device are secret, and how a node says that it holds them.
 *
 * In the CIB a secret stands as "lrm://": Pacemaker's fencer then reads it from a file of its own node (CIB secrets,
 * lib/common/cib_secrets.c of 2.1.5). So the CIB may say that only where every node that can be asked to shoot has the
 * file. Each node publishes status/<node>/secrets for that: digests, never values. */
#pragma once

#include "cluster/objects.h"

#define FENCE_SECRET_IN_CIB "lrm://"
/* Pacemaker reads one line of so many bytes and takes trailing white space off. */
#define FENCE_SECRET_MAX_BYTES 254

/* status/<node>/secrets, leased. Not part of NodeStatus: that one is shown by the API. */
typedef struct {
    gint64 version; /* 1 */
    char *node;
    char **devices; /* "<node of the device>=<digest>" */
} FenceSecrets;

extern const JsonStruct fence_secrets_type;
void fence_secrets_free(FenceSecrets *secrets);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FenceSecrets, fence_secrets_free)

/* By its name; `name` may go on with '=' and anything. */
gboolean fence_secret_name(const char *name);
/* "name=value": a secret with a value. */
gboolean fence_secret_parameter(const char *parameter);
/* Whether Pacemaker would read this value from a file as it is. */
gboolean fence_secret_fits(const char *value);

/* "<node>=<digest>" of all the device's secrets that are kept in files; NULL when it has none. Caller frees. */
char *fence_secret_digest(const FenceDevice *device);
/* Every one of `online` (names) but the device's own node publishes the device's present digest among `statuses` (of
 * FenceSecrets). TRUE for a device without secrets. Pure. */
gboolean fence_secret_everywhere(const FenceDevice *device, const GPtrArray *online, const GPtrArray *statuses);
