/* SPDX-License-Identifier: Apache-2.0
 * Field tables of the store's objects, and their text form. */
#include "cluster/objects.h"

#include "common/error.h"

#include <stddef.h>

#define OBJECT_VERSION 1

#define STRING(type, member) {.name = #member, .kind = JSON_FIELD_STRING, .offset = offsetof(type, member)}
#define STRING_REQUIRED(type, member) {.name = #member, .kind = JSON_FIELD_STRING, .offset = offsetof(type, member), .required = TRUE}
#define INT(type, member) {.name = #member, .kind = JSON_FIELD_INT, .offset = offsetof(type, member)}
#define RANGE(type, member, low, high) {.name = #member, .kind = JSON_FIELD_INT, .offset = offsetof(type, member), .min = (low), .max = (high)}
#define BOOL(type, member) {.name = #member, .kind = JSON_FIELD_BOOL, .offset = offsetof(type, member)}
#define STRV(type, member) {.name = #member, .kind = JSON_FIELD_STRV, .offset = offsetof(type, member)}
#define VERSION(type) {.name = "version", .kind = JSON_FIELD_INT, .offset = offsetof(type, version), .required = TRUE}

static const char *const engine_names[] = {"auto", "kvm", "qemu", NULL};
static const char *const desired_names[] = {"stopped", "running", NULL};
static const char *const fence_state_names[] = {"unproven", "proving", "proven", NULL};
static const char *const operation_state_names[] = {"running", "succeeded", "failed", "cancelled", NULL};

static const JsonField volume_spec_fields[] = {
    RANGE(GuestVolumeSpec, size_mib, 0, 67108864),
    STRING(GuestVolumeSpec, image),
    {0},
};
static const JsonStruct volume_spec_type = {sizeof(GuestVolumeSpec), volume_spec_fields, NULL};

static const JsonField nic_fields[] = {
    STRING_REQUIRED(GuestNic, network),
    STRING(GuestNic, mac),
    {0},
};
static const JsonStruct nic_type = {sizeof(GuestNic), nic_fields, NULL};

static const JsonField guest_spec_fields[] = {
    RANGE(GuestSpec, vcpus, 1, 64),
    {.name = "memory_mib", .kind = JSON_FIELD_INT, .offset = offsetof(GuestSpec, memory_mib), .required = TRUE, .min = 32, .max = 1048576},
    {.name = "engine", .kind = JSON_FIELD_ENUM, .offset = offsetof(GuestSpec, engine), .names = engine_names},
    {.name = "desired_state", .kind = JSON_FIELD_ENUM, .offset = offsetof(GuestSpec, desired), .names = desired_names},
    RANGE(GuestSpec, replicas, 1, 2),
    RANGE(GuestSpec, priority, 0, 1000),
    {.name = "volumes", .kind = JSON_FIELD_STRUCTS, .offset = offsetof(GuestSpec, volumes), .required = TRUE, .sub = &volume_spec_type},
    {.name = "nics", .kind = JSON_FIELD_STRUCTS, .offset = offsetof(GuestSpec, nics), .sub = &nic_type},
    STRING(GuestSpec, description),
    {0},
};
const JsonStruct guest_spec_type = {sizeof(GuestSpec), guest_spec_fields, NULL};

static const JsonField guest_fields[] = {
    VERSION(Guest),
    STRING_REQUIRED(Guest, name),
    STRING_REQUIRED(Guest, uuid),
    STRING(Guest, created_at),
    BOOL(Guest, deleting),
    {.name = "spec", .kind = JSON_FIELD_STRUCT, .offset = offsetof(Guest, spec), .required = TRUE, .sub = &guest_spec_type},
    {.name = "slot", .kind = JSON_FIELD_INT, .offset = offsetof(Guest, slot), .required = TRUE, .min = 1, .max = GUEST_SLOT_MAX},
    {.name = "nodes", .kind = JSON_FIELD_STRV, .offset = offsetof(Guest, nodes), .required = TRUE},
    STRING(Guest, drbd_secret),
    STRING(Guest, preferred_node),
    {0},
};
const JsonStruct guest_type = {sizeof(Guest), guest_fields, NULL};

static const JsonField volume_fields[] = {
    VERSION(Volume),
    STRING_REQUIRED(Volume, guest),
    {.name = "index", .kind = JSON_FIELD_INT, .offset = offsetof(Volume, index), .required = TRUE, .min = 0, .max = GUEST_VOLUMES_MAX - 1},
    {.name = "size_bytes", .kind = JSON_FIELD_INT, .offset = offsetof(Volume, size_bytes), .required = TRUE, .min = 1, .max = G_MAXINT64},
    STRING(Volume, image),
    {0},
};
const JsonStruct volume_type = {sizeof(Volume), volume_fields, NULL};

static const JsonField node_fields[] = {
    VERSION(Node),
    STRING_REQUIRED(Node, name),
    {.name = "id", .kind = JSON_FIELD_INT, .offset = offsetof(Node, id), .required = TRUE, .min = 1, .max = G_MAXINT32},
    STRING_REQUIRED(Node, ring0),
    STRING(Node, ring1),
    BOOL(Node, voter),
    BOOL(Node, leaving),
    {0},
};
const JsonStruct node_type = {sizeof(Node), node_fields, NULL};

