/* SPDX-License-Identifier: Apache-2.0
 * Reading what is projected: what must not be taken for absent, and one revision for all of it. */
#include "cluster/projection.h"
#include "cluster/witness.h"
#include "tests/unit/cluster/etcd_fixture.h"

#define NODE_TEXT "{\"version\":1,\"name\":\"n1\",\"id\":1,\"ring0\":\"10.0.0.1\"}"
#define DEVICE_TEXT "{\"version\":1,\"node\":\"n1\",\"agent\":\"fence_ipmilan\",\"state\":\"proven\"}"
#define WITNESS_TEXT "{\"version\":1,\"name\":\"w1\",\"address\":\"10.0.0.9\",\"ready\":%s}"
#define GUEST_TEXT(name)                                                                                               \
    "{\"version\":1,\"name\":\"" name                                                                                  \
    "\",\"uuid\":\"u\",\"slot\":1,\"nodes\":[\"n1\"],\"spec\":{\"memory_mib\":64,\"volumes\":[]}}"
#define NEWER_GUEST_TEXT "{\"version\":2,\"name\":\"web2\",\"of_tomorrow\":true}"

static char *record_text(RecordState state)
{
    Record record = {.generation = 3, .state = state};
    g_strlcpy(record.in_sync[0], "n1", RECORD_NAME_MAX);
    return record_encode(&record);
}

static void add(GPtrArray *entries, const char *name, const char *value)
{
    StoreEntry *entry = g_new0(StoreEntry, 1);
    entry->key = g_strconcat(STORE_ROOT, name, NULL);
    entry->value = g_strdup(value);
    g_ptr_array_add(entries, entry);
}

static GPtrArray *entries_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify) store_entry_free);
}

static void test_complete(void)
{
    g_autoptr(GPtrArray) entries = entries_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *damaged = NULL;
    char *stopped = record_text(RECORD_STOPPED), *fresh = record_text(RECORD_NEW);
    add(entries, "node/n1", NODE_TEXT);
    add(entries, "fence/n1", DEVICE_TEXT);
    add(entries, "guest/web1", GUEST_TEXT("web1"));
    add(entries, "guest/new1", GUEST_TEXT("new1"));
    add(entries, "guest/bare", GUEST_TEXT("bare"));
    add(entries, "record/web1", stopped);
    add(entries, "record/new1", fresh);
    free(stopped);
    free(fresh);
    g_autoptr(ProjectionInput) input = projection_input_from(entries, &damaged, &error);
    g_assert_no_error(error);
    g_assert_null(damaged);
    g_assert_false(input->incomplete);
    g_assert_cmpuint(input->nodes->len, ==, 1);
    g_assert_cmpint(((const FenceDevice *) input->fence_devices->pdata[0])->state, ==, FENCE_PROVEN);
    g_assert_cmpuint(input->guests->len, ==, 3);
    const ProjectionGuest *web = input->guests->pdata[0], *new1 = input->guests->pdata[1],
                          *bare = input->guests->pdata[2];
    g_assert_true(web->ready && web->have_record && record_is_in_sync(&web->record, "n1"));
    g_assert_true(!new1->ready && new1->have_record);
    g_assert_true(!bare->ready && !bare->have_record);
}

/* A document of a newer version, or a damaged one, is a guest all the same. */
static void test_guest_that_cannot_be_read(void)
{
    g_autoptr(GPtrArray) entries = entries_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *damaged = NULL;
    add(entries, "node/n1", NODE_TEXT);
    add(entries, "guest/web1", GUEST_TEXT("web1"));
    add(entries, "guest/web2", NEWER_GUEST_TEXT);
    g_autoptr(ProjectionInput) input = projection_input_from(entries, &damaged, &error);
    g_assert_no_error(error);
    g_assert_true(input->incomplete);
    g_assert_cmpuint(input->guests->len, ==, 1);
    g_assert_nonnull(strstr(damaged, "guest/web2"));
}

