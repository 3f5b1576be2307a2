/* SPDX-License-Identifier: Apache-2.0
 * A small world behind a ProcessRunner: LVM, drbdmeta, drbdsetup and dmsetup of one node, enough to answer what
 * storage/ asks and to notice what it must never do. Every command is logged; the n-th can be the last one the program
 * under test lives to see.
 *
 * It also defines drbd_state_read() and its neighbours (storage/drbd_proc.c), so the kernel's files are not read. */
#pragma once

#include "common/error.h"
#include "storage/drbd_internal.h"

#include <stdio.h>
#include <string.h>

#define FAKE_METADATA_BYTES (1024 * 1024)

typedef struct {
    gint64 size, agreed;                              /* agreed: DRBD's size, kept in its metadata */
    char *tag;                                        /* all of them, with commas */
    gboolean active, metadata, fresh, al_clean, data; /* fresh: just-created generation; data: somebody wrote to it */
    gboolean outdated, forced;                        /* an older copy; one that was made the current one by force */
} FakeLv;

typedef struct {
    int volume;
    char *lv; /* attached, or NULL */
    gboolean primary, fencing;
} FakeMinor;

typedef struct {
    char *table, *loaded;
    int open_count;
    gboolean frozen; /* I/O in flight never ends */
} FakeGate;

/* KILL_HALF: lvm2 has written its metadata and not yet told the kernel. */
typedef enum { KILL_NEVER, KILL_BEFORE, KILL_AFTER, KILL_HALF } FakeKill;

typedef struct {
    gint64 data, metadata;
} FakePoolSize;

typedef struct {
    ProcessRunner runner;
    GPtrArray *log; /* of char*, one command line each */
    GHashTable *lvs, *minors, *gates;
    char *pv_vg, *signature; /* VG of the one device, NULL: no PV; what wipefs finds on it */
    gboolean vg, pool, pool_errors_when_full, resource, net, suspended, peer_there;
    char *remote, *secret;                  /* as given to `connect` */
    const char *peer_role;                  /* NULL: Secondary */
    gboolean peer_fresh[GUEST_VOLUMES_MAX]; /* the other node's copies, which a crash here does not touch */
    gint64 peer_lv_size[GUEST_VOLUMES_MAX]; /* 0: always as large as ours */
    gboolean resyncing[GUEST_VOLUMES_MAX];  /* the peer lacks what was grown */
    gint64 device_size;
    int used_permille;
    FakePoolSize pool_lvm, pool_kernel; /* bytes, as each has it */
    gint64 vg_free;
    gint64 data_used, metadata_used; /* bytes */
    const char *pool_mode;           /* as `dmsetup status` says it; NULL: not active */
    int commands, kill_at;           /* command number, from 1 */
    FakeKill kill;
    gboolean dead;
    int primary_failures;  /* the next so many promotions fail */
    const char *violation; /* first thing that must never happen */
} FakeWorld;

static FakeWorld *fake_world; /* drbd_state_read() has no argument to carry it */

static void fake_lv_free(gpointer data)
{
    FakeLv *lv = data;
    g_free(lv->tag);
    g_free(lv);
}

static void fake_minor_free(gpointer data)
{
    FakeMinor *minor = data;
    g_free(minor->lv);
    g_free(minor);
}

static void fake_gate_free(gpointer data)
{
    FakeGate *gate = data;
    g_free(gate->table);
    g_free(gate->loaded);
    g_free(gate);
}

/* ---- the kernel's files ---- */

static FakeMinor *fake_minor(int number)
{
    return g_hash_table_lookup(fake_world->minors, GINT_TO_POINTER(number));
}

static FakeLv *fake_lv(const char *name)
{
    return name ? g_hash_table_lookup(fake_world->lvs, name) : NULL;
}

static const char *fake_disk(const FakeMinor *minor)
{
    const FakeLv *lv = fake_lv(minor->lv);
    if (!lv) {
        return "Diskless";
    }
    if (lv->fresh) {
        return "Inconsistent";
    }
    if (lv->outdated) {
        return "Outdated";
    }
    return (fake_world->net && fake_world->peer_there) || !minor->fencing || lv->forced || minor->primary
               ? "UpToDate"
               : "Consistent";
}

