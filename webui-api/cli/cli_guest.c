/* SPDX-License-Identifier: Apache-2.0
 * `holdfast guest ...`. */
#include "common/error.h"
#include "webui-api/cli/cli.h"
#include "webui-api/cli/guest_spec.h"
#include "webui-api/cli/table.h"
#include "webui-api/cli/view.h"

static gboolean run_create(Cli *cli, GError **error)
{
    g_autoptr(json_t) body = guest_spec_body(cli, error);
    g_autofree char *path = cli_path("guests", NULL);
    return body && cli_operate(cli, "POST", path, body, error);
}

static gboolean run_list(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("guests", NULL);
    g_autoptr(json_t) guests = cli_fetch(cli, path, error);
    if (!guests || cli_print_json(cli, guests)) {
        return guests != NULL;
    }
    g_autofree char *text = view_guests(guests, cli->output == CLI_OUTPUT_WIDE, cli->colour);
    cli_print("%s", text);
    return TRUE;
}

static void print_disks(const json_t *guest)
{
    const json_t *volumes = cli_get(guest, "status.volumes");
    for (size_t i = 0; i < json_array_size(volumes); i++) {
        const json_t *volume = json_array_get(volumes, i);
        const char *image = cli_text(volume, "image");
        g_autofree char *label = g_strdup_printf("Volume %zu", i);
        g_autofree char *size = units_from_mib(cli_number(volume, "size_bytes") / 1048576);
        g_autofree char *replicas = view_replicas(volume);
        g_autofree char *text = g_strdup_printf("%s%s%s, %s", size, image ? ", from image " : "", image ? image : "",
                                                *replicas ? replicas : "unknown");
        cli_print_field(label, text);
    }
}

static void print_networks(const json_t *guest)
{
    const json_t *nics = cli_get(guest, "spec.nics");
    for (size_t i = 0; i < json_array_size(nics); i++) {
        const json_t *nic = json_array_get(nics, i);
        const char *network = cli_text(nic, "network"), *mac = cli_text(nic, "mac");
        g_autofree char *label = g_strdup_printf("Network %zu", i);
        g_autofree char *text = g_strdup_printf("%s, %s", network ? network : "?", mac ? mac : "MAC not known yet");
        cli_print_field(label, text);
    }
}

static void print_list(const char *label, const json_t *names, const char *more)
{
    g_autofree char *text = cli_join(names);
    g_autofree char *whole = text ? g_strconcat(text, more, NULL) : NULL;
    if (whole) {
        cli_print_field(label, whole);
    }
}

/* The rules of its recovery; a node of an older version does not tell them all. */
static void print_rules(const json_t *guest)
{
    g_autofree char *priority = g_strdup_printf("%" G_GINT64_FORMAT, cli_number(guest, "spec.priority"));
    g_autofree char *restarts =
        g_strdup_printf("%" G_GINT64_FORMAT " failures on a node, forgotten %" G_GINT64_FORMAT " s after the last",
                        cli_number(guest, "spec.restart_limit"), cli_number(guest, "spec.restart_window_s"));
    cli_print_field("Priority", cli_get(guest, "spec.priority") ? priority : NULL);
    print_list("Starts after", cli_get(guest, "spec.start_after"), "");
    print_list("Kept apart", cli_get(guest, "spec.keep_apart"),
               cli_true(guest, "spec.keep_apart_strict") ? " (strictly)" : "");
    print_list("Kept with", cli_get(guest, "spec.keep_together"), "");
    if (cli_get(guest, "spec.restart_limit")) {
        cli_print_field("Restarts", restarts);
    }
}

