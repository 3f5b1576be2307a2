/* SPDX-License-Identifier: Apache-2.0
 * Certificates of the black box's streams, and clocks of the two ends. */
#include "node-agent/blackbox_internal.h"

#include "common/error.h"

#include <string.h>

/* Under the lock: senders and the listener come here. */
static gboolean load(Blackbox *box, GError **error)
{
    const BlackboxConfig *config = box->config;
    g_autoptr(GError) problem = NULL;
    if (!box->authority) {
        box->authority = g_tls_file_database_new(config->ca_file, &problem);
    }
    if (box->authority && !box->certificate) {
        box->certificate = g_tls_certificate_new_from_files(config->certificate_file, config->key_file, &problem);
    }
    if (problem) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "cannot use the node's certificate: %s",
                    problem->message);
    }
    return !problem;
}

gboolean blackbox_tls_load(Blackbox *box, GError **error)
{
    g_mutex_lock(&box->lock);
    gboolean ok = load(box, error);
    g_mutex_unlock(&box->lock);
    return ok;
}

/* "CN=n1,O=Holdfast"; names of nodes need no quoting. */
char *blackbox_tls_peer_name(GTlsConnection *tls)
{
    GTlsCertificate *certificate = g_tls_connection_get_peer_certificate(tls);
    g_autofree char *subject = certificate ? g_tls_certificate_get_subject_name(certificate) : NULL;
    g_auto(GStrv) parts = g_strsplit(subject ? subject : "", ",", -1);
    for (char **part = parts; *part; part++) {
        if (g_str_has_prefix(*part, "CN=")) {
            return g_strdup(*part + strlen("CN="));
        }
    }
    return NULL;
}

gint64 blackbox_clock_offset(gint64 t0, gint64 t1, gint64 t2, gint64 t3)
{
    return ((t1 - t0) + (t2 - t3)) / 2;
}

void blackbox_clock_add(BlackboxClock *clock, gint64 t0, gint64 t1, gint64 t2, gint64 t3)
{
    gint64 round_us = (t3 - t0) - (t2 - t1);
    if (round_us < 0) {
        return; /* a clock was set meanwhile */
    }
    guint at = clock->n++ % G_N_ELEMENTS(clock->offset_us);
    clock->offset_us[at] = blackbox_clock_offset(t0, t1, t2, t3);
    clock->round_us[at] = round_us;
}

gboolean blackbox_clock_best(const BlackboxClock *clock, gint64 *ret_offset_us)
{
    guint n = MIN(clock->n, G_N_ELEMENTS(clock->offset_us)), best = 0;
    for (guint i = 1; i < n; i++) {
        best = clock->round_us[i] < clock->round_us[best] ? i : best;
    }
    if (n > 0) {
        *ret_offset_us = clock->offset_us[best];
    }
    return n > 0;
}
