/* SPDX-License-Identifier: Apache-2.0
 * When operations are over, as a table of situations. */
#include "node-agent/judge.h"

#include "common/error.h"

#include <string.h>

static PacemakerStatus *pacemaker_new(void)
{
    PacemakerStatus *status = g_new0(PacemakerStatus, 1);
    status->nodes = g_ptr_array_new_with_free_func(g_free);
    status->resources = g_ptr_array_new_with_free_func(g_free);
    return status;
}

/* Strings are the caller's. */
static void pacemaker_clear(PacemakerStatus *status)
{
    g_ptr_array_unref(status->nodes);
    g_ptr_array_unref(status->resources);
    g_free(status);
}

typedef struct {
    const char *kind, *node, *stage, *argument;
    gboolean cancel, driver_gone;
    Verdict verdict;
    int code;         /* of the error, when it failed */
    const char *says; /* part of it */
} DrivenCase;

/* Operations somebody drives: left alone while he is there, and never for ever when he is not. */
static void test_driven(void)
{
    static const DrivenCase cases[] = {
        {"guest.migrate", "n2", "copying", "n1", FALSE, FALSE, JUDGE_WAIT, 0, NULL},
        {"guest.migrate", "n2", "copying", "n1", TRUE, FALSE, JUDGE_WAIT, 0, NULL}, /* cancelling is the driver's */
        {"guest.migrate", "n2", "copying", "n1", FALSE, TRUE, JUDGE_FAILED, HOLDFAST_ERROR_FAILED, "n2"},
        {"guest.migrate", "n2", "copying", "n1", FALSE, TRUE, JUDGE_FAILED, HOLDFAST_ERROR_FAILED, "copying"},
        {"fence.prove", "n2", "shooting n1", NULL, FALSE, TRUE, JUDGE_FAILED, HOLDFAST_ERROR_FAILED, "unproven"},
        {"image.import", "n2", "converting", "/x", FALSE, TRUE, JUDGE_FAILED, HOLDFAST_ERROR_FAILED, "import"},
        {"something.new", "n2", NULL, NULL, FALSE, TRUE, JUDGE_FAILED, HOLDFAST_ERROR_FAILED, "ask again"},
        {"node.standby", "n2", "moving web1", NULL, FALSE, TRUE, JUDGE_TAKE_OVER, 0, NULL},
        {"node.standby", "n2", "moving web1", NULL, FALSE, FALSE, JUDGE_WAIT, 0, NULL},
        {"node.remove", "n2", "building the replica of web1 anew", "gone", FALSE, TRUE, JUDGE_TAKE_OVER, 0, NULL},
        {"node.remove", "n2", "building the replica of web1 anew", "gone", TRUE, TRUE, JUDGE_FAILED,
         HOLDFAST_ERROR_FAILED, "n2"},
        {"node.standby", "n2", "moving web1", NULL, TRUE, TRUE, JUDGE_FAILED, HOLDFAST_ERROR_FAILED, "n2"},
        /* The guest may be off already: it must not be started again. */
        {"guest.stop", "n2", "asking the guest to shut down", NULL, FALSE, TRUE, JUDGE_TAKE_OVER, 0, NULL},
        {"guest.stop", "n2", "accepted", "force", FALSE, TRUE, JUDGE_TAKE_OVER, 0, NULL},
        /* It was never asked to shut down: it is not cut off instead. */
        {"guest.stop", "n2", "accepted", NULL, FALSE, TRUE, JUDGE_FAILED, HOLDFAST_ERROR_FAILED, "not asked"},
        {"guest.stop", "n2", "asking the guest to shut down", NULL, TRUE, TRUE, JUDGE_FAILED, HOLDFAST_ERROR_FAILED,
         "n2"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const DrivenCase *each = &cases[i];
        Operation operation = {.id = (char *) "i",
                               .kind = (char *) each->kind,
                               .target = (char *) "guest/web1",
                               .node = (char *) each->node,
                               .stage = (char *) each->stage,
                               .argument = (char *) each->argument,
                               .cancel_requested = each->cancel};
        JudgeFacts facts = {.operation = &operation, .driver_gone = each->driver_gone};
        g_autoptr(GError) error = NULL;
        g_autofree char *stage = NULL;
        g_assert_cmpint(judge(&facts, &stage, &error), ==, each->verdict);
        if (each->verdict == JUDGE_FAILED) {
            g_assert_error(error, HOLDFAST_ERROR, each->code);
            g_assert_nonnull(strstr(error->message, each->says));
        } else {
            g_assert_no_error(error);
        }
    }
}

typedef struct {
    const char *kind;
    gboolean have_guest, record_ready, desired_running;
    const char *role, *node, *pending, *failure;
    gboolean cancel;
    Verdict verdict;
    int code;
    const char *stage;
} GuestCase;

static void check_guest(const GuestCase *each)
{
    PacemakerStatus *pacemaker = pacemaker_new();
    char *failures[] = {(char *) each->failure, NULL};
    pacemaker->failures = failures;
    if (each->role) {
        PacemakerResource *resource = g_new0(PacemakerResource, 1);
        *resource = (PacemakerResource){.id = (char *) "web1",
                                        .role = (char *) each->role,
                                        .node = (char *) each->node,
                                        .pending = (char *) each->pending};
        g_ptr_array_add(pacemaker->resources, resource);
    }
    Guest guest = {.name = (char *) "web1"};
    guest.spec.desired = each->desired_running ? GUEST_DESIRED_RUNNING : GUEST_DESIRED_STOPPED;
    Operation operation = {
        .kind = (char *) each->kind, .target = (char *) "guest/web1", .cancel_requested = each->cancel};
    JudgeFacts facts = {.operation = &operation,
                        .pacemaker = pacemaker,
                        .guest = each->have_guest ? &guest : NULL,
                        .record_ready = each->record_ready,
                        .condition = "n2: working"};
    g_autoptr(GError) error = NULL;
    g_autofree char *stage = NULL;
    g_assert_cmpint(judge(&facts, &stage, &error), ==, each->verdict);
    g_assert_cmpstr(stage, ==, each->stage);
    if (each->verdict == JUDGE_FAILED) {
        g_assert_error(error, HOLDFAST_ERROR, each->code);
    } else {
        g_assert_no_error(error);
    }
    pacemaker_clear(pacemaker);
}

static void test_guest(void)
{
#define STARTING "Pacemaker is starting the guest"
    static const GuestCase cases[] = {
        {"guest.create", TRUE, FALSE, TRUE, NULL, NULL, NULL, NULL, FALSE, JUDGE_WAIT, 0, "n2: working"},
        {"guest.create", TRUE, TRUE, TRUE, NULL, NULL, NULL, NULL, FALSE, JUDGE_WAIT, 0, STARTING},
        {"guest.create", TRUE, TRUE, TRUE, "Started", "n1", NULL, NULL, FALSE, JUDGE_DONE, 0, NULL},
        {"guest.create", TRUE, TRUE, FALSE, NULL, NULL, NULL, NULL, FALSE, JUDGE_DONE, 0, NULL},
        {"guest.create", FALSE, FALSE, FALSE, NULL, NULL, NULL, NULL, FALSE, JUDGE_FAILED, HOLDFAST_ERROR_NOT_FOUND,
         NULL},
        {"guest.start", TRUE, TRUE, TRUE, "Started", "n1", "Migrating", NULL, FALSE, JUDGE_WAIT, 0, STARTING},
        {"guest.start", TRUE, TRUE, TRUE, "Stopped", NULL, NULL, "web1_start_0 on n1: error", FALSE, JUDGE_FAILED,
         HOLDFAST_ERROR_FAILED, NULL},
        /* While Pacemaker still tries, an earlier failure is not the end; nor is that of a namesake. */
        {"guest.start", TRUE, TRUE, TRUE, "Stopped", NULL, "Starting", "web1_start_0 on n1: error", FALSE, JUDGE_WAIT,
         0, STARTING},
        {"guest.start", TRUE, TRUE, TRUE, "Stopped", NULL, NULL, "web11_start_0 on n1: error", FALSE, JUDGE_WAIT, 0,
         STARTING},
        {"guest.delete", TRUE, TRUE, FALSE, NULL, NULL, NULL, NULL, FALSE, JUDGE_WAIT, 0, "n2: working"},
        {"guest.delete", FALSE, FALSE, FALSE, NULL, NULL, NULL, NULL, FALSE, JUDGE_DONE, 0, NULL},
        {"guest.start", TRUE, TRUE, TRUE, NULL, NULL, NULL, NULL, TRUE, JUDGE_FAILED, HOLDFAST_ERROR_CANCELLED,
         STARTING},
        {"guest.start", TRUE, TRUE, TRUE, "Started", "n1", NULL, NULL, TRUE, JUDGE_DONE, 0, NULL},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        check_guest(&cases[i]);
    }
}

static void test_online(void)
{
    PacemakerStatus *pacemaker = pacemaker_new();
    PacemakerNode *node = g_new0(PacemakerNode, 1);
    Operation operation = {.kind = (char *) "node.online", .target = (char *) "node/n2"};
    JudgeFacts facts = {.operation = &operation, .pacemaker = pacemaker};
    g_autofree char *stage = NULL;
    g_assert_cmpint(judge(&facts, &stage, NULL), ==, JUDGE_WAIT); /* Pacemaker does not know it */
    *node = (PacemakerNode){.name = (char *) "n2", .online = TRUE, .standby = TRUE};
    g_ptr_array_add(pacemaker->nodes, node);
    g_assert_cmpint(judge(&facts, &stage, NULL), ==, JUDGE_WAIT);
    node->standby = FALSE;
    g_assert_cmpint(judge(&facts, &stage, NULL), ==, JUDGE_DONE);
    pacemaker_clear(pacemaker);
}

/* A replacement is over when the new replica is recorded; who waits no more is told what goes on all the same. */
static void test_replacement(void)
{
    static const struct {
        gboolean have_guest, complete, superseded, cancel;
        Verdict verdict;
        int code;
        const char *says;
    } cases[] = {
        {TRUE, FALSE, FALSE, FALSE, JUDGE_WAIT, 0, NULL},
        {TRUE, TRUE, FALSE, FALSE, JUDGE_DONE, 0, NULL},
        {TRUE, TRUE, FALSE, TRUE, JUDGE_DONE, 0, NULL},
        {TRUE, FALSE, FALSE, TRUE, JUDGE_FAILED, HOLDFAST_ERROR_CANCELLED,
         "'holdfast guest replace-replica web1 --from n3' puts it elsewhere"},
        {TRUE, FALSE, TRUE, FALSE, JUDGE_FAILED, HOLDFAST_ERROR_FAILED, "another request"},
        {FALSE, FALSE, FALSE, FALSE, JUDGE_FAILED, HOLDFAST_ERROR_NOT_FOUND, "deleted meanwhile"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        ReplaceProgress progress = {
            .complete = cases[i].complete, .superseded = cases[i].superseded, .stage = (char *) "copying"};
        Operation operation = {.kind = (char *) "guest.replace_replica",
                               .target = (char *) "guest/web1",
                               .argument = (char *) "n3",
                               .cancel_requested = cases[i].cancel};
        JudgeFacts facts = {.operation = &operation, .replacement = cases[i].have_guest ? &progress : NULL};
        g_autoptr(GError) error = NULL;
        g_autofree char *stage = NULL;
        g_assert_cmpint(judge(&facts, &stage, &error), ==, cases[i].verdict);
        if (cases[i].verdict == JUDGE_FAILED) {
            g_assert_error(error, HOLDFAST_ERROR, cases[i].code);
            g_assert_nonnull(strstr(error->message, cases[i].says));
        } else {
            g_assert_no_error(error);
            g_assert_cmpstr(stage, ==, cases[i].verdict == JUDGE_WAIT ? "copying" : NULL);
        }
    }
}

static void test_abandoned_proof(void)
{
    FenceDevice device = {.node = (char *) "n2", .state = FENCE_PROVING};
    Operation operation = {.kind = (char *) "fence.prove", .target = (char *) "fence/n2", .state = OPERATION_RUNNING};
    g_autoptr(GPtrArray) operations = g_ptr_array_new();
    g_assert_true(judge_proof_is_abandoned(&device, operations));
    g_ptr_array_add(operations, &operation);
    g_assert_false(judge_proof_is_abandoned(&device, operations));
    operation.target = (char *) "fence/n3";
    g_assert_true(judge_proof_is_abandoned(&device, operations));
    operation.target = (char *) "fence/n2";
    operation.state = OPERATION_FAILED;
    g_assert_true(judge_proof_is_abandoned(&device, operations));
    device.state = FENCE_PROVEN;
    g_assert_false(judge_proof_is_abandoned(&device, operations));
}

static void test_absence(void)
{
    gint64 since_ms = 0;
    g_assert_false(judge_absence_outlasts(&since_ms, FALSE, 1000, 500));
    g_assert_false(judge_absence_outlasts(&since_ms, FALSE, 1499, 500));
    g_assert_true(judge_absence_outlasts(&since_ms, FALSE, 1500, 500));
    g_assert_false(judge_absence_outlasts(&since_ms, TRUE, 1501, 500)); /* back: the time begins anew */
    g_assert_false(judge_absence_outlasts(&since_ms, FALSE, 1900, 500));
    g_assert_true(judge_absence_outlasts(&since_ms, FALSE, 2400, 500));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/judge/driven", test_driven);
    g_test_add_func("/judge/guest", test_guest);
    g_test_add_func("/judge/online", test_online);
    g_test_add_func("/judge/replacement", test_replacement);
    g_test_add_func("/judge/abandoned-proof", test_abandoned_proof);
    g_test_add_func("/judge/absence", test_absence);
    return g_test_run();
}
