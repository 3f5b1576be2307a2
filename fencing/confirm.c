/* SPDX-License-Identifier: Apache-2.0
 * The operator's word. */
#include "fencing/confirm.h"

#include "cluster/objects.h"
#include "common/error.h"
#include "common/ident.h"

static const JsonField confirmation_fields[] = {
    {.name = "version",
     .kind = JSON_FIELD_INT,
     .offset = G_STRUCT_OFFSET(Confirmation, version),
     .required = TRUE,
     .min = 1,
     .max = G_MAXINT32},
    {.name = "node", .kind = JSON_FIELD_STRING, .offset = G_STRUCT_OFFSET(Confirmation, node), .required = TRUE},
    {.name = "user", .kind = JSON_FIELD_STRING, .offset = G_STRUCT_OFFSET(Confirmation, user), .required = TRUE},
    {.name = "at", .kind = JSON_FIELD_STRING, .offset = G_STRUCT_OFFSET(Confirmation, at), .required = TRUE},
    {.name = "boot_id", .kind = JSON_FIELD_STRING, .offset = G_STRUCT_OFFSET(Confirmation, boot_id)},
    {.name = "used_at", .kind = JSON_FIELD_STRING, .offset = G_STRUCT_OFFSET(Confirmation, used_at)},
    {.name = "used_by", .kind = JSON_FIELD_STRING, .offset = G_STRUCT_OFFSET(Confirmation, used_by)},
    {0},
};
const JsonStruct confirmation_type = {.size = sizeof(Confirmation), .fields = confirmation_fields};

static void confirmation_free(Confirmation *confirmation)
{
    object_free(&confirmation_type, confirmation);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Confirmation, confirmation_free)

static char *confirm_key(const char *node)
{
    return g_strconcat(STORE_ROOT "confirm/", node, NULL);
}

static char *boot_key(const char *node)
{
    return g_strconcat(STORE_ROOT "boot/", node, NULL);
}

/* The boot id the node registered last, NULL when it never did; *ret_revision 0 then. */
static gboolean read_boot(Store *store, const char *node, char **ret_boot_id, gint64 *ret_revision, GError **error)
{
    g_autofree char *key = boot_key(node);
    g_autoptr(GError) problem = NULL;
    g_autoptr(StoreEntry) entry = store_get(store, key, NULL, &problem);
    if (!entry) {
        *ret_boot_id = NULL;
        *ret_revision = 0;
        if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
            return TRUE;
        }
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    g_autoptr(NodeBoot) boot = object_from_text(&node_boot_type, entry->value, key, error);
    if (!boot) {
        return FALSE;
    }
    *ret_boot_id = g_steal_pointer(&boot->boot_id);
    *ret_revision = entry->mod_revision;
    return TRUE;
}

gboolean confirm_judge(const Confirmation *confirmation, const char *node, const char *boot_id_now, GError **error)
{
    const char *why = NULL;
    if (g_strcmp0(confirmation->node, node) != 0) {
        why = "is for another node";
    } else if (confirmation->used_at) {
        why = "was used already";
    } else if (g_strcmp0(confirmation->boot_id, boot_id_now) != 0) {
        why = "is for an earlier life of that node: it has booted since";
    }
    if (why) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "node %s: the confirmation of %s by %s %s; confirm again", node, confirmation->at,
                    confirmation->user, why);
    }
    return why == NULL;
}

gboolean confirm_write(Store *store, const char *node, const char *user, GError **error)
{
    if (!ident_check_name(node, "node", error)) {
        return FALSE;
    }
    g_autoptr(Confirmation) confirmation = object_new(&confirmation_type);
    gint64 boot_revision = 0;
    gint64 lease = 0;
    if (!read_boot(store, node, &confirmation->boot_id, &boot_revision, error) ||
        !store_lease_grant(store, CONFIRM_TTL_S, &lease, error)) {
        return FALSE;
    }
    confirmation->version = 1;
    confirmation->node = g_strdup(node);
    confirmation->user = g_strdup(user);
    confirmation->at = ident_timestamp();
    g_autofree char *key = confirm_key(node);
    g_autofree char *bkey = boot_key(node);
    g_autofree char *text = object_to_text(&confirmation_type, confirmation);
    g_autoptr(StoreTxn) txn = store_txn_new();
    store_txn_if_revision(txn, bkey, boot_revision); /* it did not boot while we wrote */
    store_txn_put(txn, key, text, lease);
    return store_txn_commit(store, txn, NULL, error);
}

typedef struct {
    Confirmation *confirmation;
    gint64 revision, lease, boot_revision;
} Found;

static void found_clear(Found *found)
{
    g_clear_pointer(&found->confirmation, confirmation_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Found, found_clear)

static gboolean find_usable(Store *store, const char *node, Found *found, GError **error)
{
    g_autofree char *key = confirm_key(node);
    g_autoptr(StoreEntry) entry = store_get(store, key, NULL, error);
    if (!entry) {
        return FALSE;
    }
    g_autofree char *boot_id = NULL;
    found->confirmation = object_from_text(&confirmation_type, entry->value, key, error);
    found->revision = entry->mod_revision;
    found->lease = entry->lease;
    return found->confirmation && read_boot(store, node, &boot_id, &found->boot_revision, error) &&
           confirm_judge(found->confirmation, node, boot_id, error);
}

gboolean confirm_check(Store *store, const char *node, GError **error)
{
    g_auto(Found) found = {0};
    return ident_check_name(node, "node", error) && find_usable(store, node, &found, error);
}

/* After an unknown outcome: it is ours when exactly our text is there. */
static gboolean is_there(Store *store, const char *key, const char *text)
{
    g_autoptr(StoreEntry) entry = store_get(store, key, NULL, NULL);
    return entry && g_strcmp0(entry->value, text) == 0;
}

gboolean confirm_consume(Store *store, const char *node, const char *by, GError **error)
{
    g_auto(Found) found = {0};
    if (!ident_check_name(node, "node", error) || !find_usable(store, node, &found, error)) {
        return FALSE;
    }
    g_autofree char *key = confirm_key(node);
    g_autofree char *bkey = boot_key(node);
    found.confirmation->used_at = ident_timestamp();
    found.confirmation->used_by = g_strdup(by);
    g_autofree char *text = object_to_text(&confirmation_type, found.confirmation);
    g_autoptr(StoreTxn) txn = store_txn_new();
    store_txn_if_revision(txn, key, found.revision);
    store_txn_if_revision(txn, bkey, found.boot_revision);
    store_txn_put(txn, key, text, found.lease);
    g_autoptr(GError) problem = NULL;
    if (store_txn_commit(store, txn, NULL, &problem)) {
        return TRUE;
    }
    if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT) && is_there(store, key, text)) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}
