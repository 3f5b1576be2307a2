/* SPDX-License-Identifier: Apache-2.0
 * Planning of guests and moves. */
#include "cluster/plan.h"
#include "common/error.h"

#include <string.h>

#define MIB (1024 * 1024)

static PlanSnapshot *snapshot_new(void)
{
    PlanSnapshot *snapshot = g_new0(PlanSnapshot, 1);
    snapshot->nodes = g_ptr_array_new_with_free_func((GDestroyNotify) node_free);
    snapshot->node_statuses = g_ptr_array_new_with_free_func((GDestroyNotify) node_status_free);
    snapshot->guests = g_ptr_array_new_with_free_func((GDestroyNotify) guest_free);
    snapshot->volumes = g_ptr_array_new_with_free_func((GDestroyNotify) volume_free);
    snapshot->images = g_ptr_array_new_with_free_func((GDestroyNotify) image_free);
    snapshot->networks = g_ptr_array_new_with_free_func((GDestroyNotify) network_free);
    return snapshot;
}

static void snapshot_free(PlanSnapshot *snapshot)
{
    g_ptr_array_unref(snapshot->nodes);
    g_ptr_array_unref(snapshot->node_statuses);
    g_ptr_array_unref(snapshot->guests);
    g_ptr_array_unref(snapshot->volumes);
    g_ptr_array_unref(snapshot->images);
    g_ptr_array_unref(snapshot->networks);
    g_free(snapshot);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PlanSnapshot, snapshot_free)

static Node *add_silent_node(PlanSnapshot *snapshot, const char *name)
{
    Node *node = object_new(&node_type);
    node->name = g_strdup(name);
    g_ptr_array_add(snapshot->nodes, node);
    return node;
}

static NodeStatus *add_node(PlanSnapshot *snapshot, const char *name, gint64 pool_mib, gint64 used_permille,
                            gint64 memory_mib)
{
    add_silent_node(snapshot, name);
    NodeStatus *status = object_new(&node_status_type);
    status->node = g_strdup(name);
    status->pool_size_mib = pool_mib;
    status->pool_used_permille = used_permille;
    status->memory_mib = memory_mib;
    status->memory_free_mib = memory_mib;
    g_ptr_array_add(snapshot->node_statuses, status);
    return status;
}

/* `nodes` is "n1 n2". */
static Guest *add_guest(PlanSnapshot *snapshot, const char *name, gint64 slot, const char *nodes, gint64 memory_mib)
{
    Guest *guest = object_new(&guest_type);
    guest->name = g_strdup(name);
    guest->slot = slot;
    guest->nodes = g_strsplit(nodes, " ", -1);
    guest->spec.memory_mib = memory_mib;
    guest->spec.desired = GUEST_DESIRED_RUNNING;
    g_ptr_array_add(snapshot->guests, guest);
    return guest;
}

static void add_image(PlanSnapshot *snapshot, const char *name, gint64 size_bytes, const char *nodes)
{
    Image *image = object_new(&image_type);
    image->name = g_strdup(name);
    image->size_bytes = size_bytes;
    image->nodes = nodes ? g_strsplit(nodes, " ", -1) : NULL;
    g_ptr_array_add(snapshot->images, image);
}

static void add_network(PlanSnapshot *snapshot, const char *name)
{
    Network *network = object_new(&network_type);
    network->name = g_strdup(name);
    g_ptr_array_add(snapshot->networks, network);
}

/* Three equal nodes, an image on n2 and a network. */
static PlanSnapshot *snapshot_usual(void)
{
    PlanSnapshot *snapshot = snapshot_new();
    add_node(snapshot, "n3", 10000, 0, 4096);
    add_node(snapshot, "n1", 10000, 0, 4096);
    add_node(snapshot, "n2", 10000, 0, 4096);
    add_image(snapshot, "debian", 1000 * (gint64) MIB + 1, "n2");
    add_network(snapshot, "lan");
    return snapshot;
}

/* Everything one call gave back. */
typedef struct {
    Guest *guest;
    GPtrArray *volumes;
    char *reasons;
    GError *error;
} Plan;

static void plan_clear(Plan *plan)
{
    guest_free(plan->guest);
    g_clear_pointer(&plan->volumes, g_ptr_array_unref);
    g_free(plan->reasons);
    g_clear_error(&plan->error);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Plan, plan_clear)

