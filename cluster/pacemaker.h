/* SPDX-License-Identifier: Apache-2.0
 * Pacemaker through its own programs (cibadmin, crm_mon, crm_resource, crm_attribute, stonith_admin, crm_simulate), and
 * what they say as structures. */
#pragma once

#include "common/process.h"

typedef struct {
    char *name;
    gboolean online, clean, standby, maintenance, is_dc;
} PacemakerNode;
typedef struct {
    char *id;
    char *node; /* where it is active, NULL: nowhere */
    char *role; /* "Started", "Stopped", "Starting", "Stopping", "Migrating" */
    gboolean failed, blocked;
    char *pending; /* NULL or "Starting", "Migrating", ... */
    char *target_role;
    guint n_running_on;
} PacemakerResource;
/* How often a resource failed on a node since its failures there were last forgotten. */
typedef struct {
    char *resource, *node;
    guint count, limit; /* at `limit` (migration-threshold) it is not started there any more; 0: no limit */
} PacemakerFailCount;
typedef struct {
    gboolean quorate;
    char *dc; /* node name or NULL */
    GPtrArray *nodes, *resources, *fail_counts;
    char **failures; /* one line per failed action, for people */
} PacemakerStatus;
void pacemaker_status_free(PacemakerStatus *status);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PacemakerStatus, pacemaker_status_free)

/* From the output of `crm_mon --output-as=xml --inactive`. Pure. */
PacemakerStatus *pacemaker_status_parse(const char *xml, GError **error);
PacemakerStatus *pacemaker_status(const ProcessRunner *runner, GError **error); /* UNAVAILABLE: not running here */
const PacemakerResource *pacemaker_status_resource(const PacemakerStatus *status, const char *id);
/* It may run resources now: online, neither in standby nor in maintenance. Pure. */
gboolean pacemaker_status_node_usable(const PacemakerStatus *status, const char *name);
/* Where the resource failed so often that it is not started there any more, "3 times on n1, 3 times on n2"; NULL:
 * nowhere. Caller frees. Pure. */
char *pacemaker_status_limit_reached(const PacemakerStatus *status, const char *id);
/* TRUE when that keeps it down: it runs nowhere, and each of `nodes` (where it might) reached the limit or is not to be
 * used now (away, standby, maintenance), at least one of them the former. Pure. */
gboolean pacemaker_status_given_up(const PacemakerStatus *status, const char *id, const char *const *nodes);

/* TRUE in *ret when the local CIB holds `node` for cleanly down: fenced, or left by itself (node_state crmd=offline,
 * join=down, expected=down, not in_ccm). */
gboolean pacemaker_node_is_clean_down(const ProcessRunner *runner, const char *node, gboolean *ret, GError **error);
gboolean pacemaker_node_clean_down_parse(const char *node_state_xml, gboolean *ret, GError **error); /* pure */
gboolean pacemaker_standby(const ProcessRunner *runner, const char *node, gboolean on, GError **error);
gboolean pacemaker_cleanup(const ProcessRunner *runner, const char *resource, GError **error);
/* Tell Pacemaker that an operator vouches for `node` being off, when no device can (stonith_admin --confirm). */
gboolean pacemaker_confirm_off(const ProcessRunner *runner, const char *node, GError **error);
gboolean pacemaker_fence(const ProcessRunner *runner, const char *node, int timeout_s, GError **error);
