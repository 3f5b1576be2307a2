/* SPDX-License-Identifier: Apache-2.0
 * What other nodes' holdfastd (and, through ours, their OCF agents) may ask of this one. */
#pragma once

#include "node-agent/daemon.h"

/* Answer one peer call; blocking, in a thread of daemon->callers. NULL on error. Caller owns the result. */
json_t *peer_verb_run(Daemon *daemon, const char *verb, json_t *arguments, GError **error);
