/* SPDX-License-Identifier: Apache-2.0
 * Reading Pacemaker 2.1.5: crm_mon output and the clean-down rule. The node_state texts are what a real cluster of
 * three wrote. */
#include "cluster/pacemaker.h"

#include "common/error.h"

#include <string.h>

static const PacemakerNode *node_of(const PacemakerStatus *status, const char *name)
{
    for (guint i = 0; i < status->nodes->len; i++) {
        const PacemakerNode *node = g_ptr_array_index(status->nodes, i);
        if (strcmp(node->name, name) == 0) {
            return node;
        }
    }
    g_assert_not_reached();
}

/* web1 migrates, db1 failed its monitor, n3 crashed and its fencing fails. */
static void test_status(void)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    g_assert_true(g_file_get_contents("tests/unit/cluster/data/crm-mon-mixed.xml", &text, NULL, NULL));
    g_autoptr(PacemakerStatus) status = pacemaker_status_parse(text, &error);
    g_assert_no_error(error);
    g_assert_true(status->quorate);
    g_assert_cmpstr(status->dc, ==, "n1");
    g_assert_cmpuint(status->nodes->len, ==, 3);
    g_assert_true(node_of(status, "n1")->online && node_of(status, "n1")->clean && node_of(status, "n1")->is_dc);
    g_assert_false(node_of(status, "n3")->online || node_of(status, "n3")->clean || node_of(status, "n3")->is_dc);
    const PacemakerResource *web = pacemaker_status_resource(status, "web1");
    g_assert_cmpstr(web->role, ==, "Migrating");
    g_assert_cmpstr(web->node, ==, "n1");
    g_assert_false(web->failed);
    const PacemakerResource *db = pacemaker_status_resource(status, "db1");
    g_assert_true(db->failed);
    g_assert_cmpstr(db->node, ==, "n2");
    const PacemakerResource *idle = pacemaker_status_resource(status, "idle");
    g_assert_null(idle->node);
    g_assert_cmpuint(idle->n_running_on, ==, 0);
    g_assert_cmpstr(idle->target_role, ==, "Stopped");
    g_assert_null(pacemaker_status_resource(status, "absent"));
    /* One line for the failed monitor, one for n3: not the older failure, not that of n2, which is clean again. */
    g_assert_cmpuint(g_strv_length(status->failures), ==, 2);
    g_assert_cmpuint(status->fail_counts->len, ==, 1);
    const PacemakerFailCount *fail_count = status->fail_counts->pdata[0];
    g_assert_cmpstr(fail_count->resource, ==, "db1");
    g_assert_cmpstr(fail_count->node, ==, "n2");
    g_assert_true(fail_count->count == 1 && fail_count->limit == 3);
    g_assert_cmpstr(status->failures[0], ==,
                    "db1_monitor_10000 on n2: error (complete): guest 'db1': 1 < 2 && so, 2026-11-20 20:26:27Z");
    g_assert_cmpstr(status->failures[1], ==, "fencing (off) of n3 failed: no confirmation, 2026-11-20 20:23:37Z");
}

#define STATUS(resources)                                                                                              \
    "<pacemaker-result><summary><current_dc present=\"false\"/></summary><nodes><node name=\"n1\" "                    \
    "online=\"true\"/></nodes><resources>" resources "</resources></pacemaker-result>"

static void test_status_corners(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PacemakerStatus) status =
        pacemaker_status_parse(STATUS("<group id=\"g\"><resource id=\"in\" role=\"Started\" "
                                      "nodes_running_on=\"1\"><node name=\"n1\"/></resource></group>"
                                      "<resource id=\"two\" role=\"Started\" failed=\"true\" "
                                      "nodes_running_on=\"2\"><node name=\"n1\"/></resource>"
                                      "<resource id=\"two\" role=\"Started\" failed=\"false\" "
                                      "nodes_running_on=\"2\"><node name=\"n2\"/></resource>"),
                               &error);
    g_assert_no_error(error);
    g_assert_null(status->dc);
    g_assert_false(status->quorate);
    g_assert_false(node_of(status, "n1")->clean); /* nothing said it is */
    g_assert_cmpuint(status->resources->len, ==, 2);
    g_assert_cmpstr(pacemaker_status_resource(status, "in")->node, ==, "n1");
    const PacemakerResource *two = pacemaker_status_resource(status, "two");
    g_assert_cmpuint(two->n_running_on, ==, 2);
    g_assert_true(two->failed);
    g_assert_cmpstr(two->node, ==, "n1");
}

#define COUNTED(node, count)                                                                                           \
    "<node name=\"" node "\"><resource_history id=\"web1\" migration-threshold=\"3\" fail-count=\"" count "\"/>"       \
    "<resource_history id=\"db1\" migration-threshold=\"3\"/></node>"

