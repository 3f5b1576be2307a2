/* SPDX-License-Identifier: Apache-2.0
 * The stall meter: only looked-at time without progress counts. */
#include "storage/stall.h"

#define S ((gint64) G_USEC_PER_SEC)

static void test_stall(void)
{
    Stall stall = {0};
    g_assert_cmpint(stall_look(&stall, TRUE, 7, 100 * S), ==, 0); /* the first look knows nothing of before */
    g_assert_cmpint(stall_look(&stall, TRUE, 7, 103 * S), ==, 3 * S);
    g_assert_cmpint(stall_look(&stall, TRUE, 7, 106 * S), ==, 6 * S);
    g_assert_cmpint(stall_look(&stall, TRUE, 8, 109 * S), ==, 0); /* one request of many ended */
    g_assert_cmpint(stall_look(&stall, TRUE, 8, 112 * S), ==, 3 * S);
    g_assert_cmpint(stall_look(&stall, FALSE, 8, 115 * S), ==, 0); /* nothing is waited for */
    g_assert_cmpint(stall_look(&stall, TRUE, 8, 118 * S), ==, 3 * S);
}

/* This machine stood still for an hour, or its clock went back: not the disk's fault. */
static void test_gaps(void)
{
    Stall stall = {0};
    stall_look(&stall, TRUE, 7, 100 * S);
    g_assert_cmpint(stall_look(&stall, TRUE, 7, 3700 * S), ==, STALL_STEP_US);
    g_assert_cmpint(stall_look(&stall, TRUE, 7, 50 * S), ==, STALL_STEP_US);
    g_assert_cmpint(stall_look(&stall, TRUE, 7, 51 * S), ==, STALL_STEP_US + S);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stall/stall", test_stall);
    g_test_add_func("/stall/gaps", test_gaps);
    return g_test_run();
}
