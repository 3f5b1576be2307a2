/* SPDX-License-Identifier: Apache-2.0
 * holdfastd's socket, seen from the API: one request per connection, blocking with a deadline, and event streams. */
#pragma once

#include "common/json.h"

typedef struct AgentClient AgentClient;
typedef struct AgentStream AgentStream;

/* `stop_fd` becomes readable when the process ends: every wait then ends with UNAVAILABLE (-1: never). Not owned. */
AgentClient *agent_client_new(const char *socket_path, int stop_fd);
void agent_client_free(AgentClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AgentClient, agent_client_free)

/* Who asks for what. All borrowed for the call. */
typedef struct {
    const char *request_id;
    const char *user;
    const char *verb;
    json_t *arguments; /* object */
} AgentRequest;

/* Ask and wait for the result (any JSON value; caller owns it). An error of the agent keeps its code and text; no agent
 * is UNAVAILABLE with the remedy, no answer in time is TIMEOUT. Any thread. */
json_t *agent_client_call(const AgentClient *client, const AgentRequest *request, int timeout_ms, GError **error);

/* events.watch: errors as above, else a stream. One thread at a time uses it. */
AgentStream *agent_client_watch(const AgentClient *client, const AgentRequest *request, int timeout_ms, GError **error);

typedef enum { AGENT_STREAM_EVENT, AGENT_STREAM_QUIET, AGENT_STREAM_ENDED } AgentStreamResult;
/* Wait for the next event at most timeout_ms. EVENT sets *ret_event (caller owns). QUIET: nothing came. ENDED: the
 * agent or this process ends, the other side of the HTTP connection `client_fd` (-1: not watched) has hung up, or
 * garbage came. */
AgentStreamResult agent_stream_next(AgentStream *stream, int timeout_ms, int client_fd, json_t **ret_event);
void agent_stream_free(AgentStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AgentStream, agent_stream_free)
