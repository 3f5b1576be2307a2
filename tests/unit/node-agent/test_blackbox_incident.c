/* SPDX-License-Identifier: Apache-2.0
 * Incidents out of recorded journals of the lab: a power cut and a panic of the guest's node, as the three nodes
 * logged them. What the black box would have kept is made from them by its own filter. */
#include "common/file.h"
#include "node-agent/blackbox_incident.h"

#include <string.h>

#define DATA_FOLDER "tests/unit/node-agent/data"
#define DEAD_BOOT "dddddddddddddddddddddddddddddddd"
#define S G_USEC_PER_SEC

typedef struct {
    GHashTable *ids;
    GHashTable *lines; /* node -> GPtrArray of BlackboxLine */
    gint64 first_us;
} Recording;

static GPtrArray *lines_of(Recording *recording, const char *node)
{
    GPtrArray *lines = g_hash_table_lookup(recording->lines, node);
    if (!lines) {
        lines = g_ptr_array_new_with_free_func((GDestroyNotify) blackbox_line_unref);
        g_hash_table_insert(recording->lines, g_strdup(node), lines);
    }
    return lines;
}

static void recording_new(Recording *recording)
{
    recording->ids = g_hash_table_new(NULL, NULL);
    recording->lines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_ptr_array_unref);
    g_hash_table_insert(recording->ids, GUINT_TO_POINTER(1), "n1");
    g_hash_table_insert(recording->ids, GUINT_TO_POINTER(2), "n2");
    g_hash_table_insert(recording->ids, GUINT_TO_POINTER(3), "n3");
}

static void recording_clear(Recording *recording)
{
    g_hash_table_unref(recording->ids);
    g_hash_table_unref(recording->lines);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Recording, recording_clear)

static void say(Recording *recording, const char *node, const char *boot, gint64 at_us, const char *source,
                const char *text)
{
    g_ptr_array_add(
        lines_of(recording, node),
        blackbox_line_new(BLACKBOX_LOG, boot, at_us - recording->first_us + 1000 * S, at_us, 5, source, text));
}

static void mark(Recording *recording, const char *node, BlackboxKind kind, gint64 at_us, gint64 offset_us)
{
    BlackboxLine *line = blackbox_line_new(kind, "", 0, at_us, 6, "blackbox", "");
    line->offset_us = offset_us;
    g_ptr_array_add(lines_of(recording, node), line);
}

static void recording_load(Recording *recording, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_strdup_printf(DATA_FOLDER "/%s.jsonl", name);
    g_autofree char *content = file_read(path, 1 << 20, &error);
    g_assert_no_error(error);
    recording_new(recording);
    g_auto(GStrv) rows = g_strsplit(content, "\n", -1);
    for (char **row = rows; **row; row++) {
        g_autoptr(json_t) object = json_text_parse(*row, -1, "row", &error);
        g_assert_no_error(error);
        const char *node, *boot, *source, *message;
        json_int_t mono_us, time_us;
        int priority;
        g_assert_cmpint(json_unpack(object, "{s:s,s:s,s:s,s:s,s:I,s:I,s:i}", "n", &node, "b", &boot, "s", &source, "x",
                                    &message, "m", &mono_us, "t", &time_us, "p", &priority),
                        ==, 0);
        recording->first_us = recording->first_us ? recording->first_us : time_us;
        if (blackbox_wanted(source, priority, message)) {
            g_autofree char *text = blackbox_text_of(source, message);
            g_ptr_array_add(lines_of(recording, node),
                            blackbox_line_new(BLACKBOX_LOG, boot, mono_us, time_us, priority, source, text));
        }
    }
}

static IncidentLog *log_of(Recording *recording, gint64 from_us, gint64 to_us)
{
    IncidentLog *log = incident_log_new(recording->ids);
    GHashTableIter iter;
    gpointer node, lines;
    g_hash_table_iter_init(&iter, recording->lines);
    while (g_hash_table_iter_next(&iter, &node, &lines)) {
        incident_log_add(log, node, lines, from_us, to_us);
    }
    incident_log_sort(log);
    return log;
}

