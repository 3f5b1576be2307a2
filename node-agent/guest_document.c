/* SPDX-License-Identifier: Apache-2.0
 * The changes holdfastd itself makes to a guest's document. */
#include "node-agent/guest_document.h"

#include "common/error.h"

static gboolean update(Store *store, const char *guest, ObjectChange change, gconstpointer value, GError **error)
{
    g_autofree char *name = g_strconcat("guest/", guest, NULL);
    return object_update(store, &guest_type, name, 0, change, (gpointer) value, NULL, error);
}

static gboolean change_desired(gpointer object, gpointer user_data, GError **error G_GNUC_UNUSED)
{
    Guest *guest = object;
    guest->spec.desired = *(const GuestDesired *) user_data;
    return TRUE;
}

gboolean guest_set_desired(Store *store, const char *guest, GuestDesired desired, GError **error)
{
    return update(store, guest, change_desired, &desired, error);
}

static gboolean change_preferred(gpointer object, gpointer user_data, GError **error)
{
    Guest *guest = object;
    if (guest->deleting || guest->spec.desired != GUEST_DESIRED_RUNNING) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s' is to be %s: it is not moved",
                    guest->name, guest->deleting ? "deleted" : "stopped");
        return FALSE;
    }
    g_free(guest->preferred_node);
    guest->preferred_node = g_strdup(user_data);
    return TRUE;
}

gboolean guest_prefer(Store *store, const char *guest, const char *node, GError **error)
{
    return update(store, guest, change_preferred, node, error);
}

static gboolean change_unprefer(gpointer object, gpointer user_data, GError **error G_GNUC_UNUSED)
{
    Guest *guest = object;
    if (g_strcmp0(guest->preferred_node, user_data) != 0) {
        return FALSE;
    }
    g_clear_pointer(&guest->preferred_node, g_free);
    return TRUE;
}

gboolean guest_unprefer(Store *store, const char *guest, const char *node, GError **error)
{
    return update(store, guest, change_unprefer, node, error);
}
