/* SPDX-License-Identifier: Apache-2.0
 * corosync's shared key: 256 random bytes in /etc/corosync/authkey, the form corosync-keygen makes. */
#pragma once

#include "node-agent/setup/context.h"

#define AUTHKEY_BYTES 256

/* Made when it is not there. */
gboolean authkey_ensure(const SetupContext *context, GError **error);
/* Bytes of the file at `path`; caller frees. */
char *authkey_read(const char *path, gsize *ret_length, GError **error);
/* Write what a member gave us, base64. INVALID when it is no key. */
gboolean authkey_install(const SetupContext *context, const char *base64, GError **error);
