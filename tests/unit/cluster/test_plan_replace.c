/* SPDX-License-Identifier: Apache-2.0
 * Where a replica is built anew. */
#include "cluster/plan.h"
#include "common/error.h"

#include <string.h>

#define MIB ((gint64) 1024 * 1024)

typedef struct {
    PlanSnapshot snapshot;
    Guest *guest; /* web1 on n1 and n2, 600 MiB of memory and 1000 MiB of disk; runs on n1 */
} Fixture;

static NodeStatus *add_node(Fixture *f, const char *name, gint64 pool_mib, gint64 memory_mib)
{
    Node *node = object_new(&node_type);
    NodeStatus *status = object_new(&node_status_type);
    node->name = g_strdup(name);
    status->node = g_strdup(name);
    status->pool_size_mib = pool_mib;
    status->memory_mib = memory_mib + NODE_RESERVE_MIB;
    g_ptr_array_add(f->snapshot.nodes, node);
    g_ptr_array_add(f->snapshot.node_statuses, status);
    return status;
}

static Guest *add_guest(Fixture *f, const char *name, gint64 slot, const char *nodes, gint64 memory_mib)
{
    Guest *guest = object_new(&guest_type);
    guest->name = g_strdup(name);
    guest->slot = slot;
    guest->nodes = g_strsplit(nodes, " ", -1);
    guest->spec.memory_mib = memory_mib;
    guest->spec.vcpus = 1;
    guest->spec.replicas = 2;
    guest->spec.desired = GUEST_DESIRED_RUNNING;
    g_ptr_array_add(f->snapshot.guests, guest);
    g_hash_table_insert(f->snapshot.homes, guest->name, guest->nodes[0]);
    return guest;
}

static void fixture_start(Fixture *f)
{
    f->snapshot = (PlanSnapshot){
        .nodes = g_ptr_array_new_with_free_func((GDestroyNotify) node_free),
        .node_statuses = g_ptr_array_new_with_free_func((GDestroyNotify) node_status_free),
        .guests = g_ptr_array_new_with_free_func((GDestroyNotify) guest_free),
        .volumes = g_ptr_array_new_with_free_func((GDestroyNotify) volume_free),
        .images = g_ptr_array_new_with_free_func((GDestroyNotify) image_free),
        .networks = g_ptr_array_new_with_free_func((GDestroyNotify) network_free),
        .homes = g_hash_table_new(g_str_hash, g_str_equal),
    };
    add_node(f, "n1", 10000, 2000);
    f->guest = add_guest(f, "web1", 1, "n1 n2", 600);
    Volume *volume = object_new(&volume_type);
    volume->guest = g_strdup("web1");
    volume->size_bytes = 1000 * MIB;
    volume->image = g_strdup("gone"); /* of an image that nobody has any more: it is not asked for */
    g_ptr_array_add(f->snapshot.volumes, volume);
    /* n2 is gone: it says nothing of itself. */
    Node *silent = object_new(&node_type);
    silent->name = g_strdup("n2");
    g_ptr_array_add(f->snapshot.nodes, silent);
}

static void fixture_clear(Fixture *f)
{
    g_hash_table_unref(f->snapshot.homes);
    g_ptr_array_unref(f->snapshot.nodes);
    g_ptr_array_unref(f->snapshot.node_statuses);
    g_ptr_array_unref(f->snapshot.guests);
    g_ptr_array_unref(f->snapshot.volumes);
    g_ptr_array_unref(f->snapshot.images);
    g_ptr_array_unref(f->snapshot.networks);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, fixture_clear)

static char *picked(const Fixture *f, const char *wanted)
{
    char *to = NULL;
    g_autofree char *reasons = NULL;
    g_autoptr(GError) error = NULL;
    g_assert_true(plan_replace(&f->snapshot, f->guest, "n2", wanted, &to, &reasons, &error));
    g_assert_no_error(error);
    g_autofree char *chosen = g_strdup_printf("%s: chosen", to);
    g_assert_nonnull(strstr(reasons, chosen));
    g_assert_null(strstr(reasons, "image"));
    return to;
}