/* "2026-01-02T03:04:05.000Z silent: n1 to n2, running 5.2 s after detection, 6.3 s after the loss" */
static void print_recoveries(const json_t *guest)
{
    const json_t *recoveries = cli_get(guest, "recoveries");
    for (size_t i = 0; i < json_array_size(recoveries); i++) {
        const json_t *each = json_array_get(recoveries, i);
        const char *at = cli_text(each, "began_at"), *reason = cli_text(each, "reason");
        const char *from = cli_text(each, "from"), *to = cli_text(each, "to"), *failure = cli_text(each, "failure");
        g_autoptr(GString) text = g_string_new(NULL);
        g_string_append_printf(text, "%s %s: %s to %s, ", at ? at : "?", reason ? reason : "?", from ? from : "?",
                               to ? to : "nowhere");
        if (cli_get(each, "recovery_ms")) {
            g_autofree char *detection = units_from_ms(cli_number(each, "recovery_ms"));
            g_autofree char *outage = units_from_ms(cli_number(each, "outage_ms"));
            g_string_append_printf(text, "running %s after detection, %s after the loss", detection, outage);
        } else {
            g_string_append_printf(text, "not seen running%s%s", failure ? ": " : "", failure ? failure : "");
        }
        cli_print_field("Recovered", text->str);
    }
}

static void print_guest(const json_t *guest)
{
    g_autofree char *protection = view_protection(guest);
    g_autofree char *nodes = cli_join(cli_get(guest, "nodes"));
    g_autofree char *in_sync = cli_join(cli_get(guest, "status.in_sync"));
    g_autofree char *memory = units_from_mib(cli_number(guest, "spec.memory_mib"));
    g_autofree char *machine =
        g_strdup_printf("%" G_GINT64_FORMAT " vCPUs, %s%s", cli_number(guest, "spec.vcpus"), memory,
                        cli_true(guest, "status.emulated") ? ", EMULATED: its node has no KVM" : "");
    const json_t *conditions = cli_get(guest, "status.conditions");
    cli_print_field("Guest", cli_text(guest, "name"));
    cli_print_field("State", view_guest_state(guest));
    cli_print_field("Wanted", cli_text(guest, "spec.desired_state"));
    cli_print_field("Node", cli_text(guest, "status.node"));
    cli_print_field("Protected", protection);
    cli_print_field("Replicas on", nodes);
    cli_print_field("In sync", in_sync);
    if (cli_text(guest, "joining")) {
        cli_print_field("Being built", cli_text(guest, "joining"));
    }
    cli_print_field("Machine", machine);
    print_disks(guest);
    print_networks(guest);
    print_rules(guest);
    print_recoveries(guest);
    for (size_t i = 0; i < json_array_size(conditions); i++) {
        cli_print_field("Note", json_string_value(json_array_get(conditions, i)));
    }
    cli_print_field("UUID", cli_text(guest, "uuid"));
    cli_print_field("Created", cli_text(guest, "created_at"));
}

static gboolean run_show(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("guests", cli->words[0], NULL);
    g_autofree char *recoveries_path = cli_path("guests", cli->words[0], "recoveries", NULL);
    g_autoptr(json_t) guest = cli_fetch(cli, path, error);
    /* A node of an older version does not know them; the guest is what was asked for. */
    g_autoptr(json_t) recoveries = guest ? cli_fetch(cli, recoveries_path, NULL) : NULL;
    if (recoveries) {
        json_object_set(guest, "recoveries", recoveries);
    }
    if (!guest || cli_print_json(cli, guest)) {
        return guest != NULL;
    }
    print_guest(guest);
    return TRUE;
}

static gboolean run_set(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("guests", cli->words[0], NULL);
    g_autoptr(json_t) body = guest_set_body(cli, error);
    g_autoptr(json_t) guest = body ? cli_http_request(cli->http, "PATCH", path, body, error) : NULL;
    if (guest && !cli_print_json(cli, guest)) {
        cli_print("guest %s is changed; `holdfast guest show %s` tells how it stands\n", cli->words[0], cli->words[0]);
    }
    return guest != NULL;
}

