/* SPDX-License-Identifier: Apache-2.0
 * The private etcd: unix sockets in a folder of root's, for clients and for peers, of which there are none. */
#include "node-agent/setup/store_private.h"

#include "cluster/etcd_conf.h"
#include "common/error.h"
#include "node-agent/setup/member.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sys/prctl.h>

#define STORE_TIMEOUT_MS 10000
#define STOP_POLL_MS 20

void store_private_clear(StorePrivate *etcd)
{
    if (etcd->process) {
        g_subprocess_force_exit(etcd->process);
        g_subprocess_wait(etcd->process, NULL, NULL);
        g_clear_object(&etcd->process);
    }
    g_clear_pointer(&etcd->store, store_free);
    g_clear_pointer(&etcd->socket, g_free);
}

static void die_with_parent(gpointer user_data G_GNUC_UNUSED)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static gboolean still_runs(gpointer user_data, GError **error)
{
    const StorePrivate *etcd = user_data;
    if (g_subprocess_get_identifier(etcd->process)) {
        return TRUE;
    }
    g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                        "etcd does not run over this data: etcd.log in /var/lib/holdfast/etcd-rescue says why");
    return FALSE;
}

static GSubprocess *spawn(const SetupContext *context, const NodeConfig *config, const char *folder, const char *data,
                          gboolean alone, GError **error)
{
    g_autofree char *peer_url = etcd_conf_peer_url(config->ring0, context->etcd_peer_port);
    g_autofree char *client_url = g_strdup_printf("https://%s:%d", config->ring0, context->etcd_client_port);
    g_autofree char *cluster = g_strdup_printf("%s=%s", config->node, peer_url);
    g_autofree char *log = g_build_filename(folder, "etcd.log", NULL);
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_SILENCE);
    g_subprocess_launcher_set_cwd(launcher, folder);
    g_subprocess_launcher_set_stderr_file_path(launcher, log);
    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    return g_subprocess_launcher_spawn(launcher, error, "/usr/bin/etcd", "--name", config->node, "--data-dir", data,
                                       "--listen-client-urls", "unix://etcd.sock:0", "--advertise-client-urls",
                                       client_url, "--listen-peer-urls", "unix://peer.sock:0",
                                       "--initial-advertise-peer-urls", peer_url, "--initial-cluster", cluster,
                                       "--log-level", "warn", alone ? "--force-new-cluster" : NULL, NULL);
}

gboolean store_private_start(const SetupContext *context, const NodeConfig *config, const char *folder,
                             const char *data, gboolean alone, StorePrivate *ret, GError **error)
{
    ret->socket = g_build_filename(folder, "etcd.sock:0", NULL);
    g_autofree char *peer = g_build_filename(folder, "peer.sock:0", NULL);
    g_autofree char *endpoint = g_strconcat("unix:", ret->socket, NULL);
    char *endpoints[] = {endpoint, NULL};
    StoreConfig store = {.endpoints = endpoints, .timeout_ms = STORE_TIMEOUT_MS};
    g_unlink(ret->socket);
    g_unlink(peer);
    ret->process = spawn(context, config, folder, data, alone, error);
    ret->store = store_new(&store);
    return ret->process && member_wait_store(context, ret->store, still_runs, ret, error);
}

gboolean store_private_stop(const SetupContext *context, StorePrivate *etcd, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) context->wait_ms * 1000;
    g_subprocess_send_signal(etcd->process, SIGTERM);
    while (g_subprocess_get_identifier(etcd->process) && g_get_monotonic_time() < deadline_us) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(STOP_POLL_MS * 1000);
    }
    gboolean ended = !g_subprocess_get_identifier(etcd->process);
    if (!ended) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "etcd does not end: try again");
    }
    store_private_clear(etcd);
    return ended;
}
