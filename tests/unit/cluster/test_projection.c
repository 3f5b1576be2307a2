/* SPDX-License-Identifier: Apache-2.0
 * The projection: golden CIBs, and every CIB made here is put before Pacemaker's own crm_verify and crm_simulate, so
 * that what is tested is what the scheduler does with it. HOLDFAST_GOLDEN_WRITE=1 rewrites the golden files. */
#include "cluster/projection.h"

#include "cluster/projection_parts.h"
#include "common/error.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define DATA_FOLDER "tests/unit/cluster/data"

/* A cluster of three nodes, device of n3 unproven, and guests as the tests add them. */
typedef struct {
    ProjectionInput input;
    GPtrArray *statuses;
    char *folder;
    gboolean store_is_away;
} Fixture;

static Node *node_new(const char *name, gint64 id)
{
    Node *node = object_new(&node_type);
    node->version = 1;
    node->name = g_strdup(name);
    node->id = id;
    return node;
}

static FenceDevice *device_new(const char *node, FenceState state, const char *address)
{
    FenceDevice *device = object_new(&fence_device_type);
    device->node = g_strdup(node);
    device->agent = g_strdup("fence_ipmilan");
    device->state = state;
    device->revision = 42;
    g_autofree char *ip = g_strdup_printf("ip=%s", address);
    const char *parameters[] = {ip, "username=admin", "password=sec&ret\"<", "cipher=3", "pcmk_host_list=all", NULL};
    device->parameters = g_strdupv((char **) parameters);
    return device;
}

static void fixture_set_up(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    fixture->input.nodes = g_ptr_array_new_with_free_func((GDestroyNotify) node_free);
    g_ptr_array_add(fixture->input.nodes, node_new("n1", 1));
    g_ptr_array_add(fixture->input.nodes, node_new("n2", 2));
    g_ptr_array_add(fixture->input.nodes, node_new("n3", 3));
    fixture->input.fence_devices = g_ptr_array_new_with_free_func((GDestroyNotify) fence_device_free);
    g_ptr_array_add(fixture->input.fence_devices, device_new("n1", FENCE_PROVEN, "192.0.2.1"));
    g_ptr_array_add(fixture->input.fence_devices, device_new("n2", FENCE_PROVING, "192.0.2.2"));
    g_ptr_array_add(fixture->input.fence_devices, device_new("n3", FENCE_UNPROVEN, "192.0.2.3"));
    fixture->input.guests = g_ptr_array_new_with_free_func((GDestroyNotify) projection_guest_free);
    fixture->statuses = g_ptr_array_new_with_free_func((GDestroyNotify) node_status_free);
    fixture->folder = g_dir_make_tmp("holdfast-projection-XXXXXX", NULL);
    g_assert_nonnull(fixture->folder);
}

static void fixture_tear_down(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_ptr_array_unref(fixture->input.nodes);
    g_ptr_array_unref(fixture->input.fence_devices);
    g_ptr_array_unref(fixture->input.guests);
    g_ptr_array_unref(fixture->statuses);
    g_assert_cmpint(g_rmdir(fixture->folder), ==, 0); /* nothing was left behind in it */
    g_free(fixture->folder);
}

static void know_memory(Fixture *fixture, gint64 memory_mib)
{
    static const char *const names[] = {"n1", "n2", "n3"};
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        NodeStatus *status = object_new(&node_status_type);
        status->node = g_strdup(names[i]);
        status->memory_mib = memory_mib;
        g_ptr_array_add(fixture->statuses, status);
    }
    fixture->input.node_statuses = fixture->statuses;
}

/* A running guest on two nodes, in sync on both. */
static ProjectionGuest *add_guest(Fixture *fixture, const char *name, const char *first, const char *second)
{
    ProjectionGuest *entry = g_new0(ProjectionGuest, 1);
    entry->guest = object_new(&guest_type);
    entry->guest->name = g_strdup(name);
    entry->guest->spec.memory_mib = 1024;
    entry->guest->spec.desired = GUEST_DESIRED_RUNNING;
    const char *nodes[] = {first, second, NULL};
    entry->guest->nodes = g_strdupv((char **) nodes);
    entry->ready = TRUE;
    entry->have_record = TRUE;
    entry->record.state = RECORD_STOPPED;
    entry->record.generation = 1;
    g_strlcpy(entry->record.in_sync[0], first, RECORD_NAME_MAX);
    g_strlcpy(entry->record.in_sync[1], second, RECORD_NAME_MAX);
    g_ptr_array_add(fixture->input.guests, entry);
    return entry;
}

static char *read_data(const char *name)
{
    g_autofree char *path = g_build_filename(DATA_FOLDER, name, NULL);
    g_autoptr(GError) error = NULL;
    char *text = NULL;
    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    return text;
}

/* Run one of Pacemaker's tools over a CIB text; its output, and its exit status in *ret_status. NULL: not installed
 * here. */
