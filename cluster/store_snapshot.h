/* SPDX-License-Identifier: Apache-2.0
 * Snapshots of the store as files on a voter: taken with Debian's etcdctl from the local member, checked, kept in
 * bounds. Named "store-20260101T120000Z-r1234.db" by UTC time and revision. They hold the store's secrets: 0600 in a
 * folder of 0700. */
#pragma once

#include "common/process.h"

#define STORE_SNAPSHOT_PATH "/var/lib/holdfast/store-snapshots"
#define STORE_SNAPSHOT_KEEP 24
#define STORE_SNAPSHOT_KEEP_BYTES (G_GINT64_CONSTANT(512) * 1024 * 1024) /* of all but the newest */
#define STORE_SNAPSHOT_EVERY_S 3600
#define STORE_SNAPSHOT_OLD_S (3 * STORE_SNAPSHOT_EVERY_S)

typedef struct {
    char *name;    /* of the file */
    char *at;      /* RFC 3339, UTC */
    gint64 time_s; /* the same since the epoch */
    gint64 revision, size_bytes;
} StoreSnapshot;
void store_snapshot_free(StoreSnapshot *snapshot);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreSnapshot, store_snapshot_free)

/* From the file's name; NULL: none of ours. Size is 0. Pure. */
StoreSnapshot *store_snapshot_parse(const char *name);

/* etcd's own check: the last 32 bytes are the SHA-256 of all before. INVALID when not. */
gboolean store_snapshot_check(const char *path, GError **error);

/* Array of StoreSnapshot, newest first; empty without the folder. Caller unrefs. */
GPtrArray *store_snapshot_list(const char *folder);

/* How many of `snapshots` (newest first) to keep: the newest always, others within both limits. Pure. */
guint store_snapshot_n_keep(const GPtrArray *snapshots, guint keep, gint64 keep_bytes);

/* Take one from the member at `socket` ("/run/.../etcd.sock:0") now, durably, and remove what is too much. Killed
 * anywhere it leaves a file that no name of ours fits and the next one removes. */
StoreSnapshot *store_snapshot_take(const ProcessRunner *runner, const char *folder, const char *socket, GError **error);
