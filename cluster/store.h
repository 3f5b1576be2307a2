/* SPDX-License-Identifier: Apache-2.0
 * Client of etcd 3.4 through its JSON gateway (POST /v3/...): get, list, transact, lease, watch, members. Reads are
 * linearizable: a value returned was committed by a majority. The local member's unix socket is tried first, then every
 * voter over mutual TLS. */
#pragma once

#include <glib.h>

#define STORE_ROOT "/holdfast/v1/"
#define STORE_LOCAL_SOCKET "/run/holdfast-etcd/etcd.sock:0"

typedef struct Store Store;

typedef struct {
    char **endpoints; /* "unix:/path" or "https://10.0.0.1:2379", in order of preference; NULL-terminated */
    char *ca_file;    /* PEM; only for https endpoints */
    char *cert_file;
    char *key_file;
    int timeout_ms; /* of one call over all endpoints together; 0: 5000 */
} StoreConfig;

typedef struct {
    char *key;
    char *value; /* NUL-terminated text (we keep only JSON text in the store) */
    gint64 create_revision;
    gint64 mod_revision;
    gint64 lease; /* 0: none */
} StoreEntry;

void store_entry_free(StoreEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreEntry, store_entry_free)

/* No I/O happens here. A Store may be used by several threads at once (calls serialise per thread-local curl handle).
 */
Store *store_new(const StoreConfig *config);
/* The store as /etc/holdfast/node.json describes it (socket first, then addresses in /etc/holdfast/voters, one https
 * URL a line). */
Store *store_new_for_node(GError **error);
void store_free(Store *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Store, store_free)

/* One key. NOT_FOUND when there is none; UNAVAILABLE when no majority answered in time. ret_revision (may be NULL):
 * store revision. */
StoreEntry *store_get(Store *store, const char *key, gint64 *ret_revision, GError **error);
/* All keys that begin with prefix, sorted by key, consistent at *ret_revision. Array of StoreEntry, caller unrefs. */
GPtrArray *store_list(Store *store, const char *prefix, gint64 *ret_revision, GError **error);
/* The same for several prefixes (NULL-terminated) after another, all at the one revision of the first page. */
GPtrArray *store_list_all(Store *store, const char *const *prefixes, gint64 *ret_revision, GError **error);

/* A transaction: all conditions hold -> all operations happen, at one revision. */
typedef struct StoreTxn StoreTxn;
StoreTxn *store_txn_new(void);
void store_txn_free(StoreTxn *txn);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreTxn, store_txn_free)
void store_txn_if_revision(StoreTxn *txn, const char *key, gint64 mod_revision); /* 0: key must not exist */
void store_txn_put(StoreTxn *txn, const char *key, const char *value, gint64 lease);
void store_txn_delete(StoreTxn *txn, const char *key);
void store_txn_delete_prefix(StoreTxn *txn, const char *prefix);
/* TRUE: committed, *ret_revision set. FALSE: CONFLICT when a condition failed (nothing happened); UNAVAILABLE when it
 * surely did not happen; TIMEOUT when the outcome is unknown (request was sent, no answer): read back before acting. */
gboolean store_txn_commit(Store *store, StoreTxn *txn, gint64 *ret_revision, GError **error);

/* Short forms of a one-key transaction. expected_revision -1: unconditional. */
gboolean store_put(Store *store, const char *key, const char *value, gint64 expected_revision, gint64 lease,
                   gint64 *ret_revision, GError **error);
gboolean store_delete(Store *store, const char *key, gint64 expected_revision, GError **error);

gboolean store_lease_grant(Store *store, int ttl_s, gint64 *ret_lease, GError **error);
gboolean store_lease_keepalive(Store *store, gint64 lease, GError **error); /* NOT_FOUND: it expired */
gboolean store_lease_revoke(Store *store, gint64 lease, GError **error);

/* A watch runs in its own thread and reports in `context` (NULL: default main context). It reconnects by itself with
 * back-off over all endpoints and resumes after the last revision seen; when that was compacted away `on_reset` asks
 * the owner to list again. from_revision: the first revision wanted, so the revision of the list before plus 1; 0: only
 * what comes from now on. */
typedef struct StoreWatch StoreWatch;
typedef struct {
    void (*on_change)(const StoreEntry *entry, gboolean deleted, gint64 revision, gpointer user_data);
    void (*on_reset)(gpointer user_data);
} StoreWatchEvents;
StoreWatch *store_watch_start(Store *store, const char *prefix, gint64 from_revision, const StoreWatchEvents *events,
                              GMainContext *context, gpointer user_data);
void store_watch_stop(StoreWatch *watch); /* joins the thread; no callback after it returns */

typedef struct {
    char *id; /* decimal */
    char *name;
    char **peer_urls;
    char **client_urls;
    gboolean learner;
} StoreMember;
void store_member_free(StoreMember *member);
GPtrArray *store_members(Store *store, GError **error); /* of StoreMember */
/* The one with this peer URL, or NULL. Borrowed. */
const StoreMember *store_member_find(const GPtrArray *members, const char *peer_url);
gboolean store_member_add(Store *store, const char *peer_url, GError **error);
gboolean store_member_remove(Store *store, const char *id, GError **error);
