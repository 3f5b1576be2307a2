/* SPDX-License-Identifier: Apache-2.0
 * events2 of Debian 12's drbdsetup-84, as recorded on a Secondary: dump, `invalidate` and its full resync, `disconnect`
 * and connect, `detach` and attach. */
#include "storage/drbd_events.h"

#include "common/error.h"

#include <string.h>

#define RECORDING "tests/unit/storage/data/events2-secondary.txt"
#define TIME "2026-11-21T14:48:33.710139+00:00 "

static const char *const dump[] = {
    TIME "exists resource name:hf-demo role:Secondary suspended:no write-ordering:flush",
    TIME "exists connection name:hf-demo peer-node-id:0 conn-name:peer connection:Connected role:Primary congested:no",
    TIME "exists device name:hf-demo volume:0 minor:16 disk:UpToDate size:69592 read:0 written:21520 al-writes:8 "
         "bm-writes:0 upper-pending:0 lower-pending:0 al-suspended:no blocked:no",
    TIME "exists peer-device name:hf-demo peer-node-id:0 conn-name:peer volume:0 replication:Established "
         "peer-disk:UpToDate resync-suspended:no received:21520 sent:0 out-of-sync:0 pending:0 unacked:0",
    TIME "exists -",
};

static DrbdEventKind take(DrbdEvents *events, const char *line)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *resource = NULL;
    DrbdEventKind kind = DRBD_EVENT_NOTHING;
    drbd_events_line(events, line, &kind, &resource, &error);
    g_assert_no_error(error);
    g_assert_cmpint(resource != NULL, ==, kind == DRBD_EVENT_CHANGED);
    if (resource) {
        g_assert_cmpstr(resource, ==, "hf-demo");
    }
    return kind;
}

