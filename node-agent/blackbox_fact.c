/* SPDX-License-Identifier: Apache-2.0
 * The table of what lines say. The words are those of corosync 3.1, Pacemaker 2.1 and Linux 6.1, seen in recorded
 * journals (tests/unit/node-agent/data). */
#include "node-agent/blackbox_fact.h"

#include <string.h>

#define NODE "(?<node>[a-z0-9-]+)"
#define GUEST "(?<guest>[a-z0-9-]+)"

typedef struct {
    FactKind kind;
    const char *source; /* a beginning */
    const char *word;   /* must be in the text: cheaper than the pattern */
    const char *pattern;
} Saying;

static const Saying sayings[] = {
    {FACT_SUSPECT, "corosync", "no active links", "host: (?<id>\\d+) has no active links"},
    {FACT_LOST, "corosync", "Members left", "Members left: (?<id>\\d+)$"},
    {FACT_LOST, "pacemaker-", "is now lost", "Node " NODE " state is now lost"},
    {FACT_MEMBER, "pacemaker-controld", "is now member", "Node " NODE " state is now member"},
    {FACT_WILL_FENCE, "pacemaker-schedulerd", "will be fenced", "Cluster node " NODE " will be fenced: (?<why>.*)"},
    {FACT_FENCE_ASKED, "pacemaker-fenced", "Requesting peer fencing",
     "Requesting peer fencing \\(\\w+\\) targeting " NODE},
    {FACT_FENCE_DEVICE, "pacemaker-fenced", "returned",
     "Operation '(?:off|reboot)' \\[\\d+\\] targeting " NODE " using (?<device>\\S+) returned (?<number>-?\\d+)"},
    {FACT_FENCE_FAILED, "pacemaker-fenced", "could not be executed",
     "Operation '(?:off|reboot)' \\[\\d+\\] targeting " NODE
     " using (?<device>\\S+) could not be executed: (?<why>.*)"},
    {FACT_FENCE_DONE, "pacemaker-fenced", "targeting",
     "Operation '(?:off|reboot)' targeting " NODE " by (?<by>.+?) for (?<from>\\S+?)@(?<to>[^:]+): (?<why>.*)"},
    {FACT_CONFIRMED, "holdfastd", "fence.confirmed", "fence\\.confirmed node/" NODE ": (?<by>.*) confirmed"},
    {FACT_MOVE, "pacemaker-schedulerd", "Actions: ",
     "Actions: (?:Move|Recover)\\s+(?!fence-)" GUEST "\\s+\\( *(?<from>[a-z0-9-]+) -> (?<to>[a-z0-9-]+) *\\)"},
    {FACT_MOVE, "pacemaker-schedulerd", "Actions: Stop",
     "Actions: Stop\\s+(?!fence-)" GUEST "\\s+\\( *(?<from>[a-z0-9-]+) *\\)"},
    {FACT_START_ASKED, "pacemaker-controld", "Initiating start",
     "Initiating start operation (?!fence-)" GUEST "_start_0 (?:locally )?on " NODE},
    {FACT_CLAIMED, "holdfast-ocf", "claimed",
     "guest '" GUEST "': claimed, generation (?<number>\\d+), owner before: (?<from>[a-z0-9-]+)"},
    {FACT_STARTED, "holdfast-ocf", "started here", "guest '" GUEST "': started here \\((?<why>.*)\\)"},
    {FACT_START_FAILED, "holdfast-ocf", "start failed", "guest '" GUEST "': start failed: (?<why>.*)"},
    {FACT_FROZEN, "holdfast-fence-peer", "lost replica", "guest '" GUEST "': lost replica on " NODE ", I/O is frozen"},
    {FACT_MARKED, "holdfast-fence-peer", "out of sync",
     "guest '" GUEST "': generation (?<number>\\d+), " NODE " is out of sync"},
    /* As reconcile_guest.c says it. */
    {FACT_PROTECTED, "holdfastd", "guest.protected",
     "guest\\.protected guest/" GUEST ": replica on " NODE " is in sync again"},
    {FACT_POWERED_ON, "holdfastd", "node.powered_on", "node\\.powered_on node/" NODE ":"},
    {FACT_POWER_FAILED, "holdfastd", "node.power_on_failed", "node\\.power_on_failed node/" NODE ": (?<why>.*)"},
    {FACT_PANIC, "kernel", NULL,
     "Kernel panic - not syncing|^Oops|kernel BUG at|^BUG: (?!.*lockup)|general protection fault"},
    {FACT_HUNG, "kernel", NULL, "blocked for more than|soft lockup|hard LOCKUP|detected stalls"},
    /* As disk_care.c says it. */
    {FACT_DISK_SHOT, "holdfastd", "node.disk_shot", "node\\.disk_shot node/[a-z0-9-]+: "},
    {FACT_WATCHDOG, "sbd", NULL, "(?i)watchdog|self-fenc|suicide"},
    {FACT_WATCHDOG, "watchdog", NULL, "(?i)reboot|shut"},
    {FACT_WATCHDOG, "kernel", "watchdog", "watchdog: .*did not stop|watchdog timeout|Watchdog.*expired"},
    {FACT_SHUTDOWN, "systemd-logind", NULL, "(?i)system (is|will) (rebooting|powering|halting|reboot|power|be)"},
    {FACT_SHUTDOWN, "systemd", "Reached target",
     "Reached target (?:shutdown|reboot|poweroff|halt|umount)\\.target|Reached target .*(?:System "
     "Shutdown|Reboot|Power Off)"},
    {FACT_SHUTDOWN, "systemd", "Stopping", "^Stopping (?:corosync|pacemaker)\\.service"},
    {FACT_SHUTDOWN, "systemd", "Stopped", "^Stopped (?:corosync|pacemaker)\\.service"},
    {FACT_SHUTDOWN, "systemd-shutdown", NULL, "."},
    {FACT_NO_QUORUM, "holdfastd", "not quorate", "membership: connected, not quorate"},
    {FACT_NO_QUORUM, "corosync", "non-primary", "within the non-primary component"},
    {FACT_UNCLEAN, "systemd-journald", "uncleanly", "uncleanly shut down"},
};

