/* SPDX-License-Identifier: Apache-2.0
 * Field tables of the store's objects, and their text form. */
#include "cluster/objects.h"

#include "common/error.h"

#include <stddef.h>

#define OBJECT_VERSION 1

/* clang-format off: one field a line */
#define FIELD(type, member, kind_) .name = #member, .kind = JSON_FIELD_##kind_, .offset = offsetof(type, member)
#define STRING(type, member)                                                                                           \
    {                                                                                                                  \
        FIELD(type, member, STRING)                                                                                    \
    }
#define STRING_REQUIRED(type, member)                                                                                  \
    {                                                                                                                  \
        FIELD(type, member, STRING), .required = TRUE                                                                  \
    }
#define INT(type, member)                                                                                              \
    {                                                                                                                  \
        FIELD(type, member, INT)                                                                                       \
    }
#define RANGE(type, member, low, high)                                                                                 \
    {                                                                                                                  \
        FIELD(type, member, INT), .min = (low), .max = (high)                                                          \
    }
#define RANGE_REQUIRED(type, member, low, high)                                                                        \
    {                                                                                                                  \
        FIELD(type, member, INT), .required = TRUE, .min = (low), .max = (high)                                        \
    }
#define BOOL(type, member)                                                                                             \
    {                                                                                                                  \
        FIELD(type, member, BOOL)                                                                                      \
    }
#define STRV(type, member)                                                                                             \
    {                                                                                                                  \
        FIELD(type, member, STRV)                                                                                      \
    }
#define STRV_REQUIRED(type, member)                                                                                    \
    {                                                                                                                  \
        FIELD(type, member, STRV), .required = TRUE                                                                    \
    }
#define ENUM(type, member, names_)                                                                                     \
    {                                                                                                                  \
        FIELD(type, member, ENUM), .names = (names_)                                                                   \
    }
#define STRUCT_REQUIRED(type, member, sub_)                                                                            \
    {                                                                                                                  \
        FIELD(type, member, STRUCT), .required = TRUE, .sub = &(sub_)                                                  \
    }
#define STRUCTS(type, member, sub_)                                                                                    \
    {                                                                                                                  \
        FIELD(type, member, STRUCTS), .sub = &(sub_)                                                                   \
    }
#define STRUCTS_REQUIRED(type, member, sub_)                                                                           \
    {                                                                                                                  \
        FIELD(type, member, STRUCTS), .required = TRUE, .sub = &(sub_)                                                 \
    }
#define SPARSE_RANGE(type, member, low, high)                                                                          \
    {                                                                                                                  \
        FIELD(type, member, INT), .sparse = TRUE, .min = (low), .max = (high)                                          \
    }
#define SPARSE_BOOL(type, member)                                                                                      \
    {                                                                                                                  \
        FIELD(type, member, BOOL), .sparse = TRUE                                                                      \
    }
#define SPARSE_STRV(type, member)                                                                                      \
    {                                                                                                                  \
        FIELD(type, member, STRV), .sparse = TRUE                                                                      \
    }
#define VERSION(type)                                                                                                  \
    {                                                                                                                  \
        FIELD(type, version, INT), .required = TRUE                                                                    \
    }
static const char *const engine_names[] = {"auto", "kvm", "qemu", NULL};
static const char *const desired_names[] = {"stopped", "running", NULL};
static const char *const fence_state_names[] = {"unproven", "proving", "proven", NULL};
static const char *const operation_state_names[] = {"running", "succeeded", "failed", "cancelled", NULL};

static const JsonField volume_spec_fields[] = {
    RANGE(GuestVolumeSpec, size_mib, 0, 67108864),
    STRING(GuestVolumeSpec, image),
    {0},
};
static const JsonStruct volume_spec_type = {.size = sizeof(GuestVolumeSpec), .fields = volume_spec_fields};

static const JsonField nic_fields[] = {
    STRING_REQUIRED(GuestNic, network),
    STRING(GuestNic, mac),
    {0},
};
static const JsonStruct nic_type = {.size = sizeof(GuestNic), .fields = nic_fields};

static const JsonField guest_spec_fields[] = {
    RANGE(GuestSpec, vcpus, 1, 64),
    RANGE_REQUIRED(GuestSpec, memory_mib, 32, 1048576),
    ENUM(GuestSpec, engine, engine_names),
    {.name = "desired_state", .kind = JSON_FIELD_ENUM, .offset = offsetof(GuestSpec, desired), .names = desired_names},
    RANGE(GuestSpec, replicas, 1, 2),
    RANGE(GuestSpec, priority, 0, 1000),
    STRUCTS_REQUIRED(GuestSpec, volumes, volume_spec_type),
    STRUCTS(GuestSpec, nics, nic_type),
    STRING(GuestSpec, description),
    SPARSE_STRV(GuestSpec, start_after),
    SPARSE_STRV(GuestSpec, keep_apart),
    SPARSE_BOOL(GuestSpec, keep_apart_strict),
    SPARSE_STRV(GuestSpec, keep_together),
    SPARSE_RANGE(GuestSpec, restart_limit, 0, 100),
    SPARSE_RANGE(GuestSpec, restart_window_s, 0, 86400),
    {0},
};
const JsonStruct guest_spec_type = {.size = sizeof(GuestSpec), .fields = guest_spec_fields};