gboolean drbd_state_read(int number, DrbdState *ret, GError **error G_GNUC_UNUSED)
{
    const FakeMinor *minor = fake_minor(number);
    gboolean connected = fake_world->net && fake_world->peer_there;
    *ret = (DrbdState){.resync_permille = 1000};
    if (!minor || (!minor->lv && !fake_world->net)) {
        return TRUE;
    }
    ret->present = TRUE;
    ret->suspended = fake_world->suspended;
    g_strlcpy(ret->connection,
              connected && fake_world->resyncing[minor->volume] ? "SyncSource"
              : connected                                       ? "Connected"
              : fake_world->net                                 ? "WFConnection"
                                                                : "StandAlone",
              sizeof(ret->connection));
    g_strlcpy(ret->role, minor->primary ? "Primary" : "Secondary", sizeof(ret->role));
    g_strlcpy(ret->peer_role,
              !connected              ? "Unknown"
              : fake_world->peer_role ? fake_world->peer_role
                                      : "Secondary",
              sizeof(ret->peer_role));
    g_strlcpy(ret->disk, fake_disk(minor), sizeof(ret->disk));
    g_strlcpy(ret->peer_disk,
              !connected                                                                      ? "DUnknown"
              : fake_world->peer_fresh[minor->volume] || fake_world->resyncing[minor->volume] ? "Inconsistent"
                                                                                              : "UpToDate",
              sizeof(ret->peer_disk));
    return TRUE;
}

gint64 drbd_device_size_bytes(int number)
{
    const FakeMinor *minor = fake_minor(number);
    const FakeLv *lv = minor ? fake_lv(minor->lv) : NULL;
    return lv ? lv->agreed : 0;
}

gint64 drbd_backing_size_bytes(const char *path)
{
    const FakeLv *lv = fake_lv(strrchr(path, '/') + 1);
    return lv && lv->active ? lv->size : 0;
}

void drbd_size_note_remove(int number G_GNUC_UNUSED)
{
}

/* ---- programs ---- */

static const char *fake_option(const char *const *argv, const char *name)
{
    for (int i = 1; argv[i]; i++) {
        if (strcmp(argv[i], name) == 0) {
            return argv[i + 1];
        }
    }
    return NULL;
}

static gboolean fake_has(const char *const *argv, const char *word)
{
    return g_strv_contains(argv, word);
}

static const char *fake_last(const char *const *argv)
{
    int i = 1;
    while (argv[i + 1]) {
        i++;
    }
    return argv[i];
}

static int fake_violation(FakeWorld *w, const char *what, const char *on)
{
    if (!w->violation) {
        w->violation = g_intern_string(g_strdup_printf("%s on %s", what, on));
    }
    return 5;
}

static void fake_lvs_report(FakeWorld *w, GString *out)
{
    g_string_append(out, "{\"report\":[{\"lv\":[");
    if (w->pool) {
        g_string_append_printf(
            out,
            "{\"vg_name\":\"holdfast\",\"lv_name\":\"pool\",\"lv_size\":\"%" G_GINT64_FORMAT "\",\"pool_lv\":\"\","
            "\"data_percent\":\"%d.%d0\",\"metadata_percent\":\"10.35\",\"lv_active\":\"active\","
            "\"lv_tags\":\"\",\"lv_when_full\":\"%s\",\"lv_metadata_size\":\"%" G_GINT64_FORMAT
            "\",\"vg_size\":\"%" G_GINT64_FORMAT "\",\"vg_free\":\"%" G_GINT64_FORMAT "\"}",
            w->pool_lvm.data, w->used_permille / 10, w->used_permille % 10,
            w->pool_errors_when_full ? "error" : "queue", w->pool_lvm.metadata, w->device_size, w->vg_free);
    }
    GHashTableIter iter;
    gpointer name, value;
    g_hash_table_iter_init(&iter, w->lvs);
    while (g_hash_table_iter_next(&iter, &name, &value)) {
        const FakeLv *lv = value;
        g_string_append_printf(
            out,
            "%s{\"vg_name\":\"holdfast\",\"lv_name\":\"%s\",\"lv_size\":\"%" G_GINT64_FORMAT
            "\",\"pool_lv\":\"pool\",\"data_percent\":\"1.00\",\"metadata_percent\":\"\",\"lv_active\":\"%s\","
            "\"lv_tags\":\"%s\",\"lv_when_full\":\"\"}",
            out->str[out->len - 1] == '}' ? "," : "", (char *) name, lv->size, lv->active ? "active" : "",
            lv->tag ? lv->tag : "");
    }
    g_string_append(out, "]}]}");
}

