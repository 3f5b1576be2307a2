/* SPDX-License-Identifier: Apache-2.0
 * fence_holdfast_manual: the fence agent program. Run by Pacemaker's fencer; works with holdfastd dead. */
#include "common/ident.h"
#include "fencing/confirm.h"
#include "fencing/manual_agent.h"

#include <unistd.h>

#define INPUT_MAX_BYTES 65536

/* The store is opened at the first question, so that metadata and monitor need none. */
static Store *world_store(Store **store, GError **error)
{
    if (!*store) {
        *store = store_new_for_node(error);
    }
    return *store;
}

static gboolean world_check(gpointer user_data, const char *node, GError **error)
{
    Store *store = world_store(user_data, error);
    return store && confirm_check(store, node, error);
}

static gboolean world_consume(gpointer user_data, const char *node, GError **error)
{
    Store *store = world_store(user_data, error);
    return store && confirm_consume(store, node, ident_node_name(), error);
}

static gint64 world_now_ms(gpointer user_data G_GNUC_UNUSED)
{
    return g_get_monotonic_time() / 1000;
}

static void world_pause(gpointer user_data G_GNUC_UNUSED, int ms)
{
    g_usleep((gulong) ms * 1000);
}

static char *read_input(void)
{
    GString *text = g_string_new(NULL);
    char buffer[4096];
    ssize_t got = 0;
    while (text->len < INPUT_MAX_BYTES && (got = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0) {
        g_string_append_len(text, buffer, got);
    }
    return g_string_free(text, FALSE);
}

int main(int argc, char **argv)
{
    g_autofree char *input = argc > 1 ? NULL : read_input();
    g_auto(ManualOptions) options = {0};
    g_autoptr(GError) error = NULL;
    if (!manual_options_parse(argv + 1, input, &options, &error)) {
        fprintf(stderr, "fence_holdfast_manual: %s\n", error->message);
        return MANUAL_ERROR;
    }
    g_autoptr(Store) store = NULL;
    ManualWorld world = {
        .check = world_check,
        .consume = world_consume,
        .now_ms = world_now_ms,
        .pause = world_pause,
        .user_data = &store,
    };
    return manual_agent_run(&options, &world, stdout, stderr);
}
