/* SPDX-License-Identifier: Apache-2.0
 * Make this machine the first node of a new cluster. */
#pragma once

#include "node-agent/setup/answers.h"

/* `answers` were checked. May be repeated after a kill at any point, with the same answers. */
gboolean init_run(const SetupContext *context, const Answers *answers, GError **error);
