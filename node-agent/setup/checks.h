/* SPDX-License-Identifier: Apache-2.0
 * What must be true of a machine before it is made a node. Each error begins with the field's name and ends with the
 * remedy. */
#pragma once

#include "node-agent/setup/context.h"

/* An IPv4 unicast address, no loopback. */
gboolean check_address_text(const SetupContext *context, const char *address, const char *field, GError **error);
/* The same, and it is configured on an interface of this machine. */
gboolean check_address_here(const SetupContext *context, const char *address, const char *field, GError **error);
/* A whole block device that nothing has mounted or uses, or one that is Holdfast's pool already. */
gboolean check_device(const SetupContext *context, const char *device, const char *field, GError **error);
gboolean check_root(const SetupContext *context, GError **error);
/* Make `node` this host's name, now and after a reboot. */
gboolean check_hostname_set(const SetupContext *context, const char *node, GError **error);
