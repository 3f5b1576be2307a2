/* SPDX-License-Identifier: Apache-2.0
 * Wording and tables of nodes, guests and volumes. */
#include "webui-api/cli/view.h"

#include <string.h>

const char *view_node_state(const json_t *node)
{
    if (json_is_false(cli_get(node, "clean"))) {
        return "UNCLEAN, must be fenced";
    }
    if (!cli_true(node, "online")) {
        return "offline";
    }
    return cli_true(node, "standby") ? "standby" : "online";
}

char *view_fencing(const json_t *fencing)
{
    const char *state = cli_text(fencing, "state"), *detail = cli_text(fencing, "detail");
    if (!state) {
        return g_strdup("unproven: no device");
    }
    if (strcmp(state, "proven") == 0) {
        g_autofree char *took = units_from_ms(cli_number(fencing, "proven_ms"));
        return g_strdup_printf("proven in %s", took);
    }
    return g_strconcat(state, detail && *detail ? ": " : "", detail && *detail ? detail : "", NULL);
}

const char *view_guest_state(const json_t *guest)
{
    const char *state = cli_text(guest, "status.state");
    return state && *state ? state : "unknown";
}

char *view_protection(const json_t *guest)
{
    const char *text = cli_text(guest, "status.protection");
    const json_t *known = cli_get(guest, "status.protected");
    if (!json_is_boolean(known)) {
        return g_strdup("unknown");
    }
    const char *word = json_is_true(known) ? "yes" : "NO";
    return text && *text ? g_strdup_printf("%s: %s", word, text) : g_strdup(word);
}

/* "used of total"; the status is gone when the node's agent is. */
static char *memory_of(const json_t *node)
{
    if (!json_is_object(cli_get(node, "status"))) {
        return g_strdup("unknown");
    }
    g_autofree char *left = units_from_mib(cli_number(node, "status.memory_free_mib"));
    g_autofree char *total = units_from_mib(cli_number(node, "status.memory_mib"));
    return g_strdup_printf("%s of %s", left, total);
}

static char *pool_of(const json_t *node)
{
    if (!json_is_object(cli_get(node, "status"))) {
        return g_strdup("unknown");
    }
    g_autofree char *total = units_from_mib(cli_number(node, "status.pool_size_mib"));
    return g_strdup_printf("%d %% of %s", (int) (cli_number(node, "status.pool_used_permille") + 5) / 10, total);
}

char *view_pool(const json_t *node)
{
    g_autofree char *total = units_from_mib(cli_number(node, "status.pool_size_mib"));
    g_autofree char *reserve = units_from_mib(cli_number(node, "status.pool_reserve_mib"));
    return g_strdup_printf("%d %% of %s, its metadata %d %%; %s in reserve",
                           (int) (cli_number(node, "status.pool_used_permille") + 5) / 10, total,
                           (int) (cli_number(node, "status.pool_metadata_permille") + 5) / 10, reserve);
}

char *view_nodes(const json_t *nodes, gboolean wide, gboolean colour)
{
    g_autoptr(CliTable) table = wide ? table_new("NAME", "STATE", "AGENT", "FENCING", "MEMORY FREE", "POOL USED", "DC",
                                                 ">ID", "RING0", "RING1", "VERSION", "NOTE", NULL)
                                     : table_new("NAME", "STATE", "AGENT", "FENCING", "MEMORY FREE", "POOL USED", NULL);
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        g_autofree char *fencing = view_fencing(cli_get(node, "fencing"));
        g_autofree char *memory = memory_of(node), *pool = pool_of(node);
        g_autofree char *id = g_strdup_printf("%" G_GINT64_FORMAT, cli_number(node, "id"));
        table_add(table, cli_text(node, "name"), view_node_state(node),
                  cli_true(node, "agent")    ? "yes"
                  : cli_true(node, "online") ? "DOWN"
                                             : NULL,
                  fencing, memory, pool, cli_true(node, "dc") ? "yes" : NULL, id, cli_text(node, "ring0"),
                  cli_text(node, "ring1"), cli_text(node, "status.product_version"),
                  cli_text(node, "status.condition"));
    }
    return table_format(table, colour);
}