static char *run_tool(const Fixture *fixture, const char *cib, int *ret_status, const char *const *words,
                      char **ret_cib)
{
    if (access(words[0], X_OK) != 0) {
        g_test_skip("Pacemaker's tools are not installed");
        return NULL;
    }
    g_autofree char *path = g_build_filename(fixture->folder, "in.xml", NULL);
    g_autofree char *result_path = g_build_filename(fixture->folder, "out.xml", NULL);
    g_autoptr(GError) error = NULL;
    g_assert_true(g_file_set_contents(path, cib, -1, NULL));
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_ptr_array_add(argv, (gpointer) words[0]);
    g_ptr_array_add(argv, (gpointer) "--xml-file");
    g_ptr_array_add(argv, path);
    for (const char *const *word = words + 1; *word; word++) {
        g_ptr_array_add(argv, (gpointer) *word);
    }
    if (ret_cib) {
        g_ptr_array_add(argv, (gpointer) "--save-output");
        g_ptr_array_add(argv, result_path);
    }
    g_ptr_array_add(argv, NULL);
    g_auto(ProcessResult) result = {0};
    const ProcessRunner *runner = process_runner_default();
    runner->run(runner, (const char *const *) argv->pdata, NULL, 60000, &result, &error);
    g_assert_no_error(error);
    *ret_status = result.exit_status;
    if (ret_cib) {
        g_assert_true(g_file_get_contents(result_path, ret_cib, NULL, NULL));
        unlink(result_path);
    }
    unlink(path);
    return g_strconcat(result.stdout_text, result.stderr_text, NULL);
}

static void assert_verified(const Fixture *fixture, const char *cib)
{
    const char *words[] = {"/usr/sbin/crm_verify", "-V", NULL};
    int status = 0;
    g_autofree char *said = run_tool(fixture, cib, &status, words, NULL);
    if (said) {
        g_assert_cmpstr(said, ==, "");
        g_assert_cmpint(status, ==, 0);
    }
}

