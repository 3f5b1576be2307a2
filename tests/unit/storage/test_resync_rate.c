/* SPDX-License-Identifier: Apache-2.0
 * How long a resync still takes. */
#include "storage/resync_rate.h"

static void test_steady(void)
{
    ResyncRate rate = {0};
    g_assert_cmpint(resync_rate_left_s(&rate), ==, 0);
    resync_rate_add(&rate, 1000, 100000);
    g_assert_cmpint(resync_rate_left_s(&rate), ==, 0); /* one sample is no rate */
    resync_rate_add(&rate, 4000, 94000);
    g_assert_cmpint(resync_rate_left_s(&rate), ==, 47);
    resync_rate_add(&rate, 4500, 0); /* too close to the last */
    g_assert_cmpint(resync_rate_left_s(&rate), ==, 47);
    resync_rate_add(&rate, 7000, 88000);
    g_assert_cmpint(resync_rate_left_s(&rate), ==, 44);
    resync_rate_add(&rate, 10000, 0);
    g_assert_cmpint(resync_rate_left_s(&rate), ==, 1);
}

/* Only the last samples count: a resync that was slow and is fast now. */
static void test_follows(void)
{
    ResyncRate rate = {0};
    gint64 left = 10000000;
    for (gint64 second = 0; second < 20; second++, left -= 10) {
        resync_rate_add(&rate, second * 1000, left);
    }
    for (gint64 second = 20; second < 20 + RESYNC_RATE_SAMPLES; second++, left -= 10000) {
        resync_rate_add(&rate, second * 1000, left);
    }
    g_assert_cmpint(rate.n, ==, RESYNC_RATE_SAMPLES);
    g_assert_cmpint(resync_rate_left_s(&rate), ==, (left + 15000) / 10000);
}

static void test_begins_anew(void)
{
    ResyncRate rate = {0};
    resync_rate_add(&rate, 1000, 1000);
    resync_rate_add(&rate, 2000, 500);
    resync_rate_add(&rate, 3000, 90000); /* another resync */
    g_assert_cmpint(resync_rate_left_s(&rate), ==, 0);
    resync_rate_add(&rate, 4000, 90000); /* it does not get on */
    g_assert_cmpint(resync_rate_left_s(&rate), ==, 0);
    resync_rate_add(&rate, 5000, 80000);
    g_assert_cmpint(resync_rate_left_s(&rate), ==, 16);
    resync_rate_add(&rate, 10, 70000); /* another clock */
    g_assert_cmpint(resync_rate_left_s(&rate), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/resync-rate/steady", test_steady);
    g_test_add_func("/resync-rate/follows", test_follows);
    g_test_add_func("/resync-rate/begins-anew", test_begins_anew);
    return g_test_run();
}