/* The node's last words go before what it said in its next life. */
static void say_before(Recording *recording, const char *node, gint64 at_us, const char *source, const char *text)
{
    g_ptr_array_insert(
        lines_of(recording, node), 0,
        blackbox_line_new(BLACKBOX_LOG, DEAD_BOOT, at_us - recording->first_us + 1000 * S, at_us, 5, source, text));
}

static json_t *report_of(Recording *recording, guint n_expected, gint64 now_us)
{
    g_autoptr(IncidentLog) sketch = log_of(recording, 0, -1);
    g_autoptr(GPtrArray) sketched = incident_find(sketch, now_us);
    g_assert_cmpuint(sketched->len, ==, n_expected);
    gint64 from_us, to_us;
    incident_window(sketched->pdata[0], now_us, &from_us, &to_us);
    g_autoptr(IncidentLog) log = log_of(recording, from_us, to_us);
    g_autoptr(GPtrArray) incidents = incident_find(log, now_us);
    g_assert_cmpuint(incidents->len, ==, n_expected);
    g_assert_cmpstr(((const Incident *) incidents->pdata[0])->id, ==, ((const Incident *) sketched->pdata[0])->id);
    return incident_report(incidents->pdata[0], log);
}

static const json_t *get(const json_t *object, const char *dotted)
{
    g_auto(GStrv) names = g_strsplit(dotted, ".", -1);
    for (char **name = names; *name; name++) {
        object = json_is_array(object) ? json_array_get(object, (size_t) atoi(*name)) : json_object_get(object, *name);
    }
    return object;
}

static const char *text(const json_t *object, const char *dotted)
{
    return json_string_value(get(object, dotted));
}

static gint64 number(const json_t *object, const char *dotted)
{
    g_assert_true(json_is_integer(get(object, dotted)));
    return json_integer_value(get(object, dotted));
}

static void assert_adds_up(const json_t *report)
{
    gint64 sum = 0;
    size_t i;
    json_t *phase;
    json_array_foreach (get(report, "phases"), i, phase) {
        g_assert_cmpint(number(phase, "ms"), >=, 0);
        sum += number(phase, "ms");
    }
    g_assert_cmpint(sum, ==, number(report, "outage_ms"));
}

