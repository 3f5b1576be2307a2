/* SPDX-License-Identifier: Apache-2.0
 * The files from which Pacemaker's fencer of this node takes what the CIB calls "lrm://":
 * <folder>/fence-<node>/<parameter> and, beside it, <parameter>.sign with the MD5 sum Pacemaker asks for. Root only. */
#pragma once

#include "cluster/fence_secret.h"

#define SECRET_FILES_FOLDER "/var/lib/pacemaker/lrm/secrets"

/* Make the files of every device but `self`'s own be there and right; a device's files change all at once. What is
 * right already is not touched. Folders of devices that are gone are removed, but only with `complete`: the list is
 * known to name every device. Folders that we did not make stay. *ret_stored: the digests (fence_secret_digest) of what
 * is there now, sorted, also when FALSE is returned for some of it; the caller frees. */
gboolean secret_files_sync(const char *folder, const GPtrArray *devices, const char *self, gboolean complete,
                           char ***ret_stored, GError **error);
