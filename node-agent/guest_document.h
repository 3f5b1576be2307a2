/* SPDX-License-Identifier: Apache-2.0
 * The changes holdfastd itself makes to a guest's document. Each is read-change-write, repeated when somebody else
 * wrote meanwhile; each says nothing about other fields. Block; NOT_FOUND when the guest is gone. */
#pragma once

#include "cluster/object_update.h"

gboolean guest_set_desired(Store *store, const char *guest, GuestDesired desired, GError **error);
/* Where Pacemaker shall hand it over to. REFUSED for a guest that is being deleted or shall be stopped. */
gboolean guest_prefer(Store *store, const char *guest, const char *node, GError **error);
/* Take that back, if it is still `node`. */
gboolean guest_unprefer(Store *store, const char *guest, const char *node, GError **error);