char *view_guests(const json_t *guests, gboolean wide, gboolean colour)
{
    g_autoptr(CliTable) table = wide ? table_new("NAME", "STATE", "NODE", "PROTECTED", ">MEMORY", ">VCPUS", "REPLICAS",
                                                 "IN SYNC", "CREATED", "UUID", NULL)
                                     : table_new("NAME", "STATE", "NODE", "PROTECTED", ">MEMORY", ">VCPUS", NULL);
    for (size_t i = 0; i < json_array_size(guests); i++) {
        const json_t *guest = json_array_get(guests, i);
        g_autofree char *protection = view_protection(guest);
        g_autofree char *memory = units_from_mib(cli_number(guest, "spec.memory_mib"));
        g_autofree char *vcpus = g_strdup_printf("%" G_GINT64_FORMAT, cli_number(guest, "spec.vcpus"));
        g_autofree char *nodes = cli_join(cli_get(guest, "nodes"));
        g_autofree char *in_sync = cli_join(cli_get(guest, "status.in_sync"));
        table_add(table, cli_text(guest, "name"), view_guest_state(guest), cli_text(guest, "status.node"), protection,
                  memory, vcpus, nodes, in_sync, cli_text(guest, "created_at"), cli_text(guest, "uuid"));
    }
    return table_format(table, colour);
}

char *view_replicas(const json_t *volume)
{
    const json_t *replicas = cli_get(volume, "replicas");
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < json_array_size(replicas); i++) {
        const json_t *replica = json_array_get(replicas, i);
        const char *disk = cli_text(replica, "disk"), *node = cli_text(replica, "node");
        const char *resync = cli_text(replica, "resync"); /* "resync 43 %, about 20 s left" */
        g_string_append_printf(text, "%s%s on %s%s", text->len ? ", " : "", disk ? disk : "unknown", node ? node : "?",
                               cli_true(replica, "suspended") ? " (I/O FROZEN)" : "");
        if (resync) {
            g_string_append_printf(text, " (%s)", resync);
        }
    }
    return g_string_free(text, FALSE);
}

/* What is usable everywhere and shown to the guest; the size asked for when nobody says less. */
static gint64 size_reached(const json_t *volume)
{
    gint64 reached = cli_number(volume, "size_bytes");
    const json_t *replicas = cli_get(volume, "replicas");
    for (size_t i = 0; i < json_array_size(replicas); i++) {
        const json_t *replica = json_array_get(replicas, i);
        gint64 usable = cli_number(replica, "size_bytes"), shown = cli_number(replica, "guest_bytes");
        reached = usable > 0 ? MIN(reached, usable) : reached;
        reached = shown > 0 ? MIN(reached, shown) : reached;
    }
    return reached;
}

char *view_size(const json_t *volume)
{
    gint64 reached = size_reached(volume);
    char *wanted = units_from_mib(cli_number(volume, "size_bytes") / 1048576);
    if (reached >= cli_number(volume, "size_bytes")) {
        return wanted;
    }
    g_autofree char *owned = wanted;
    g_autofree char *now = units_from_mib(reached / 1048576);
    return g_strdup_printf("%s (now %s)", owned, now);
}

char *view_volumes(const json_t *volumes, gboolean wide, gboolean colour)
{
    g_autoptr(CliTable) table = wide ? table_new("NAME", "GUEST", ">SIZE", "REPLICAS", "IMAGE", NULL)
                                     : table_new("NAME", "GUEST", ">SIZE", "REPLICAS", NULL);
    for (size_t i = 0; i < json_array_size(volumes); i++) {
        const json_t *volume = json_array_get(volumes, i);
        g_autofree char *size = view_size(volume);
        g_autofree char *replicas = view_replicas(volume);
        table_add(table, cli_text(volume, "name"), cli_text(volume, "guest"), size, replicas,
                  cli_text(volume, "image"));
    }
    return table_format(table, colour);
}