static gboolean plan(const PlanSnapshot *snapshot, const char *name, const char *spec_text, Plan *ret)
{
    g_autoptr(json_t) json = json_text_parse(spec_text, -1, "spec", NULL);
    GuestSpec spec;
    GError *error = NULL;
    g_assert_true(guest_spec_from_json(json, &spec, &error));
    g_assert_no_error(error);
    gboolean ok = plan_guest(snapshot, name, &spec, &ret->guest, &ret->volumes, &ret->reasons, &ret->error);
    json_struct_clear(&guest_spec_type, &spec);
    g_assert_true(ok == (ret->guest != NULL) && ok == (ret->volumes != NULL) && ok == (ret->error == NULL));
    return ok;
}

#define SPEC_PLAIN "{\"memory_mib\":256,\"volumes\":[{\"size_mib\":100}]}"
#define SPEC_SINGLE "{\"memory_mib\":256,\"replicas\":1,\"volumes\":[{\"size_mib\":100}]}"
#define SPEC_IMAGE "{\"memory_mib\":256,\"volumes\":[{\"image\":\"debian\"},{\"size_mib\":8}]}"

static void assert_nodes(const PlanSnapshot *snapshot, const char *spec, const char *nodes)
{
    g_auto(Plan) result = {0};
    plan(snapshot, "web1", spec, &result);
    g_assert_no_error(result.error);
    g_autofree char *got = g_strjoinv(" ", result.guest->nodes);
    g_assert_cmpstr(got, ==, nodes);
}

static void test_whole_guest(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    add_guest(snapshot, "old", 1, "n1 n2", 100);
    g_auto(Plan) result = {0};
    plan(snapshot, "web1",
         "{\"memory_mib\":256,\"description\":\"shop\",\"volumes\":[{\"image\":\"debian\"},{\"size_mib\":8}],"
         "\"nics\":[{\"network\":\"lan\"},{\"network\":\"lan\",\"mac\":\"52:54:00:00:00:01\"}]}",
         &result);
    g_assert_no_error(result.error);
    const Guest *guest = result.guest;
    g_assert_cmpstr(guest->name, ==, "web1");
    g_assert_true(g_uuid_string_is_valid(guest->uuid));
    g_assert_cmpuint(strlen(guest->drbd_secret), ==, 32);
    g_assert_cmpint(guest->slot, ==, 2);
    g_assert_cmpint(guest->version, ==, 1);
    g_assert_nonnull(guest->created_at);
    g_assert_false(guest->deleting);
    g_assert_cmpstr(guest->spec.description, ==, "shop");
    g_assert_cmpstr(((GuestNic *) guest->spec.nics->pdata[0])->mac, ==, "52:54:48:00:02:00");
    g_assert_cmpstr(((GuestNic *) guest->spec.nics->pdata[1])->mac, ==, "52:54:00:00:00:01");
    g_assert_cmpuint(result.volumes->len, ==, 2);
    const Volume *boot = result.volumes->pdata[0];
    const Volume *data = result.volumes->pdata[1];
    g_assert_cmpstr(boot->guest, ==, "web1");
    g_assert_cmpstr(boot->image, ==, "debian");
    g_assert_cmpint(boot->size_bytes, ==, 1004 * (gint64) MIB); /* the image rounded up to 4 MiB */
    g_assert_cmpint(((GuestVolumeSpec *) guest->spec.volumes->pdata[0])->size_mib, ==, 1004);
    g_assert_cmpint(data->index, ==, 1);
    g_assert_cmpint(data->size_bytes, ==, 8 * (gint64) MIB);
    g_assert_null(data->image);
    g_autofree char *text = object_to_text(&guest_type, guest); /* what is planned can be stored and read */
    g_autoptr(Guest) again = object_from_text(&guest_type, text, "guest", &result.error);
    g_assert_no_error(result.error);
}

static void test_secrets_differ(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    g_auto(Plan) one = {0};
    g_auto(Plan) two = {0};
    g_assert_true(plan(snapshot, "a", SPEC_PLAIN, &one));
    g_assert_true(plan(snapshot, "a", SPEC_PLAIN, &two));
    g_assert_cmpstr(one.guest->drbd_secret, !=, two.guest->drbd_secret);
    g_assert_cmpstr(one.guest->uuid, !=, two.guest->uuid);
}

