/* SPDX-License-Identifier: Apache-2.0
 * When a replica may be given up, how far its replacement is, and when what is left of it may go: tables; and the
 * transactions against a real etcd. */
#include "node-agent/replica_join.h"
#include "node-agent/replica_replace.h"
#include "node-agent/verbs.h"

#include "common/error.h"
#include "common/ident.h"
#include "tests/unit/node-agent/daemon_fixture.h"
#include "tests/unit/storage/fake_runner.h"

#include <stdlib.h>

#define MIB ((gint64) 1024 * 1024)

static char *old_nodes[] = {"n1", "n2", NULL}, *new_nodes[] = {"n1", "n3", NULL};

/* "n1 n2": running on n1 in the life b1, unless told otherwise. */
static Record record_of(const char *in_sync)
{
    Record record = {.generation = 7, .state = RECORD_RUNNING, .owner = "n1", .owner_boot_id = "b1"};
    g_auto(GStrv) names = g_strsplit(in_sync, " ", -1);
    for (guint i = 0; names[i] && i < RECORD_NODES_MAX; i++) {
        g_strlcpy(record.in_sync[i], names[i], RECORD_NAME_MAX);
    }
    return record;
}

/* ---- the decision ---- */

typedef struct {
    Guest guest;
    Record record;
    ReplaceFacts facts;
} Case;

static void case_start(Case *c, const char *in_sync)
{
    *c = (Case){.guest = {.name = "web1", .uuid = "u", .nodes = old_nodes}, .record = record_of(in_sync)};
    c->facts = (ReplaceFacts){.guest = &c->guest,
                              .record = &c->record,
                              .node = "n1",
                              .boot_id = "b1",
                              .from = "n2",
                              .to = "n3",
                              .quorate = TRUE,
                              .to_present = TRUE,
                              .disks_whole = TRUE};
}

static void assert_allowed(const Case *c)
{
    Record after;
    g_autoptr(GError) error = NULL;
    g_assert_true(replica_replace_decide(&c->facts, &after, &error));
    g_assert_no_error(error);
    /* Always a new generation: a clear that was decided before must fail. */
    g_assert_cmpint(after.generation, ==, 8);
    g_assert_true(record_is_in_sync(&after, "n1"));
    g_assert_false(record_is_in_sync(&after, "n2") || record_is_in_sync(&after, "n3"));
    g_assert_cmpstr(after.owner, ==, "n1");
}

static void assert_refused(const Case *c, int code, const char *says)
{
    Record after = {0};
    g_autoptr(GError) error = NULL;
    g_assert_false(replica_replace_decide(&c->facts, &after, &error));
    g_assert_error(error, HOLDFAST_ERROR, code);
    if (!strstr(error->message, says)) {
        g_assert_cmpstr(error->message, ==, says);
    }
    g_assert_cmpint(after.generation, ==, 0);
}

static void test_decide(void)
{
    Case c;
    case_start(&c, "n1"); /* the usual one: the other node is gone, and recorded as gone */
    assert_allowed(&c);
    c.facts.from_present = TRUE; /* back, and not in sync */
    assert_allowed(&c);

    case_start(&c, "n1 n2");
    assert_refused(&c, HOLDFAST_ERROR_BUSY, "just being recorded");
    c.facts.unprotected = TRUE;
    assert_refused(&c, HOLDFAST_ERROR_BUSY, "just being recorded");
    c.facts.from_present = TRUE;
    assert_allowed(&c);
    c.facts.unprotected = FALSE; /* said honestly */
    assert_refused(&c, HOLDFAST_ERROR_REFUSED, "until then the guest depends on n1 alone. --unprotected does that");

    case_start(&c, "n2");
    assert_refused(&c, HOLDFAST_ERROR_REFUSED, "the only current copy of guest 'web1' is on n2");
    c.facts.unprotected = TRUE;
    assert_refused(&c, HOLDFAST_ERROR_REFUSED, "the only current copy of guest 'web1' is on n2");
}