/* The desired CIB, verified; and computing it again from itself changes nothing. */
static char *desired(const Fixture *fixture, const char *live)
{
    g_autoptr(GError) error = NULL;
    char *text = projection_desired_cib(&fixture->input, live, &error);
    g_assert_no_error(error);
    g_autofree char *again = projection_desired_cib(&fixture->input, text, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(again, ==, text);
    assert_verified(fixture, text);
    return text;
}

static void assert_golden(const char *text, const char *name)
{
    if (g_getenv("HOLDFAST_GOLDEN_WRITE")) {
        g_autofree char *path = g_build_filename(DATA_FOLDER, name, NULL);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
    }
    g_autofree char *golden = read_data(name);
    g_assert_cmpstr(text, ==, golden);
}

/* What the scheduler would do, and the CIB after it was done. `fail`: a node that dies first, or NULL. */
static char *simulate(const Fixture *fixture, const char *cib, const char *fail, char **ret_cib)
{
    const char *words[] = {"/usr/sbin/crm_simulate", "--simulate", fail ? "--node-fail" : NULL, fail, NULL};
    int status = 0;
    char *said = run_tool(fixture, cib, &status, words, ret_cib);
    g_assert_cmpint(status, ==, 0);
    return said;
}

/* Lines of crm_simulate are columns: compare with every run of blanks folded. */
static void assert_says(const char *said, const char *wanted, gboolean expected)
{
    g_autoptr(GRegex) blanks = g_regex_new("[ \\t]+", 0, 0, NULL);
    g_autofree char *folded = g_regex_replace_literal(blanks, said, -1, 0, " ", 0, NULL);
    gboolean found = strstr(folded, wanted) != NULL;
    if (found != expected) {
        g_error("%s '%s' in:\n%s", expected ? "missing" : "unexpected", wanted, folded);
    }
}

static void test_golden(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    g_autofree char *empty = desired(fixture, live);
    assert_golden(empty, "desired-no-guests.xml");
    add_guest(fixture, "web1", "n1", "n2")->guest->spec.priority = 10;
    ProjectionGuest *stale = add_guest(fixture, "db1", "n2", "n3");
    memset(stale->record.in_sync[1], 0, RECORD_NAME_MAX);
    add_guest(fixture, "idle", "n3", "n1")->guest->spec.desired = GUEST_DESIRED_STOPPED;
    add_guest(fixture, "raw", "n3", "n1")->ready = FALSE;
    know_memory(fixture, 8192);
    g_autofree char *full = desired(fixture, live);
    assert_golden(full, "desired-guests.xml");
    g_autofree char *after = desired(fixture, full);
    g_assert_cmpstr(after, ==, full);
}

static void test_start_fail_move_stop(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    ProjectionGuest *web = add_guest(fixture, "web1", "n1", "n2");
    add_guest(fixture, "db1", "n2", "n3");
    know_memory(fixture, 8192);
    g_autofree char *first = desired(fixture, live);
    g_autofree char *running = NULL;
    g_autofree char *started = simulate(fixture, first, NULL, &running);
    if (!started) {
        return;
    }
    assert_says(started, "Start web1 ( n1 )", TRUE);
    assert_says(started, "Start db1 ( n2 )", TRUE);
    assert_says(started, "Start fence-n1", TRUE);
    assert_says(started, "Start fence-n1 ( n1 )", FALSE);
    assert_says(started, "Start fence-n2 ( n2 )", FALSE);

    g_autofree char *failed = simulate(fixture, running, "n1", NULL);
    assert_says(failed, "Fence (off) n1", TRUE);
    assert_says(failed, "web1 ( n1 -> n2 )", TRUE);
    const char *fenced = strstr(failed, "Fencing n1 (off)");
    g_assert_nonnull(fenced);
    g_assert_nonnull(strstr(fenced, "start on n2"));
    g_assert_true(strstr(failed, "web1            start on n2") > fenced); /* not a moment earlier */

    g_free(web->guest->preferred_node);
    web->guest->preferred_node = g_strdup("n2");
    g_autofree char *moving = desired(fixture, running);
    g_autofree char *moved = simulate(fixture, moving, NULL, NULL);
    assert_says(moved, "Migrate web1 ( n1 -> n2 )", TRUE);

    web->guest->deleting = TRUE;
    g_autofree char *stopping = desired(fixture, running);
    g_autofree char *stopped = simulate(fixture, stopping, NULL, NULL);
    assert_says(stopped, "Stop web1 ( n1 )", TRUE);
}

static void test_stale_replica_is_not_used(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    ProjectionGuest *web = add_guest(fixture, "web1", "n1", "n2");
    memset(web->record.in_sync[1], 0, RECORD_NAME_MAX);
    g_autofree char *first = desired(fixture, live);
    g_autofree char *running = NULL;
    g_autofree char *started = simulate(fixture, first, NULL, &running);
    if (!started) {
        return;
    }
    assert_says(started, "Start web1 ( n1 )", TRUE);
    g_autofree char *failed = simulate(fixture, running, "n1", NULL);
    assert_says(failed, "Stop web1 ( n1 )", TRUE);
    assert_says(failed, "web1 start on n", FALSE);
}

/* The owner lost its disk and left its peer alone in the record: the guest runs on, until a migration asks for it on
 * the copy that is whole; then it moves live. */
static void test_owner_out_of_sync_moves(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    ProjectionGuest *web = add_guest(fixture, "web1", "n1", "n2");
    g_autofree char *first = desired(fixture, live);
    g_autofree char *running = NULL;
    g_autofree char *started = simulate(fixture, first, NULL, &running);
    if (!started) {
        return;
    }
    assert_says(started, "Start web1 ( n1 )", TRUE);
    web->record.state = RECORD_RUNNING;
    g_strlcpy(web->record.owner, "n1", RECORD_NAME_MAX);
    g_strlcpy(web->record.in_sync[0], "n2", RECORD_NAME_MAX);
    memset(web->record.in_sync[1], 0, RECORD_NAME_MAX);
    g_autofree char *marked = desired(fixture, running);
    g_autofree char *left_alone = simulate(fixture, marked, NULL, NULL);
    assert_says(left_alone, "Migrate web1", FALSE);
    assert_says(left_alone, "Stop web1", FALSE);
    web->guest->preferred_node = g_strdup("n2");
    g_autofree char *preferred = desired(fixture, running);
    g_autofree char *moved = simulate(fixture, preferred, NULL, NULL);
    assert_says(moved, "Migrate web1 ( n1 -> n2 )", TRUE);
    g_clear_pointer(&web->guest->preferred_node, g_free);
    /* Without the other node it stays where it is: not stopped, and nowhere else. */
    g_autofree char *stays = simulate(fixture, marked, "n2", NULL);
    assert_says(stays, "Stop web1", FALSE);
    assert_says(stays, "web1 start on n", FALSE);
    /* Once it runs on the other node it does not come back. */
    g_strlcpy(web->record.owner, "n2", RECORD_NAME_MAX);
    g_autofree char *there = desired(fixture, running);
    assert_says(there, "rsc=\"web1\" node=\"n1\" score=\"-INFINITY\"", TRUE);
}

/* A node that cannot hold the memory of a guest does not get it, so that a fail-over never overcommits. */
static void test_memory_limits_placement(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    add_guest(fixture, "big1", "n1", "n2")->guest->spec.memory_mib = 2000;
    add_guest(fixture, "big2", "n1", "n2")->guest->spec.memory_mib = 2000;
    add_guest(fixture, "big3", "n1", "n2")->guest->spec.memory_mib = 2000;
    know_memory(fixture, 3000);
    g_autofree char *cib = desired(fixture, live);
    g_autofree char *started = simulate(fixture, cib, NULL, NULL);
    if (!started) {
        return;
    }
    assert_says(started, "Start big1 ( n1 )", TRUE);
    assert_says(started, "Start big2 ( n2 )", TRUE);
    assert_says(started, "Start big3", FALSE);
}

/* The status of a dead node is gone, so its guests are not "ready": they must stay in the CIB, that is what fail-over
 * is. */
static void test_unready_guest_stays(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    ProjectionGuest *web = add_guest(fixture, "web1", "n1", "n2");
    g_autofree char *first = desired(fixture, live);
    web->ready = FALSE;
    g_autofree char *unready = desired(fixture, first);
    g_assert_cmpstr(unready, ==, first);
    web->have_record = FALSE;
    memset(&web->record, 0, sizeof(web->record));
    g_autofree char *unrecorded = desired(fixture, first);
    g_assert_cmpstr(unrecorded, ==, first);
    web->ready = TRUE;
    g_autofree char *new_unrecorded = desired(fixture, live);
    g_assert_null(strstr(new_unrecorded, "web1"));
}

static char **list_of(const char *names)
{
    return g_strsplit(names, ",", -1);
}

/* Short of memory after a loss, the guests of higher priority have it: one of lower priority is stopped for them. */
static void test_priority_when_short(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    static const struct {
        gint64 first, second;
        const char *says;
    } cases[] = {{500, 100, "Stop low ( n2 )"}, {100, 500, "Stop high ( n1 )"}};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *live = read_data("live-fresh.xml");
        g_ptr_array_set_size(fixture->input.guests, 0);
        ProjectionGuest *high = add_guest(fixture, "high", "n1", "n2"), *low = add_guest(fixture, "low", "n2", "n3");
        high->guest->spec.memory_mib = low->guest->spec.memory_mib = 2000;
        high->guest->spec.priority = cases[i].first;
        low->guest->spec.priority = cases[i].second;
        memset(low->record.in_sync[1], 0, RECORD_NAME_MAX); /* so that it has nowhere else to go */
        if (!fixture->input.node_statuses) {
            know_memory(fixture, 3000);
        }
        g_autofree char *cib = desired(fixture, live);
        g_autofree char *running = NULL;
        g_autofree char *started = simulate(fixture, cib, NULL, &running);
        if (!started) {
            return;
        }
        g_autofree char *failed = simulate(fixture, running, "n1", NULL);
        assert_says(failed, cases[i].says, TRUE);
    }
}