static void test_placement(void)
{
    g_autoptr(PlanSnapshot) equal = snapshot_usual();
    assert_nodes(equal, SPEC_PLAIN, "n1 n2"); /* by name */
    assert_nodes(equal, SPEC_SINGLE, "n1");
    assert_nodes(equal, SPEC_IMAGE, "n2 n1"); /* the holder initialises */
    add_guest(equal, "old", 1, "n1", 1);
    assert_nodes(equal, SPEC_PLAIN, "n2 n3"); /* more memory before name */
    ((NodeStatus *) equal->node_statuses->pdata[1])->pool_size_mib = 10001;
    assert_nodes(equal, SPEC_PLAIN, "n1 n2"); /* more pool before memory */
    ((NodeStatus *) equal->node_statuses->pdata[0])->pool_size_mib = 20000;
    assert_nodes(equal, SPEC_PLAIN, "n3 n1");
    ((NodeStatus *) equal->node_statuses->pdata[0])->pool_used_permille = 501;
    assert_nodes(equal, SPEC_PLAIN, "n1 n2"); /* free, not size */
    ((Node *) equal->nodes->pdata[1])->leaving = TRUE;
    assert_nodes(equal, SPEC_PLAIN, "n2 n3");
}

static void test_reasons(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    add_silent_node(snapshot, "n4");
    add_silent_node(snapshot, "n5")->leaving = TRUE;
    add_node(snapshot, "n6", 1000, 900, 4096);
    g_auto(Plan) result = {0};
    g_assert_true(plan(snapshot, "web1", SPEC_IMAGE, &result));
    g_assert_cmpstr(result.reasons, ==,
                    "n2: chosen, 10000 MiB of pool free, 3584 MiB of memory left\n"
                    "n1: chosen, 10000 MiB of pool free, 3584 MiB of memory left, does not hold the image\n"
                    "n3: usable, 10000 MiB of pool free, 3584 MiB of memory left, does not hold the image\n"
                    "n6: its pool is 90 % full (metadata 0 %), nothing new from 90 % on\n"
                    "n4: it is down or its agent does not report\n"
                    "n5: it is leaving the cluster");
}

static void assert_fails(const PlanSnapshot *snapshot, const char *name, const char *spec, int code,
                         const char *message)
{
    g_auto(Plan) result = {0};
    g_assert_false(plan(snapshot, name, spec, &result));
    g_assert_error(result.error, HOLDFAST_ERROR, code);
    g_assert_cmpstr(result.error->message, ==, message);
    g_assert_null(result.reasons);
}

static void test_bad_input(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    Guest *old = add_guest(snapshot, "old", 1, "n1 n2", 100);
    GuestNic *nic = g_new0(GuestNic, 1);
    nic->network = g_strdup("lan");
    nic->mac = g_strdup("52:54:00:00:00:01");
    g_ptr_array_add(old->spec.nics, nic);
    assert_fails(snapshot, "old", SPEC_PLAIN, HOLDFAST_ERROR_EXISTS, "name: there is a guest 'old' already");
    old->deleting = TRUE;
    assert_fails(snapshot, "old", SPEC_PLAIN, HOLDFAST_ERROR_EXISTS,
                 "name: there is a guest 'old' already, still being deleted: retry when it is gone");
    assert_fails(
        snapshot, "Old", SPEC_PLAIN, HOLDFAST_ERROR_INVALID,
        "name: 'Old' must be 1 to 40 characters of a-z, 0-9 and '-', begin with a letter and not end with '-'");
    assert_fails(
        snapshot, "web1",
        "{\"memory_mib\":256,\"volumes\":[{\"size_mib\":4}],\"nics\":[{\"network\":\"lan\"},{\"network\":\"x\"}]}",
        HOLDFAST_ERROR_NOT_FOUND, "spec.nics[1].network: there is no network 'x'");
    assert_fails(snapshot, "web1",
                 "{\"memory_mib\":256,\"volumes\":[{\"size_mib\":4}],\"nics\":[{\"network\":\"lan\",\"mac\":\"52:54:00:"
                 "00:00:01\"}]}",
                 HOLDFAST_ERROR_EXISTS, "spec.nics[0].mac: guest 'old' has 52:54:00:00:00:01 already");
    assert_fails(snapshot, "web1", "{\"memory_mib\":256,\"volumes\":[{\"size_mib\":4},{\"image\":\"x\"}]}",
                 HOLDFAST_ERROR_NOT_FOUND, "spec.volumes[1].image: there is no image 'x'");
    assert_fails(snapshot, "web1", "{\"memory_mib\":256,\"volumes\":[{\"image\":\"debian\",\"size_mib\":1000}]}",
                 HOLDFAST_ERROR_INVALID,
                 "spec.volumes[0].size_mib: must be at least 1004 to hold image 'debian', not 1000");
}

