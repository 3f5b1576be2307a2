/* SPDX-License-Identifier: Apache-2.0
 * An operator chooses between copies that are not the same (docs/decisions/0007-copies-that-differ.md):
 * - override: the current copy is lost for good, a stale one is all that is left, and the guest shall start from it;
 * - discard: both copies were written to apart from each other (the lost one came back); the one that the record does
 *   not name is kept as a snapshot beside it and brought up to date from the other. */
#pragma once

#include "node-agent/replica_sight.h"
#include "storage/volume.h"

/* Why the word for the copy on a node is refused, for people; a literal. NULL: it is not. Pure. */
const char *copy_choice_override_refusal(const ReplicaView *node, const ReplicaView *other);
const char *copy_choice_discard_refusal(const ReplicaView *node, const ReplicaView *other);

/* The operator's word. REFUSED with the reason; may be repeated after any failure. */
gboolean copy_choice_override(Daemon *daemon, const Guest *guest, const char *node, GError **error);
/* {"kept": [names of the snapshots, one per volume]}; caller owns. */
json_t *copy_choice_discard(Daemon *daemon, const Guest *guest, const char *node, GError **error);

/* Peer verbs of the node that has the copy. "replica.force": the record names it alone, DRBD shall believe that too;
 * "replica.discard": {"kept": [names]}. Caller owns. */
json_t *copy_choice_force_here(Daemon *daemon, const VolumeSet *set, const Manifest *manifest, GError **error);
json_t *copy_choice_discard_here(Daemon *daemon, const VolumeSet *set, const Manifest *manifest, GError **error);

/* Copies that went apart, seen from this node in each round: whether this one must stay unconnected, for the record
 * names the other. *ret_text for people then; caller frees. */
gboolean copy_choice_is_awaited(const Manifest *manifest, const Record *record, char **ret_text);