static int fake_lvcreate(FakeWorld *w, const char *const *argv)
{
    const char *name = fake_option(argv, "--name");
    FakeLv *origin = fake_has(argv, "--snapshot") ? fake_lv(strrchr(fake_last(argv), '/') + 1) : NULL;
    if (origin && !fake_lv(name)) {
        FakeLv *snapshot = g_new0(FakeLv, 1);
        snapshot->size = origin->size;
        g_hash_table_insert(w->lvs, g_strdup(name), snapshot);
        return 0;
    }
    if (strcmp(fake_option(argv, "--type"), "thin-pool") == 0) {
        gboolean bad = w->pool || !w->vg || fake_has(argv, "--errorwhenfull");
        w->pool = w->pool || !bad;
        return bad ? 3 : 0;
    }
    if (!w->pool || fake_lv(name)) {
        return 5;
    }
    FakeLv *lv = g_new0(FakeLv, 1);
    lv->size = g_ascii_strtoll(fake_option(argv, "--virtualsize"), NULL, 10);
    for (int i = 1; argv[i]; i++) {
        if (strcmp(argv[i], "--addtag") == 0) {
            g_autofree char *before = lv->tag;
            lv->tag = before ? g_strdup_printf("%s,%s", before, argv[i + 1]) : g_strdup(argv[i + 1]);
        }
    }
    lv->active = TRUE;
    g_hash_table_insert(w->lvs, g_strdup(name), lv);
    return 0;
}

static int fake_pool_extend(FakeWorld *w, const char *const *argv)
{
    const char *data = fake_option(argv, "--size"), *metadata = fake_option(argv, "--poolmetadatasize");
    gint64 add = data ? g_ascii_strtoll(data, NULL, 10) - w->pool_lvm.data
                      : g_ascii_strtoll(metadata, NULL, 10) - w->pool_lvm.metadata;
    /* lvm2 knows neither of nothing to do nor of part of an extent, and the metadata's spare grows too. */
    if (add <= 0 || add % (4 * 1024 * 1024) || add * (data ? 1 : 2) > w->vg_free) {
        return 5;
    }
    *(data ? &w->pool_lvm.data : &w->pool_lvm.metadata) += add;
    w->vg_free -= add * (data ? 1 : 2);
    if (w->kill != KILL_HALF || w->commands != w->kill_at) {
        w->pool_kernel = w->pool_lvm;
    }
    return 0;
}