static void test_image_exact_size(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    assert_nodes(snapshot, "{\"memory_mib\":256,\"volumes\":[{\"image\":\"debian\",\"size_mib\":1004}]}", "n2 n1");
}

static void test_pool(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_new();
    NodeStatus *status = add_node(snapshot, "n1", 1000, 500, 4096);
    assert_nodes(snapshot, "{\"memory_mib\":256,\"replicas\":1,\"volumes\":[{\"size_mib\":500}]}", "n1");
    assert_fails(snapshot, "web1",
                 "{\"memory_mib\":256,\"replicas\":1,\"volumes\":[{\"size_mib\":252},{\"size_mib\":252}]}",
                 HOLDFAST_ERROR_NO_SPACE,
                 "spec.replicas: 1 needs as many usable nodes, there are 0 (n1: its pool has 500 MiB free of 1000 MiB, "
                 "the volumes "
                 "need 504 MiB): ask for less, or stop or delete guests there");
    status->pool_used_permille = 899;
    assert_nodes(snapshot, "{\"memory_mib\":256,\"replicas\":1,\"volumes\":[{\"size_mib\":100}]}", "n1");
    status->pool_used_permille = 900;
    assert_fails(snapshot, "web1", "{\"memory_mib\":256,\"replicas\":1,\"volumes\":[{\"size_mib\":4}]}",
                 HOLDFAST_ERROR_NO_SPACE,
                 "spec.replicas: 1 needs as many usable nodes, there are 0 (n1: its pool is 90 % full (metadata 0 %), "
                 "nothing new "
                 "from 90 % on): ask for less, or stop or delete guests there");
    status->pool_used_permille = 0;
    status->pool_metadata_permille = 950;
    assert_fails(snapshot, "web1", "{\"memory_mib\":256,\"replicas\":1,\"volumes\":[{\"size_mib\":4}]}",
                 HOLDFAST_ERROR_NO_SPACE,
                 "spec.replicas: 1 needs as many usable nodes, there are 0 (n1: its pool is 0 % full (metadata 95 %), "
                 "nothing new "
                 "from 90 % on): ask for less, or stop or delete guests there");
}

static void test_memory(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_new();
    add_node(snapshot, "n1", 1000, 0, 2048);
    add_node(snapshot, "n2", 1000, 0, 8192);
    add_guest(snapshot, "a", 1, "n1 n2", 700);
    add_guest(snapshot, "b", 2, "n2 n1", 580); /* counts on both: it may come over */
    add_guest(snapshot, "c", 3, "n2", 1000);
    assert_nodes(snapshot, SPEC_PLAIN, "n2 n1"); /* 2048 - 512 - 1280 = 256 */
    assert_fails(snapshot, "web1", "{\"memory_mib\":257,\"volumes\":[{\"size_mib\":4}]}", HOLDFAST_ERROR_NO_SPACE,
                 "spec.replicas: 2 needs as many usable nodes, there is 1 (n2: usable, 1000 MiB of pool free, 5400 MiB "
                 "of memory "
                 "left; n1: it has 1536 MiB memory for guests, and those there need 1280 MiB if n2 is lost; this guest "
                 "needs 257 MiB): ask for less, or stop or delete guests there");
}