static void test_decide_where_it_runs(void)
{
    Case c;
    case_start(&c, "n1");
    c.record.state = RECORD_STOPPED;
    assert_refused(&c, HOLDFAST_ERROR_REFUSED, "'holdfast guest start web1'");
    c.record.state = RECORD_NEW;
    assert_refused(&c, HOLDFAST_ERROR_BUSY, "being created");
    case_start(&c, "n1 n2");
    g_strlcpy(c.record.owner, "n2", RECORD_NAME_MAX);
    assert_refused(&c, HOLDFAST_ERROR_REFUSED, "does not run on n1");
    case_start(&c, "n1");
    c.facts.boot_id = "b2"; /* an earlier life of this node */
    assert_refused(&c, HOLDFAST_ERROR_REFUSED, "does not run on n1");
    case_start(&c, "n1 n2");
    c.facts.from_present = c.facts.unprotected = TRUE;
    g_strlcpy(c.record.handover_to, "n2", RECORD_NAME_MAX);
    g_strlcpy(c.record.handover_id, "h", RECORD_NAME_MAX);
    assert_refused(&c, HOLDFAST_ERROR_REFUSED, "hand-over to n2 is under way");
    case_start(&c, "n1");
    g_strlcpy(c.record.unconfirmed, "r1", RECORD_NAME_MAX);
    assert_refused(&c, HOLDFAST_ERROR_REFUSED, "in doubt");
}

static void test_decide_rest(void)
{
    Case c;
    case_start(&c, "n1");
    c.facts.disks_whole = FALSE;
    assert_refused(&c, HOLDFAST_ERROR_REFUSED, "no whole copy");
    case_start(&c, "n1");
    c.facts.quorate = FALSE;
    assert_refused(&c, HOLDFAST_ERROR_UNAVAILABLE, "n1 is not in a quorate cluster");
    case_start(&c, "n1");
    c.facts.to_present = FALSE;
    assert_refused(&c, HOLDFAST_ERROR_UNAVAILABLE, "n3 is not in a quorate cluster with this node");
    case_start(&c, "n1");
    c.guest.deleting = TRUE;
    assert_refused(&c, HOLDFAST_ERROR_BUSY, "deleted");
    case_start(&c, "n1");
    c.guest.preferred_node = (char *) "n2";
    assert_refused(&c, HOLDFAST_ERROR_BUSY, "moved");
    case_start(&c, "n1");
    c.guest.nodes = new_nodes; /* somebody else was first */
    assert_refused(&c, HOLDFAST_ERROR_CONFLICT, "n1 and n3");
    case_start(&c, "n1");
    c.facts.from = "n1";
    assert_refused(&c, HOLDFAST_ERROR_CONFLICT, "n1 and n2");
}

/* ---- how far it is ---- */

static GuestStatus *status_new(const char *connection, const char *peer_disk, gint64 permille)
{
    GuestStatus *status = object_new(&guest_status_type);
    VolumeStatus *volume = g_new0(VolumeStatus, 1);
    status->ready = TRUE;
    status->condition = g_strdup("");
    volume->role = g_strdup("Primary");
    volume->connection = g_strdup(connection);
    volume->peer_disk = g_strdup(peer_disk);
    volume->resync_permille = permille;
    g_ptr_array_add(status->volumes, volume);
    return status;
}

static void assert_progress(const Guest *guest, const char *in_sync, const GuestStatus *keeper,
                            const GuestStatus *joining, gint64 done_mib, const char *stage)
{
    Record record = record_of(in_sync);
    ReplaceProgress progress = replica_replace_progress(guest, &record, "n3", keeper, joining);
    g_autofree char *text = progress.stage;
    g_assert_cmpint(progress.done, ==, done_mib * MIB);
    g_assert_cmpint(progress.total, ==, 1000 * MIB);
    g_assert_cmpstr(text, ==, stage);
    g_assert_true(progress.complete == !stage);
}

static void test_progress(void)
{
    Guest guest = {.name = "web1", .nodes = new_nodes, .joining = (char *) "n3"};
    GuestVolumeSpec volume = {.size_mib = 1000};
    g_autoptr(GPtrArray) volumes = g_ptr_array_new();
    g_ptr_array_add(volumes, &volume);
    guest.spec.volumes = volumes;
    g_autoptr(GuestStatus) alone = status_new("WFConnection", "Outdated", 1000);
    g_autoptr(GuestStatus) copying = status_new("SyncSource", "Inconsistent", 250);
    g_autoptr(GuestStatus) equal = status_new("Connected", "UpToDate", 1000);
    g_autoptr(GuestStatus) other = object_new(&guest_status_type);
    other->condition = g_strdup("no room for hf-web1-0");
    assert_progress(&guest, "n1", NULL, NULL, 0, "waiting for n1, which has the only current copy and does not report");
    assert_progress(&guest, "n1", alone, NULL, 0, "n3 makes its volumes");
    assert_progress(&guest, "n1", equal, NULL, 0, "n3 makes its volumes"); /* equal with the old one, still */
    assert_progress(&guest, "n1", alone, other, 0, "n3 makes its volumes: no room for hf-web1-0");
    other->ready = TRUE;
    assert_progress(&guest, "n1", alone, other, 0, "n1 connects to n3");
    assert_progress(&guest, "n1", copying, other, 250, "copying volume 0 to n3: resync 25 %");
    assert_progress(&guest, "n1", equal, other, 1000, "n3 is complete and is being recorded");
    guest.joining = NULL;
    assert_progress(&guest, "n1 n3", equal, other, 1000, NULL);
    guest.nodes = old_nodes;
    Record record = record_of("n1");
    g_assert_true(replica_replace_progress(&guest, &record, "n3", equal, other).superseded);
}