static int fake_lvm(FakeWorld *w, const char *program, const char *const *argv, GString *out)
{
    const char *base = strrchr(fake_last(argv), '/');
    FakeLv *lv = fake_lv(base ? base + 1 : "");
    if (strcmp(program, "pvs") == 0) {
        g_string_append(out, "{\"report\":[{\"pv\":[");
        if (w->pv_vg) {
            g_string_append_printf(out, "{\"pv_name\":\"/dev/fake0\",\"vg_name\":\"%s\"}", w->pv_vg);
        }
        g_string_append(out, "]}]}");
    } else if (strcmp(program, "vgs") == 0) {
        g_string_append_printf(out,
                               "{\"report\":[{\"vg\":[{\"vg_name\":\"holdfast\",\"vg_size\":\"%" G_GINT64_FORMAT
                               "\",\"vg_free\":\"%" G_GINT64_FORMAT "\"}]}]}",
                               w->device_size, w->device_size);
    } else if (strcmp(program, "lvs") == 0) {
        fake_lvs_report(w, out);
    } else if (strcmp(program, "wipefs") == 0) {
        g_string_append(out, w->signature ? w->signature : "");
    } else if (strcmp(program, "pvcreate") == 0) {
        if (w->pv_vg || w->signature) {
            return fake_violation(w, "pvcreate", argv[1]);
        }
        w->pv_vg = g_strdup("");
    } else if (strcmp(program, "vgcreate") == 0) {
        g_free(w->pv_vg);
        w->pv_vg = g_strdup("holdfast");
        w->vg = TRUE;
    } else if (strcmp(program, "lvcreate") == 0) {
        return fake_lvcreate(w, argv);
    } else if (strcmp(program, "lvchange") == 0 && fake_has(argv, "--errorwhenfull")) {
        w->pool_errors_when_full = TRUE;
    } else if (strcmp(fake_last(argv), "holdfast/pool") == 0 && strcmp(program, "lvextend") == 0) {
        return fake_pool_extend(w, argv);
    } else if (strcmp(fake_last(argv), "holdfast/pool") == 0 && fake_has(argv, "--refresh")) {
        w->pool_kernel = w->pool_lvm;
    } else if (!lv) {
        return 5;
    } else if (strcmp(program, "lvchange") == 0) {
        lv->active = TRUE;
    } else if (strcmp(program, "lvextend") == 0) {
        lv->size = g_ascii_strtoll(fake_option(argv, "--size"), NULL, 10);
    } else if (strcmp(program, "lvremove") == 0) {
        if (lv->data) {
            fake_violation(w, "lvremove", base + 1); /* tests of removal clear this flag first */
        }
        g_hash_table_remove(w->lvs, base + 1);
    }
    return 0;
}

static int fake_drbdmeta(FakeWorld *w, const char *const *argv, GString *err)
{
    FakeLv *lv = fake_lv(strrchr(argv[3], '/') + 1);
    const char *verb = argv[5];
    if (!lv || !lv->active) {
        g_string_append_printf(err, "open(%s) failed: No such file or directory\n", argv[3]);
        return 20;
    }
    if (strcmp(verb, "create-md") == 0) {
        if (lv->metadata || lv->data) {
            return fake_violation(w, "create-md", argv[3]);
        }
        lv->metadata = lv->fresh = lv->al_clean = TRUE;
        lv->agreed = lv->size - FAKE_METADATA_BYTES;
        return 0;
    }
    if (strcmp(verb, "check-resize") == 0) {
        return 0;
    }
    if (!lv->metadata) {
        g_string_append(err, "No valid meta data found\n");
        return 1;
    }
    lv->al_clean = TRUE;
    return 0;
}

static int fake_show(const FakeWorld *w, const char *name, GString *out, GString *err)
{
    if (!w->resource) {
        g_string_append(err, "received netlink error reply: No such device\n");
        return 20;
    }
    g_string_append_printf(out, "resource %s {\n", name);
    if (w->net) {
        g_string_append_printf(out,
                               "    net {\n        timeout         \t15; # 1/10 seconds\n        shared-secret   "
                               "\t\"%s\";\n    }\n    _remote_host {\n        address\t\t\tipv4 %s;\n    }\n",
                               w->secret, w->remote + strlen("ipv4:"));
    }
    g_string_append(out, "    _this_host {\n        address\t\t\tipv4 10.0.0.1:7805;\n");
    GHashTableIter iter;
    gpointer number, value;
    g_hash_table_iter_init(&iter, w->minors);
    while (g_hash_table_iter_next(&iter, &number, &value)) {
        const FakeMinor *minor = value;
        g_string_append_printf(out, "        volume %d {\n            device\t\t\tminor %d;\n", minor->volume,
                               GPOINTER_TO_INT(number));
        if (minor->lv) {
            g_string_append_printf(
                out, "            disk\t\t\t\"/dev/holdfast/%s\";\n            disk {\n%s            }\n", minor->lv,
                minor->fencing ? "                fencing         \tresource-and-stonith;\n" : "");
        }
        g_string_append(out, "        }\n");
    }
    g_string_append(out, "    }\n}\n");
    return 0;
}