/* Company and distance count before room; what does not exist or contradicts is refused. */
static void test_relations(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    add_node(snapshot, "n4", 10000, 0, 4096);
    add_guest(snapshot, "a", 1, "n3 n4", 10);
    assert_nodes(snapshot, SPEC_PLAIN, "n1 n2");
    assert_nodes(snapshot, "{\"memory_mib\":256,\"volumes\":[{\"size_mib\":100}],\"keep_together\":[\"a\"]}", "n3 n4");
    add_guest(snapshot, "b", 2, "n1 n3", 10);
    assert_nodes(
        snapshot,
        "{\"memory_mib\":256,\"volumes\":[{\"size_mib\":100}],\"keep_together\":[\"a\"],\"keep_apart\":[\"b\"]}",
        "n4 n2");
    assert_fails(snapshot, "web1", "{\"memory_mib\":256,\"volumes\":[{\"size_mib\":100}],\"start_after\":[\"x\"]}",
                 HOLDFAST_ERROR_NOT_FOUND,
                 "spec.start_after: there is no guest 'x'; 'holdfast guest list' shows what there is");
}

/* A guest a (256 MiB) on n1 n2 whose spec becomes what the rest of the text makes of it. */
static void assert_update(const PlanSnapshot *snapshot, const char *spec_text, int code, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) json = json_text_parse(spec_text, -1, "spec", NULL);
    GuestSpec spec;
    g_assert_true(guest_spec_from_json(json, &spec, &error));
    gboolean ok = plan_update(snapshot, snapshot->guests->pdata[0], &spec, &error);
    g_assert_cmpint(ok, ==, !message);
    if (message) {
        g_assert_error(error, HOLDFAST_ERROR, code);
        g_assert_cmpstr(error->message, ==, message);
    }
    json_struct_clear(&guest_spec_type, &spec);
}

#define UPDATE(memory, rest)                                                                                           \
    "{\"memory_mib\":" memory ",\"desired_state\":\"stopped\",\"volumes\":[{\"size_mib\":4}]" rest "}"

static void test_update(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    Guest *a = add_guest(snapshot, "a", 1, "n1 n2", 256);
    add_guest(snapshot, "b", 2, "n1 n3", 3000);
    a->spec.vcpus = 1;
    g_autoptr(GHashTable) homes = g_hash_table_new(g_str_hash, g_str_equal);
    snapshot->homes = homes;
    g_hash_table_insert(homes, "a", "n1");
    g_hash_table_insert(homes, "b", "n1");
    assert_update(snapshot, UPDATE("256", ",\"priority\":7,\"start_after\":[\"b\"],\"keep_apart\":[\"b\"]"), 0, NULL);
    assert_update(snapshot, UPDATE("256", ",\"start_after\":[\"a\"]"), HOLDFAST_ERROR_INVALID,
                  "spec.start_after: names guest 'a' itself");
    assert_update(snapshot, UPDATE("256", ",\"keep_apart\":[\"b\"],\"keep_apart_strict\":true"), HOLDFAST_ERROR_REFUSED,
                  "spec.keep_apart_strict: 'a' and 'b' both run on n1: move one of them first with 'holdfast guest "
                  "migrate'");
    assert_update(snapshot, UPDATE("128", ""), HOLDFAST_ERROR_REFUSED,
                  "spec.memory_mib: guest 'a' is not stopped, and changes from 256 to 128 only while it is: 'holdfast "
                  "guest stop a' first");
    a->spec.desired = GUEST_DESIRED_STOPPED; /* and is on its way down */
    assert_update(snapshot, UPDATE("256", ",\"vcpus\":2"), HOLDFAST_ERROR_REFUSED,
                  "spec.vcpus: guest 'a' is not stopped, and changes from 1 to 2 only while it is: 'holdfast guest "
                  "stop a' first");
    g_hash_table_remove(homes, "a");
    assert_update(snapshot, UPDATE("256", ",\"keep_apart\":[\"b\"],\"keep_apart_strict\":true"), 0, NULL);
    assert_update(snapshot, UPDATE("584", ",\"vcpus\":2"), 0, NULL); /* 4096 - 512 - 3000 */
    assert_update(snapshot, UPDATE("585", ""), HOLDFAST_ERROR_NO_SPACE,
                  "spec.memory_mib: node n1 has no room for guest 'a' with the loss of any one node in reserve: it has "
                  "3584 MiB memory for guests, and those there need 3000 MiB; this guest needs 585 MiB. Stop a guest "
                  "there, move one whose replicas are elsewhere too, or give this one less with 'holdfast guest set'");
    a->spec.memory_mib = 1000; /* too much already: less of it is welcome all the same */
    assert_update(snapshot, UPDATE("900", ""), 0, NULL);
    snapshot->homes = NULL;
}