/* db after dns: sorted when both start, and db neither waits for a dns that is not to run nor stops or moves with it.
 */
static void test_start_after(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    ProjectionGuest *dns = add_guest(fixture, "dns", "n1", "n2"), *db = add_guest(fixture, "db", "n1", "n3");
    db->guest->spec.start_after = list_of("dns,nobody");
    g_autofree char *cib = desired(fixture, live);
    g_assert_nonnull(strstr(cib, "<rsc_order id=\"hf-order.db.dns\" first=\"dns\" first-action=\"start\" then=\"db\" "
                                 "then-action=\"start\" kind=\"Optional\" symmetrical=\"false\"/>"));
    g_assert_null(strstr(cib, "nobody"));
    g_autofree char *running = NULL;
    g_autofree char *started = simulate(fixture, cib, NULL, &running);
    if (!started) {
        return;
    }
    g_autofree char *failed = simulate(fixture, running, "n1", NULL);
    const char *texts[] = {started, failed};
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        const char *first = strstr(texts[i], "dns             start on "),
                   *then = strstr(texts[i], "db              start on ");
        g_assert_true(first && then && first < then);
    }
    dns->guest->spec.desired = GUEST_DESIRED_STOPPED;
    g_autofree char *stopped = desired(fixture, running);
    g_autofree char *without = simulate(fixture, stopped, NULL, NULL);
    assert_says(without, "Stop dns ( n1 )", TRUE);
    assert_says(without, "db ( n", FALSE);
    g_autofree char *alone = desired(fixture, live);
    g_autofree char *started_alone = simulate(fixture, alone, NULL, NULL);
    assert_says(started_alone, "Start db ( n1 )", TRUE);

    g_strfreev(db->guest->spec.start_after);
    db->guest->spec.start_after = NULL;
    g_autofree char *forgotten = desired(fixture, cib);
    g_assert_null(strstr(forgotten, "hf-order."));
    db->guest->spec.start_after = list_of("dns");
    g_ptr_array_remove_index(fixture->input.guests, 0); /* dns is deleted */
    g_autofree char *deleted = desired(fixture, cib);
    g_assert_null(strstr(deleted, "hf-order."));
}

/* Two guests on the same two nodes: apart while there is a choice, on one node rather than not at all, and one that
 * runs is not moved when the choice is back. */
static void test_keep_apart(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    add_guest(fixture, "a", "n1", "n2");
    ProjectionGuest *b = add_guest(fixture, "b", "n1", "n2");
    b->guest->spec.keep_apart = list_of("a");
    know_memory(fixture, 8192);
    g_autofree char *cib = desired(fixture, live);
    g_autofree char *apart = NULL, *both = NULL;
    g_autofree char *started = simulate(fixture, cib, NULL, &apart);
    if (!started) {
        return;
    }
    assert_says(started, "Start a ( n1 )", TRUE);
    assert_says(started, "Start b ( n2 )", TRUE);
    g_autofree char *failed = simulate(fixture, apart, "n1", NULL);
    assert_says(failed, "a ( n1 -> n2 )", TRUE);

    b->guest->spec.keep_apart_strict = TRUE;
    g_autofree char *strict = desired(fixture, apart);
    g_autofree char *strictly = simulate(fixture, strict, "n1", NULL);
    assert_says(strictly, "Fence (off) n1", TRUE);
    assert_says(strictly, "a ( n1 -> n2 )", TRUE); /* the more important one runs, the other goes down for it */
    assert_says(strictly, "Stop b ( n2 )", TRUE);

    b->guest->spec.keep_apart_strict = FALSE;
    g_clear_pointer(&b->guest->spec.keep_apart, g_strfreev);
    g_autofree char *free_cib = desired(fixture, live);
    g_autofree char *crowded = simulate(fixture, free_cib, NULL, &both);
    assert_says(crowded, "Start a ( n1 )", TRUE);
    assert_says(crowded, "Start b ( n1 )", TRUE);
    b->guest->spec.keep_apart = list_of("a");
    g_autofree char *wished = desired(fixture, both);
    g_autofree char *stays = simulate(fixture, wished, NULL, NULL);
    assert_says(stays, "b ( n1", FALSE);
    assert_says(stays, "a ( n1", FALSE);
}