static gboolean fake_minor_in_table(const FakeWorld *w, int number)
{
    g_autofree char *device = g_strdup_printf(" 147:%d ", number);
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, w->gates);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (strstr(((FakeGate *) value)->table, device)) {
            return TRUE;
        }
    }
    return FALSE;
}

static int fake_role(FakeWorld *w, const char *const *argv, FakeMinor *minor)
{
    FakeLv *lv = fake_lv(minor->lv);
    if (strcmp(argv[1], "secondary") == 0) {
        gboolean open = fake_minor_in_table(w, atoi(argv[2]));
        minor->primary = minor->primary && open;
        return open ? 11 : 0;
    }
    if (w->primary_failures > 0) {
        w->primary_failures--;
        return 17;
    }
    if (argv[3] && strcmp(argv[3], "--force=yes") == 0 && lv) {
        lv->fresh = lv->outdated = FALSE;
        lv->forced = minor->fencing;
    }
    gboolean may = lv && strcmp(fake_disk(minor), "UpToDate") == 0;
    minor->primary = minor->primary || may;
    return may ? 0 : 17;
}

/* The smaller of both LVs counts, and what is new is copied to the peer. */
static int fake_resize(FakeWorld *w, const FakeMinor *minor, FakeLv *lv)
{
    gint64 peer = w->peer_lv_size[minor->volume];
    gboolean paired = w->net && w->peer_there;
    if (!lv || !minor->primary || (minor->fencing && !paired)) {
        return 10; /* "Need one Primary", and nobody to agree with */
    }
    gint64 size = MIN(lv->size, paired && peer ? peer : lv->size) - FAKE_METADATA_BYTES;
    w->resyncing[minor->volume] |= paired && size > lv->agreed;
    lv->agreed = size;
    return 0;
}

static int fake_drbdsetup(FakeWorld *w, const char *const *argv, GString *out, GString *err)
{
    const char *verb = argv[1];
    FakeMinor *minor = fake_minor(atoi(argv[2]));
    FakeLv *lv = minor ? fake_lv(minor->lv) : NULL;
    if (strcmp(verb, "show") == 0) {
        return fake_show(w, argv[2], out, err);
    }
    if (strcmp(verb, "new-resource") == 0) {
        w->resource = TRUE;
    } else if (strcmp(verb, "new-minor") == 0) {
        FakeMinor *made = g_new0(FakeMinor, 1);
        made->volume = atoi(argv[4]);
        return g_hash_table_insert(w->minors, GINT_TO_POINTER(atoi(argv[3])), made) ? 0 : 10;
    } else if (strcmp(verb, "connect") == 0) {
        if (w->net) {
            return 10;
        }
        w->net = TRUE;
        g_free(w->remote);
        w->remote = g_strdup(argv[4]);
        g_clear_pointer(&w->secret, g_free);
        for (int i = 5; argv[i]; i++) {
            w->secret = g_str_has_prefix(argv[i], "--shared-secret=") ? g_strdup(strchr(argv[i], '=') + 1) : w->secret;
        }
    } else if (strcmp(verb, "disconnect") == 0) {
        if (!w->net || g_strcmp0(w->remote, fake_last(argv)) != 0) {
            return 10; /* (158) Unknown connection */
        }
        w->net = FALSE;
    } else if (strcmp(verb, "down") == 0) {
        g_hash_table_remove_all(w->minors);
        w->resource = w->net = FALSE;
    } else if (!minor) {
        return 10;
    } else if (strcmp(verb, "attach") == 0) {
        FakeLv *target = fake_lv(strrchr(argv[3], '/') + 1);
        if (minor->lv || !target || !target->active || !target->metadata || !target->al_clean) {
            return 10;
        }
        minor->lv = g_strdup(strrchr(argv[3], '/') + 1);
        minor->fencing = fake_has(argv, "--fencing=resource-and-stonith");
    } else if (strcmp(verb, "new-current-uuid") == 0) {
        if (!lv || !lv->fresh || !w->peer_fresh[minor->volume] || !w->net || !w->peer_there) {
            return 10;
        }
        lv->fresh = w->peer_fresh[minor->volume] = FALSE;
    } else if (strcmp(verb, "get-gi") == 0) {
        g_string_append_printf(out, "6E1B1C5A2D3F4A50:%s:0:0:1:1:0:0:0:0:0\n",
                               lv && lv->forced ? "5D4C3B2A19080706" : "0");
    } else if (strcmp(verb, "outdate") == 0 || strcmp(verb, "invalidate") == 0) {
        if (!lv || minor->primary || (w->net && w->peer_there)) {
            return 10;
        }
        lv->outdated = TRUE;
        lv->forced = FALSE;
        lv->fresh |= strcmp(verb, "invalidate") == 0;
    } else if (strcmp(verb, "resize") == 0) {
        return fake_resize(w, minor, lv);
    } else if (strcmp(verb, "primary") == 0 || strcmp(verb, "secondary") == 0) {
        return fake_role(w, argv, minor);
    }
    return 0;
}