static void test_too_few_nodes(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_new();
    assert_fails(snapshot, "web1", SPEC_SINGLE, HOLDFAST_ERROR_REFUSED,
                 "spec.replicas: 1 needs as many usable nodes, there are 0 (the cluster has no nodes)");
    add_node(snapshot, "n1", 1000, 0, 2048);
    add_silent_node(snapshot, "n2");
    add_silent_node(snapshot, "n3")->leaving = TRUE;
    assert_nodes(snapshot, SPEC_SINGLE, "n1");
    assert_fails(snapshot, "web1", SPEC_PLAIN, HOLDFAST_ERROR_REFUSED,
                 "spec.replicas: 2 needs as many usable nodes, there is 1 (n1: usable, 1000 MiB of pool free, 1536 MiB "
                 "of memory "
                 "left; n2: it is down or its agent does not report; n3: it is leaving the cluster)");
}

#define SPEC_OF(image) "{\"memory_mib\":32,\"volumes\":[{\"image\":\"" image "\"}]}"

static void test_image_holder(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    add_image(snapshot, "other", 4, "n1 n2");
    add_image(snapshot, "elsewhere", 4, "n3");
    assert_nodes(snapshot, SPEC_OF("other"), "n1 n2");
    assert_nodes(snapshot, SPEC_OF("elsewhere"), "n3 n1"); /* equal otherwise: no need to copy it */
    assert_nodes(snapshot, "{\"memory_mib\":32,\"volumes\":[{\"image\":\"other\"},{\"image\":\"debian\"}]}",
                 "n2 n1"); /* holds both */
    assert_nodes(snapshot, "{\"memory_mib\":32,\"volumes\":[{\"image\":\"elsewhere\"},{\"image\":\"debian\"}]}",
                 "n1 n2"); /* nobody holds both */
    /* Room counts more than a copy: the holder is not picked, and the best node will fetch the image. */
    ((NodeStatus *) snapshot->node_statuses->pdata[0])->pool_used_permille = 500;
    assert_nodes(snapshot, SPEC_OF("elsewhere"), "n1 n2");
    /* Picked as the second it is the one that fills the volumes. */
    ((NodeStatus *) snapshot->node_statuses->pdata[1])->pool_used_permille = 600;
    assert_nodes(snapshot, SPEC_OF("elsewhere"), "n3 n2");
}

static void test_image_away(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    add_silent_node(snapshot, "n4");
    add_silent_node(snapshot, "n5");
    add_image(snapshot, "one", 4, "n4");
    add_image(snapshot, "two", 4, "n4 n5");
    add_image(snapshot, "some", 4, "n4 n1");
    add_image(snapshot, "nowhere", 4, NULL);
    assert_nodes(snapshot, SPEC_OF("some"), "n1 n2");
    assert_fails(snapshot, "web1", SPEC_OF("one"), HOLDFAST_ERROR_UNAVAILABLE,
                 "spec.volumes[0].image: 'one' is only on n4, which is down or without an agent: bring it back, or "
                 "import the image again under another name");
    assert_fails(snapshot, "web1", SPEC_OF("two"), HOLDFAST_ERROR_UNAVAILABLE,
                 "spec.volumes[0].image: 'two' is only on n4 and n5, which are down or without an agent: bring one of "
                 "them back, or import the image again under another name");
    assert_fails(snapshot, "web1", SPEC_OF("nowhere"), HOLDFAST_ERROR_REFUSED,
                 "spec.volumes[0].image: no node holds image 'nowhere' any more: delete it and import it again");
}

static void assert_grows(const PlanSnapshot *snapshot, gint64 size_mib, int code, const char *message)
{
    GError *error = NULL;
    Volume volume = {.guest = "web1", .index = 1, .size_bytes = 100 * (gint64) MIB};
    char *nodes[] = {"n1", "n2", NULL};
    Guest guest = {.name = "web1", .nodes = nodes};
    g_assert_true(plan_grow(snapshot, &guest, &volume, size_mib, &error) == !message);
    if (message) {
        g_assert_error(error, HOLDFAST_ERROR, code);
        g_assert_cmpstr(error->message, ==, message);
        g_error_free(error);
    }
}