/* n1 and n2 are there, n3 is away, n4 in standby. */
static PacemakerStatus *counted(const char *resource, const char *history)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf(
        "<pacemaker-result><summary/><nodes><node name=\"n1\" online=\"true\"/><node name=\"n2\" "
        "online=\"true\"/><node "
        "name=\"n3\" online=\"false\"/><node name=\"n4\" online=\"true\" "
        "standby=\"true\"/></nodes><resources>%s</resources><node_history>%s</node_history></pacemaker-result>",
        resource, history);
    PacemakerStatus *status = pacemaker_status_parse(text, &error);
    g_assert_no_error(error);
    return status;
}

static void test_restart_limit(void)
{
    static const char stopped[] = "<resource id=\"web1\" role=\"Stopped\" nodes_running_on=\"0\"/>";
    static const struct {
        const char *resource, *history, *nodes, *reached;
        gboolean given_up;
    } cases[] = {
        {stopped, "", "n1 n2", NULL, FALSE},
        {stopped, COUNTED("n1", "2"), "n1 n2", NULL, FALSE},
        {stopped, COUNTED("n1", "3"), "n1 n2", "3 times on n1", FALSE}, /* the other one is left */
        {stopped, COUNTED("n1", "3") COUNTED("n2", "4"), "n1 n2", "3 times on n1, 4 times on n2", TRUE},
        {stopped, COUNTED("n1", "3") COUNTED("n2", "2"), "n1 n2", "3 times on n1", FALSE},
        {stopped, COUNTED("n1", "3"), "n1", "3 times on n1", TRUE}, /* the other replica is out of sync */
        {stopped, COUNTED("n1", "3"), "n1 n3", "3 times on n1", TRUE},
        {stopped, COUNTED("n1", "3"), "n4 n1", "3 times on n1", TRUE},
        {stopped, COUNTED("n1", "INFINITY") COUNTED("n2", "1000000"), "n1 n2", "for good on n1, for good on n2", TRUE},
        {stopped, "", "n3 n4", NULL, FALSE}, /* waits for a node, not for a person */
        {"<resource id=\"web1\" role=\"Stopped\" pending=\"Starting\"/>", COUNTED("n1", "3"), "n1", "3 times on n1",
         FALSE},
        {"<resource id=\"web1\" role=\"Started\" nodes_running_on=\"1\"><node name=\"n2\"/></resource>",
         COUNTED("n1", "3"), "n1 n2", "3 times on n1", FALSE},
        {"", COUNTED("n1", "3"), "n1", "3 times on n1", FALSE},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(PacemakerStatus) status = counted(cases[i].resource, cases[i].history);
        g_auto(GStrv) nodes = g_strsplit(cases[i].nodes, " ", -1);
        g_autofree char *reached = pacemaker_status_limit_reached(status, "web1");
        g_autofree char *other = pacemaker_status_limit_reached(status, "db1");
        g_test_message("case %u", i);
        g_assert_cmpstr(reached, ==, cases[i].reached);
        g_assert_null(other);
        g_assert_cmpint(pacemaker_status_given_up(status, "web1", (const char *const *) nodes), ==, cases[i].given_up);
    }
}

static void test_status_bad(void)
{
    static const char *const texts[] = {"", "Connection to cluster failed", "<pacemaker-result/>",
                                        "<x><summary/><nodes/></x>"};
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(pacemaker_status_parse(texts[i], &error));
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    }
}

#define DOWN "in_ccm=\"false\" crmd=\"offline\" join=\"down\" expected=\"down\""
#define HISTORY(type, ops)                                                                                             \
    "<lrm id=\"2\"><lrm_resources><lrm_resource id=\"web1\" " type ">" ops "</lrm_resource></lrm_resources></lrm>"
#define GUEST "class=\"ocf\" provider=\"holdfast\" type=\"guest\""
#define OP(id, operation, rc, status)                                                                                  \
    "<lrm_rsc_op id=\"" id "\" operation=\"" operation "\" rc-code=\"" rc "\" op-status=\"" status "\"/>"