static int fake_dmsetup(FakeWorld *w, const char *const *argv, GString *out, GString *err, GError **error)
{
    const char *verb = argv[1];
    const char *table = fake_option(argv, "--table");
    const char *name = fake_last(argv);
    for (int i = 2; argv[i]; i++) {
        name = g_str_has_prefix(argv[i], "hfgate-") ? argv[i] : name;
    }
    FakeGate *gate = g_hash_table_lookup(w->gates, name);
    if (strcmp(verb, "status") == 0 && strcmp(name, "holdfast-pool-tpool") == 0 && w->pool_mode) {
        g_string_append_printf(out,
                               "0 %" G_GINT64_FORMAT " thin-pool 3 %" G_GINT64_FORMAT "/%" G_GINT64_FORMAT
                               " %" G_GINT64_FORMAT "/%" G_GINT64_FORMAT
                               " - %s discard_passdown error_if_no_space - 1024 \n",
                               w->pool_kernel.data / 512, w->metadata_used / 4096, w->pool_kernel.metadata / 4096,
                               w->data_used / 65536, w->pool_kernel.data / 65536, w->pool_mode);
        return 0;
    }
    if (strcmp(verb, "create") == 0) {
        FakeGate *made = g_new0(FakeGate, 1);
        made->table = g_strdup(table);
        return g_hash_table_insert(w->gates, g_strdup(name), made) ? 0 : 1;
    }
    if (!gate) {
        g_string_append(err, "Device does not exist.\nCommand failed.\n");
        return 1;
    }
    if (strcmp(verb, "info") == 0) {
        g_string_append_printf(out, "%d:Active\n", gate->open_count);
    } else if (strcmp(verb, "table") == 0) {
        g_string_append_printf(out, "%s%s\n", gate->table, strstr(gate->table, "error") ? " " : "");
    } else if (strcmp(verb, "load") == 0) {
        const char *device = strstr(table, " 147:");
        const FakeMinor *minor = device ? fake_minor(atoi(device + 5)) : NULL;
        if (device && (!minor || !minor->primary)) {
            return 1; /* DRBD lets nobody open a Secondary */
        }
        gint64 below = minor ? drbd_device_size_bytes(atoi(device + 5)) : 0;
        if (below && atoll(table + 2) * 512 > below) {
            fake_violation(w, "gate beyond its device", name);
            return 1;
        }
        g_free(gate->loaded);
        gate->loaded = g_strdup(table);
    } else if (strcmp(verb, "resume") == 0 && gate->loaded) {
        if (gate->frozen) {
            g_clear_pointer(&gate->loaded, g_free);
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "dmsetup did not end");
            return -1;
        }
        g_free(gate->table);
        gate->table = g_steal_pointer(&gate->loaded);
    } else if (strcmp(verb, "clear") == 0) {
        g_clear_pointer(&gate->loaded, g_free);
    } else if (strcmp(verb, "remove") == 0) {
        g_hash_table_remove(w->gates, name);
    }
    return 0;
}

