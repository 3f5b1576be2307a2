/* SPDX-License-Identifier: Apache-2.0
 * Read-change-write of one document of the store. */
#pragma once

#include "cluster/objects.h"
#include "cluster/store.h"

/* Change the decoded object. FALSE without an error: nothing is to be changed, and that is well; FALSE with an error:
 * refused. Called once for every attempt, each time with what the store holds then. */
typedef gboolean (*ObjectChange)(gpointer object, gpointer user_data, GError **error);

/* Change the document at STORE_ROOT + kind_and_name, again when somebody else wrote it meanwhile (CONFLICT after some
 * attempts) or when the outcome of a write is unknown. `lease`: of the document from now on, 0: none. *ret_revision
 * (may be NULL): of the document as it stands then. NOT_FOUND: there is none. Blocks: not for the main loop. */
gboolean object_update(Store *store, const JsonStruct *type, const char *kind_and_name, gint64 lease,
                       ObjectChange change, gpointer user_data, gint64 *ret_revision, GError **error);