static void test_keep_together(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    ProjectionGuest *a = add_guest(fixture, "a", "n1", "n2"), *b = add_guest(fixture, "b", "n2", "n1");
    b->guest->spec.keep_together = list_of("a");
    know_memory(fixture, 8192);
    g_autofree char *cib = desired(fixture, live);
    g_autofree char *running = NULL;
    g_autofree char *started = simulate(fixture, cib, NULL, &running);
    if (!started) {
        return;
    }
    assert_says(started, "Start a ( n1 )", TRUE);
    assert_says(started, "Start b ( n1 )", TRUE);
    a->guest->spec.desired = GUEST_DESIRED_STOPPED; /* company is a wish: b runs on without it */
    g_autofree char *alone = desired(fixture, running);
    g_autofree char *left = simulate(fixture, alone, NULL, NULL);
    assert_says(left, "Stop a ( n1 )", TRUE);
    assert_says(left, "b ( n", FALSE);
}

static void test_restart_limits(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    ProjectionGuest *web = add_guest(fixture, "web1", "n1", "n2");
    g_autofree char *usual = desired(fixture, live);
    g_assert_null(strstr(usual, "hf-guest.web1.meta.migration-threshold"));
    web->guest->spec.restart_limit = 7;
    web->guest->spec.restart_window_s = 3600;
    g_autofree char *own = desired(fixture, usual);
    g_assert_nonnull(strstr(
        own, "<nvpair id=\"hf-guest.web1.meta.migration-threshold\" name=\"migration-threshold\" value=\"7\"/>"));
    g_assert_nonnull(
        strstr(own, "<nvpair id=\"hf-guest.web1.meta.failure-timeout\" name=\"failure-timeout\" value=\"3600s\"/>"));
}

/* Fourteen that run on n2 wish to be with one that runs on n1: all stay where they are, whoever is the more important.
 */
static void test_wishes_move_nobody(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    for (gint64 priority = 0; priority <= 2; priority += 2) {
        g_autofree char *live = read_data("live-fresh.xml");
        g_ptr_array_set_size(fixture->input.guests, 0);
        ProjectionGuest *hub = add_guest(fixture, "hub", "n1", "n2"), *many[14] = {NULL};
        hub->guest->spec.priority = priority;
        for (guint i = 0; i < G_N_ELEMENTS(many); i++) {
            g_autofree char *name = g_strdup_printf("g%u", i);
            many[i] = add_guest(fixture, name, "n2", "n1");
            many[i]->guest->spec.priority = 1;
        }
        g_autofree char *cib = desired(fixture, live);
        g_autofree char *running = NULL;
        g_autofree char *started = simulate(fixture, cib, NULL, &running);
        if (!started) {
            return;
        }
        assert_says(started, "Start hub ( n1 )", TRUE);
        assert_says(started, "Start g13 ( n2 )", TRUE);
        for (guint i = 0; i < G_N_ELEMENTS(many); i++) {
            many[i]->guest->spec.keep_together = list_of("hub");
        }
        g_autofree char *wished = desired(fixture, running);
        g_autofree char *stays = simulate(fixture, wished, NULL, NULL);
        assert_says(stays, "Migrate ", FALSE);
        assert_says(stays, "Move ", FALSE);
        assert_says(stays, "Stop ", FALSE);
    }
}

/* The limit as Pacemaker takes it: so many failures on one node, then the other one. */
static void test_restart_limit_moves(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    static const struct {
        gint64 limit;
        const char *says;
    } cases[] = {{1, "Recover web1 ( n1 -> n2 )"}, {0, "Recover web1 ( n1 )"}};
    const char *fail[] = {"/usr/sbin/crm_simulate", "--simulate", "--op-inject", "web1_monitor_10000@n1=1", NULL};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *live = read_data("live-fresh.xml");
        g_ptr_array_set_size(fixture->input.guests, 0);
        add_guest(fixture, "web1", "n1", "n2")->guest->spec.restart_limit = cases[i].limit;
        g_autofree char *cib = desired(fixture, live);
        g_autofree char *running = NULL;
        g_autofree char *started = simulate(fixture, cib, NULL, &running);
        if (!started) {
            return;
        }
        int status = 0;
        g_autofree char *failed = run_tool(fixture, running, &status, fail, NULL);
        g_assert_cmpint(status, ==, 0);
        assert_says(failed, cases[i].says, TRUE);
    }
}

static gboolean has_level(const char *cib, const char *target, int index, const char *devices)
{
    g_autofree char *wanted =
        g_strdup_printf("<fencing-level id=\"hf-level.%s.%d\" target=\"%s\" index=\"%d\" devices=\"%s\"/>", target,
                        index, target, index, devices);
    return strstr(cib, wanted) != NULL;
}

