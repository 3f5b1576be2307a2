/* SPDX-License-Identifier: Apache-2.0
 * Make this machine a further node of a running cluster. */
#pragma once

#include "node-agent/setup/answers.h"

/* `answers` were checked. One attempt; may be repeated after any failure or kill with the same answers. */
gboolean join_run(const SetupContext *context, const Answers *answers, GError **error);

/* Repeat attempts, with growing pauses, while the reason is one that goes away by itself (nobody answers yet, another
 * join runs). */
gboolean join_run_until_done(const SetupContext *context, const Answers *answers, GError **error);
