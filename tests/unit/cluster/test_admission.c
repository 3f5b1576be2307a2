/* SPDX-License-Identifier: Apache-2.0
 * Admission control: tables, and against a brute force that starts and loses everything. */
#include "cluster/admission.h"
#include "common/error.h"

#include <string.h>

#define NODES_MAX 4

static PlanSnapshot *snapshot_new(void)
{
    PlanSnapshot *snapshot = g_new0(PlanSnapshot, 1);
    snapshot->nodes = g_ptr_array_new_with_free_func((GDestroyNotify) node_free);
    snapshot->node_statuses = g_ptr_array_new_with_free_func((GDestroyNotify) node_status_free);
    snapshot->guests = g_ptr_array_new_with_free_func((GDestroyNotify) guest_free);
    snapshot->homes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return snapshot;
}

static void snapshot_free(PlanSnapshot *snapshot)
{
    g_ptr_array_unref(snapshot->nodes);
    g_ptr_array_unref(snapshot->node_statuses);
    g_ptr_array_unref(snapshot->guests);
    g_hash_table_unref(snapshot->homes);
    g_free(snapshot);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PlanSnapshot, snapshot_free)

/* `room_mib`: for guests; 0: the node is down. */
static void add_node(PlanSnapshot *snapshot, const char *name, gint64 room_mib, gint64 cpus)
{
    Node *node = object_new(&node_type);
    node->name = g_strdup(name);
    g_ptr_array_add(snapshot->nodes, node);
    if (room_mib > 0) {
        NodeStatus *status = object_new(&node_status_type);
        status->node = g_strdup(name);
        status->memory_mib = room_mib + NODE_RESERVE_MIB;
        status->cpus = cpus;
        g_ptr_array_add(snapshot->node_statuses, status);
    }
}

/* `nodes`: "n1 n2"; `home`: where it runs, NULL: it does not yet. */
static Guest *add_guest(PlanSnapshot *snapshot, const char *name, const char *nodes, const char *home,
                        gint64 memory_mib, gint64 vcpus)
{
    Guest *guest = object_new(&guest_type);
    guest->name = g_strdup(name);
    guest->nodes = g_strsplit(nodes, " ", -1);
    guest->spec.memory_mib = memory_mib;
    guest->spec.vcpus = vcpus;
    guest->spec.desired = GUEST_DESIRED_RUNNING;
    g_ptr_array_add(snapshot->guests, guest);
    if (home) {
        g_hash_table_insert(snapshot->homes, g_strdup(name), g_strdup(home));
    }
    return guest;
}

static void assert_room(const PlanSnapshot *snapshot, const char *node, gint64 memory_mib, const char *memory_lost,
                        gint64 vcpus, const char *vcpus_lost)
{
    AdmissionRoom room;
    g_test_message("%s", node);
    g_assert_true(admission_room(snapshot, node, NULL, &room));
    g_assert_cmpint(room.memory_used_mib, ==, memory_mib);
    g_assert_cmpstr(room.memory_lost, ==, memory_lost);
    g_assert_cmpint(room.vcpus_used, ==, vcpus);
    g_assert_cmpstr(room.vcpus_lost, ==, vcpus_lost);
}

static void test_room(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_new();
    add_node(snapshot, "n1", 1000, 2);
    add_node(snapshot, "n2", 1000, 2);
    add_node(snapshot, "n3", 1000, 2);
    add_node(snapshot, "n4", 0, 0);
    add_guest(snapshot, "a", "n1 n2", "n1", 100, 1);
    add_guest(snapshot, "b", "n2 n1", "n2", 200, 1);
    add_guest(snapshot, "c", "n3 n1", "n3", 150, 4);
    assert_room(snapshot, "n1", 300, "n2", 5, "n3"); /* never both losses at once, and each figure by itself */
    assert_room(snapshot, "n2", 300, "n1", 2, "n1");
    assert_room(snapshot, "n3", 150, NULL, 4, NULL);
    add_guest(snapshot, "moved", "n1 n3", "n3", 10, 1);
    assert_room(snapshot, "n3", 160, NULL, 5, NULL);
    assert_room(snapshot, "n1", 300, "n2", 6, "n3");
    add_guest(snapshot, "starting", "n4 n2", NULL, 7, 1); /* its first node is down: it will be on the other */
    assert_room(snapshot, "n2", 307, "n1", 3, "n1");
    add_guest(snapshot, "stopped", "n2 n1", NULL, 5000, 60)->spec.desired = GUEST_DESIRED_STOPPED;
    add_guest(snapshot, "leaving", "n2 n1", NULL, 5000, 60)->deleting = TRUE;
    assert_room(snapshot, "n2", 307, "n1", 3, "n1");
    add_guest(snapshot, "stopping", "n2 n1", "n2", 3, 1)->spec.desired = GUEST_DESIRED_STOPPED; /* there still */
    assert_room(snapshot, "n2", 310, "n1", 4, "n1");
    AdmissionRoom room;
    g_assert_false(admission_room(snapshot, "n4", NULL, &room));
}

