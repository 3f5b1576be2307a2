/* SPDX-License-Identifier: Apache-2.0
 * What one node must know of a guest to stop, watch or start it without the store: written durably by holdfastd at
 * /var/lib/holdfast/guests/<name>.json, read by the OCF agent and the DRBD handler's relay. */
#pragma once

#include "cluster/objects.h"

#define MANIFEST_FOLDER "/var/lib/holdfast/guests"

typedef struct {
    gint64 version; /* 1 */
    Guest guest;
    GPtrArray *volumes; /* of Volume, by index */
    char *address;      /* this node on the replication network */
    char *peer_node;    /* NULL: one replica */
    gint64 peer_id;     /* its corosync node id; 0 without peer */
    char *peer_address;
    char **bridges; /* one per guest NIC, in order */
} Manifest;

extern const JsonStruct manifest_type;
void manifest_free(Manifest *manifest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Manifest, manifest_free)

Manifest *manifest_read(const char *guest, GError **error);        /* NOT_FOUND: not a replica node of it */
gboolean manifest_write(const Manifest *manifest, GError **error); /* no write when unchanged */
gboolean manifest_remove(const char *guest, GError **error);
/* It is no manifest any more, only a file for people: its guest's volumes are here and belong to nobody. */
gboolean manifest_set_aside(const char *guest, GError **error);
char **manifest_list(GError **error); /* guest names; caller g_strfreev */

/* The same in another folder, for tests. */
Manifest *manifest_read_at(const char *folder, const char *guest, GError **error);
gboolean manifest_write_at(const char *folder, const Manifest *manifest, GError **error);
gboolean manifest_remove_at(const char *folder, const char *guest, GError **error);
gboolean manifest_set_aside_at(const char *folder, const char *guest, GError **error);
char **manifest_list_at(const char *folder, GError **error);