static void test_power_cut(void)
{
    g_auto(Recording) recording = {0};
    recording_load(&recording, "power");
    /* n1's clock is 3 s behind n2's; n2 heard it until just after the cut. */
    gint64 cut_us = recording.first_us - 1 * S;
    say_before(&recording, "n1", cut_us - 5 * S - 3 * S, "holdfastd", "last words");
    mark(&recording, "n1", BLACKBOX_HEARD, cut_us, 0);
    g_ptr_array_insert(lines_of(&recording, "n1"), 0,
                       blackbox_line_new(BLACKBOX_CLOCK, "", 0, cut_us - 60 * S, 6, "blackbox", ""));
    ((BlackboxLine *) lines_of(&recording, "n1")->pdata[0])->offset_us = 3 * S;
    /* Its next life was measured anew. */
    for (guint i = 0; i < lines_of(&recording, "n1")->len; i++) {
        BlackboxLine *line = lines_of(&recording, "n1")->pdata[i];
        if (line->boot[0] != '\0' && !g_str_equal(line->boot, DEAD_BOOT)) {
            BlackboxLine *clock = blackbox_line_new(BLACKBOX_CLOCK, "", 0, line->time_us, 6, "blackbox", "");
            g_ptr_array_insert(lines_of(&recording, "n1"), (gint) i, clock);
            break;
        }
    }
    g_autoptr(json_t) report = report_of(&recording, 1, cut_us + 300 * S);
    g_assert_cmpstr(text(report, "id"), ==, "n1-dddddddd");
    g_assert_cmpstr(text(report, "node"), ==, "n1");
    g_assert_cmpstr(text(report, "state"), ==, "over");
    g_assert_cmpstr(text(report, "reason.kind"), ==, "silent");
    g_assert_true(json_is_false(get(report, "reason.certain")));
    g_assert_cmpuint(json_array_size(get(report, "not_known")), ==, 2);
    g_assert_cmpstr(text(report, "fence.device"), ==, "fence-n1");
    g_assert_cmpstr(text(report, "fence.done_by"), ==, "n2");
    g_assert_cmpstr(text(report, "fence.decided_on"), ==, "n2");
    g_assert_cmpstr(text(report, "fence.why"), ==, "peer is no longer part of the cluster");
    g_assert_cmpint(number(report, "fence.duration_ms"), ==, 6279);
    g_assert_cmpuint(json_array_size(get(report, "guests")), ==, 1);
    g_assert_cmpstr(text(report, "guests.0.name"), ==, "demo");
    g_assert_cmpstr(text(report, "guests.0.what"), ==, "moved");
    g_assert_cmpstr(text(report, "guests.0.from"), ==, "n1");
    g_assert_cmpstr(text(report, "guests.0.to"), ==, "n2");
    g_assert_nonnull(strstr(text(report, "guests.0.steps"), "promote 2619 ms"));
    g_assert_nonnull(text(report, "guests.0.in_sync_at"));
    g_assert_nonnull(text(report, "return.powered_on_at"));
    g_assert_nonnull(text(report, "return.member_at"));
    assert_adds_up(report);
    g_assert_cmpint(number(report, "guests.0.outage_ms"), ==, number(report, "outage_ms"));
    /* The last words are in their place: five seconds before the cut by n2's clock. */
    size_t i, found = 0;
    json_t *entry;
    gint64 at_ms = G_MININT64;
    json_array_foreach (get(report, "timeline"), i, entry) {
        g_assert_cmpint(number(entry, "ms"), >=, at_ms);
        at_ms = number(entry, "ms");
        if (g_str_equal(text(entry, "text"), "last words")) {
            found++;
            g_assert_cmpint(at_ms, ==, -5000);
            g_assert_true(json_is_true(get(entry, "dead")));
        }
    }
    g_assert_cmpuint(found, ==, 1);
}

/* What became of the guest, as its own page tells it: the same figures as the incident's. */
static void test_recoveries(void)
{
    g_auto(Recording) recording = {0};
    recording_load(&recording, "power");
    gint64 now_us = recording.first_us + 300 * S;
    g_autoptr(IncidentLog) log = log_of(&recording, 0, -1);
    g_autoptr(GPtrArray) incidents = incident_find(log, now_us);
    g_autoptr(json_t) list = incident_recoveries(incidents, "demo", 5);
    g_assert_cmpuint(json_array_size(list), ==, 1);
    g_assert_cmpstr(text(list, "0.incident"), ==, ((const Incident *) incidents->pdata[0])->id);
    g_assert_cmpstr(text(list, "0.from"), ==, "n1");
    g_assert_cmpstr(text(list, "0.to"), ==, "n2");
    g_assert_nonnull(text(list, "0.started_at"));
    const Incident *incident = incidents->pdata[0];
    const IncidentGuest *guest = incident->guests->pdata[0];
    g_assert_cmpint(number(list, "0.recovery_ms"), ==, guest->started_us / 1000 - incident->detected_us / 1000);
    g_assert_cmpint(number(list, "0.recovery_ms"), >, 0);
    g_assert_cmpint(number(list, "0.outage_ms"), >=, number(list, "0.recovery_ms"));
    g_autoptr(json_t) other = incident_recoveries(incidents, "dem", 5);
    g_assert_cmpuint(json_array_size(other), ==, 0);
    g_autoptr(json_t) none = incident_recoveries(incidents, "demo", 0);
    g_assert_cmpuint(json_array_size(none), ==, 0);
}

/* Without a line of the lost node there is still the survivors' story, and it is said what is missing. */
static void test_power_cut_without_a_stream(void)
{
    g_auto(Recording) recording = {0};
    recording_load(&recording, "power");
    g_hash_table_remove(recording.lines, "n1");
    g_autoptr(json_t) report = report_of(&recording, 1, recording.first_us + 300 * S);
    g_assert_true(g_str_has_prefix(text(report, "id"), "n1-"));
    g_assert_cmpstr(text(report, "fence.device"), ==, "fence-n1");
    g_assert_null(get(report, "last_heard_at"));
    g_assert_nonnull(strstr(text(report, "not_known.1"), "no line of that life"));
    assert_adds_up(report);
}