/* A person's word is the second level of a proven device only: a device under proof answers for itself, and an unproven
 * node has the manual device alone. */
static void test_second_level(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    g_autofree char *cib = desired(fixture, live);
    g_assert_true(has_level(cib, "n1", 1, "fence-n1"));
    g_assert_true(has_level(cib, "n1", 2, "fence-n1.manual"));
    g_assert_nonnull(
        strstr(cib, "<primitive id=\"fence-n1.manual\" class=\"stonith\" type=\"fence_holdfast_manual\">"));
    g_assert_nonnull(strstr(cib, "rsc=\"fence-n1.manual\" node=\"n1\" score=\"-INFINITY\""));
    g_assert_null(strstr(cib, "hf-level.n2"));
    g_assert_null(strstr(cib, "fence-n2.manual"));
    g_assert_null(strstr(cib, "hf-level.n3"));
    g_assert_null(strstr(cib, "fence-n3.manual"));
    g_autofree char *started = simulate(fixture, cib, NULL, NULL);
    if (started) {
        assert_says(started, "Start fence-n1.manual", TRUE);
        assert_says(started, "Start fence-n1.manual ( n1 )", FALSE);
    }

    ((FenceDevice *) fixture->input.fence_devices->pdata[0])->state = FENCE_PROVING;
    g_autofree char *again = desired(fixture, cib);
    g_assert_null(strstr(again, "<fencing-level "));
    g_assert_null(strstr(again, "fence-n1.manual"));
}

/* Levels that an operator made for a node are his, ours would be added to them. */
static void test_foreign_levels(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    const char *end = strstr(live, "</configuration>");
    g_autofree char *with_level =
        g_strdup_printf("%.*s<fencing-topology><fencing-level id=\"pdu\" target=\"n1\" index=\"1\" "
                        "devices=\"fence-n1\"/></fencing-topology>%s",
                        (int) (end - live), live, end);
    g_autofree char *cib = desired(fixture, with_level);
    g_assert_nonnull(strstr(cib, "id=\"pdu\""));
    g_assert_null(strstr(cib, "hf-level.n1"));
    g_assert_null(strstr(cib, "fence-n1.manual"));
}

/* A guest that could not be read is not in the input: it and everything else of ours stays, what is known is followed.
 */
static void test_incomplete_input_removes_nothing(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    add_guest(fixture, "web1", "n1", "n2");
    ProjectionGuest *db = add_guest(fixture, "db1", "n2", "n3");
    g_autofree char *both = desired(fixture, live);
    g_ptr_array_remove_index(fixture->input.guests, 0);
    memset(db->record.in_sync[1], 0, RECORD_NAME_MAX);
    fixture->input.incomplete = TRUE;
    g_autofree char *kept = desired(fixture, both);
    g_assert_nonnull(strstr(kept, "<primitive id=\"web1\""));
    g_assert_nonnull(strstr(kept, "id=\"hf-loc.web1.n2\""));
    g_assert_nonnull(strstr(kept, "rsc=\"db1\" node=\"n3\" score=\"-INFINITY\""));
    fixture->input.incomplete = FALSE;
    g_autofree char *pruned = desired(fixture, both);
    g_assert_null(strstr(pruned, "web1"));
}

static guint count(const char *text, const char *word)
{
    guint n = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word)) {
        n++;
    }
    return n;
}

/* In the fixture only n1 and n2 have a real device; n3's is not proven, so its password is nowhere. */
static void test_secrets_hidden(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    g_autofree char *plain = desired(fixture, live);
    g_assert_cmpint(count(plain, "sec&amp;ret"), ==, 2);
    g_autoptr(GPtrArray) stored = g_ptr_array_new();
    fixture->input.secrets_stored = stored;
    g_ptr_array_add(stored, "n2");
    g_autofree char *half = desired(fixture, plain);
    g_assert_cmpint(count(half, "sec&amp;ret"), ==, 1);
    g_assert_cmpint(count(half, "name=\"password\" value=\"lrm://\""), ==, 1);
    g_ptr_array_add(stored, "n1");
    g_autofree char *hidden = desired(fixture, half);
    g_assert_cmpint(count(hidden, "sec&amp;ret"), ==, 0);
    g_assert_cmpint(count(hidden, "lrm://"), ==, 2);
    g_assert_cmpint(count(hidden, "value=\"admin\""), ==, 2);
}

/* Once hidden, a device stays as it is until every node has the files of the changed one; another agent is another
 * device. */