static void test_check(void)
{
    static const struct {
        const char *nodes;
        gint64 memory_mib, vcpus;
        const char *text; /* NULL: admitted */
    } cases[] = {
        {"n1 n2", 700, 1, NULL}, /* n1: 1000 - 100 - 200 from n2 */
        {"n2 n1", 700, 1, NULL},
        {"n1 n2", 701, 1,
         "spec.memory_mib: node n1 has no room for guest 'new' with the loss of any one node in reserve: it has 1000 "
         "MiB memory for guests, and those there need 300 MiB if n2 is lost; this guest needs 701 MiB. Stop a guest "
         "there, move one whose replicas are elsewhere too, or give this one less with 'holdfast guest set'"},
        {"n3", 900, 1, NULL},
        {"n3", 901, 1,
         "spec.memory_mib: node n3 has no room for guest 'new' with the loss of any one node in reserve: it has 900 "
         "MiB memory for guests, and those there need 0 MiB; this guest needs 901 MiB. Stop a guest there, move one "
         "whose replicas are elsewhere too, or give this one less with 'holdfast guest set'"},
        {"n3 n2", 10, 16, NULL}, /* how many CPUs n3 has is not known */
        {"n1 n3", 10, 14, NULL},
        {"n1 n3", 10, 15,
         "spec.vcpus: node n1 has no room for guest 'new' with the loss of any one node in reserve: it can run 16 "
         "vCPUs (8 for each CPU), and the guests there have 2 if n2 is lost; this guest has 15. Stop a guest there, "
         "move one whose replicas are elsewhere too, or give this one less with 'holdfast guest set'"},
        {"n4", 5000, 1, NULL}, /* nothing is known, and it cannot start there now */
    };
    g_autoptr(PlanSnapshot) snapshot = snapshot_new();
    add_node(snapshot, "n1", 1000, 2);
    add_node(snapshot, "n2", 1000, 4);
    add_node(snapshot, "n3", 900, 0);
    add_node(snapshot, "n4", 0, 0);
    add_guest(snapshot, "a", "n1 n2", "n1", 100, 1);
    add_guest(snapshot, "b", "n2 n1", "n2", 200, 1);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        /* In the store it is stopped, or runs and is asked for again: it is not counted twice. */
        Guest *guest = add_guest(snapshot, "new", cases[i].nodes, NULL, cases[i].memory_mib, cases[i].vcpus);
        gboolean ok = admission_check(snapshot, guest, &error);
        g_assert_cmpint(ok, ==, !cases[i].text);
        if (cases[i].text) {
            g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE);
            g_assert_cmpstr(error->message, ==, cases[i].text);
        }
        g_ptr_array_remove(snapshot->guests, guest);
    }
}

static void test_problems(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_new();
    add_node(snapshot, "n1", 1000, 2);
    add_node(snapshot, "n2", 600, 2);
    add_guest(snapshot, "a", "n1 n2", "n1", 400, 1);
    add_guest(snapshot, "b", "n2 n1", "n2", 200, 1);
    g_auto(GStrv) none = admission_problems(snapshot);
    g_assert_cmpuint(g_strv_length(none), ==, 0);
    add_guest(snapshot, "c", "n1 n2", "n1", 1, 1);
    g_auto(GStrv) one = admission_problems(snapshot);
    g_assert_cmpuint(g_strv_length(one), ==, 1);
    g_assert_cmpstr(one[0], ==,
                    "if n1 is lost, not all guests have room: n2 has 600 MiB for guests, those there need 200 MiB and "
                    "those coming over 401 MiB; the ones of lowest priority would stay down: move or stop guests, or "
                    "give n2 memory");
}

/* After a loss, with too little left: who waits is told so, and nobody who only has not started yet. */
static void test_shortage(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_new();
    add_node(snapshot, "n1", 0, 0);
    add_node(snapshot, "n2", 1000, 2);
    add_guest(snapshot, "high", "n1 n2", "n2", 900, 1);
    add_guest(snapshot, "low", "n1 n2", NULL, 101, 1);
    add_guest(snapshot, "starting", "n2 n1", NULL, 100, 1);
    add_guest(snapshot, "away", "n1", NULL, 5000, 1);
    add_guest(snapshot, "stopped", "n2", NULL, 5000, 1)->spec.desired = GUEST_DESIRED_STOPPED;
    g_auto(GStrv) texts = admission_problems(snapshot);
    g_assert_cmpuint(g_strv_length(texts), ==, 1);
    g_assert_cmpstr(texts[0], ==,
                    "guest 'low' has no room to run: it needs 101 MiB and n2 has 100 MiB left; guests of higher "
                    "priority come first: stop one there, move one away or raise its priority with 'holdfast guest "
                    "set'");
}