/* A panic says nothing through the journal; that the node boots before anybody shot it does. */
static void test_panic(void)
{
    g_auto(Recording) recording = {0};
    recording_load(&recording, "panic");
    say_before(&recording, "n1", recording.first_us - 1 * S, "corosync", "[QUORUM] Members[3]: 1 2 3");
    g_autoptr(json_t) report = report_of(&recording, 1, recording.first_us + 400 * S);
    g_assert_cmpstr(text(report, "reason.kind"), ==, "reset");
    g_assert_cmpstr(text(report, "guests.0.to"), ==, "n2");
    assert_adds_up(report);
    /* An oops that was logged is the cause, and a certain one. */
    say_before(&recording, "n1", recording.first_us - 1 * S - 1, "kernel", "BUG: kernel NULL pointer dereference");
    g_autoptr(json_t) again = report_of(&recording, 1, recording.first_us + 400 * S);
    g_assert_cmpstr(text(again, "reason.kind"), ==, "panic");
    g_assert_true(json_is_true(get(again, "reason.certain")));
}

/* Short stories, told line by line by n2 unless another node is named. */
typedef struct {
    int second;
    const char *node, *boot, *source, *text;
} Told;
#define LOST "pacemaker-controld", "notice: Node n1 state is now lost"
#define MEMBER "pacemaker-controld", "notice: Node n1 state is now member"
#define ASKED "pacemaker-fenced", "notice: Requesting peer fencing (off) targeting n1"
#define FENCED                                                                                                         \
    "pacemaker-fenced", "notice: Operation 'off' targeting n1 by n2 for pacemaker-controld.375@n2: OK (complete)"
#define B2 "22222222222222222222222222222222"
#define BN "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"

static json_t *tell(const Told *story, guint n_expected)
{
    g_auto(Recording) recording = {.first_us = 1700000000 * (gint64) S};
    recording_new(&recording);
    for (; story->node; story++) {
        say(&recording, story->node, story->boot, recording.first_us + story->second * (gint64) S, story->source,
            story->text);
    }
    return report_of(&recording, n_expected, recording.first_us + 5000 * (gint64) S);
}

static void test_reasons(void)
{
    const struct {
        const char *kind, *state;
        Told story[10];
    } cases[] = {
        {"shutdown",
         "over",
         {{1, "n1", DEAD_BOOT, "systemd-logind", "The system will reboot now!"},
          {2, "n1", DEAD_BOOT, "systemd", "Stopping corosync.service - Corosync Cluster Engine..."},
          {3, "n2", B2, LOST},
          {30, "n1", BN, "kernel", "Linux version 6.1"},
          {40, "n2", B2, MEMBER}}},
        {"cut-off",
         "over",
         {{1, "n1", DEAD_BOOT, "holdfastd", "hello"},
          {5, "n2", B2, LOST},
          {6, "n1", DEAD_BOOT, "holdfastd", "membership: connected, not quorate, 1 nodes, ring 9"},
          {7, "n2", B2, ASKED},
          {9, "n2", B2, FENCED},
          {30, "n1", BN, "kernel", "Linux version 6.1"},
          {40, "n2", B2, MEMBER}}},
        {"fenced",
         "over",
         {{1, "n1", DEAD_BOOT, "holdfastd", "hello"},
          {4, "n2", B2, "pacemaker-schedulerd", "warning: Cluster node n1 will be fenced: demo failed there"},
          {5, "n2", B2, ASKED},
          {6, "n2", B2, FENCED},
          {9, "n2", B2, LOST},
          {30, "n1", BN, "kernel", "Linux version 6.1"},
          {40, "n2", B2, MEMBER}}},
        {"reset", "open", {{1, "n1", DEAD_BOOT, "holdfastd", "hello"}, {9, "n1", BN, "kernel", "Linux version 6.1"}}},
        {"left",
         "over",
         {{1, "n1", DEAD_BOOT, "holdfastd", "hello"},
          {5, "n2", B2, LOST},
          {9, "n2", B2, MEMBER},
          {9, "n3", B2, "pacemaker-attrd", "notice: Node n1 state is now lost"},
          {10, "n1", DEAD_BOOT, "holdfastd", "still here"}}},
        {"silent",
         "given up",
         {{1, "n1", DEAD_BOOT, "holdfastd", "hello"},
          {5, "n2", B2, LOST},
          {7, "n2", B2, ASKED},
          {9, "n2", B2, FENCED}}},
        {"watchdog",
         "over",
         {{1, "n1", DEAD_BOOT, "sbd", "Watchdog is about to expire: self-fencing"},
          {5, "n2", B2, LOST},
          {30, "n1", BN, "kernel", "Linux version 6.1"},
          {40, "n2", B2, MEMBER}}},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_t) report = tell(cases[i].story, 1);
        g_assert_cmpstr(text(report, "reason.kind"), ==, cases[i].kind);
        gboolean given_up = g_str_equal(cases[i].kind, "reset"); /* nobody saw it come back: after an hour so */
        g_assert_cmpstr(text(report, "state"), ==, given_up ? "given up" : cases[i].state);
        g_assert_cmpstr(text(report, "id"), ==, "n1-dddddddd");
        assert_adds_up(report);
    }
}

