/* SPDX-License-Identifier: Apache-2.0
 * Whether one more node may fail, for every size and with machines away. */
#include "cluster/reserve.h"

#include <string.h>

static Reserve nodes(guint n, guint present)
{
    return (Reserve){
        .nodes = n, .nodes_present = present, .node_voters = MIN(n, 5), .node_voters_present = MIN(present, 5)};
}

static Reserve with_witness(guint n, guint present, gboolean device, gboolean etcd)
{
    Reserve reserve = nodes(n, present);
    reserve.have_witness = TRUE;
    reserve.witness_counts = n % 2 == 0;
    reserve.witness_voter = n < 5;
    reserve.witness_device = device;
    reserve.witness_etcd = etcd;
    return reserve;
}

static void assert_reserve(Reserve reserve, gboolean present, const char *says)
{
    g_autofree char *text = reserve_problem(&reserve);
    g_assert_cmpint(reserve_present(&reserve), ==, present);
    if (says) {
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, says));
    } else {
        g_assert_cmpstr(text, ==, NULL);
    }
}

static void test_without_witness(void)
{
    assert_reserve(nodes(1, 1), FALSE, NULL);
    /* corosync alone would let one of two go on; the store would not. */
    assert_reserve(nodes(2, 2), FALSE, "add a witness");
    assert_reserve(nodes(2, 1), FALSE, "add a witness");
    assert_reserve(nodes(3, 3), TRUE, NULL);
    assert_reserve(nodes(3, 2), FALSE, "2 of 3 nodes are here");
    assert_reserve(nodes(4, 4), TRUE, NULL);
    assert_reserve(nodes(4, 3), FALSE, "3 of 4 nodes are here");
    assert_reserve(nodes(5, 4), TRUE, NULL);
    assert_reserve(nodes(5, 3), FALSE, "3 of 5 nodes are here");
    /* after a rescue: the nodes are all here, and one of them has the store */
    Reserve rescued = nodes(3, 3);
    rescued.node_voters = rescued.node_voters_present = 1;
    assert_reserve(rescued, FALSE, "the store has 1 voter, and the next one that fails");
}

static void test_with_witness(void)
{
    assert_reserve(with_witness(2, 2, TRUE, TRUE), TRUE, NULL);
    assert_reserve(with_witness(2, 1, TRUE, TRUE), FALSE, "1 of 2 nodes are here");
    assert_reserve(with_witness(2, 2, FALSE, FALSE), FALSE, "nothing of it answers): the cluster has no second chance");
    assert_reserve(with_witness(2, 2, TRUE, FALSE), FALSE,
                   "its etcd does not answer): the cluster has no second chance");
    assert_reserve(with_witness(2, 2, FALSE, TRUE), FALSE, "its quorum server does not answer): the cluster has no");
    /* Four nodes have a reserve of their own. */
    assert_reserve(with_witness(4, 4, FALSE, FALSE), TRUE, "the witness is away (nothing of it answers)");
    assert_reserve(with_witness(4, 3, TRUE, TRUE), TRUE, NULL);
    assert_reserve(with_witness(4, 3, FALSE, FALSE), FALSE, "no second chance");
}

static void test_idle_witness(void)
{
    assert_reserve(with_witness(3, 3, FALSE, TRUE), TRUE, "have a majority without the witness");
    assert_reserve(with_witness(3, 3, FALSE, FALSE), FALSE,
                   "its etcd does not answer): the cluster has no second chance");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/reserve/without-witness", test_without_witness);
    g_test_add_func("/reserve/with-witness", test_with_witness);
    g_test_add_func("/reserve/idle-witness", test_idle_witness);
    return g_test_run();
}