static void test_grow(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    NodeStatus *n1 = snapshot->node_statuses->pdata[1], *n2 = snapshot->node_statuses->pdata[2];
    assert_grows(snapshot, 104, 0, NULL);
    assert_grows(snapshot, 100, 0, NULL); /* asked for again */
    assert_grows(snapshot, 96, HOLDFAST_ERROR_INVALID,
                 "size_mib: volume 'web1-1' has 100 MiB and cannot shrink to 96; to get a smaller one, create a guest "
                 "with it and copy the data over inside the guests");
    assert_grows(snapshot, 102, HOLDFAST_ERROR_INVALID,
                 "size_mib: must be a multiple of 4 between 4 and 67108864, not 102");
    assert_grows(snapshot, 67108868, HOLDFAST_ERROR_INVALID,
                 "size_mib: must be a multiple of 4 between 4 and 67108864, not 67108868");
    assert_grows(snapshot, G_MAXINT64, HOLDFAST_ERROR_INVALID,
                 "size_mib: must be a multiple of 4 between 4 and 67108864, not 9223372036854775807");
    assert_grows(snapshot, -4, HOLDFAST_ERROR_INVALID,
                 "size_mib: must be a multiple of 4 between 4 and 67108864, not -4");
    n2->pool_used_permille = 899;
    assert_grows(snapshot, 1108, 0, NULL);
    assert_grows(snapshot, 1112, HOLDFAST_ERROR_NO_SPACE,
                 "size_mib: the pool of n2 has 1010 MiB free of 10000 MiB, growing needs 1012 MiB more: delete guests "
                 "there, add a disk to the pool or ask for less");
    n1->pool_metadata_permille = 900;
    assert_grows(snapshot, 1112, HOLDFAST_ERROR_NO_SPACE,
                 "size_mib: the pool of n1 is 0 % full (metadata 90 %), nothing grows from 90 % on; the pool of n2 has "
                 "1010 MiB free of 10000 MiB, growing needs 1012 MiB more: delete guests there, add a disk to the pool "
                 "or ask for less");
    assert_grows(snapshot, 100, 0, NULL); /* nothing more is needed */
    g_ptr_array_remove_index(snapshot->node_statuses, 2);
    assert_grows(snapshot, 104, HOLDFAST_ERROR_UNAVAILABLE,
                 "node n2, which has a replica, is down or its agent does not report: a volume grows on all its nodes "
                 "at once; try again when n2 is back");
}

static void test_slots(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    add_guest(snapshot, "a", 1, "n1", 0);
    add_guest(snapshot, "b", 3, "n1", 0);
    g_auto(Plan) gap = {0};
    g_assert_true(plan(snapshot, "web1", SPEC_SINGLE, &gap));
    g_assert_cmpint(gap.guest->slot, ==, 2);
    /* Somebody gave slot 2's MAC away by hand: the next slot serves. */
    GuestNic *nic = g_new0(GuestNic, 1);
    nic->mac = guest_default_mac(2, 0);
    g_ptr_array_add(((Guest *) snapshot->guests->pdata[0])->spec.nics, nic);
    g_auto(Plan) next = {0};
    g_assert_true(plan(snapshot, "web1",
                       "{\"memory_mib\":32,\"volumes\":[{\"size_mib\":4}],\"nics\":[{\"network\":\"lan\"}]}", &next));
    g_assert_cmpint(next.guest->slot, ==, 4);
}

static void test_slots_taken(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    for (int slot = 1; slot <= GUEST_SLOT_MAX; slot++) {
        g_autofree char *name = g_strdup_printf("g%d", slot);
        add_guest(snapshot, name, slot, "elsewhere", 0);
    }
    assert_fails(snapshot, "web1", SPEC_PLAIN, HOLDFAST_ERROR_NO_SPACE,
                 "name: all 4000 guest slots of the cluster are taken: delete a guest");
}

static void assert_move_fails(const PlanSnapshot *snapshot, const Guest *guest, const char *node, int code,
                              const char *message)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(plan_move(snapshot, guest, node, &error));
    g_assert_error(error, HOLDFAST_ERROR, code);
    g_assert_cmpstr(error->message, ==, message);
}

