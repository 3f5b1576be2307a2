/* SPDX-License-Identifier: Apache-2.0
 * The view of a membership. */
#include "cluster/membership_view.h"

static void test_view(void)
{
    const guint32 nodes[] = {3, 1, G_MAXUINT32};
    MembershipView view = {0};
    membership_view_set(&view, TRUE, 42, nodes, 3);
    g_assert_true(view.connected && view.quorate);
    g_assert_cmpuint(view.ring_sequence, ==, 42);
    g_assert_true(membership_view_has(&view, 1) && membership_view_has(&view, G_MAXUINT32));
    g_assert_false(membership_view_has(&view, 2) || membership_view_has(&view, 0));
    membership_view_set(&view, FALSE, 43, nodes, 1); /* nothing of the former view shines through */
    g_assert_false(view.quorate || membership_view_has(&view, 1));
    view.connected = FALSE;
    g_assert_false(membership_view_has(&view, 3)); /* without corosync nobody is known to be there */
}

static void test_too_many(void)
{
    guint32 nodes[100];
    for (guint i = 0; i < G_N_ELEMENTS(nodes); i++) {
        nodes[i] = i + 1;
    }
    MembershipView view = {0};
    membership_view_set(&view, TRUE, 1, nodes, G_N_ELEMENTS(nodes));
    g_assert_cmpuint(view.n_nodes, ==, G_N_ELEMENTS(view.nodes));
    g_assert_false(membership_view_has(&view, 65));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/membership/view", test_view);
    g_test_add_func("/membership/too-many", test_too_many);
    return g_test_run();
}