static gboolean run_start(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("guests", cli->words[0], "actions", "start", NULL);
    g_autoptr(json_t) body = cli_flag(cli, "force") ? json_pack("{s:b}", "force", 1) : NULL;
    return cli_operate(cli, "POST", path, body, error);
}

static gboolean run_stop(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("guests", cli->words[0], "actions", "stop", NULL);
    g_autoptr(json_t) body = json_pack("{s:b}", "force", cli_flag(cli, "force"));
    return cli_operate(cli, "POST", path, body, error);
}

static gboolean run_migrate(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("guests", cli->words[0], "actions", "migrate", NULL);
    g_autoptr(json_t) body = json_pack("{s:s}", "node", cli->words[1]);
    return cli_operate(cli, "POST", path, body, error);
}

static gboolean run_replace_replica(Cli *cli, GError **error)
{
    const char *from = cli_option(cli, "from"), *to = cli_option(cli, "to");
    if (!from) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                            "--from: is needed: the node whose replica is given up");
        return FALSE;
    }
    g_autofree char *path = cli_path("guests", cli->words[0], "actions", "replace-replica", NULL);
    g_autoptr(json_t) body = json_pack("{s:s,s:b}", "from", from, "unprotected", cli_flag(cli, "unprotected"));
    if (to) {
        json_object_set_new(body, "to", json_string(to));
    }
    return cli_operate(cli, "POST", path, body, error);
}

static gboolean run_reattach(Cli *cli, GError **error)
{
    const char *node = cli_option(cli, "node");
    g_autofree char *path = cli_path("guests", cli->words[0], "actions", "reattach", NULL);
    g_autoptr(json_t) body = node ? json_pack("{s:s}", "node", node) : json_object();
    g_autoptr(json_t) result = cli_http_request(cli->http, "POST", path, body, error);
    if (result && !cli_print_json(cli, result)) {
        g_autofree char *nodes = cli_join(cli_get(result, "nodes"));
        cli_print(
            "the failed disk of %s on %s is used again and resyncs; `holdfast guest show %s` tells how far it is\n",
            cli->words[0], nodes ? nodes : "?", cli->words[0]);
    }
    return result != NULL;
}

/* The word about the copy on a node, said twice. Caller owns the answer. */
static json_t *choose_copy(Cli *cli, const char *action, GError **error)
{
    g_autoptr(json_t) body = json_pack("{s:s,s:s}", "node", cli->words[1], "confirm", cli->words[0]);
    g_autofree char *path = cli_path("guests", cli->words[0], "actions", action, NULL);
    return cli_http_request(cli->http, "POST", path, body, error);
}

/* Naming the wrong copy loses what only the other one has: hence the guest's name a second time. */
static gboolean run_confirm(Cli *cli, GError **error)
{
    const char *guest = cli->words[0], *node = cli->words[1];
    if (g_strcmp0(cli_option(cli, "confirm"), guest) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "--confirm: what only other copies of %s have is lost for good once it starts from the one on %s; "
                    "sure? Repeat with --confirm %s",
                    guest, node, guest);
        return FALSE;
    }
    g_autoptr(json_t) result = choose_copy(cli, "confirm", error);
    if (result && !cli_print_json(cli, result)) {
        cli_print("the copy of %s on %s counts as the current one\n", guest, node);
    }
    return result != NULL;
}

static gboolean run_discard_copy(Cli *cli, GError **error)
{
    const char *guest = cli->words[0], *node = cli->words[1];
    if (g_strcmp0(cli_option(cli, "confirm"), guest) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "--confirm: what only the copy of %s on %s has leaves the guest's disk for good; a snapshot of it "
                    "is kept there. Sure? Repeat with --confirm %s",
                    guest, node, guest);
        return FALSE;
    }
    g_autoptr(json_t) result = choose_copy(cli, "discard-copy", error);
    if (result && !cli_print_json(cli, result)) {
        g_autofree char *kept = cli_join(cli_get(result, "kept"));
        cli_print("the copy of %s on %s is brought up to date from the other one; what it had is kept there as %s "
                  "(volume group holdfast)\n",
                  guest, node, kept ? kept : "?");
    }
    return result != NULL;
}

