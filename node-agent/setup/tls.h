/* SPDX-License-Identifier: Apache-2.0
 * The cluster's CA and the nodes' certificates, made by openssl(1): EC P-256, CA 10 years, node 5 years. */
#pragma once

#include "node-agent/setup/context.h"

/* CA key (0600) and certificate in /etc/holdfast/tls, kept when they are there. */
gboolean tls_ca_ensure(const SetupContext *context, const char *cluster, GError **error);

/* This node's key, kept when it is there: readable by the group of etcd. */
gboolean tls_key_ensure(const SetupContext *context, GError **error);

/* Certificate signing request of this node's key. Caller frees. */
char *tls_request(const SetupContext *context, const char *node, GError **error);

/* Sign `request` (PEM) with this node's copy of the CA key. Names in the certificate are the arguments, never what the
 * request asks for: node, localhost, ring0, ring1 (may be NULL), 127.0.0.1, and for a witness its quorum server's; good
 * for servers and clients. INVALID: not a signing request. Caller frees. */
char *tls_sign(const SetupContext *context, const char *request, const char *node, const char *ring0, const char *ring1,
               gboolean witness, GError **error);

/* A certificate for this node's key by which it is a client of the cluster's witness: its name is `cluster`. Signed
 * here. Caller frees. */
char *tls_client_certificate(const SetupContext *context, const char *cluster, GError **error);

/* Folder of QEMU's TLS file names for live migration (0700 root; the launcher copies it for a guest's user). */
gboolean tls_qemu_folder(const SetupContext *context, GError **error);