static int fake_dispatch(FakeWorld *w, const char *const *argv, GString *out, GString *err, GError **error)
{
    const char *program = strrchr(argv[0], '/') + 1;
    if (strcmp(program, "drbdmeta") == 0) {
        return fake_drbdmeta(w, argv, err);
    }
    if (strcmp(program, "drbdsetup-84") == 0) {
        return fake_drbdsetup(w, argv, out, err);
    }
    if (strcmp(program, "dmsetup") == 0) {
        return fake_dmsetup(w, argv, out, err, error);
    }
    return fake_lvm(w, program, argv, out);
}

/* Counts one step of the program under test; TRUE when it is dead and the step must not happen. */
static gboolean fake_step(FakeWorld *w, FakeKill when)
{
    if (when == KILL_BEFORE && !w->dead) {
        w->commands++;
    }
    if (w->kill == when && w->commands == w->kill_at) {
        w->dead = TRUE;
    }
    return w->dead;
}

static gboolean fake_die(GError **error)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "killed");
    return FALSE;
}

static gboolean fake_run(const ProcessRunner *runner, const char *const *argv, const char *input G_GNUC_UNUSED,
                         int timeout_ms G_GNUC_UNUSED, ProcessResult *ret, GError **error)
{
    FakeWorld *w = runner->user_data;
    if (fake_step(w, KILL_BEFORE)) {
        return fake_die(error);
    }
    g_ptr_array_add(w->log, g_strjoinv(" ", (char **) argv));
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(GString) err = g_string_new(NULL);
    int status = fake_dispatch(w, argv, out, err, error);
    if (status < 0) {
        return FALSE;
    }
    if (fake_step(w, KILL_AFTER) || fake_step(w, KILL_HALF)) {
        return fake_die(error);
    }
    ret->exit_status = status;
    ret->stdout_text = g_string_free(g_steal_pointer(&out), FALSE);
    ret->stderr_text = g_string_free(g_steal_pointer(&err), FALSE);
    return TRUE;
}

/* ---- for tests ---- */

static void fake_world_start(FakeWorld *w)
{
    *w = (FakeWorld){.runner = {.run = fake_run, .user_data = w}, .peer_there = TRUE, .device_size = 3217031168};
    w->pool_lvm = w->pool_kernel = (FakePoolSize){.data = 2147483648, .metadata = 16 * 1024 * 1024};
    w->vg_free = 60 * 1024 * 1024;
    w->pool_mode = "rw";
    for (int i = 0; i < GUEST_VOLUMES_MAX; i++) {
        w->peer_fresh[i] = TRUE;
    }
    w->log = g_ptr_array_new_with_free_func(g_free);
    w->lvs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, fake_lv_free);
    w->minors = g_hash_table_new_full(NULL, NULL, NULL, fake_minor_free);
    w->gates = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, fake_gate_free);
    fake_world = w;
}

static void fake_world_clear(FakeWorld *w)
{
    g_ptr_array_unref(w->log);
    g_hash_table_unref(w->lvs);
    g_hash_table_unref(w->minors);
    g_hash_table_unref(w->gates);
    g_free(w->pv_vg);
    g_free(w->remote);
    g_free(w->secret);
    fake_world = NULL;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FakeWorld, fake_world_clear)

/* The program under test is started again; after a crash of the node the kernel's part of the world is gone. */
G_GNUC_UNUSED static void fake_world_restart(FakeWorld *w, gboolean crash)
{
    w->dead = FALSE;
    w->kill = KILL_NEVER;
    if (!crash) {
        return;
    }
    GHashTableIter iter;
    gpointer value;
    g_hash_table_remove_all(w->minors);
    g_hash_table_remove_all(w->gates);
    w->resource = w->net = FALSE;
    g_hash_table_iter_init(&iter, w->lvs);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        ((FakeLv *) value)->active = FALSE;
        ((FakeLv *) value)->al_clean = FALSE;
    }
}

/* Log since the last call, one command a line. Caller frees. */
G_GNUC_UNUSED static char *fake_log_take(FakeWorld *w)
{
    g_ptr_array_add(w->log, NULL);
    char *text = g_strjoinv("\n", (char **) w->log->pdata);
    g_ptr_array_set_size(w->log, 0);
    return text;
}
