/* SPDX-License-Identifier: Apache-2.0
 * The rate over the last samples: some ten to twenty seconds, so that it follows a throttled or a faster resync. */
#include "storage/resync_rate.h"

#include <string.h>

#define SPACING_MS 1000

void resync_rate_add(ResyncRate *rate, gint64 now_ms, gint64 left_kib)
{
    if (rate->n > 0 && (left_kib > rate->left_kib[rate->n - 1] || now_ms < rate->at_ms[rate->n - 1])) {
        rate->n = 0;
    }
    if (rate->n > 0 && now_ms - rate->at_ms[rate->n - 1] < SPACING_MS) {
        return;
    }
    if (rate->n == RESYNC_RATE_SAMPLES) {
        rate->n--;
        memmove(rate->at_ms, rate->at_ms + 1, rate->n * sizeof(rate->at_ms[0]));
        memmove(rate->left_kib, rate->left_kib + 1, rate->n * sizeof(rate->left_kib[0]));
    }
    rate->at_ms[rate->n] = now_ms;
    rate->left_kib[rate->n] = left_kib;
    rate->n++;
}

gint64 resync_rate_left_s(const ResyncRate *rate)
{
    if (rate->n < 2) {
        return 0;
    }
    gint64 left_kib = rate->left_kib[rate->n - 1];
    gint64 done_kib = rate->left_kib[0] - left_kib;
    double took_s = (double) (rate->at_ms[rate->n - 1] - rate->at_ms[0]) / 1000;
    return done_kib > 0 ? MAX(1, (gint64) ((double) left_kib * took_s / (double) done_kib + 0.5)) : 0;
}