/* A member that is shot on somebody's word lived until then: its silence before, in which nothing was to be logged, is
 * no part of the outage. */
static void test_shot_alive(void)
{
    static const Told story[] = {
        {1, "n1", DEAD_BOOT, "holdfastd", "hello"},
        {100, "n2", B2, ASKED},
        {104, "n1", DEAD_BOOT, "holdfastd", "still here"},
        {109, "n2", B2, FENCED},
        {110, "n2", B2, LOST},
        {130, "n1", BN, "kernel", "Linux version 6.1"},
        {140, "n2", B2, MEMBER},
        {0, NULL, NULL, NULL, NULL},
    };
    g_autoptr(json_t) report = tell(story, 1);
    g_assert_cmpstr(text(report, "phases.0.name"), ==, "notice");
    g_assert_cmpint(number(report, "phases.0.ms"), ==, 0);
    assert_adds_up(report);
}

/* A node that had itself shot says why, in the words of disk_care.c. */
static void test_disk_hangs(void)
{
    static const Told story[] = {
        {90, "n1", DEAD_BOOT, "holdfastd",
         "node.disk_shot node/n1: its disk has hung for 60 s under guest web1, whose other copy is whole: it asks to "
         "be "
         "shot, so that the guest goes on there"},
        {100, "n2", B2, ASKED},
        {109, "n2", B2, FENCED},
        {110, "n2", B2, LOST},
        {130, "n1", BN, "kernel", "Linux version 6.1"},
        {140, "n2", B2, MEMBER},
        {0, NULL, NULL, NULL, NULL},
    };
    g_autoptr(json_t) report = tell(story, 1);
    g_assert_cmpstr(text(report, "reason.kind"), ==, "fenced");
    g_assert_nonnull(strstr(text(report, "reason.text"), "its disk hung under a guest"));
    g_assert_nonnull(strstr(text(report, "reason.evidence.0"), "guest web1"));
}

/* Shot twice in a row are two incidents; a shot that failed first is told. */
static void test_two_in_a_row(void)
{
    static const Told story[] = {
        {1, "n1", DEAD_BOOT, "holdfastd", "hello"},
        {5, "n2", B2, LOST},
        {6, "n2", B2, ASKED},
        {7, "n2", B2, "pacemaker-fenced", "notice: Operation 'off' [7] targeting n1 using fence-n1 returned 1"},
        {9, "n2", B2, "pacemaker-fenced", "notice: Operation 'off' [8] targeting n1 using fence-n1 returned 0"},
        {9, "n2", B2, FENCED},
        {30, "n1", BN, "kernel", "Linux version 6.1"},
        {40, "n2", B2, MEMBER},
        {50, "n2", B2, LOST},
        {60, "n1", B2, "kernel", "Linux version 6.1"},
        {70, "n2", B2, MEMBER},
        {0, NULL, NULL, NULL, NULL},
    };
    g_autoptr(json_t) report = tell(story, 2);
    g_assert_cmpint(number(report, "fence.failed_tries"), ==, 1);
    g_assert_cmpstr(text(report, "fence.device"), ==, "fence-n1");
    g_assert_cmpstr(text(report, "state"), ==, "over");
}