static const JsonField guest_fields[] = {
    VERSION(Guest),
    STRING_REQUIRED(Guest, name),
    STRING_REQUIRED(Guest, uuid),
    STRING(Guest, created_at),
    BOOL(Guest, deleting),
    STRUCT_REQUIRED(Guest, spec, guest_spec_type),
    RANGE_REQUIRED(Guest, slot, 1, GUEST_SLOT_MAX),
    STRV_REQUIRED(Guest, nodes),
    STRING(Guest, drbd_secret),
    STRING(Guest, preferred_node),
    STRING(Guest, joining),
    STRING(Guest, joining_id),
    {0},
};
const JsonStruct guest_type = {.size = sizeof(Guest), .fields = guest_fields};

static const JsonField volume_fields[] = {
    VERSION(Volume),
    STRING_REQUIRED(Volume, guest),
    RANGE_REQUIRED(Volume, index, 0, GUEST_VOLUMES_MAX - 1),
    RANGE_REQUIRED(Volume, size_bytes, 1, G_MAXINT64),
    STRING(Volume, image),
    {0},
};
const JsonStruct volume_type = {.size = sizeof(Volume), .fields = volume_fields};

static const JsonField node_fields[] = {
    VERSION(Node),
    STRING_REQUIRED(Node, name),
    RANGE_REQUIRED(Node, id, 1, G_MAXINT32),
    STRING_REQUIRED(Node, ring0),
    STRING(Node, ring1),
    BOOL(Node, voter),
    BOOL(Node, leaving),
    {0},
};
const JsonStruct node_type = {.size = sizeof(Node), .fields = node_fields};

static const JsonField node_boot_fields[] = {
    VERSION(NodeBoot),
    STRING_REQUIRED(NodeBoot, boot_id),
    BOOL(NodeBoot, left),
    {0},
};
const JsonStruct node_boot_type = {.size = sizeof(NodeBoot), .fields = node_boot_fields};

static const JsonField verification_fields[] = {
    VERSION(Verification),
    STRING_REQUIRED(Verification, guest),
    STRING_REQUIRED(Verification, at),
    RANGE(Verification, differing_kib, 0, G_MAXINT64),
    {0},
};
const JsonStruct verification_type = {.size = sizeof(Verification), .fields = verification_fields};

static const JsonField image_fields[] = {
    VERSION(Image),
    STRING_REQUIRED(Image, name),
    RANGE_REQUIRED(Image, size_bytes, 1, G_MAXINT64),
    STRING(Image, sha256),
    STRV(Image, nodes),
    STRING(Image, created_at),
    {0},
};
const JsonStruct image_type = {.size = sizeof(Image), .fields = image_fields};

static const JsonField network_fields[] = {
    VERSION(Network), STRING_REQUIRED(Network, name), STRING(Network, interface), RANGE(Network, vlan, 0, 4094), {0},
};
const JsonStruct network_type = {.size = sizeof(Network), .fields = network_fields};

static const JsonField fence_device_fields[] = {
    VERSION(FenceDevice),
    STRING_REQUIRED(FenceDevice, node),
    STRING_REQUIRED(FenceDevice, agent),
    STRV(FenceDevice, parameters),
    ENUM(FenceDevice, state, fence_state_names),
    STRING(FenceDevice, proven_at),
    INT(FenceDevice, proven_ms),
    STRING(FenceDevice, detail),
    {0},
};
const JsonStruct fence_device_type = {.size = sizeof(FenceDevice), .fields = fence_device_fields};

static const JsonField operation_fields[] = {
    VERSION(Operation),
    STRING_REQUIRED(Operation, id),
    STRING_REQUIRED(Operation, kind),
    STRING(Operation, target),
    ENUM(Operation, state, operation_state_names),
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
const JsonStruct operation_type = {.size = sizeof(Operation), .fields = operation_fields};

static const JsonField volume_status_fields[] = {
    RANGE_REQUIRED(VolumeStatus, index, 0, GUEST_VOLUMES_MAX - 1),
    STRING(VolumeStatus, role),
    STRING(VolumeStatus, disk),
    STRING(VolumeStatus, peer_disk),
    STRING(VolumeStatus, connection),
    BOOL(VolumeStatus, suspended),
    RANGE(VolumeStatus, resync_permille, 0, 1000),
    INT(VolumeStatus, resync_left_s),
    INT(VolumeStatus, out_of_sync_kib),
    STRING(VolumeStatus, gate),
    RANGE(VolumeStatus, backing_bytes, 0, G_MAXINT64),
    RANGE(VolumeStatus, size_bytes, 0, G_MAXINT64),
    RANGE(VolumeStatus, guest_bytes, 0, G_MAXINT64),
    {0},
};
const JsonStruct volume_status_type = {.size = sizeof(VolumeStatus), .fields = volume_status_fields, .open = TRUE};

static const JsonField guest_status_fields[] = {
    VERSION(GuestStatus),
    STRING_REQUIRED(GuestStatus, node),
    STRING_REQUIRED(GuestStatus, guest),
    STRING(GuestStatus, boot_id),
    BOOL(GuestStatus, ready),
    BOOL(GuestStatus, gone),
    STRING(GuestStatus, vmm),
    STRING(GuestStatus, condition),
    STRUCTS(GuestStatus, volumes, volume_status_type),
    {0},
};
const JsonStruct guest_status_type = {.size = sizeof(GuestStatus), .fields = guest_status_fields, .open = TRUE};

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
    INT(NodeStatus, pool_reserve_mib),
    STRING(NodeStatus, pool_level),
    STRING(NodeStatus, pool_condition),
    STRING(NodeStatus, disk_condition),
    BOOL(NodeStatus, kvm),
    STRING(NodeStatus, condition),
    {0},
};
const JsonStruct node_status_type = {.size = sizeof(NodeStatus), .fields = node_status_fields, .open = TRUE};

/* clang-format on */

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
