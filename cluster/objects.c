/* SPDX-License-Identifier: Apache-2.0
 * Life of the store's objects, and the numbers and names derived from a guest's slot. */
#include "cluster/objects.h"

#include <string.h>

static void preset(const JsonStruct *type, gpointer object)
{
    for (const JsonField *field = type->fields; field->name; field++) {
        gpointer member = (char *) object + field->offset;
        if (field->kind == JSON_FIELD_STRUCTS) {
            *(GPtrArray **) member = g_ptr_array_new();
        } else if (field->kind == JSON_FIELD_STRUCT) {
            preset(field->sub, member);
        } else if (field->kind == JSON_FIELD_INT && strcmp(field->name, "version") == 0) {
            *(gint64 *) member = 1;
        }
    }
}

gpointer object_new(const JsonStruct *type)
{
    gpointer object = g_malloc0(type->size);
    preset(type, object);
    return object;
}

void object_free(const JsonStruct *type, gpointer object)
{
    if (object) {
        json_struct_clear(type, object);
        g_free(object);
    }
}

void guest_free(Guest *guest)
{
    object_free(&guest_type, guest);
}

void volume_free(Volume *volume)
{
    object_free(&volume_type, volume);
}

void node_free(Node *node)
{
    object_free(&node_type, node);
}

void node_boot_free(NodeBoot *boot)
{
    object_free(&node_boot_type, boot);
}

void verification_free(Verification *verification)
{
    object_free(&verification_type, verification);
}

void image_free(Image *image)
{
    object_free(&image_type, image);
}

void network_free(Network *network)
{
    object_free(&network_type, network);
}

void fence_device_free(FenceDevice *device)
{
    object_free(&fence_device_type, device);
}

void operation_free(Operation *operation)
{
    object_free(&operation_type, operation);
}

void guest_status_free(GuestStatus *status)
{
    object_free(&guest_status_type, status);
}

void node_status_free(NodeStatus *status)
{
    object_free(&node_status_type, status);
}

int guest_minor(const Guest *guest, int volume_index)
{
    return (int) guest->slot * GUEST_VOLUMES_MAX + volume_index;
}

int guest_drbd_port(const Guest *guest)
{
    return 7800 + (int) guest->slot;
}

int guest_uid(const Guest *guest)
{
    return 200000 + (int) guest->slot;
}

char *guest_tap_name(const Guest *guest, int nic_index)
{
    return g_strdup_printf("hf%dn%d", (int) guest->slot, nic_index);
}

char *guest_default_mac(gint64 slot, int nic_index)
{
    return g_strdup_printf("52:54:48:%02x:%02x:%02x", (guint) (slot >> 8) & 0xff, (guint) slot & 0xff,
                           (guint) nic_index & 0xff);
}

char *guest_lv_name(const char *guest_name, int volume_index)
{
    return g_strdup_printf("hf-%s-%d", guest_name, volume_index);
}

char *guest_gate_name(const char *guest_name, int volume_index)
{
    return g_strdup_printf("hfgate-%s-%d", guest_name, volume_index);
}

gboolean guest_on_node(const Guest *guest, const char *node_name)
{
    return guest->nodes && g_strv_contains((const char *const *) guest->nodes, node_name);
}

const char *guest_peer_node(const Guest *guest, const char *node_name)
{
    for (char **node = guest->nodes; node && *node; node++) {
        if (strcmp(*node, node_name) != 0) {
            return *node;
        }
    }
    return NULL;
}
