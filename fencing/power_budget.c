/* SPDX-License-Identifier: Apache-2.0
 * The power-on budget in the store. */
#include "fencing/power_budget.h"

#include "common/ident.h"
#include "common/json.h"

#define HOUR_S 3600

char *power_budget_prefix(const char *node)
{
    return g_strconcat(STORE_ROOT "power/", node, "/", NULL);
}

char *power_budget_left_off_key(const char *node)
{
    return g_strconcat(STORE_ROOT "power/", node, "/left-off", NULL);
}

gboolean power_budget_read(Store *store, const char *node, PowerBudget *ret, GError **error)
{
    g_autofree char *prefix = power_budget_prefix(node);
    g_autofree char *left_off_key = power_budget_left_off_key(node);
    g_autoptr(GPtrArray) entries = store_list(store, prefix, NULL, error);
    if (!entries) {
        return FALSE;
    }
    *ret = (PowerBudget){0};
    for (guint i = 0; i < entries->len; i++) {
        if (g_str_equal(((const StoreEntry *) entries->pdata[i])->key, left_off_key)) {
            ret->left_off = TRUE;
        } else {
            ret->attempts++;
        }
    }
    return TRUE;
}

/* {"version":1,"at":...}: the time is for people. */
static gboolean note(Store *store, const char *key, gint64 lease, GError **error)
{
    g_autofree char *now = ident_timestamp();
    g_autoptr(json_t) document = json_pack("{s:i,s:s}", "version", 1, "at", now);
    g_autofree char *text = json_text_from(document);
    return store_put(store, key, text, -1, lease, NULL, error);
}

gboolean power_budget_spend(Store *store, const char *node, GError **error)
{
    g_autofree char *prefix = power_budget_prefix(node);
    g_autofree char *id = ident_new_uuid();
    g_autofree char *key = g_strconcat(prefix, id, NULL);
    gint64 lease = 0;
    return store_lease_grant(store, HOUR_S, &lease, error) && note(store, key, lease, error);
}

gboolean power_budget_leave_off(Store *store, const char *node, gboolean left_off, GError **error)
{
    g_autofree char *key = power_budget_left_off_key(node);
    return left_off ? note(store, key, 0, error) : store_delete(store, key, -1, error);
}
