/* SPDX-License-Identifier: Apache-2.0
 * Operations in a real store: who may still write one, waiting for one, and the documents changed beside them. */
#include "node-agent/guest_document.h"
#include "tests/unit/node-agent/daemon_fixture.h"

static Operation *operation_make(Fixture *fixture, const char *kind, const char *target, const char *node)
{
    GError *error = NULL;
    Operation *operation = operation_new(kind, target, NULL, node);
    operation_create(&fixture->daemon, operation, &error);
    g_assert_no_error(error);
    return operation;
}

static Operation *stored(Fixture *fixture, const Operation *operation)
{
    g_autofree char *name = g_strconcat("op/", operation->id, NULL);
    return fixture_get(fixture, name, &operation_type);
}

/* Progress keeps what others set; the end is leased, so that it goes away by itself. */
static void test_progress_and_end(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Daemon *daemon = &fixture->daemon;
    g_autoptr(GError) error = NULL;
    fixture_load(fixture);
    g_autoptr(Operation) operation = operation_make(fixture, "guest.migrate", "guest/web1", "n1");
    g_assert_true(operation_request_cancel(daemon, operation->id, &error));
    operation_stage(daemon, operation, "copying %d", 1);
    g_autoptr(Operation) copying = stored(fixture, operation);
    g_assert_cmpstr(copying->stage, ==, "copying 1");
    g_assert_true(copying->cancel_requested);
    fixture_catch_up(fixture);
    g_assert_true(operation_cancel_requested(daemon, operation));
    g_assert_false(operation_is_lost(daemon, operation));
    g_autoptr(Operation) found = operation_running_on(daemon, "guest/web1");
    g_assert_cmpstr(found->id, ==, operation->id);
    g_assert_null(operation_running_on(daemon, "guest/web"));
    operation_end(daemon, operation, NULL);
    g_autofree char *key = g_strconcat(STORE_ROOT "op/", operation->id, NULL);
    g_autoptr(StoreEntry) entry = store_get(daemon->store, key, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(entry->lease, !=, 0);
    g_assert_false(operation_request_cancel(daemon, operation->id, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    fixture_catch_up(fixture);
    g_assert_null(operation_running_on(daemon, "guest/web1"));
}

/* A driver that was given up for dead and lives after all must not bring its operation back to life. */
static void test_ended_by_another(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Daemon *daemon = &fixture->daemon;
    fixture_load(fixture);
    g_autoptr(Operation) operation = operation_make(fixture, "guest.migrate", "guest/web1", "n1");
    g_autoptr(Operation) judged = stored(fixture, operation);
    g_autoptr(GError) gone = g_error_new(HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "holdfastd on n1 is gone");
    operation_end(daemon, judged, gone);
    operation_stage(daemon, operation, "still at it");
    operation_end(daemon, operation, NULL);
    g_autoptr(Operation) after = stored(fixture, operation);
    g_assert_cmpint(after->state, ==, OPERATION_FAILED);
    g_assert_cmpstr(after->error, ==, "holdfastd on n1 is gone");
    fixture_catch_up(fixture);
    g_assert_true(operation_is_lost(daemon, operation));
    g_assert_true(operation_cancel_requested(daemon, operation));
}

static void test_take_over(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Daemon *daemon = &fixture->daemon;
    g_autoptr(GError) error = NULL;
    fixture_load(fixture);
    g_autoptr(Operation) operation = operation_make(fixture, "guest.stop", "guest/web1", "n2");
    g_assert_true(operation_take_over(daemon, operation, &error));
    g_autoptr(Operation) taken = stored(fixture, operation);
    g_assert_cmpstr(taken->node, ==, "n1");
    g_assert_nonnull(strstr(taken->stage, "n2"));
    operation_end(daemon, operation, NULL); /* as n2, which wakes up */
    g_autoptr(Operation) after = stored(fixture, operation);
    g_assert_cmpint(after->state, ==, OPERATION_RUNNING);
    operation_end(daemon, after, NULL);
    g_assert_false(operation_take_over(daemon, operation, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
}

/* --- waiting: in a thread, as the drivers do, while the main context keeps the cache current --- */

typedef struct {
    Fixture *fixture;
    const Operation *waiter;
    const char *id;
    int limit_ms;
    gboolean succeeded;
    GError *error;
    gint done;
} Wait;

static gpointer wait_thread(gpointer data)
{
    Wait *wait = data;
    wait->succeeded = operation_wait(&wait->fixture->daemon, wait->waiter, wait->id, wait->limit_ms, &wait->error);
    g_atomic_int_set(&wait->done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static void wait_join(Wait *wait, GThread *thread)
{
    while (!g_atomic_int_get(&wait->done)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_thread_join(thread);
}

/* Until the driver of `operation` is asked to stop. */
static void until_cancel_requested(Fixture *fixture, const Operation *operation)
{
    for (gboolean asked = FALSE; !asked;) {
        g_main_context_iteration(NULL, TRUE);
        asked = operation_cancel_requested(&fixture->daemon, operation);
    }
}

static void test_wait(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Daemon *daemon = &fixture->daemon;
    fixture_load(fixture);
    g_autoptr(Operation) waiter = operation_make(fixture, "node.standby", "node/n1", "n1");
    g_autoptr(Operation) good = operation_make(fixture, "guest.migrate", "guest/web1", "n1");
    g_autoptr(Operation) bad = operation_make(fixture, "guest.migrate", "guest/web2", "n1");
    g_autoptr(GError) refused = g_error_new(HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "the replica is not in sync");
    operation_end(daemon, good, NULL);
    operation_end(daemon, bad, refused);
    fixture_catch_up(fixture);
    g_autoptr(GError) error = NULL;
    g_assert_true(operation_wait(daemon, waiter, good->id, 1000, &error));
    g_assert_no_error(error);
    g_assert_false(operation_wait(daemon, waiter, bad->id, 1000, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_assert_cmpstr(error->message, ==, "the replica is not in sync");
}

/* Cancelling who waits cancels what is waited for, and its end is awaited. */
static void test_wait_cancelled(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Daemon *daemon = &fixture->daemon;
    g_autoptr(GError) error = NULL;
    fixture_load(fixture);
    g_autoptr(Operation) waiter = operation_make(fixture, "node.standby", "node/n1", "n1");
    g_autoptr(Operation) child = operation_make(fixture, "guest.migrate", "guest/web1", "n1");
    Wait wait = {.fixture = fixture, .waiter = waiter, .id = child->id, .limit_ms = G_MAXINT};
    GThread *thread = g_thread_new("wait", wait_thread, &wait);
    g_assert_true(operation_request_cancel(daemon, waiter->id, &error));
    until_cancel_requested(fixture, child);
    g_assert_false(g_atomic_int_get(&wait.done));
    g_autoptr(GError) cancelled = g_error_new(HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED, "cancelled");
    operation_end(daemon, child, cancelled);
    wait_join(&wait, thread);
    g_assert_false(wait.succeeded);
    g_assert_error(wait.error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED);
    g_clear_error(&wait.error);
}

/* So does the deadline. */
static void test_wait_deadline(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    fixture_load(fixture);
    g_autoptr(Operation) waiter = operation_make(fixture, "node.standby", "node/n1", "n1");
    g_autoptr(Operation) child = operation_make(fixture, "guest.migrate", "guest/web1", "n1");
    Wait wait = {.fixture = fixture, .waiter = waiter, .id = child->id, .limit_ms = 0};
    GThread *thread = g_thread_new("wait", wait_thread, &wait);
    until_cancel_requested(fixture, child);
    operation_end(&fixture->daemon, child, NULL); /* it was done before it heard of it */
    wait_join(&wait, thread);
    g_assert_true(wait.succeeded);
    g_assert_no_error(wait.error);
}

static void guest_put(Fixture *fixture, const char *name)
{
    g_autoptr(Guest) guest = object_new(&guest_type);
    g_autofree char *key = g_strconcat("guest/", name, NULL);
    guest->name = g_strdup(name);
    guest->uuid = g_strdup("u");
    guest->slot = 1;
    guest->spec.memory_mib = 64;
    guest->spec.vcpus = 1;
    guest->spec.replicas = 1;
    guest->spec.desired = GUEST_DESIRED_RUNNING;
    const char *nodes[] = {"n1", "n2", NULL};
    guest->nodes = g_strdupv((char **) nodes);
    fixture_put(fixture, key, &guest_type, guest);
}

static void test_guest_document(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Store *store = fixture->daemon.store;
    g_autoptr(GError) error = NULL;
    guest_put(fixture, "web1");
    g_assert_true(guest_prefer(store, "web1", "n2", &error));
    g_assert_true(guest_unprefer(store, "web1", "n1", &error)); /* it is not n1 that is preferred */
    g_autoptr(Guest) preferring = fixture_get(fixture, "guest/web1", &guest_type);
    g_assert_cmpstr(preferring->preferred_node, ==, "n2");
    g_assert_true(guest_unprefer(store, "web1", "n2", &error));
    g_assert_true(guest_set_desired(store, "web1", GUEST_DESIRED_STOPPED, &error));
    g_autoptr(Guest) stopped = fixture_get(fixture, "guest/web1", &guest_type);
    g_assert_null(stopped->preferred_node);
    g_assert_cmpint(stopped->spec.desired, ==, GUEST_DESIRED_STOPPED);
    g_assert_false(guest_prefer(store, "web1", "n2", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_false(guest_set_desired(store, "gone", GUEST_DESIRED_STOPPED, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
}

typedef struct {
    Store *store;
    int rounds;
    gint64 priority;
} Intruder;

/* Somebody else writes between our read and our write, as often as told. */
static gboolean change_with_intruder(gpointer object, gpointer user_data, GError **error G_GNUC_UNUSED)
{
    Intruder *intruder = user_data;
    Guest *guest = object;
    if (intruder->rounds-- > 0) {
        g_autofree char *description = g_strdup_printf("round %d", intruder->rounds);
        g_autofree char *before = g_strdup(guest->spec.description);
        g_free(guest->spec.description);
        guest->spec.description = g_strdup(description);
        g_autofree char *text = object_to_text(&guest_type, guest);
        put(intruder->store, STORE_ROOT "guest/web1", text);
        g_free(guest->spec.description);
        guest->spec.description = g_steal_pointer(&before);
    }
    guest->spec.priority = intruder->priority;
    return TRUE;
}

static void test_conflicts(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Store *store = fixture->daemon.store;
    g_autoptr(GError) error = NULL;
    guest_put(fixture, "web1");
    Intruder twice = {.store = store, .rounds = 2, .priority = 77};
    gint64 revision = 0;
    g_assert_true(object_update(store, &guest_type, "guest/web1", 0, change_with_intruder, &twice, &revision, &error));
    g_autoptr(StoreEntry) entry = store_get(store, STORE_ROOT "guest/web1", NULL, NULL);
    g_assert_cmpint(revision, ==, entry->mod_revision);
    g_autoptr(Guest) guest = fixture_get(fixture, "guest/web1", &guest_type);
    g_assert_cmpint(guest->spec.priority, ==, 77);
    g_assert_cmpstr(guest->spec.description, ==, "round 0"); /* nothing of the other's was lost */
    revision = 0;                                            /* also when there is nothing to be written */
    g_assert_true(object_update(store, &guest_type, "guest/web1", 0, change_with_intruder, &twice, &revision, &error));
    g_assert_cmpint(revision, ==, entry->mod_revision);
    Intruder always = {.store = store, .rounds = 1000, .priority = 78};
    g_assert_false(object_update(store, &guest_type, "guest/web1", 0, change_with_intruder, &always, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT);
}

static FenceDevice *device_put(Fixture *fixture, const char *node, FenceState state)
{
    g_autofree char *name = g_strconcat("fence/", node, NULL);
    FenceDevice *device = object_new(&fence_device_type);
    device->node = g_strdup(node);
    device->agent = g_strdup("fence_ipmilan");
    device->state = (int) state;
    fixture_put(fixture, name, &fence_device_type, device);
    return device;
}

/* Nobody proves n2 any more; n3 is being proven, n4 is proven. */
static void test_abandoned_proofs(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(FenceDevice) n2 = device_put(fixture, "n2", FENCE_PROVING);
    g_autoptr(FenceDevice) n3 = device_put(fixture, "n3", FENCE_PROVING);
    g_autoptr(FenceDevice) n4 = device_put(fixture, "n4", FENCE_PROVEN);
    g_autoptr(Operation) ended = operation_make(fixture, "fence.prove", "fence/n2", "n1");
    g_autoptr(Operation) running = operation_make(fixture, "fence.prove", "fence/n3", "n1");
    operation_end(&fixture->daemon, ended, NULL);
    fixture_load(fixture);
    operation_judge_proofs(&fixture->daemon);
    g_autoptr(FenceDevice) n2_after = fixture_get(fixture, "fence/n2", &fence_device_type);
    g_autoptr(FenceDevice) n3_after = fixture_get(fixture, "fence/n3", &fence_device_type);
    g_autoptr(FenceDevice) n4_after = fixture_get(fixture, "fence/n4", &fence_device_type);
    g_assert_cmpint(n2_after->state, ==, FENCE_UNPROVEN);
    g_assert_nonnull(strstr(n2_after->detail, "interrupted"));
    g_assert_cmpint(n3_after->state, ==, FENCE_PROVING);
    g_assert_cmpint(n4_after->state, ==, FENCE_PROVEN);
    GError *error = NULL;
    g_assert_true(fence_proof_abandon(&fixture->daemon, "n9", "there is no such device", &error));
    g_assert_no_error(error);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    static const struct {
        const char *path;
        void (*run)(Fixture *fixture, gconstpointer data);
    } tests[] = {
        {"/operation/progress-and-end", test_progress_and_end},
        {"/operation/ended-by-another", test_ended_by_another},
        {"/operation/take-over", test_take_over},
        {"/operation/wait", test_wait},
        {"/operation/wait-cancelled", test_wait_cancelled},
        {"/operation/wait-deadline", test_wait_deadline},
        {"/operation/guest-document", test_guest_document},
        {"/operation/conflicts", test_conflicts},
        {"/operation/abandoned-proofs", test_abandoned_proofs},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, fixture_set_up, tests[i].run, fixture_tear_down);
    }
    return g_test_run();
}
