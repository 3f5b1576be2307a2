/* SPDX-License-Identifier: Apache-2.0
 * The unix socket of holdfastd: one JSON object per line each way, a thread per connection. */
#pragma once

#include "node-agent/daemon.h"

typedef struct AgentSocket AgentSocket;

/* Listen on `path` (mode 0660, group holdfast-api when it exists). */
AgentSocket *agent_socket_new(Daemon *daemon, const char *path, GError **error);
void agent_socket_free(AgentSocket *socket);