static void test_secrets_stay_hidden(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    g_autoptr(GPtrArray) stored = g_ptr_array_new();
    FenceDevice *device = fixture->input.fence_devices->pdata[0];
    fixture->input.secrets_stored = stored;
    g_ptr_array_add(stored, "n2");
    g_ptr_array_add(stored, "n1");
    g_autofree char *hidden = desired(fixture, live);
    g_ptr_array_remove_index(stored, 1);
    device->revision = 43;
    g_free(device->parameters[0]);
    device->parameters[0] = g_strdup("ip=192.0.2.99");
    g_autofree char *waiting = desired(fixture, hidden);
    g_assert_cmpstr(waiting, ==, hidden);
    g_ptr_array_add(stored, "n1");
    g_autofree char *changed = desired(fixture, waiting);
    g_assert_cmpint(count(changed, "192.0.2.99"), ==, 1);
    g_assert_cmpint(count(changed, "name=\"hf-revision\" value=\"43\""), ==, 1);
    g_assert_cmpint(count(changed, "sec&amp;ret"), ==, 0);

    g_ptr_array_remove_index(stored, 1);
    g_free(device->agent);
    device->agent = g_strdup("fence_redfish");
    g_autofree char *other = desired(fixture, changed);
    g_assert_cmpint(count(other, "fence_redfish"), ==, 1);
    g_assert_cmpint(count(other, "sec&amp;ret"), ==, 1);
    device->state = FENCE_UNPROVEN;
    g_autofree char *manual = desired(fixture, other);
    g_assert_cmpint(count(manual, "sec&amp;ret"), ==, 0);
    g_assert_cmpint(count(manual, "fence_holdfast_manual"), ==, 2);
}

/* What is gone from the store goes from the CIB with every constraint that names it, and what is not ours stays. */
static void test_removal_and_foreign(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-foreign.xml");
    g_autofree char *cib = desired(fixture, live);
    g_assert_null(strstr(cib, "old1"));
    g_assert_null(strstr(cib, "fence-n9"));
    static const char *const kept[] = {"\"fence-pdu\"", "\"dummy\"", "\"cli-prefer-dummy\"", "\"tag-dummy\"",
                                       "\"cib-bootstrap-options-maintenance-mode\""};
    for (guint i = 0; i < G_N_ELEMENTS(kept); i++) {
        g_assert_nonnull(strstr(cib, kept[i]));
    }
    /* A guest named like a foreign resource, or with a reserved name, must not spoil the whole. */
    add_guest(fixture, "dummy", "n1", "n2");
    add_guest(fixture, "fence-n1", "n1", "n2");
    g_autofree char *collided = desired(fixture, live);
    g_assert_cmpstr(collided, ==, cib);
    g_assert_false(projection_check_guest_name("fence-n1", NULL));
    g_assert_false(projection_check_guest_name("hf-x", NULL));
    g_assert_true(projection_check_guest_name("fencepost", NULL));
}

static void test_sizes(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    g_ptr_array_remove_index(fixture->input.nodes, 2);
    g_autofree char *two = desired(fixture, live);
    g_assert_nonnull(strstr(two, "name=\"priority-fencing-delay\" value=\"15s\""));
    g_assert_nonnull(strstr(two, "name=\"pcmk_off_timeout\" value=\"30s\""));
    g_assert_nonnull(strstr(two, "name=\"no-quorum-policy\" value=\"stop\""));
    g_assert_nonnull(strstr(two, "name=\"placement-strategy\" value=\"default\""));

    /* With a watchdog two nodes without a witness still stop only; with one, the witness decides who goes on: no delay
     * for anybody, and the loser resets itself. */
    g_auto(GStrv) parts = g_strsplit(live, "name=\"have-watchdog\" value=\"false\"", -1);
    g_autofree char *watched = g_strjoinv("name=\"have-watchdog\" value=\"true\"", parts);
    g_autofree char *alone = desired(fixture, watched);
    g_assert_nonnull(strstr(alone, "name=\"no-quorum-policy\" value=\"stop\""));
    fixture->input.quorum_device = TRUE;
    g_autofree char *witnessed = desired(fixture, watched);
    g_assert_nonnull(strstr(witnessed, "name=\"priority-fencing-delay\" value=\"0s\""));
    g_assert_nonnull(strstr(witnessed, "name=\"stonith-timeout\" value=\"30s\""));
    g_assert_nonnull(strstr(witnessed, "name=\"no-quorum-policy\" value=\"suicide\""));
}

static void test_not_a_cib(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    static const char *const texts[] = {"", "<cib", "<cib/>", "<x><configuration/></x>"};
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(projection_desired_cib(&fixture->input, texts[i], &error));
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    }
}

/* --- apply, against a recording runner --- */

typedef struct {
    const char *live;
    int patch_statuses[8]; /* answers of cibadmin --patch, in order */
    guint queries, diffs, patches;
    char *patch; /* the last one sent */
} Recorder;

static gboolean recorder_run(const ProcessRunner *runner, const char *const *argv, const char *input, int timeout_ms,
                             ProcessResult *ret, GError **error)
{
    Recorder *recorder = runner->user_data;
    if (strcmp(argv[0], "/usr/sbin/crm_diff") == 0) {
        recorder->diffs++;
        return process_runner_default()->run(process_runner_default(), argv, input, timeout_ms, ret, error);
    }
    g_assert_cmpstr(argv[0], ==, "/usr/sbin/cibadmin");
    gboolean patch = strcmp(argv[1], "--patch") == 0;
    ret->exit_status = patch ? recorder->patch_statuses[recorder->patches++] : 0;
    recorder->queries += !patch;
    ret->stdout_text = g_strdup(patch ? "" : recorder->live);
    ret->stderr_text = g_strdup("");
    if (patch) {
        g_free(recorder->patch);
        recorder->patch = g_strdup(input);
    }
    return TRUE;
}

