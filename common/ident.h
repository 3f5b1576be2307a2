/* SPDX-License-Identifier: Apache-2.0
 * Who we are, what a name may look like, and wall time for people. */
#pragma once

#include <glib.h>

/* 1..40 characters of a-z, 0-9 and '-', beginning with a letter and not ending with '-'. Such a name is safe as store
 * key, LV, DRBD resource, systemd instance, CIB id and host name. `what` names the field in the error (INVALID). */
gboolean ident_check_name(const char *name, const char *what, GError **error);

/* Random UUID, lower case, time-ordered (version 7). Caller frees. */
char *ident_new_uuid(void);

/* This host's name (without domain), cached for the life of the process. */
const char *ident_node_name(void);

/* The kernel's boot id: another value means another life of this machine. Cached. */
const char *ident_boot_id(void);

/* Now as RFC 3339 UTC with milliseconds, for people and logs only: never compared across nodes. Caller frees. */
char *ident_timestamp(void);
