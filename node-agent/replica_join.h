/* SPDX-License-Identifier: Apache-2.0
 * The two ends of a replacement on the nodes (docs/decisions/0009): a replica that is built anew and then recorded, and
 * one that was given up and is cleaned away. */
#pragma once

#include "cluster/manifest.h"
#include "node-agent/daemon.h"
#include "storage/record.h"
#include "storage/volume.h"

/* This node's replica is being built: whatever an earlier one left here goes first. Proven from a majority: the guest's
 * document asks for this very build and the record does not count on us. Under the guest's lock. FALSE with an error:
 * not to be gone on with. */
gboolean replica_join_prepare(Daemon *daemon, const VolumeSet *set, GError **error);

/* Rule "clear" (docs/decisions/0001) as one transaction: the peer enters the record, and with that a replica that was
 * being built is one like any other. Only while the record is at the generation that was looked at, and the guest's
 * document the one that said who the peer is. */
gboolean replica_record_clear(Daemon *daemon, const Manifest *manifest, gint64 guest_revision, const Record *looked_at,
                              GError **error);

/* This node has a manifest of a guest that has no replica here (any more): DRBD is taken down, and once it is proven
 * that nobody wants it, its volumes and the manifest go. In any doubt they stay, and the status says so. Of a guest
 * that does not exist any more the volumes stay too, but its numbers are free: the manifest is set aside. */
void replica_leave(Daemon *daemon, const char *guest);
/* Such manifests of guests that are not in the store at all: nobody else would look at them. */
void replica_leftovers_follow(Daemon *daemon);
/* Pure: whether the replica on `node` is proven unwanted, by documents from a majority. */
gboolean replica_is_unwanted(const Guest *guest, const Record *record, const char *uuid, const char *node);