static ProjectionInput *read_input(gpointer user_data, GError **error)
{
    const Fixture *fixture = user_data;
    if (fixture->store_is_away) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "store: no majority");
        return NULL;
    }
    ProjectionInput *input = g_memdup2(&fixture->input, sizeof(fixture->input));
    g_ptr_array_ref(input->nodes);
    g_ptr_array_ref(input->fence_devices);
    g_ptr_array_ref(input->guests);
    if (input->node_statuses) {
        g_ptr_array_ref(input->node_statuses);
    }
    return input;
}

static void test_apply(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    if (access("/usr/sbin/crm_diff", X_OK) != 0) {
        g_test_skip("Pacemaker's tools are not installed");
        return;
    }
    g_autofree char *live = read_data("live-fresh.xml");
    Recorder recorder = {.live = live, .patch_statuses = {103, 103, 0}};
    ProcessRunner runner = {.run = recorder_run, .user_data = &recorder};
    g_autoptr(GError) error = NULL;
    gboolean changed = FALSE;
    g_assert_true(projection_apply_in(&runner, fixture->folder, read_input, fixture, &changed, &error));
    g_assert_no_error(error);
    g_assert_true(changed);
    g_assert_cmpuint(recorder.queries, ==, 3); /* two lost races, each read anew */
    /* The patch names the version it was made from and the one it makes. */
    g_assert_nonnull(strstr(recorder.patch, "<source admin_epoch=\"0\" epoch=\"5\" num_updates=\"3\"/>"));
    g_assert_nonnull(strstr(recorder.patch, "<target admin_epoch=\"0\" epoch=\"6\" num_updates=\"0\"/>"));
    g_free(recorder.patch);

    g_autofree char *settled = desired(fixture, live);
    Recorder quiet = {.live = settled};
    runner.user_data = &quiet;
    g_assert_true(projection_apply_in(&runner, fixture->folder, read_input, fixture, &changed, &error));
    g_assert_false(changed);
    g_assert_cmpuint(quiet.diffs + quiet.patches, ==, 0);
}

static void test_apply_refusals(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *live = read_data("live-fresh.xml");
    Recorder recorder = {.live = live, .patch_statuses = {103, 103, 103, 103, 103, 0}};
    ProcessRunner runner = {.run = recorder_run, .user_data = &recorder};
    gboolean changed = FALSE;
    g_autoptr(GError) error = NULL;
    if (access("/usr/sbin/crm_diff", X_OK) == 0) {
        g_assert_false(projection_apply_in(&runner, fixture->folder, read_input, fixture, &changed, &error));
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT);
        g_clear_error(&error);
        g_free(recorder.patch);
    }
    char *quorum = strstr(live, "have-quorum=\"1\"");
    g_assert_nonnull(quorum);
    quorum[strlen("have-quorum=\"")] = '0';
    Recorder alone = {.live = live};
    runner.user_data = &alone;
    g_assert_false(projection_apply_in(&runner, fixture->folder, read_input, fixture, &changed, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_assert_cmpuint(alone.patches, ==, 0);
    g_clear_error(&error);
    /* Without the store nothing is known, so nothing is written: not even what would be empty. */
    quorum[strlen("have-quorum=\"")] = '1';
    fixture->store_is_away = TRUE;
    g_assert_false(projection_apply_in(&runner, fixture->folder, read_input, fixture, &changed, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_assert_cmpuint(alone.patches + alone.diffs, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    static const struct {
        const char *path;
        void (*run)(Fixture *fixture, gconstpointer data);
    } tests[] = {
        {"/projection/golden", test_golden},
        {"/projection/start-fail-move-stop", test_start_fail_move_stop},
        {"/projection/stale-replica-is-not-used", test_stale_replica_is_not_used},
        {"/projection/owner-out-of-sync-moves", test_owner_out_of_sync_moves},
        {"/projection/memory-limits-placement", test_memory_limits_placement},
        {"/projection/unready-guest-stays", test_unready_guest_stays},
        {"/projection/priority-when-short", test_priority_when_short},
        {"/projection/start-after", test_start_after},
        {"/projection/keep-apart", test_keep_apart},
        {"/projection/keep-together", test_keep_together},
        {"/projection/wishes-move-nobody", test_wishes_move_nobody},
        {"/projection/restart-limits", test_restart_limits},
        {"/projection/restart-limit-moves", test_restart_limit_moves},
        {"/projection/second-level", test_second_level},
        {"/projection/foreign-levels", test_foreign_levels},
        {"/projection/incomplete-input-removes-nothing", test_incomplete_input_removes_nothing},
        {"/projection/secrets-hidden", test_secrets_hidden},
        {"/projection/secrets-stay-hidden", test_secrets_stay_hidden},
        {"/projection/removal-and-foreign", test_removal_and_foreign},
        {"/projection/sizes", test_sizes},
        {"/projection/not-a-cib", test_not_a_cib},
        {"/projection/apply", test_apply},
        {"/projection/apply-refusals", test_apply_refusals},
    };
    for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, fixture_set_up, tests[i].run, fixture_tear_down);
    }
    return g_test_run();
}