static const JsonField image_fields[] = {
    VERSION(Image),
    STRING_REQUIRED(Image, name),
    {.name = "size_bytes", .kind = JSON_FIELD_INT, .offset = offsetof(Image, size_bytes), .required = TRUE, .min = 1, .max = G_MAXINT64},
    STRING(Image, sha256),
    STRV(Image, nodes),
    STRING(Image, created_at),
    {0},
};
const JsonStruct image_type = {sizeof(Image), image_fields, NULL};

static const JsonField network_fields[] = {
    VERSION(Network),
    STRING_REQUIRED(Network, name),
    STRING(Network, interface),
    RANGE(Network, vlan, 0, 4094),
    {0},
};
const JsonStruct network_type = {sizeof(Network), network_fields, NULL};

static const JsonField fence_device_fields[] = {
    VERSION(FenceDevice),
    STRING_REQUIRED(FenceDevice, node),
    STRING_REQUIRED(FenceDevice, agent),
    STRV(FenceDevice, parameters),
    {.name = "state", .kind = JSON_FIELD_ENUM, .offset = offsetof(FenceDevice, state), .names = fence_state_names},
    STRING(FenceDevice, proven_at),
    INT(FenceDevice, proven_ms),
    STRING(FenceDevice, detail),
    {0},
};
const JsonStruct fence_device_type = {sizeof(FenceDevice), fence_device_fields, NULL};

static const JsonField operation_fields[] = {
    VERSION(Operation),
    STRING_REQUIRED(Operation, id),
    STRING_REQUIRED(Operation, kind),
    STRING(Operation, target),
    {.name = "state", .kind = JSON_FIELD_ENUM, .offset = offsetof(Operation, state), .names = operation_state_names},
    STRING(Operation, stage),
    INT(Operation, done),
    INT(Operation, total),
    STRING(Operation, unit),
    STRING(Operation, argument),
    STRING(Operation, node),
    STRING(Operation, created_at),
    STRING(Operation, ended_at),
    INT(Operation, duration_ms),
    INT(Operation, downtime_ms),
    STRING(Operation, error),
    STRING(Operation, error_code),
    BOOL(Operation, cancel_requested),
    {0},
};
const JsonStruct operation_type = {sizeof(Operation), operation_fields, NULL};

static const JsonField volume_status_fields[] = {
    {.name = "index", .kind = JSON_FIELD_INT, .offset = offsetof(VolumeStatus, index), .required = TRUE, .min = 0, .max = GUEST_VOLUMES_MAX - 1},
    STRING(VolumeStatus, role),
    STRING(VolumeStatus, disk),
    STRING(VolumeStatus, peer_disk),
    STRING(VolumeStatus, connection),
    BOOL(VolumeStatus, suspended),
    RANGE(VolumeStatus, resync_permille, 0, 1000),
    STRING(VolumeStatus, gate),
    {0},
};
const JsonStruct volume_status_type = {sizeof(VolumeStatus), volume_status_fields, NULL};

static const JsonField guest_status_fields[] = {
    VERSION(GuestStatus),
    STRING_REQUIRED(GuestStatus, node),
    STRING_REQUIRED(GuestStatus, guest),
    STRING(GuestStatus, boot_id),
    BOOL(GuestStatus, ready),
    BOOL(GuestStatus, gone),
    STRING(GuestStatus, vmm),
    STRING(GuestStatus, condition),
    {.name = "volumes", .kind = JSON_FIELD_STRUCTS, .offset = offsetof(GuestStatus, volumes), .sub = &volume_status_type},
    {0},
};
const JsonStruct guest_status_type = {sizeof(GuestStatus), guest_status_fields, NULL};

static const JsonField node_status_fields[] = {
    VERSION(NodeStatus),
    STRING_REQUIRED(NodeStatus, node),
    STRING(NodeStatus, boot_id),
    STRING(NodeStatus, product_version),
    INT(NodeStatus, memory_mib),
    INT(NodeStatus, memory_free_mib),
    INT(NodeStatus, cpus),
    INT(NodeStatus, pool_size_mib),
    RANGE(NodeStatus, pool_used_permille, 0, 1000),
    RANGE(NodeStatus, pool_metadata_permille, 0, 1000),
    BOOL(NodeStatus, kvm),
    STRING(NodeStatus, condition),
    {0},
};
const JsonStruct node_status_type = {sizeof(NodeStatus), node_status_fields, NULL};

char *object_to_text(const JsonStruct *type, gconstpointer object)
{
    g_autoptr(json_t) document = json_struct_encode(type, object);
    return json_text_from(document);
}

/* Looked at before the other fields: a newer version may well have fields unknown here. */
static gboolean version_ok(const json_t *document, const char *what, GError **error)
{
    const json_t *version = json_object_get(document, "version");
    if (!json_is_integer(version) || json_integer_value(version) == OBJECT_VERSION) {
        return TRUE;
    }
    if (json_integer_value(version) < OBJECT_VERSION) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s.version: must be %d", what, OBJECT_VERSION);
        return FALSE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED,
                "%s: has version %" JSON_INTEGER_FORMAT " and this node knows %d: upgrade Holdfast on this node", what,
                json_integer_value(version), OBJECT_VERSION);
    return FALSE;
}

gpointer object_from_text(const JsonStruct *type, const char *text, const char *what, GError **error)
{
    g_autoptr(json_t) document = json_text_parse(text, -1, what, error);
    if (!document || !version_ok(document, what, error)) {
        return NULL;
    }
    gpointer object = g_malloc0(type->size);
    if (!json_struct_decode(document, type, what, object, error)) {
        object_free(type, object);
        return NULL;
    }
    return object;
}
