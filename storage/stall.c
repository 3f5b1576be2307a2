/* SPDX-License-Identifier: Apache-2.0
 * The stall meter. */
#include "storage/stall.h"

gint64 stall_look(Stall *stall, gboolean pending, guint64 progress, gint64 now_us)
{
    gint64 passed_us = now_us - stall->looked_us;
    gboolean same = stall->looked_us != 0 && pending && progress == stall->progress;
    stall->stalled_us = same ? stall->stalled_us + CLAMP(passed_us, 0, STALL_STEP_US) : 0;
    stall->looked_us = now_us;
    stall->progress = progress;
    return stall->stalled_us;
}
