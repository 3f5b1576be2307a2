/* SPDX-License-Identifier: Apache-2.0
 * A reconnecting connection to a corosync service. */
#include "cluster/corosync_link.h"

#include "common/error.h"

#include <glib-unix.h>

#define BACKOFF_FIRST_MS 200u
#define BACKOFF_LAST_MS 5000u

struct CorosyncLink {
    GMainContext *context;
    const CorosyncService *service;
    gpointer user_data;
    GSource *fd_source;    /* while connected */
    GSource *retry_source; /* while not */
    guint backoff_ms;
};

static void link_connect(CorosyncLink *link);

static void link_clear_source(GSource **source)
{
    if (*source) {
        g_source_destroy(*source);
        g_clear_pointer(source, g_source_unref);
    }
}

static gboolean on_retry(gpointer user_data)
{
    CorosyncLink *link = user_data;
    link_clear_source(&link->retry_source);
    link_connect(link);
    return G_SOURCE_REMOVE;
}

static void link_retry_later(CorosyncLink *link)
{
    link->retry_source = g_timeout_source_new(link->backoff_ms);
    g_source_set_callback(link->retry_source, on_retry, link, NULL);
    g_source_attach(link->retry_source, link->context);
    link->backoff_ms = MIN(link->backoff_ms * 2, BACKOFF_LAST_MS);
}

static gboolean on_ready(gint fd G_GNUC_UNUSED, GIOCondition condition, gpointer user_data)
{
    CorosyncLink *link = user_data;
    gboolean alive = link->service->dispatch(link->user_data);
    if (alive && !(condition & (G_IO_HUP | G_IO_ERR | G_IO_NVAL))) {
        link->backoff_ms = BACKOFF_FIRST_MS;
        return G_SOURCE_CONTINUE;
    }
    link_clear_source(&link->fd_source);
    link->service->disconnect(link->user_data);
    link_retry_later(link);
    return G_SOURCE_REMOVE;
}

static void link_connect(CorosyncLink *link)
{
    int fd = -1;
    if (!link->service->connect(link->user_data, &fd)) {
        link_retry_later(link);
        return;
    }
    link->fd_source = g_unix_fd_source_new(fd, G_IO_IN | G_IO_HUP | G_IO_ERR);
    g_source_set_callback(link->fd_source, G_SOURCE_FUNC(on_ready), link, NULL);
    g_source_attach(link->fd_source, link->context);
}

CorosyncLink *corosync_link_new(GMainContext *context, const CorosyncService *service, gpointer user_data)
{
    CorosyncLink *link = g_new0(CorosyncLink, 1);
    link->context = context ? g_main_context_ref(context) : g_main_context_ref(g_main_context_default());
    link->service = service;
    link->user_data = user_data;
    link->backoff_ms = BACKOFF_FIRST_MS;
    link_connect(link);
    return link;
}

void corosync_link_free(CorosyncLink *link)
{
    if (!link) {
        return;
    }
    link_clear_source(&link->retry_source);
    if (link->fd_source) {
        link_clear_source(&link->fd_source);
        link->service->disconnect(link->user_data);
    }
    g_main_context_unref(link->context);
    g_free(link);
}

gboolean corosync_error_set(GError **error, cs_error_t code, const char *what)
{
    /* cs_strerror() would need one more library for texts that help nobody ("CS_ERR_LIBRARY"). */
    static const struct {
        cs_error_t code;
        const char *text;
    } passing[] = {
        {CS_ERR_LIBRARY, "it is not running or just went away"},
        {CS_ERR_TRY_AGAIN, "it is busy, or the membership is changing"},
        {CS_ERR_TIMEOUT, "it does not answer"},
        {CS_ERR_BAD_HANDLE, "the connection is gone"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(passing); i++) {
        if (passing[i].code == code) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                        "corosync: %s: %s; check 'systemctl status corosync'", what, passing[i].text);
            return FALSE;
        }
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "corosync: %s: error %d; check corosync's log", what,
                code);
    return FALSE;
}