/* ---- what is left of it ---- */

static void test_unwanted(void)
{
    Guest guest = {.name = "web1", .uuid = (char *) "u", .nodes = new_nodes};
    Record record = record_of("n1 n3");
    g_assert_true(replica_is_unwanted(&guest, &record, "u", "n2"));
    g_assert_false(replica_is_unwanted(&guest, &record, "u", "n3")); /* it is wanted */
    g_assert_false(replica_is_unwanted(&guest, &record, "v", "n2")); /* another guest's */
    g_strlcpy(record.unconfirmed, "r1", RECORD_NAME_MAX);
    g_assert_false(replica_is_unwanted(&guest, &record, "u", "n2"));
    record = record_of("n1");
    g_assert_false(replica_is_unwanted(&guest, &record, "u", "n2")); /* the new one is not complete */
    guest.joining = (char *) "n3";
    record = record_of("n1 n3");
    g_assert_false(replica_is_unwanted(&guest, &record, "u", "n2"));
    guest.joining = NULL;
    record = record_of("n1 n2");
    g_assert_false(replica_is_unwanted(&guest, &record, "u", "n2")); /* the record counts on it: something is wrong */
    record = record_of("n1 n3");
    record.state = RECORD_NEW;
    g_assert_false(replica_is_unwanted(&guest, &record, "u", "n2"));
    guest.deleting = TRUE;
    g_assert_true(replica_is_unwanted(&guest, &record, "u", "n2"));
}

/* ---- the transactions ---- */

typedef struct {
    Fixture base; /* first: the fixture's functions take it */
    FakeWorld world;
    const char *self;
    Manifest manifest;
} Live;

static void put_node(Live *live, const char *name, gint64 id)
{
    g_autoptr(Node) node = object_new(&node_type);
    g_autofree char *key = g_strconcat("node/", name, NULL);
    node->name = g_strdup(name);
    node->ring0 = g_strdup("192.0.2.1");
    node->id = id;
    fixture_put(&live->base, key, &node_type, node);
    g_autoptr(NodeStatus) status = object_new(&node_status_type);
    g_autofree char *status_key = g_strdup_printf("status/%s/node", name);
    status->node = g_strdup(name);
    status->memory_mib = 4000;
    status->pool_size_mib = 4000;
    fixture_put(&live->base, status_key, &node_status_type, status);
}

static void put_record(Live *live, const Record *record)
{
    char *text = record_encode(record);
    put(live->base.daemon.store, STORE_ROOT "record/web1", text);
    free(text);
}

static Record get_record(Live *live)
{
    Record record;
    g_assert_true(record_read(live->base.daemon.store, "web1", &record, NULL, NULL));
    return record;
}

/* web1 runs here with its disk whole; its other replica was on n2, which is gone and recorded as gone. */
static void live_set_up(Live *live, gconstpointer data)
{
    fixture_set_up(&live->base, data);
    live->self = ident_node_name();
    live->base.config.node = (char *) live->self;
    live->base.daemon.published = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    live->base.daemon.view = (MembershipView){.connected = TRUE, .quorate = TRUE, .n_nodes = 2, .nodes = {1, 3}};
    fake_world_start(&live->world);
    live->base.daemon.runner = &live->world.runner;
    fixture_load(&live->base);
    put_node(live, live->self, 1);
    put_node(live, "n2", 2);
    put_node(live, "n3", 3);
    Guest *guest = &live->manifest.guest;
    guest->version = 1;
    guest->name = g_strdup("web1");
    guest->uuid = g_strdup("u");
    guest->slot = 5;
    guest->drbd_secret = g_strdup("5ec7e7");
    guest->spec.vcpus = 1;
    guest->spec.memory_mib = 100;
    guest->spec.replicas = 2;
    guest->spec.volumes = g_ptr_array_new();
    GuestVolumeSpec *spec = g_new0(GuestVolumeSpec, 1);
    spec->size_mib = 64;
    g_ptr_array_add(guest->spec.volumes, spec);
    const char *nodes[] = {live->self, "n2", NULL};
    guest->nodes = g_strdupv((char **) nodes);
    live->manifest.version = 1;
    live->manifest.volumes = g_ptr_array_new();
    Volume *volume = object_new(&volume_type);
    volume->guest = g_strdup("web1");
    volume->size_bytes = 64 * MIB;
    g_ptr_array_add(live->manifest.volumes, volume);
    live->manifest.peer_node = g_strdup("n2");
    fixture_put(&live->base, "guest/web1", &guest_type, guest);
    fixture_put(&live->base, "volume/web1-0", &volume_type, volume);
    Record record = record_of(live->self);
    g_strlcpy(record.owner, live->self, RECORD_NAME_MAX);
    g_strlcpy(record.owner_boot_id, ident_boot_id(), RECORD_NAME_MAX);
    put_record(live, &record);
    FakeMinor *minor = g_new0(FakeMinor, 1);
    FakeLv *lv = g_new0(FakeLv, 1);
    lv->active = lv->metadata = TRUE;
    minor->lv = g_strdup("hf-web1-0");
    minor->primary = minor->fencing = TRUE;
    g_hash_table_insert(live->world.lvs, g_strdup("hf-web1-0"), lv);
    g_hash_table_insert(live->world.minors, GINT_TO_POINTER(80), minor);
    fixture_catch_up(&live->base);
}