static void assert_refused(const Fixture *f, const char *from, const char *wanted, int code, const char *says)
{
    g_autofree char *to = NULL;
    g_autoptr(GError) error = NULL;
    g_assert_false(plan_replace(&f->snapshot, f->guest, from, wanted, &to, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, code);
    if (!strstr(error->message, says)) {
        g_assert_cmpstr(error->message, ==, says);
    }
    g_assert_null(to);
}

static void test_picks(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f);
    add_node(&f, "n3", 5000, 2000);
    add_node(&f, "n4", 9000, 2000);
    g_autofree char *best = picked(&f, NULL);
    g_assert_cmpstr(best, ==, "n4"); /* most room, and n1 with more has the other replica */
    g_autofree char *wanted = picked(&f, "n3");
    g_assert_cmpstr(wanted, ==, "n3");
    /* A guest to be apart from has a replica on n4. */
    add_guest(&f, "db1", 2, "n4 n1", 100);
    const char *apart[] = {"db1", NULL};
    f.guest->spec.keep_apart = g_strdupv((char **) apart);
    g_autofree char *away = picked(&f, NULL);
    g_assert_cmpstr(away, ==, "n3");
}

static void test_refused(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f);
    assert_refused(
        &f, "n2", NULL, HOLDFAST_ERROR_REFUSED,
        "to: no node can take a replica of guest 'web1' (n1: it has the other replica; n2: its replica is the "
        "one to be replaced)");
    NodeStatus *n3 = add_node(&f, "n3", 900, 2000);
    assert_refused(&f, "n2", NULL, HOLDFAST_ERROR_NO_SPACE,
                   "n3: its pool has 900 MiB free of 900 MiB, the volumes need 1000 MiB");
    assert_refused(&f, "n2", "n3", HOLDFAST_ERROR_NO_SPACE, "to: 'n3' cannot take a replica of guest 'web1': its pool");
    n3->pool_size_mib = 5000;
    n3->memory_mib = 500 + NODE_RESERVE_MIB;
    assert_refused(&f, "n2", "n3", HOLDFAST_ERROR_NO_SPACE, "500 MiB memory");
    n3->memory_mib = 2000 + NODE_RESERVE_MIB;
    ((Node *) f.snapshot.nodes->pdata[2])->leaving = TRUE;
    assert_refused(&f, "n2", "n3", HOLDFAST_ERROR_REFUSED, "leaving");
    assert_refused(&f, "n2", "n1", HOLDFAST_ERROR_REFUSED, "it has the other replica");
    assert_refused(&f, "n2", "n2", HOLDFAST_ERROR_REFUSED, "the one to be replaced");
    assert_refused(&f, "n2", "w1", HOLDFAST_ERROR_NOT_FOUND, "to: there is no node 'w1'");
    assert_refused(&f, "n3", NULL, HOLDFAST_ERROR_INVALID, "from: guest 'web1' has no replica on 'n3'");
    g_clear_pointer(&f.guest->nodes[0], g_free);
    f.guest->nodes[0] = f.guest->nodes[1];
    f.guest->nodes[1] = NULL;
    assert_refused(&f, "n2", NULL, HOLDFAST_ERROR_REFUSED, "only replica");
}

/* Every replacement has its own secret and id, and the document survives its codec. */
static void test_apply(void)
{
    g_autoptr(Guest) guest = object_new(&guest_type);
    guest->name = g_strdup("web1");
    guest->uuid = g_strdup("u");
    guest->slot = 1;
    guest->spec.vcpus = 1;
    guest->spec.memory_mib = 64;
    guest->spec.replicas = 2;
    guest->nodes = g_strsplit("n2 n1", " ", -1);
    guest->drbd_secret = g_strdup("00");
    g_autofree char *before = object_to_text(&guest_type, guest);
    g_assert_null(strstr(before, "joining")); /* absent otherwise */
    plan_replace_apply(guest, "n1", "n3");
    g_autofree char *secret = g_strdup(guest->drbd_secret), *id = g_strdup(guest->joining_id);
    g_assert_cmpuint(strlen(secret), ==, 32);
    plan_replace_apply(guest, guest->nodes[0], "n4");
    g_assert_cmpstr(guest->drbd_secret, !=, secret);
    g_assert_cmpstr(guest->joining_id, !=, id);
    g_autofree char *text = object_to_text(&guest_type, guest);
    g_autoptr(Guest) read = object_from_text(&guest_type, text, "guest", NULL);
    g_assert_nonnull(read);
    g_assert_cmpstr(read->nodes[0], ==, "n1");
    g_assert_cmpstr(read->nodes[1], ==, "n4");
    g_assert_null(read->nodes[2]);
    g_assert_cmpstr(read->joining, ==, "n4");
    g_assert_cmpstr(read->joining_id, ==, guest->joining_id);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/plan-replace/picks", test_picks);
    g_test_add_func("/plan-replace/refused", test_refused);
    g_test_add_func("/plan-replace/apply", test_apply);
    return g_test_run();
}