static void test_clean_down(void)
{
    static const struct {
        const char *what, *attributes, *history;
        gboolean clean_down;
    } cases[] = {
        {"fenced", DOWN, "", TRUE},
        {"crashed, not fenced", "in_ccm=\"false\" crmd=\"offline\" join=\"member\" expected=\"member\"", "", FALSE},
        {"Pacemaker stopped, corosync on", "in_ccm=\"true\" crmd=\"offline\" join=\"down\" expected=\"down\"", "",
         FALSE},
        {"member", "in_ccm=\"true\" crmd=\"online\" join=\"member\" expected=\"member\"", "", FALSE},
        {"back in the membership after fencing", "in_ccm=\"true\" crmd=\"online\" join=\"down\" expected=\"down\"", "",
         FALSE},
        {"joining", "in_ccm=\"false\" crmd=\"offline\" join=\"pending\" expected=\"down\"", "", FALSE},
        {"attribute missing", "in_ccm=\"false\" crmd=\"offline\" join=\"down\"", "", FALSE},
        {"nothing known", "", "", FALSE},
        {"newer Pacemaker's times", "in_ccm=\"0\" crmd=\"0\" join=\"down\" expected=\"down\"", "", FALSE},
        {"left, guest stopped", DOWN,
         HISTORY(GUEST, OP("web1_last_failure_0", "monitor", "1", "0") OP("web1_last_0", "stop", "0", "0")
                            OP("web1_monitor_10000", "monitor", "0", "0")),
         TRUE},
        {"left, guest never ran", DOWN, HISTORY(GUEST, OP("web1_last_0", "monitor", "7", "0")), TRUE},
        {"left in maintenance mode, guest runs on", DOWN,
         HISTORY(GUEST, OP("web1_last_0", "start", "0", "0") OP("web1_monitor_10000", "monitor", "0", "0")), FALSE},
        {"left, stop failed", DOWN, HISTORY(GUEST, OP("web1_last_0", "stop", "1", "4")), FALSE},
        {"left, stop under way", DOWN, HISTORY(GUEST, OP("web1_last_0", "stop", "0", "-1")), FALSE},
        {"left, found running by a probe", DOWN, HISTORY(GUEST, OP("web1_last_0", "monitor", "0", "0")), FALSE},
        {"left, history empty", DOWN, HISTORY(GUEST, ""), FALSE},
        {"left, another agent's resource runs", DOWN,
         HISTORY("class=\"stonith\" type=\"fence_ipmilan\"", OP("web1_last_0", "start", "0", "0")), TRUE},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *xml = g_strdup_printf("<node_state id=\"2\" uname=\"n2\" %s>%s</node_state>",
                                               cases[i].attributes, cases[i].history);
        g_autoptr(GError) error = NULL;
        gboolean clean_down = !cases[i].clean_down;
        g_assert_true(pacemaker_node_clean_down_parse(xml, &clean_down, &error));
        g_assert_no_error(error);
        if (clean_down != cases[i].clean_down) {
            g_error("%s: clean_down %d", cases[i].what, clean_down);
        }
    }
    g_autoptr(GError) error = NULL;
    gboolean clean_down = FALSE;
    g_assert_false(
        pacemaker_node_clean_down_parse("<xpath-query><node_state/><node_state/></xpath-query>", &clean_down, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
}

/* --- the programs, recorded --- */

typedef struct {
    int status;
    const char *output;
    char *command; /* what was run */
} Answer;

static gboolean answer_run(const ProcessRunner *runner, const char *const *argv, const char *input G_GNUC_UNUSED,
                           int timeout_ms G_GNUC_UNUSED, ProcessResult *ret, GError **error G_GNUC_UNUSED)
{
    Answer *answer = runner->user_data;
    g_free(answer->command);
    answer->command = g_strjoinv(" ", (char **) argv);
    *ret = (ProcessResult){
        .exit_status = answer->status, .stdout_text = g_strdup(answer->output), .stderr_text = g_strdup("")};
    return TRUE;
}

static void test_programs(void)
{
    Answer answer = {.output = ""};
    ProcessRunner runner = {.run = answer_run, .user_data = &answer};
    g_autoptr(GError) error = NULL;
    g_assert_true(pacemaker_standby(&runner, "n1", TRUE, &error));
    g_assert_cmpstr(answer.command, ==,
                    "/usr/sbin/crm_attribute --node n1 --name standby --lifetime forever --update on");
    g_assert_true(pacemaker_cleanup(&runner, "web1", &error));
    g_assert_cmpstr(answer.command, ==, "/usr/sbin/crm_resource --cleanup --resource web1");
    g_assert_true(pacemaker_fence(&runner, "n1", 60, &error));
    g_assert_cmpstr(answer.command, ==, "/usr/sbin/stonith_admin --fence n1 --tolerance 0 --timeout 60");
    g_assert_no_error(error);
    answer.status = 102;
    g_assert_null(pacemaker_status(&runner, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    gboolean clean_down = TRUE;
    answer.status = 105; /* no such node in the CIB */
    g_assert_true(pacemaker_node_is_clean_down(&runner, "n9", &clean_down, &error));
    g_assert_false(clean_down);
    g_assert_cmpstr(answer.command, ==, "/usr/sbin/cibadmin --query --local --xpath //status/node_state[@uname='n9']");
    g_assert_false(pacemaker_node_is_clean_down(&runner, "n1'] | //*['", &clean_down, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_free(answer.command);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pacemaker/status", test_status);
    g_test_add_func("/pacemaker/status-corners", test_status_corners);
    g_test_add_func("/pacemaker/restart-limit", test_restart_limit);
    g_test_add_func("/pacemaker/status-bad", test_status_bad);
    g_test_add_func("/pacemaker/clean-down", test_clean_down);
    g_test_add_func("/pacemaker/programs", test_programs);
    return g_test_run();
}