static gboolean run_verify(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("guests", cli->words[0], "actions", "verify", NULL);
    g_autoptr(json_t) body = json_pack("{s:b}", "repair", cli_flag(cli, "repair"));
    return cli_operate(cli, "POST", path, body, error);
}

static gboolean run_delete(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("guests", cli->words[0], NULL);
    return cli_operate(cli, "DELETE", path, NULL, error);
}

static const CliOption start_options[] = {
    {"force", '\0', CLI_OPTION_FLAG, NULL, "also without room for all once a node is lost"},
    {.name = NULL},
};

static const CliOption stop_options[] = {
    {"force", '\0', CLI_OPTION_FLAG, NULL, "switch it off instead of asking it to shut down"},
    {.name = NULL},
};

static const CliOption replace_replica_options[] = {
    {"from", '\0', CLI_OPTION_VALUE, "NODE", "whose replica is given up: gone, or to be emptied"},
    {"to", '\0', CLI_OPTION_VALUE, "NODE", "where the new one is built (default: where there is most room)"},
    {"unprotected", '\0', CLI_OPTION_FLAG, NULL,
     "also while the old one is in sync: there is one copy until the new one is complete"},
    {.name = NULL},
};

static const CliOption reattach_options[] = {
    {"node", '\0', CLI_OPTION_VALUE, "NODE", "the replica there (default: wherever a disk failed)"},
    {.name = NULL},
};

static const CliOption confirm_options[] = {
    {"confirm", '\0', CLI_OPTION_VALUE, "NAME", "the guest's name again: that copy is the current one"},
    {.name = NULL},
};

static const CliOption verify_options[] = {
    {"repair", '\0', CLI_OPTION_FLAG, NULL, "copy what differs from the node where it runs to the other one"},
    {.name = NULL},
};

static const CliOption discard_options[] = {
    {"confirm", '\0', CLI_OPTION_VALUE, "NAME", "the guest's name again: that copy is not wanted"},
    {.name = NULL},
};

const CliCommand cli_guest_commands[] = {
    {"guest", "list", "", 0, 0, NULL, "the guests, where they run and how protected they are", run_list},
    {"guest", "show", "NAME", 1, 1, NULL, "one guest in detail", run_show},
    {"guest", "create", "[NAME]", 0, 1, guest_spec_options, "make a guest and start it", run_create},
    {"guest", "set", "NAME KEY=VALUE...", 2, 16, NULL,
     "change priority, start_after=A,B, keep_apart, keep_together, memory ...; KEY= is the default", run_set},
    {"guest", "start", "NAME", 1, 1, start_options, "start it and keep it running; forgets its failures", run_start},
    {"guest", "stop", "NAME", 1, 1, stop_options, "shut it down and keep it stopped", run_stop},
    {"guest", "migrate", "NAME NODE", 2, 2, NULL, "move it while it runs", run_migrate},
    {"guest", "replace-replica", "NAME", 1, 1, replace_replica_options,
     "build one of its replicas anew on another node, while it runs", run_replace_replica},
    {"guest", "reattach", "NAME", 1, 1, reattach_options, "use a disk again that failed and was repaired",
     run_reattach},
    {"guest", "confirm", "NAME NODE", 2, 2, confirm_options,
     "say that the copy there counts: it is in doubt, or the newer one is lost for good", run_confirm},
    {"guest", "discard-copy", "NAME NODE", 2, 2, discard_options,
     "copies went different ways: give up the one there, kept as a snapshot", run_discard_copy},
    {"guest", "verify", "NAME", 1, 1, verify_options, "compare its two copies block by block, while it runs",
     run_verify},
    {"guest", "delete", "NAME", 1, 1, NULL, "remove it with its volumes; there is no way back", run_delete},
    {.noun = NULL},
};