static GRegex *const *patterns(void)
{
    static GRegex *compiled[G_N_ELEMENTS(sayings)];
    static gsize once = 0;
    if (g_once_init_enter(&once)) {
        for (gsize i = 0; i < G_N_ELEMENTS(sayings); i++) {
            compiled[i] = g_regex_new(sayings[i].pattern, G_REGEX_OPTIMIZE, 0, NULL);
            g_assert(compiled[i]);
        }
        g_once_init_leave(&once, 1);
    }
    return compiled;
}

/* NULL for a group that the pattern has not, or that took no part. */
static char *group(const GMatchInfo *match, const char *name)
{
    g_autofree char *text = NULL;
    int start = -1;
    if (g_match_info_fetch_named_pos(match, name, &start, NULL) && start >= 0) {
        text = g_match_info_fetch_named(match, name);
    }
    return text && *text ? g_steal_pointer(&text) : NULL;
}

static Fact *fact_from(FactKind kind, const GMatchInfo *match, const char *(*node_name)(guint, gpointer),
                       gpointer user_data)
{
    g_autofree char *id = group(match, "id");
    g_autofree char *number = group(match, "number");
    g_autoptr(Fact) fact = g_new0(Fact, 1);
    fact->kind = kind;
    fact->node = id ? g_strdup(node_name ? node_name((guint) g_ascii_strtoull(id, NULL, 10), user_data) : NULL)
                    : group(match, "node");
    fact->guest = group(match, "guest");
    fact->device = group(match, "device");
    fact->by = group(match, "by");
    fact->why = group(match, "why");
    fact->from = group(match, "from");
    fact->to = group(match, "to");
    fact->number = number ? g_ascii_strtoll(number, NULL, 10) : 0;
    return id && !fact->node ? NULL : g_steal_pointer(&fact);
}

Fact *fact_read(const BlackboxLine *line, const char *(*node_name)(guint id, gpointer user_data), gpointer user_data)
{
    if (line->kind != BLACKBOX_LOG) {
        return NULL;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(sayings); i++) {
        const Saying *saying = &sayings[i];
        if (!g_str_has_prefix(line->source, saying->source) || (saying->word && !strstr(line->text, saying->word))) {
            continue;
        }
        g_autoptr(GMatchInfo) match = NULL;
        if (g_regex_match(patterns()[i], line->text, 0, &match)) {
            return fact_from(saying->kind, match, node_name, user_data);
        }
    }
    return NULL;
}

void fact_free(Fact *fact)
{
    if (fact) {
        g_free(fact->node);
        g_free(fact->guest);
        g_free(fact->device);
        g_free(fact->by);
        g_free(fact->why);
        g_free(fact->from);
        g_free(fact->to);
        g_free(fact);
    }
}