static void test_move(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_usual();
    const Guest *guest = add_guest(snapshot, "web1", 1, "n1 n2", 1000);
    g_autoptr(GError) error = NULL;
    g_assert_true(plan_move(snapshot, guest, "n1", &error));
    g_assert_true(plan_move(snapshot, guest, "n2", &error));
    g_assert_no_error(error);
    assert_move_fails(snapshot, guest, "n9", HOLDFAST_ERROR_NOT_FOUND, "node: there is no node 'n9'");
    assert_move_fails(snapshot, guest, "n3", HOLDFAST_ERROR_REFUSED,
                      "node: 'n3' holds no replica of guest 'web1': it can run on n1, n2");
    ((NodeStatus *) snapshot->node_statuses->pdata[2])->memory_free_mib = 999;
    assert_move_fails(snapshot, guest, "n2", HOLDFAST_ERROR_NO_SPACE,
                      "node: 'n2' has 999 MiB of memory free, guest 'web1' needs 1000 MiB");
    ((NodeStatus *) snapshot->node_statuses->pdata[2])->memory_free_mib = 1000;
    g_assert_true(plan_move(snapshot, guest, "n2", &error));
    ((Node *) snapshot->nodes->pdata[2])->leaving = TRUE;
    assert_move_fails(snapshot, guest, "n2", HOLDFAST_ERROR_REFUSED, "node: 'n2' is leaving the cluster");
    g_ptr_array_remove_index(snapshot->node_statuses, 1);
    assert_move_fails(snapshot, guest, "n1", HOLDFAST_ERROR_REFUSED, "node: 'n1' is down or its agent does not report");
}

static void test_kvm_wanted(void)
{
    g_autoptr(PlanSnapshot) snapshot = snapshot_new();
    const char *spec = "{\"memory_mib\":256,\"engine\":\"kvm\",\"replicas\":1,\"volumes\":[{\"size_mib\":8}]}";
    add_node(snapshot, "n1", 1000, 0, 2048);
    assert_nodes(snapshot, SPEC_SINGLE, "n1"); /* auto emulates */
    assert_fails(snapshot, "web1", spec, HOLDFAST_ERROR_REFUSED,
                 "spec.replicas: 1 needs as many usable nodes, there are 0 (n1: it has no KVM, which engine 'kvm' asks "
                 "for ('auto' would emulate))");
    add_node(snapshot, "n2", 900, 0, 2048)->kvm = TRUE;
    assert_nodes(snapshot, spec, "n2");

    Guest *guest = add_guest(snapshot, "web2", 1, "n1 n2", 256);
    guest->spec.engine = GUEST_ENGINE_KVM;
    g_autoptr(GError) error = NULL;
    g_assert_true(plan_move(snapshot, guest, "n2", &error));
    assert_move_fails(snapshot, guest, "n1", HOLDFAST_ERROR_REFUSED,
                      "node: 'n1' has no KVM, which engine 'kvm' of guest 'web2' asks for");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/plan/whole-guest", test_whole_guest);
    g_test_add_func("/plan/secrets-differ", test_secrets_differ);
    g_test_add_func("/plan/placement", test_placement);
    g_test_add_func("/plan/reasons", test_reasons);
    g_test_add_func("/plan/bad-input", test_bad_input);
    g_test_add_func("/plan/image-exact-size", test_image_exact_size);
    g_test_add_func("/plan/pool", test_pool);
    g_test_add_func("/plan/memory", test_memory);
    g_test_add_func("/plan/too-few-nodes", test_too_few_nodes);
    g_test_add_func("/plan/relations", test_relations);
    g_test_add_func("/plan/update", test_update);
    g_test_add_func("/plan/kvm-wanted", test_kvm_wanted);
    g_test_add_func("/plan/image-holder", test_image_holder);
    g_test_add_func("/plan/image-away", test_image_away);
    g_test_add_func("/plan/grow", test_grow);
    g_test_add_func("/plan/slots", test_slots);
    g_test_add_func("/plan/slots-taken", test_slots_taken);
    g_test_add_func("/plan/move", test_move);
    return g_test_run();
}