/* --- brute force: no sums of the worst, but every start and every loss played through */

/* Where a guest is after `lost` (NULL: no loss) when it was on `place`; NULL: nowhere. */
static const char *place_after(const PlanSnapshot *snapshot, const Guest *guest, const char *place, const char *lost)
{
    if (!lost || strcmp(place, lost) != 0) {
        return place;
    }
    const char *peer = guest_peer_node(guest, lost);
    for (guint i = 0; peer && i < snapshot->node_statuses->len; i++) {
        if (strcmp(((const NodeStatus *) snapshot->node_statuses->pdata[i])->node, peer) == 0) {
            return peer;
        }
    }
    return NULL;
}

static gboolean node_holds(const PlanSnapshot *snapshot, const NodeStatus *status, const char *lost,
                           const Guest *started, const char *start)
{
    gint64 memory_mib = 0, vcpus = 0;
    for (guint i = 0; i < snapshot->guests->len; i++) {
        const Guest *guest = snapshot->guests->pdata[i];
        const char *place = guest == started ? start : g_hash_table_lookup(snapshot->homes, guest->name);
        const char *after = place ? place_after(snapshot, guest, place, lost) : NULL;
        if (after && strcmp(after, status->node) == 0) {
            memory_mib += guest->spec.memory_mib;
            vcpus += guest->spec.vcpus;
        }
    }
    return memory_mib <= status->memory_mib - NODE_RESERVE_MIB &&
           (status->cpus == 0 || vcpus <= status->cpus * ADMISSION_VCPUS_PER_CPU);
}

/* Whether `guest` has room wherever it starts, and whatever is lost then. */
static gboolean brute_force(const PlanSnapshot *snapshot, const Guest *guest)
{
    gboolean ok = TRUE;
    for (char **start = guest->nodes; *start; start++) {
        for (guint l = 0; l <= snapshot->node_statuses->len; l++) {
            const char *lost = l == 0 ? NULL : ((const NodeStatus *) snapshot->node_statuses->pdata[l - 1])->node;
            const char *after = place_after(snapshot, guest, *start, lost);
            for (guint i = 0; after && i < snapshot->node_statuses->len; i++) {
                const NodeStatus *status = snapshot->node_statuses->pdata[i];
                if (strcmp(status->node, after) == 0) {
                    ok = ok && node_holds(snapshot, status, lost, guest, *start);
                }
            }
        }
    }
    return ok;
}

static char *random_nodes(GRand *random, gint32 n_nodes)
{
    gint32 first = g_rand_int_range(random, 0, n_nodes), second = g_rand_int_range(random, 0, n_nodes);
    return first == second ? g_strdup_printf("n%d", first) : g_strdup_printf("n%d n%d", first, second);
}

/* Guests come one after the other, each admitted or not, and start on either of their nodes. The answer is that of the
 * brute force every time, and a cluster filled so never has a node whose loss leaves somebody without memory. */
static void test_property(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(20260101);
    guint admitted = 0, refused = 0;
    for (guint round = 0; round < 300; round++) {
        g_autoptr(PlanSnapshot) snapshot = snapshot_new();
        gint32 n_nodes = g_rand_int_range(random, 2, NODES_MAX + 1);
        for (gint32 i = 0; i < n_nodes; i++) {
            g_autofree char *name = g_strdup_printf("n%d", i);
            add_node(snapshot, name, g_rand_int_range(random, 1, 60), g_rand_int_range(random, 0, 4));
        }
        for (guint i = 0; i < 14; i++) {
            g_autofree char *name = g_strdup_printf("g%u", i);
            g_autofree char *nodes = random_nodes(random, n_nodes);
            Guest *guest =
                add_guest(snapshot, name, nodes, NULL, g_rand_int_range(random, 1, 12), g_rand_int_range(random, 1, 8));
            gboolean ok = admission_check(snapshot, guest, NULL);
            g_assert_cmpint(ok, ==, brute_force(snapshot, guest));
            admitted += ok;
            refused += !ok;
            if (ok) {
                guint at = (guint) g_rand_int_range(random, 0, (gint32) g_strv_length(guest->nodes));
                g_hash_table_insert(snapshot->homes, g_strdup(name), g_strdup(guest->nodes[at]));
            } else {
                g_ptr_array_remove(snapshot->guests, guest);
            }
            g_auto(GStrv) problems = admission_problems(snapshot);
            g_assert_cmpuint(g_strv_length(problems), ==, 0);
        }
    }
    g_assert_cmpuint(admitted, >, 500); /* both answers were really put to the test */
    g_assert_cmpuint(refused, >, 500);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/admission/room", test_room);
    g_test_add_func("/admission/check", test_check);
    g_test_add_func("/admission/problems", test_problems);
    g_test_add_func("/admission/shortage", test_shortage);
    g_test_add_func("/admission/property", test_property);
    return g_test_run();
}