/* The states after each line that changed one: disk, replication, peer's disk, connection. */
static void test_recording(void)
{
    static const struct {
        const char *time; /* of the lines at that moment */
        const char *disk, *replication, *peer_disk, *connection;
    } moments[] = {
        {"14:48:33.710139", "UpToDate", "Established", "UpToDate", "Connected"},
        {"14:48:36.064374", "Outdated", "StartingSyncT", "UpToDate", "Connected"},
        {"14:48:36.136502", "Outdated", "WFSyncUUID", "UpToDate", "Connected"},
        {"14:48:36.973395", "Inconsistent", "SyncTarget", "UpToDate", "Connected"},
        {"14:48:48.217380", "UpToDate", "Established", "UpToDate", "Connected"},
        {"14:48:52.477736", "Outdated", "Off", "DUnknown", "Disconnecting"},
        {"14:48:52.486568", "Outdated", NULL, NULL, NULL},
        {"14:49:03.204794", "Outdated", "Off", "DUnknown", "StandAlone"},
        {"14:49:04.189620", "Outdated", "WFBitMapT", "UpToDate", "Connected"},
        {"14:49:06.205331", "UpToDate", "Established", "UpToDate", "Connected"},
        {"14:49:08.527921", "Diskless", "Established", "UpToDate", "Connected"},
        {"14:49:24.919140", "Negotiating", "Established", "UpToDate", "Connected"},
        {"14:49:27.485730", "UpToDate", "Established", "UpToDate", "Connected"},
    };
    g_autoptr(DrbdEvents) events = drbd_events_new();
    g_autofree char *text = NULL;
    guint moment = 0;
    g_assert_true(g_file_get_contents(RECORDING, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    for (int i = 0; lines[i]; i++) {
        DrbdEventKind kind = take(events, lines[i]);
        const char *next = lines[i + 1] ? lines[i + 1] : "";
        gboolean helper = strstr(lines[i], " helper ") != NULL;
        g_assert_cmpint(kind == DRBD_EVENT_DUMP_END, ==, g_str_has_suffix(lines[i], "exists -"));
        g_assert_true(!helper || kind == DRBD_EVENT_NOTHING);
        if (moment < G_N_ELEMENTS(moments) && strstr(lines[i], moments[moment].time) &&
            !strstr(next, moments[moment].time)) {
            g_test_message("%s", moments[moment].time);
            g_assert_cmpstr(drbd_events_word(events, "device", "hf-demo", 0, "disk"), ==, moments[moment].disk);
            g_assert_cmpstr(drbd_events_word(events, "peer-device", "hf-demo", 0, "replication"), ==,
                            moments[moment].replication);
            g_assert_cmpstr(drbd_events_word(events, "peer-device", "hf-demo", 0, "peer-disk"), ==,
                            moments[moment].peer_disk);
            g_assert_cmpstr(drbd_events_word(events, "connection", "hf-demo", -1, "connection"), ==,
                            moments[moment].connection);
            moment++;
        }
    }
    g_assert_cmpint(moment, ==, G_N_ELEMENTS(moments));
}

static void take_dump(DrbdEvents *events, DrbdEventKind expected)
{
    drbd_events_begin(events);
    for (guint i = 0; i + 1 < G_N_ELEMENTS(dump); i++) {
        g_assert_cmpint(take(events, dump[i]), ==, expected);
    }
    g_assert_cmpint(take(events, dump[G_N_ELEMENTS(dump) - 1]), ==, DRBD_EVENT_DUMP_END);
}

/* Statistics wake nobody, nor do roles. */
static void test_statistics(void)
{
    g_autoptr(DrbdEvents) events = drbd_events_new();
    take_dump(events, DRBD_EVENT_CHANGED);
    static const char *const lines[] = {
        TIME "change device name:hf-demo volume:0 minor:16 size:69592 read:0 written:91112 al-writes:8 bm-writes:0 "
             "upper-pending:0 lower-pending:0 blocked:upper",
        TIME "change peer-device name:hf-demo peer-node-id:0 conn-name:peer volume:0 received:9 sent:0 out-of-sync:7",
        TIME "change connection name:hf-demo peer-node-id:0 conn-name:peer congested:yes",
        TIME "change device name:hf-demo volume:0 minor:16 disk:UpToDate",
        TIME "change resource name:hf-demo role:Primary",
        TIME "change connection name:hf-demo peer-node-id:0 conn-name:peer role:Secondary",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_assert_cmpint(take(events, lines[i]), ==, DRBD_EVENT_NOTHING);
    }
    g_assert_cmpstr(drbd_events_word(events, "resource", "hf-demo", -1, "role"), ==, "Primary");
    g_assert_cmpstr(drbd_events_word(events, "connection", "hf-demo", -1, "role"), ==, "Secondary");
    g_assert_cmpint(take(events, TIME "change resource name:hf-demo suspended:fencing"), ==, DRBD_EVENT_CHANGED);
}

/* Another run of drbdsetup: only what differs from before is told, and what is gone is found. */
static void test_new_dump(void)
{
    g_autoptr(DrbdEvents) events = drbd_events_new();
    take_dump(events, DRBD_EVENT_CHANGED);
    take_dump(events, DRBD_EVENT_NOTHING);
    g_autoptr(GPtrArray) nothing = drbd_events_sweep(events);
    g_assert_cmpint(nothing->len, ==, 0);

    drbd_events_begin(events);
    g_assert_cmpint(take(events, dump[0]), ==, DRBD_EVENT_NOTHING);
    g_assert_cmpint(take(events, TIME "exists device name:hf-demo volume:0 minor:16 disk:Diskless"), ==,
                    DRBD_EVENT_CHANGED);
    g_assert_cmpint(take(events, TIME "exists -"), ==, DRBD_EVENT_DUMP_END);
    g_autoptr(GPtrArray) vanished = drbd_events_sweep(events);
    g_assert_cmpint(vanished->len, ==, 1); /* connection and peer-device, named once */
    g_assert_cmpstr(vanished->pdata[0], ==, "hf-demo");
    g_assert_null(drbd_events_word(events, "connection", "hf-demo", -1, "role"));
    g_assert_cmpstr(drbd_events_word(events, "device", "hf-demo", 0, "disk"), ==, "Diskless");
}

static void test_destroy(void)
{
    g_autoptr(DrbdEvents) events = drbd_events_new();
    take_dump(events, DRBD_EVENT_CHANGED);
    const char *line = TIME "destroy device name:hf-demo volume:0 minor:16";
    g_assert_cmpint(take(events, line), ==, DRBD_EVENT_CHANGED);
    g_assert_cmpint(take(events, line), ==, DRBD_EVENT_NOTHING);
    g_assert_null(drbd_events_word(events, "device", "hf-demo", 0, "disk"));
    g_assert_cmpint(take(events, "- skipped 3"), ==, DRBD_EVENT_LOST);
}

static void test_garbage(void)
{
    static const char *const lines[] = {
        "",
        " ",
        "exists -",
        TIME,
        TIME "exists",
        TIME "exists device",
        TIME "exists device name:hf-demo",                             /* no volume */
        TIME "exists device name:hf-demo volume:0 min",                /* truncated */
        TIME "change device name:hf-demo volume:0 minor:16 disk:",     /* truncated */
        TIME "change device name:hf-demo volume:0 minor:16 disk:UpTo", /* truncated */
        TIME "change device name:hf-demo volume:0 minor:16 disk:Diskless disk:UpToDate",
        TIME "change device name:hf-demo volume:-1 disk:Diskless",
        TIME "change device name:hf-demo volume:99999999999 disk:Diskless",
        TIME "change device name:hf-demo volume:0x disk:Diskless",
        TIME "change device name: volume:0 disk:Diskless",
        TIME "change device name:a name:b volume:0 disk:Diskless",
        TIME "change device  name:hf-demo volume:0 disk:Diskless", /* two blanks */
        TIME "change device :x name:hf-demo volume:0 disk:Diskless",
        TIME "change resource name:hf-demo volume:0 role:Primary", /* a resource has no volume */
        TIME "change resource name:hf-demo role:primary",
        TIME "change resource name:hf-demo suspended:NO!",
        TIME "change peer-device name:hf-demo volume:0 replication:Connected", /* that is the connection's word */
        TIME "rename resource name:hf-demo",
        TIME "change planet name:hf-demo",
        "2026-11-21 14:48:33 change device name:hf-demo volume:0 disk:Diskless",
        "2026-11-21T14:48:33.71+00:00 change device name:hf-demo volume:0 disk:Diskless",
        "\xff\xfe\x01 change device name:hf-demo volume:0 disk:Diskless",
    };
    g_autoptr(DrbdEvents) events = drbd_events_new();
    take_dump(events, DRBD_EVENT_CHANGED);
    for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *resource = NULL;
        DrbdEventKind kind;
        g_test_message("%s", lines[i]);
        g_assert_false(drbd_events_line(events, lines[i], &kind, &resource, &error));
        g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
        g_assert_true(g_utf8_validate(error->message, -1, NULL));
        g_assert_null(resource);
    }
    take_dump(events, DRBD_EVENT_NOTHING); /* the table is what it was */
}

/* Every beginning of a real line is refused, or says nothing that is not so. */
static void test_truncated(void)
{
    g_autoptr(DrbdEvents) events = drbd_events_new();
    take_dump(events, DRBD_EVENT_CHANGED);
    for (guint i = 0; i + 1 < G_N_ELEMENTS(dump); i++) {
        for (gsize length = 0; length < strlen(dump[i]); length++) {
            g_autofree char *line = g_strndup(dump[i], length);
            g_autofree char *resource = NULL;
            DrbdEventKind kind = DRBD_EVENT_NOTHING;
            /* A cut in the name makes another name: that is somebody else's resource, and wakes nobody of ours. */
            gboolean cut_name = !strstr(line, "name:hf-demo ");
            if (drbd_events_line(events, line, &kind, &resource, NULL) && !cut_name) {
                g_assert_cmpint(kind, ==, DRBD_EVENT_NOTHING);
            }
        }
    }
    g_autofree char *blanks = g_strnfill(100000, ' ');
    g_autofree char *resource = NULL;
    DrbdEventKind kind;
    g_assert_false(drbd_events_line(events, blanks, &kind, &resource, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/drbd-events/recording", test_recording);
    g_test_add_func("/drbd-events/statistics", test_statistics);
    g_test_add_func("/drbd-events/new-dump", test_new_dump);
    g_test_add_func("/drbd-events/destroy", test_destroy);
    g_test_add_func("/drbd-events/garbage", test_garbage);
    g_test_add_func("/drbd-events/truncated", test_truncated);
    return g_test_run();
}