static void live_tear_down(Live *live, gconstpointer data)
{
    json_struct_clear(&manifest_type, &live->manifest);
    g_hash_table_unref(live->base.daemon.published);
    fixture_tear_down(&live->base, data);
    fake_world_clear(&live->world);
}

static json_t *replace(Live *live, const char *to, GError **error)
{
    g_autoptr(json_t) arguments = json_pack("{s:s,s:s,s:s}", "guest", "web1", "from", "n2", "to", to);
    return replica_replace_here(&live->base.daemon, &live->manifest, arguments, error);
}

static gint64 revision_of(Live *live, const char *key)
{
    g_autoptr(StoreEntry) entry = store_get(live->base.daemon.store, key, NULL, NULL);
    g_assert_nonnull(entry);
    return entry->mod_revision;
}

/* Guest, record and operation change together. */
static void test_replace(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) operation = replace(live, "n3", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(json_string_value(json_object_get(operation, "argument")), ==, "n3");
    g_autoptr(Guest) guest = fixture_get(&live->base, "guest/web1", &guest_type);
    g_assert_cmpstr(guest->nodes[0], ==, live->self);
    g_assert_cmpstr(guest->nodes[1], ==, "n3");
    g_assert_cmpstr(guest->joining, ==, "n3");
    g_assert_cmpstr(guest->drbd_secret, !=, "5ec7e7");
    Record record = get_record(live);
    g_assert_cmpint(record.generation, ==, 8);
    g_assert_true(record_is_in_sync(&record, live->self) && record.in_sync[1][0] == '\0');
    g_assert_cmpint(revision_of(live, STORE_ROOT "guest/web1"), ==, revision_of(live, STORE_ROOT "record/web1"));
    /* Asked for once more by somebody who has not seen that. */
    g_assert_null(replace(live, "n3", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT);
}

static void test_replace_refused(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    live->world.suspended = TRUE;
    g_assert_null(replace(live, "n3", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    live->world.suspended = FALSE;
    g_assert_null(replace(live, "n9", &error)); /* it was removed meanwhile */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
    live->base.daemon.view.nodes[1] = 2; /* n2 is there, n3 is not */
    g_assert_null(replace(live, "n3", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_autoptr(Guest) guest = fixture_get(&live->base, "guest/web1", &guest_type);
    g_assert_cmpstr(guest->nodes[1], ==, "n2");
    g_assert_cmpint(get_record(live).generation, ==, 7);
}

/* The verb plans it; here is the node that runs the guest, so no peer is called. */
static void test_verb(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) wrong = json_pack("{s:s,s:s}", "name", "web1", "from", "n3");
    g_assert_null(verb_run(&live->base.daemon, "guest.replace_replica", wrong, "t", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_autoptr(json_t) full = json_pack("{s:s,s:s,s:s}", "name", "web1", "from", "n2", "to", "n2");
    g_assert_null(verb_run(&live->base.daemon, "guest.replace_replica", full, "t", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_autoptr(json_t) backwards = json_pack("{s:s,s:s}", "name", "web1", "from", live->self);
    g_assert_null(verb_run(&live->base.daemon, "guest.replace_replica", backwards, "t", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_assert_nonnull(strstr(error->message, "on n2, which is not in the cluster"));
}

/* The new replica enters the record, and is one like any other from then on. */
static void test_clear(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) operation = replace(live, "n3", &error);
    g_assert_no_error(error);
    gint64 revision = revision_of(live, STORE_ROOT "guest/web1");
    g_autoptr(Guest) guest = fixture_get(&live->base, "guest/web1", &guest_type);
    Manifest next = {.guest = *guest, .volumes = live->manifest.volumes, .peer_node = (char *) "n3"};
    Record looked_at = get_record(live);
    /* A mark since DRBD was looked at. */
    Record moved = looked_at;
    moved.generation--;
    g_assert_false(replica_record_clear(&live->base.daemon, &next, revision, &moved, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_true(replica_record_clear(&live->base.daemon, &next, revision, &looked_at, &error));
    g_assert_no_error(error);
    Record record = get_record(live);
    g_assert_true(record_is_in_sync(&record, live->self) && record_is_in_sync(&record, "n3"));
    g_autoptr(Guest) whole = fixture_get(&live->base, "guest/web1", &guest_type);
    g_assert_null(whole->joining);
    g_assert_null(whole->joining_id);
    g_assert_cmpstr(whole->drbd_secret, ==, guest->drbd_secret);
    g_assert_cmpint(revision_of(live, STORE_ROOT "guest/web1"), ==, revision_of(live, STORE_ROOT "record/web1"));
}

/* Found by thinking it through: a round that knows the guest's old document and the record's new generation (the cache
 * takes one key after the other) sees DRBD connected and UpToDate with the OLD peer, and must not record that one. */
static void test_clear_of_the_old_peer(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    gint64 old_revision = revision_of(live, STORE_ROOT "guest/web1");
    g_autoptr(json_t) operation = replace(live, "n3", &error);
    g_assert_no_error(error);
    Record looked_at = get_record(live);
    g_assert_false(
        replica_record_clear(&live->base.daemon, &live->manifest, old_revision, &looked_at, &error)); /* n2 */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT);
    Record record = get_record(live);
    g_assert_false(record_is_in_sync(&record, "n2"));
}

/* On the new node nothing is made or removed on the word of an old document. */
static void test_join_prepare(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    Guest *guest = &live->manifest.guest;
    fake_lv("hf-web1-0")->tag = g_strdup("hf-uuid-u");
    fake_minor(80)->primary = FALSE;
    guest->joining = g_strdup(live->self);
    guest->joining_id = g_strdup("j1");
    VolumeSet set = {.runner = &live->world.runner,
                     .guest = guest,
                     .volumes = live->manifest.volumes,
                     .node = live->self,
                     .address = "10.0.0.1",
                     .peer_address = "10.0.0.2"};
    g_assert_false(replica_join_prepare(&live->base.daemon, &set, &error)); /* the store knows of no such wish */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT);
    g_clear_error(&error);
    fixture_put(&live->base, "guest/web1", &guest_type, guest);
    g_assert_false(replica_join_prepare(&live->base.daemon, &set, &error)); /* the record counts on us */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_nonnull(fake_lv("hf-web1-0"));
    Record record = record_of("n2");
    g_strlcpy(record.owner, "n2", RECORD_NAME_MAX);
    g_strlcpy(record.unconfirmed, "r1", RECORD_NAME_MAX);
    put_record(live, &record);
    g_assert_false(replica_join_prepare(&live->base.daemon, &set, &error)); /* in doubt */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_nonnull(fake_lv("hf-web1-0"));
    memset(record.unconfirmed, 0, sizeof(record.unconfirmed));
    put_record(live, &record);
    g_assert_true(replica_join_prepare(&live->base.daemon, &set, &error));
    g_assert_no_error(error);
    g_assert_null(fake_lv("hf-web1-0")); /* of before */
    g_assert_cmpstr(live->world.violation, ==, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/replica-replace/decide", test_decide);
    g_test_add_func("/replica-replace/decide-where-it-runs", test_decide_where_it_runs);
    g_test_add_func("/replica-replace/decide-rest", test_decide_rest);
    g_test_add_func("/replica-replace/progress", test_progress);
    g_test_add_func("/replica-replace/unwanted", test_unwanted);
    static const struct {
        const char *path;
        void (*run)(Live *live, gconstpointer data);
    } tests[] = {
        {"/replica-replace/store", test_replace},
        {"/replica-replace/store-refused", test_replace_refused},
        {"/replica-replace/verb", test_verb},
        {"/replica-join/clear", test_clear},
        {"/replica-join/clear-of-the-old-peer", test_clear_of_the_old_peer},
        {"/replica-join/prepare", test_join_prepare},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add(tests[i].path, Live, NULL, live_set_up, tests[i].run, live_tear_down);
    }
    return g_test_run();
}
