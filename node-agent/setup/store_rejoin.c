/* SPDX-License-Identifier: Apache-2.0
 * Leaving: the configuration goes first, for without it the unit does not start, whatever happens next. Coming back:
 * the steps of a join that concern the store. A file says that coming back is under way, so that a configuration that
 * is there is known to be its own. */
#include "node-agent/setup/store_rejoin.h"

#include "cluster/cluster_config.h"
#include "cluster/etcd_conf.h"
#include "cluster/object_update.h"
#include "common/error.h"
#include "node-agent/join_admit.h"
#include "node-agent/join_bundle.h"
#include "node-agent/setup/checks.h"
#include "node-agent/setup/member.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#define ETCD_UNIT "holdfast-etcd.service"
#define BEGUN_PATH "/var/lib/holdfast/store-rejoin"
#define COMMAND_TIMEOUT_MS 60000

static NodeConfig *machine_config(const SetupContext *context, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(NodeConfig) config = check_root(context, error) ? member_config_read(context, &problem) : NULL;
    if (problem) {
        g_propagate_error(error, g_steal_pointer(&problem));
    } else if (!config && error && !*error) {
        holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED, "this machine is no member of a cluster");
    }
    return g_steal_pointer(&config);
}

static gboolean put_aside(const SetupContext *context, const char *path, const char *suffix, GError **error)
{
    g_autofree char *from = setup_path(context, path);
    g_autofree char *to = g_strdup_printf("%s.left-%s", from, suffix);
    if (rename(from, to) != 0 && errno != ENOENT) {
        return holdfast_error_set_errno(error, errno, "cannot keep %s as %s", from, to);
    }
    return TRUE;
}

gboolean store_leave(const SetupContext *context, const char *confirm, GError **error)
{
    g_autoptr(NodeConfig) config = machine_config(context, error);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y%m%dT%H%M%SZ");
    if (!config) {
        return FALSE;
    }
    if (g_strcmp0(confirm, config->cluster) != 0) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "--confirm: must be the name of this cluster, as `holdfast-setup status` shows it");
    }
    if (!put_aside(context, ETCD_CONF_PATH, time, error) ||
        !process_call(context->runner, COMMAND_TIMEOUT_MS, NULL, error, "/usr/bin/systemctl", "stop", ETCD_UNIT,
                      NULL) ||
        !put_aside(context, ETCD_DATA_PATH, time, error)) {
        return FALSE;
    }
    setup_progress(context, "%s has no voter of the store any more; what it had is kept as %s.left-%s", config->node,
                   ETCD_DATA_PATH, time);
    return TRUE;
}

static gboolean voter_change(gpointer object, gpointer user_data G_GNUC_UNUSED, GError **error G_GNUC_UNUSED)
{
    Node *node = object;
    gboolean change = !node->voter;
    node->voter = TRUE;
    return change;
}

static gboolean etcd_begin(const JoinAdmission *admission, GError **error)
{
    const SetupContext *context = admission->context;
    const NodeConfig *self = admission->self;
    g_autoptr(ClusterConfig) config = cluster_config_load(admission->store, error);
    g_autofree char *members =
        config ? join_bundle_initial_cluster(context, admission->store, self->node, self->ring0, error) : NULL;
    Answers answers = {.node = self->node, .ring0 = self->ring0};
    return members && member_etcd_write(context, &answers, members, TRUE, config->name, &config->etcd, error) &&
           member_unit_restart(context, ETCD_UNIT, FALSE, error);
}

/* A member of before whose data folder was put aside: with its id and nothing in its log it would have forgotten what
 * it acknowledged. It comes back as a new one. */
static gboolean old_member_remove(const JoinAdmission *admission, GError **error)
{
    g_autofree char *url = etcd_conf_peer_url(admission->self->ring0, admission->context->etcd_peer_port);
    g_autoptr(GPtrArray) members = store_members(admission->store, error);
    const StoreMember *old = members ? store_member_find(members, url) : NULL;
    return members && (!old || store_member_remove(admission->store, old->id, error));
}

/* `first`: no earlier try has added the member that will be ours. */
static gboolean become_voter(JoinAdmission *admission, gboolean first, GError **error)
{
    g_autofree char *name = g_strconcat("node/", admission->self->node, NULL);
    g_autofree char *key = g_strconcat(STORE_ROOT, name, NULL);
    g_autofree char *holder = g_strconcat("return of ", admission->self->node, "'s voter", NULL);
    g_autoptr(StoreEntry) entry = store_get(admission->store, key, NULL, error);
    admission->node = entry ? object_from_text(&node_type, entry->value, key, error) : NULL;
    if (!admission->node ||
        !join_lock_take(admission->store, holder, &admission->lock_lease, &admission->lock_revision, error)) {
        return FALSE;
    }
    admission->node->voter = TRUE;
    g_autoptr(GError) problem = NULL;
    if (first && (!old_member_remove(admission, error) ||
                  !setup_write(admission->context, BEGUN_PATH, "", -1, 0600, NULL, error))) {
        return FALSE;
    }
    if (!join_admit_add_member(admission, error) || !etcd_begin(admission, error) ||
        !join_admit_promote(admission, error)) {
        return FALSE;
    }
    if (!object_update(admission->store, &node_type, name, 0, voter_change, NULL, NULL, &problem) && problem) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    return TRUE;
}

gboolean store_rejoin(const SetupContext *context, GError **error)
{
    g_autoptr(NodeConfig) config = machine_config(context, error);
    if (!config) {
        return FALSE;
    }
    if (config->node_id == 0) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_REFUSED,
            "a witness does not come back this way: `holdfast node remove %s`, then let it join again", config->node);
    }
    if (setup_exists(context, ETCD_CONF_PATH) && !setup_exists(context, BEGUN_PATH)) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_REFUSED,
            "node '%s' has a voter already (%s is there); one of an old store leaves first: `holdfast store "
            "leave`",
            config->node, ETCD_CONF_PATH);
    }
    g_autofree char *begun = setup_path(context, BEGUN_PATH);
    g_autoptr(Store) store = member_store(context, FALSE);
    g_auto(JoinAdmission) admission = {.context = context, .store = store, .self = config};
    if (!become_voter(&admission, !setup_exists(context, BEGUN_PATH), error)) {
        return FALSE;
    }
    if (g_unlink(begun) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot remove %s", begun);
    }
    setup_progress(context, "node '%s' votes in the store again", config->node);
    return TRUE;
}
