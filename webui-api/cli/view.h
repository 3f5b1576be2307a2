/* SPDX-License-Identifier: Apache-2.0
 * How nodes and guests are worded, for the lists and the status page alike. Pure. */
#pragma once

#include "webui-api/cli/cli.h"
#include "webui-api/cli/table.h"

/* "online", "offline", "UNCLEAN (being fenced or waiting for it)", "standby". Borrowed. */
const char *view_node_state(const json_t *node);
/* "proven", "unproven: detail"... Caller frees. */
char *view_fencing(const json_t *fencing);
/* "yes", or "NO: why". Caller frees. */
char *view_protection(const json_t *guest);
/* A state that is missing or old is "unknown", never a good word. Borrowed. */
const char *view_guest_state(const json_t *guest);

/* Tables of NodeViews and GuestViews, and of Volumes' replicas. Caller frees. */
char *view_pool(const json_t *node); /* "83 % of 8 GiB, its metadata 12 %; 160 MiB in reserve" */
char *view_nodes(const json_t *nodes, gboolean wide, gboolean colour);
char *view_guests(const json_t *guests, gboolean wide, gboolean colour);
char *view_volumes(const json_t *volumes, gboolean wide, gboolean colour);
/* "8.0 GiB", and while it grows "8.0 GiB (now 4.0 GiB)", of a volume. Caller frees. */
char *view_size(const json_t *volume);
/* "UpToDate on n1, Inconsistent 43 % on n2" of a volume. Caller frees. */
char *view_replicas(const json_t *volume);
