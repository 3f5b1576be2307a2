/* SPDX-License-Identifier: Apache-2.0
 * Majorities after the loss of one more node. */
#include "cluster/reserve.h"

/* Corosync lets one of two nodes without a witness go on (two_node); etcd does not, and is what decides there. */
static gboolean corosync_survives(const Reserve *reserve)
{
    if (reserve->nodes == 2 && !reserve->witness_counts) {
        return reserve->nodes_present > 1;
    }
    guint votes = reserve->nodes + (reserve->witness_counts ? 1 : 0);
    guint present = reserve->nodes_present + (reserve->witness_counts && reserve->witness_device ? 1 : 0);
    return present > 0 && present - 1 >= votes / 2 + 1;
}

static gboolean etcd_survives(const Reserve *reserve)
{
    guint votes = reserve->node_voters + (reserve->witness_voter ? 1 : 0);
    guint present = reserve->node_voters_present + (reserve->witness_voter && reserve->witness_etcd ? 1 : 0);
    return present > 0 && present - 1 >= votes / 2 + 1;
}

gboolean reserve_present(const Reserve *reserve)
{
    return reserve->nodes > 1 && corosync_survives(reserve) && etcd_survives(reserve);
}

static gboolean witness_away(const Reserve *reserve)
{
    return reserve->have_witness && ((reserve->witness_counts && !reserve->witness_device) ||
                                     (reserve->witness_voter && !reserve->witness_etcd));
}

char *reserve_problem(const Reserve *reserve)
{
    gboolean reserve_left = reserve_present(reserve);
    if (reserve->nodes == 2 && !reserve->have_witness) {
        return g_strdup("two nodes without a witness: a power cut of either node stops all guests until that node is "
                        "back, by itself or "
                        "by an operator; nothing fails over: add a witness (holdfast-witness on any small machine)");
    }
    if (reserve->nodes < 2) {
        return NULL;
    }
    if (witness_away(reserve)) {
        return g_strdup_printf("the witness is away (%s)%s",
                               !reserve->witness_counts   ? "its etcd does not answer"
                               : !reserve->witness_device ? reserve->witness_etcd ? "its quorum server does not answer"
                                                                                  : "nothing of it answers"
                                                          : "its etcd does not answer",
                               reserve_left
                                   ? ""
                                   : ": the cluster has no second chance now: the next node that fails stops all "
                                     "guests until it or the witness is back");
    }
    if (!reserve_left && corosync_survives(reserve)) {
        guint voters = reserve->node_voters + (reserve->witness_voter ? 1 : 0);
        return g_strdup_printf("the cluster has no second chance now: the store has %u voter%s, and the next one that "
                               "fails stops all changes and every fail-over; nodes that left it come back by 'holdfast "
                               "store rejoin'",
                               voters, voters == 1 ? "" : "s");
    }
    if (!reserve_left) {
        return g_strdup_printf(
            "the cluster has no second chance now: %u of %u nodes are here, and the next one that fails "
            "stops all guests until another is back",
            reserve->nodes_present, reserve->nodes);
    }
    if (reserve->have_witness && !reserve->witness_counts) {
        return g_strdup_printf(
            "%u nodes have a majority without the witness, and its etcd is one more that can fail: remove "
            "it with 'holdfast node remove', or add a node",
            reserve->nodes);
    }
    return NULL;
}
