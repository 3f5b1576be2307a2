/* SPDX-License-Identifier: Apache-2.0
 * One connection to a corosync service in a main context: connect, dispatch what arrives, drop when corosync goes away,
 * and connect again with back-off (200 ms, doubling to 5 s). The service is a table of three functions, so membership
 * and peer share this. */
#pragma once

#include <corosync/corotypes.h>
#include <glib.h>

typedef struct {
    /* Open the service and say which descriptor to poll. FALSE: not there now; nothing is left open. */
    gboolean (*connect)(gpointer user_data, int *ret_fd);
    /* Handle everything that has arrived. FALSE: the connection is dead. */
    gboolean (*dispatch)(gpointer user_data);
    /* Release what connect opened. Called once for every successful connect. */
    void (*disconnect)(gpointer user_data);
} CorosyncService;

typedef struct CorosyncLink CorosyncLink;

/* Connects at once, from within this call, when corosync is there. `service` must outlive the link. Caller's thread
 * owns `context`. */
CorosyncLink *corosync_link_new(GMainContext *context, const CorosyncService *service, gpointer user_data);
/* Disconnects. Not from within a service function. */
void corosync_link_free(CorosyncLink *link);

/* Set *error (UNAVAILABLE for whatever may pass, FAILED otherwise) from a corosync result. Always returns FALSE. */
gboolean corosync_error_set(GError **error, cs_error_t code, const char *what);
