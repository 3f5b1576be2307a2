/* SPDX-License-Identifier: Apache-2.0
 * Secrets of fence devices on this node: the files from which Pacemaker's fencer takes them, and the word of every node
 * that it has them. */
#pragma once

#include "node-agent/daemon.h"

/* Make this node's files be what the store says. Before READY, so before Pacemaker starts here, and in every round of
 * "node". FALSE: logged. */
gboolean fence_secrets_write(Daemon *daemon);
/* The same, and publish which ones are there. */
void fence_secrets_follow(Daemon *daemon);

/* Of char *: the nodes of those `devices` (of FenceDevice) whose secrets every online one of `nodes` (of Node) has. */
GPtrArray *fence_secrets_stored(Daemon *daemon, const GPtrArray *nodes, const GPtrArray *devices);
/* What that answer is made from, as text. */
void fence_secrets_basis(Daemon *daemon, GString *text);