/* Its vote counts once it has joined, and among an even number of nodes. */
static void test_witness(void)
{
    static const struct {
        const char *ready;
        gboolean second_node, votes;
    } cases[] = {{"true", TRUE, TRUE}, {"true", FALSE, FALSE}, {"false", TRUE, FALSE}};
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GPtrArray) entries = entries_new();
        g_autoptr(GError) error = NULL;
        g_autofree char *witness = g_strdup_printf(WITNESS_TEXT, cases[i].ready);
        add(entries, "cluster/witness", witness);
        add(entries, "node/n1", NODE_TEXT);
        if (cases[i].second_node) {
            add(entries, "node/n2", NODE_TEXT);
        }
        g_autoptr(ProjectionInput) input = projection_input_from(entries, NULL, &error);
        g_assert_no_error(error);
        g_assert_cmpint(input->quorum_device, ==, cases[i].votes);
    }
}

/* With these unknown, even the fencing would come out wrong. */
static void test_refusals(void)
{
    static const struct {
        const char *name, *value;
        int code;
    } cases[] = {
        {"node/n2", "{", HOLDFAST_ERROR_INVALID},
        {"fence/n1", "{\"version\":2}", HOLDFAST_ERROR_UNSUPPORTED},
        {"cluster/witness", "{", HOLDFAST_ERROR_INVALID},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GPtrArray) entries = entries_new();
        g_autoptr(GError) error = NULL;
        add(entries, "node/n1", NODE_TEXT);
        add(entries, cases[i].name, cases[i].value);
        g_assert_null(projection_input_from(entries, NULL, &error));
        g_assert_error(error, HOLDFAST_ERROR, cases[i].code);
    }
    g_autoptr(GPtrArray) empty = entries_new();
    g_autoptr(GError) error = NULL;
    g_assert_null(projection_input_from(empty, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
}

static void test_from_a_store(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 2000);
    g_autoptr(GError) error = NULL;
    g_autofree char *witness = g_strdup_printf(WITNESS_TEXT, "true");
    put(store, STORE_ROOT "node/n1", NODE_TEXT);
    put(store, STORE_ROOT "node/n2", NODE_TEXT);
    put(store, WITNESS_KEY, witness);
    gint64 device_revision = put(store, STORE_ROOT "fence/n1", DEVICE_TEXT);
    put(store, STORE_ROOT "guest/web1", GUEST_TEXT("web1"));
    put(store, STORE_ROOT "status/n1/guest/web1", "{}");
    g_autoptr(ProjectionInput) input = projection_input_read(store, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(input->guests->len, ==, 1);
    g_assert_cmpint(((const FenceDevice *) input->fence_devices->pdata[0])->revision, ==, device_revision);
    g_assert_true(input->quorum_device);
    g_assert_false(input->incomplete);
    etcd_freeze(etcd);
    g_assert_null(projection_input_read(store, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
}

/* After a rescue or restore: nothing is projected until an operator says so, and a record in doubt is no record. */
static void test_rescued(void)
{
    static const char *const held = "{\"version\":1,\"id\":\"r1\",\"kind\":\"restored\",\"node\":\"n1\",\"at\":\"now\","
                                    "\"revision\":9}";
    static const char *const confirmed = "{\"version\":1,\"id\":\"r1\",\"kind\":\"majority-lost\",\"node\":\"n1\","
                                         "\"at\":\"now\",\"revision\":9,\"confirmed_at\":\"later\"}";
    for (int round = 0; round < 3; round++) {
        g_autoptr(GPtrArray) entries = entries_new();
        g_autoptr(GError) error = NULL;
        Record record = {.generation = 3, .state = RECORD_STOPPED, .in_sync = {"n1"}, .unconfirmed = "r1"};
        char *text = record_encode(&record);
        add(entries, "cluster/rescued", round == 0 ? held : round == 1 ? confirmed : "{}");
        add(entries, "node/n1", NODE_TEXT);
        add(entries, "guest/web1", GUEST_TEXT("web1"));
        add(entries, "record/web1", text);
        free(text);
        g_autoptr(ProjectionInput) input = projection_input_from(entries, NULL, &error);
        g_assert_cmpint(input != NULL, ==, round == 1);
        g_assert_cmpint(g_error_matches(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED), ==, round == 0);
        g_assert_true(!input || !((const ProjectionGuest *) input->guests->pdata[0])->have_record);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/projection-input/complete", test_complete);
    g_test_add_func("/projection-input/guest-that-cannot-be-read", test_guest_that_cannot_be_read);
    g_test_add_func("/projection-input/rescued", test_rescued);
    g_test_add_func("/projection-input/witness", test_witness);
    g_test_add_func("/projection-input/refusals", test_refusals);
    g_test_add_func("/projection-input/from-a-store", test_from_a_store);
    return g_test_run();
}
