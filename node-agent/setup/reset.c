/* SPDX-License-Identifier: Apache-2.0
 * Reset and status of the set-up. */
#include "node-agent/setup/reset.h"

#include "cluster/corosync_conf.h"
#include "cluster/etcd_conf.h"
#include "common/error.h"
#include "node-agent/setup/member.h"
#include "node-agent/setup/nss.h"

#include <errno.h>
#include <glib/gstdio.h>

#define SYSTEMCTL_TIMEOUT_MS 60000

/* The journal comes last: while it is there a reset that was cut short can be repeated. */
static const char *const made_files[] = {
    ETCD_CONF_PATH, NODE_VOTERS_PATH, COROSYNC_CONF_PATH, SETUP_AUTHKEY_PATH,  NODE_CERT_FILE,
    NODE_KEY_FILE,  NODE_CA_FILE,     NODE_CA_KEY_FILE,   SETUP_QEMU_TLS_PATH, ETCD_DATA_PATH "/member",
    NSS_QNETD_PATH, NSS_QDEVICE_PATH, SETUP_JOURNAL_PATH};

/* A witness has no corosync, a node no quorum server, and systemctl refuses units that are not there. */
static gboolean daemons_stop(const SetupContext *context, GError **error)
{
    g_autofree char *text = setup_read(context, SETUP_JOURNAL_PATH, NULL);
    g_autoptr(json_t) journal = text ? json_text_parse(text, -1, SETUP_JOURNAL_PATH, NULL) : NULL;
    gboolean witness = g_strcmp0(json_string_value(json_object_get(journal, "role")), "witness") == 0;
    return process_call(context->runner, SYSTEMCTL_TIMEOUT_MS, NULL, error, "/usr/bin/systemctl", "stop",
                        witness ? "corosync-qnetd.service" : "corosync.service", "holdfast-etcd.service", NULL);
}

gboolean reset_run(const SetupContext *context, GError **error)
{
    if (setup_exists(context, NODE_CONFIG_PATH) || setup_exists(context, NODE_WITNESS_PATH)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "this machine is a node or the witness of a cluster: remove it on another node with `holdfast node "
                    "remove NAME`, "
                    "then reinstall it");
        return FALSE;
    }
    if (!daemons_stop(context, error)) {
        return FALSE;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(made_files); i++) {
        g_autofree char *path = setup_path(context, made_files[i]);
        if (!process_call(context->runner, SYSTEMCTL_TIMEOUT_MS, NULL, error, "/bin/rm", "-rf", "--one-file-system",
                          "--", path, NULL)) {
            return FALSE;
        }
    }
    setup_progress(context, "the unfinished set-up is gone; volume group 'holdfast' was left as it is");
    return TRUE;
}

char *reset_status_text(const SetupContext *context, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(NodeConfig) config = member_config_read(context, &problem);
    if (problem) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    if (config && config->node_id == 0) {
        return g_strdup_printf("cluster  %s\nwitness  %s\naddress  %s\n", config->cluster, config->node, config->ring0);
    }
    if (config) {
        return g_strdup_printf("cluster  %s\nnode     %s (id %d)\nring0    %s\nring1    %s\nstorage  %s\netcd     %s\n",
                               config->cluster, config->node, (int) config->node_id, config->ring0,
                               config->ring1 ? config->ring1 : config->ring0,
                               config->storage_device ? config->storage_device : "unknown",
                               setup_exists(context, ETCD_CONF_PATH) ? "member" : "no member here, uses the voters'");
    }
    g_autofree char *journal = setup_read(context, SETUP_JOURNAL_PATH, NULL);
    if (journal) {
        return g_strdup_printf("not a node yet: a set-up was begun and not finished (%s)\nrepeat it with the same "
                               "values, or `holdfast-setup "
                               "reset`\n",
                               journal);
    }
    return g_strdup("not a node yet: run `holdfast-setup init` or `holdfast-setup join`\n");
}
