/* SPDX-License-Identifier: Apache-2.0
 * The NSS databases that corosync-qnetd (on the witness) and corosync-qdevice (on the nodes) read their certificates
 * from, made from the cluster's own CA. corosync's own tools (corosync-qnetd-certutil) would make a second CA on the
 * witness and one client key that all nodes share and pass around; this way each machine makes its database by itself
 * and nothing secret travels. Nicknames and names in the certificates are those the two daemons look for. */
#pragma once

#include "node-agent/setup/context.h"

#define NSS_QNETD_PATH "/etc/corosync/qnetd/nssdb"
#define NSS_QDEVICE_PATH "/etc/corosync/qdevice/net/nssdb"
#define NSS_QNETD_NAME "Qnetd Server" /* what corosync-qdevice demands in the server's certificate */

/* The witness's, from its certificate; replaces the one that Debian's package made. */
gboolean nss_qnetd_make(const SetupContext *context, GError **error);
/* A node's, with a client certificate for `cluster` that is signed here (every node has the CA's key); kept when it is
 * there. */
gboolean nss_qdevice_ensure(const SetupContext *context, const char *cluster, GError **error);