/* The other replica's node dies: the guest stays, its writes freeze until the loss is recorded. */
static void test_lost_replica(void)
{
    static const Told story[] = {
        {1, "n1", DEAD_BOOT, "holdfastd", "hello"},
        {3, "n2", B2, "holdfast-fence-peer", "guest 'web': lost replica on n1, I/O is frozen until that is recorded"},
        {5, "n2", B2, LOST},
        {6, "n2", B2, "holdfast-fence-peer", "guest 'web': generation 8, n1 is out of sync"},
        {9, "n2", B2, MEMBER},
        {0, NULL, NULL, NULL, NULL},
    };
    g_autoptr(json_t) report = tell(story, 1);
    g_assert_cmpstr(text(report, "guests.0.what"), ==, "lost a replica");
    g_assert_cmpint(number(report, "guests.0.generation"), ==, 8);
    g_assert_cmpint(number(report, "guests.0.frozen_ms"), ==, 3000);
    g_assert_cmpstr(text(report, "state"), ==, "open"); /* not in sync again in this story */
}

/* A clock set back does not turn one life's order around, and control characters never come this far. */
static void test_clock_set_back(void)
{
    g_auto(Recording) recording = {.first_us = 1700000000 * (gint64) S};
    recording_new(&recording);
    gint64 at_us = recording.first_us;
    say(&recording, "n1", DEAD_BOOT, at_us + 100 * (gint64) S, "holdfastd", "first");
    g_ptr_array_add(lines_of(&recording, "n1"),
                    blackbox_line_new(BLACKBOX_LOG, DEAD_BOOT, 2000 * S, at_us + 50 * S, 5, "holdfastd", "second"));
    g_autoptr(IncidentLog) log = log_of(&recording, 0, G_MAXINT64);
    g_assert_cmpuint(log->entries->len, ==, 2);
    g_assert_cmpstr(((const IncidentEntry *) log->entries->pdata[0])->line->text, ==, "first");
}

static void test_nothing_happened(void)
{
    static const Told story[] = {
        {1, "n1", DEAD_BOOT, "holdfastd", "hello"},
        {2, "n2", B2, MEMBER},
        {3, "n2", B2, "pacemaker-schedulerd", "notice: Actions: Move demo ( n1 -> n2 )"},
        {0, NULL, NULL, NULL, NULL},
    };
    g_auto(Recording) recording = {.first_us = 1700000000 * (gint64) S};
    recording_new(&recording);
    for (const Told *told = story; told->node; told++) {
        say(&recording, told->node, told->boot, recording.first_us + told->second * (gint64) S, told->source,
            told->text);
    }
    g_autoptr(IncidentLog) log = log_of(&recording, 0, -1);
    g_autoptr(GPtrArray) incidents = incident_find(log, recording.first_us + 10 * S);
    g_assert_cmpuint(incidents->len, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/incident/power-cut", test_power_cut);
    g_test_add_func("/incident/recoveries", test_recoveries);
    g_test_add_func("/incident/no-stream", test_power_cut_without_a_stream);
    g_test_add_func("/incident/panic", test_panic);
    g_test_add_func("/incident/reasons", test_reasons);
    g_test_add_func("/incident/shot-alive", test_shot_alive);
    g_test_add_func("/incident/disk-hangs", test_disk_hangs);
    g_test_add_func("/incident/two", test_two_in_a_row);
    g_test_add_func("/incident/replica", test_lost_replica);
    g_test_add_func("/incident/clock", test_clock_set_back);
    g_test_add_func("/incident/nothing", test_nothing_happened);
    return g_test_run();
}
