/* SPDX-License-Identifier: Apache-2.0
 * The manual fence agent: options both ways, every action, and above all that `off` succeeds for a confirmation only.
 */
#include "fencing/manual_agent.h"

#include "common/error.h"
#include "fencing/confirm.h"

#include <libxml/parser.h>
#include <string.h>

static gboolean parse(const char *line, const char *input, ManualOptions *out)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    return manual_options_parse(words, input, out, NULL);
}

static void test_options(void)
{
    static const struct {
        const char *line, *input, *action, *node;
        int wait_s;
    } cases[] = {
        {"", "action=status\nplug=n2\nwait=30\n", "status", "n2", 30},
        {"", "# comment\n\n action = off \nnodename=n2\nverbose=1\npassword=x=y", "off", "n2", 8},
        {"", "nodename=other\nport=n2", "off", "n2", 8},
        {"", "port=n2\nnodename=other", "off", "n2", 8},
        {"-o monitor", "", "monitor", NULL, 8},
        {"-ostatus -nn2", "", "status", "n2", 8},
        {"--action=off --plug=n2 --wait=0", "", "off", "n2", 0},
        {"--action off --nodename n2", "", "off", "n2", 8},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(ManualOptions) options = {0};
        g_assert_true(parse(cases[i].line, cases[i].input, &options));
        g_assert_cmpstr(options.action, ==, cases[i].action);
        g_assert_cmpstr(options.node, ==, cases[i].node);
        g_assert_cmpint(options.wait_s, ==, cases[i].wait_s);
    }
    static const char *const wrong[] = {"--bogus=1", "-o", "off", "--wait=x", "--wait=-1", "-x1"};
    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_auto(ManualOptions) options = {0};
        g_assert_false(parse(wrong[i], "", &options));
    }
}

/* A store with a confirmation that comes at a time, and a clock that only moves when somebody waits. */
typedef struct {
    gint64 now_ms, confirmed_at_ms; /* -1: never */
    guint consumed, asked;
} World;

static gboolean world_check(gpointer user_data, const char *node, GError **error)
{
    World *world = user_data;
    world->asked++;
    if (world->confirmed_at_ms >= 0 && world->now_ms >= world->confirmed_at_ms && strcmp(node, "n2") == 0) {
        return TRUE;
    }
    g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "no confirmation");
    return FALSE;
}

static gboolean world_consume(gpointer user_data, const char *node, GError **error)
{
    World *world = user_data;
    if (!world_check(world, node, error)) {
        return FALSE;
    }
    world->consumed++;
    world->confirmed_at_ms = -1;
    return TRUE;
}

static gint64 world_now_ms(gpointer user_data)
{
    return ((World *) user_data)->now_ms;
}

static void world_pause(gpointer user_data, int ms)
{
    g_assert_cmpint(ms, >, 0);
    ((World *) user_data)->now_ms += ms;
}

/* Run one action; what it said on both streams is in *ret_said. */
static int run(World *world, const char *line, char **ret_said)
{
    g_auto(ManualOptions) options = {0};
    g_assert_true(parse(line, "", &options));
    ManualWorld functions = {world_check, world_consume, world_now_ms, world_pause, world};
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    int status = manual_agent_run(&options, &functions, stream, stream);
    fclose(stream);
    if (ret_said) {
        *ret_said = g_strdup(text);
    }
    free(text);
    return status;
}

static void test_off(void)
{
    World never = {.confirmed_at_ms = -1};
    g_autofree char *said = NULL;
    g_assert_cmpint(run(&never, "-o off -n n2 --wait=8", &said), ==, MANUAL_ERROR);
    g_assert_cmpint(never.now_ms, ==, 8000);
    g_assert_nonnull(strstr(said, "holdfast fence confirm n2"));

    World later = {.confirmed_at_ms = 3500};
    g_assert_cmpint(run(&later, "-o off -n n2 --wait=8", NULL), ==, MANUAL_OK);
    g_assert_cmpint(later.now_ms, ==, 4000);
    g_assert_cmpuint(later.consumed, ==, 1);
    g_assert_cmpint(run(&later, "-o off -n n2 --wait=0", NULL), ==, MANUAL_ERROR); /* once only */

    World there = {0};
    g_assert_cmpint(run(&there, "-o off -n n1 --wait=1", NULL), ==, MANUAL_ERROR); /* for another node */
    g_assert_cmpint(run(&there, "-o off -n ../n2", NULL), ==, MANUAL_ERROR);
    g_assert_cmpint(run(&there, "-o off", NULL), ==, MANUAL_ERROR);
    g_assert_cmpuint(there.consumed, ==, 0);
}

static void test_other_actions(void)
{
    World world = {0};
    g_assert_cmpint(run(&world, "-o status -n n2", NULL), ==, MANUAL_STATUS_OFF);
    g_assert_cmpint(run(&world, "-o status -n n1", NULL), ==, MANUAL_ERROR);
    g_assert_cmpint(run(&world, "-o on -n n2", NULL), ==, MANUAL_ERROR);
    g_assert_cmpint(run(&world, "-o reboot -n n2", NULL), ==, MANUAL_ERROR);
    g_assert_cmpuint(world.consumed, ==, 0);
    world.asked = 0;
    g_assert_cmpint(run(&world, "-o monitor", NULL), ==, MANUAL_OK);
    g_assert_cmpint(run(&world, "-o list", NULL), ==, MANUAL_OK);
    g_assert_cmpint(run(&world, "-o validate-all", NULL), ==, MANUAL_OK);
    g_autofree char *metadata = NULL;
    g_assert_cmpint(run(&world, "-o metadata", &metadata), ==, MANUAL_OK);
    g_assert_cmpuint(world.asked, ==, 0); /* none of these may depend on the store */
    xmlDoc *document = xmlReadMemory(metadata, (int) strlen(metadata), NULL, NULL, 0);
    g_assert_nonnull(document);
    xmlFreeDoc(document);
}

static void test_judge(void)
{
    static const struct {
        const char *node, *boot_id, *used_at, *boot_id_now;
        gboolean ok;
    } cases[] = {
        {"n2", "aaa", NULL, "aaa", TRUE},  {"n2", NULL, NULL, NULL, TRUE},
        {"n1", "aaa", NULL, "aaa", FALSE}, {"n2", "aaa", "2026-01-01T00:00:00Z", "aaa", FALSE},
        {"n2", "aaa", NULL, "bbb", FALSE}, {"n2", NULL, NULL, "bbb", FALSE},
        {"n2", "aaa", NULL, NULL, FALSE},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        Confirmation confirmation = {
            .node = (char *) cases[i].node,
            .user = (char *) "root",
            .at = (char *) "2026-01-01T00:00:00Z",
            .boot_id = (char *) cases[i].boot_id,
            .used_at = (char *) cases[i].used_at,
        };
        g_autoptr(GError) error = NULL;
        g_assert_cmpint(confirm_judge(&confirmation, "n2", cases[i].boot_id_now, &error), ==, cases[i].ok);
        if (!cases[i].ok) {
            g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/manual-agent/options", test_options);
    g_test_add_func("/manual-agent/off", test_off);
    g_test_add_func("/manual-agent/other-actions", test_other_actions);
    g_test_add_func("/manual-agent/judge", test_judge);
    return g_test_run();
}
