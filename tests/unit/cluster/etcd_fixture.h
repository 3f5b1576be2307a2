/* SPDX-License-Identifier: Apache-2.0
 * Real etcd processes for tests: own folder, unix socket, a free peer port, killed with the test. */
#pragma once

#include "cluster/store_internal.h"
#include "common/error.h"

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ETCD "/usr/bin/etcd"
#define START_LIMIT_US (60 * G_TIME_SPAN_SECOND)

typedef struct {
    char *folder, *endpoint;
    const char *name;
    char *peer_url;
    char *initial_cluster; /* NULL: alone */
    char *tls_url;         /* NULL: unix socket only */
    GPid pid;
} Etcd;

static G_GNUC_UNUSED int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *) &address, sizeof(address)), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *) &address, &length), ==, 0);
    close(fd);
    return ntohs(address.sin_port);
}

static G_GNUC_UNUSED Store *store_at(const char *first, const char *second, int timeout_ms)
{
    char *endpoints[] = {(char *) first, (char *) second, NULL};
    StoreConfig config = {.endpoints = endpoints, .timeout_ms = timeout_ms};
    return store_new(&config);
}

static G_GNUC_UNUSED void die_with_parent(gpointer data G_GNUC_UNUSED)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Polls: etcd gives no other sign that it serves. */
static G_GNUC_UNUSED void etcd_wait_ready(const Etcd *etcd)
{
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 5000);
    gint64 end_us = g_get_monotonic_time() + START_LIMIT_US;
    for (;;) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) entries = store_list(store, "ready", NULL, &error);
        if (entries) {
            return;
        }
        if (g_get_monotonic_time() > end_us) {
            g_error("etcd did not come up: %s", error->message);
        }
        g_usleep(20000);
    }
}

static G_GNUC_UNUSED void etcd_spawn(Etcd *etcd)
{
    g_autofree char *alone = g_strdup_printf("%s=%s", etcd->name, etcd->peer_url);
    g_autofree char *listen = g_strconcat("unix://etcd.sock:0", etcd->tls_url ? "," : NULL, etcd->tls_url, NULL);
    const char *argv[] = {ETCD,
                          "--name",
                          etcd->name,
                          "--data-dir",
                          "data",
                          "--listen-client-urls",
                          listen,
                          "--advertise-client-urls",
                          etcd->peer_url,
                          "--listen-peer-urls",
                          etcd->peer_url,
                          "--initial-advertise-peer-urls",
                          etcd->peer_url,
                          "--initial-cluster",
                          etcd->initial_cluster ? etcd->initial_cluster : alone,
                          "--initial-cluster-state",
                          etcd->initial_cluster ? "existing" : "new",
                          "--log-level",
                          "error",
                          etcd->tls_url ? "--client-cert-auth" : NULL,
                          "--trusted-ca-file",
                          "ca.crt",
                          "--cert-file",
                          "node.crt",
                          "--key-file",
                          "node.key",
                          NULL};
    g_autofree char *socket_path = g_build_filename(etcd->folder, "etcd.sock:0", NULL);
    g_unlink(socket_path);
    GError *error = NULL;
    g_spawn_async(etcd->folder, (char **) argv, NULL,
                  G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, die_with_parent,
                  NULL, &etcd->pid, &error);
    g_assert_no_error(error); /* etcd is a build dependency: packaging/install-deps installs it */
    etcd_wait_ready(etcd);
}

static G_GNUC_UNUSED void etcd_kill(Etcd *etcd)
{
    if (etcd->pid > 0) {
        kill(etcd->pid, SIGKILL);
        g_assert_cmpint(waitpid(etcd->pid, NULL, 0), ==, etcd->pid);
        etcd->pid = 0;
    }
}

/* SIGSTOP, and wait until it has stopped: kill() returns before. */
static G_GNUC_UNUSED void etcd_freeze(const Etcd *etcd)
{
    int status = 0;
    g_assert_cmpint(kill(etcd->pid, SIGSTOP), ==, 0);
    g_assert_cmpint(waitpid(etcd->pid, &status, WUNTRACED), ==, etcd->pid);
    g_assert_true(WIFSTOPPED(status));
}

static G_GNUC_UNUSED Etcd *etcd_new(const char *name)
{
    Etcd *etcd = g_new0(Etcd, 1);
    GError *error = NULL;
    etcd->folder = g_dir_make_tmp("holdfast-store-XXXXXX", &error);
    g_assert_no_error(error);
    etcd->endpoint = g_strdup_printf("unix:%s/etcd.sock:0", etcd->folder);
    etcd->name = name;
    etcd->peer_url = g_strdup_printf("http://127.0.0.1:%d", free_port());
    return etcd;
}

static G_GNUC_UNUSED Etcd *etcd_start(void)
{
    Etcd *etcd = etcd_new("one");
    etcd_spawn(etcd);
    return etcd;
}

static G_GNUC_UNUSED void remove_tree(const char *path)
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    const char *name;
    while (folder && (name = g_dir_read_name(folder))) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        remove_tree(child);
    }
    g_remove(path);
}

static G_GNUC_UNUSED void etcd_free(Etcd *etcd)
{
    etcd_kill(etcd);
    remove_tree(etcd->folder);
    g_free(etcd->folder);
    g_free(etcd->endpoint);
    g_free(etcd->peer_url);
    g_free(etcd->initial_cluster);
    g_free(etcd->tls_url);
    g_free(etcd);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Etcd, etcd_free)

static G_GNUC_UNUSED gint64 put(Store *store, const char *key, const char *value)
{
    GError *error = NULL;
    gint64 revision = 0;
    store_put(store, key, value, -1, 0, &revision, &error);
    g_assert_no_error(error);
    g_assert_cmpint(revision, >, 0);
    return revision;
}

static G_GNUC_UNUSED void assert_value(Store *store, const char *key, const char *value)
{
    GError *error = NULL;
    g_autoptr(StoreEntry) entry = store_get(store, key, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(entry->value, ==, value);
}
