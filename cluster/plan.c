/* SPDX-License-Identifier: Apache-2.0
 * Planning of new guests and moves over a snapshot of the store. No I/O. */
#include "cluster/admission.h"
#include "cluster/plan_parts.h"
#include "cluster/relations.h"

#include "common/error.h"
#include "common/ident.h"

#include <string.h>

#define MIB (1024 * 1024)
#define VOLUME_GRAIN_BYTES (4 * (gint64) MIB)

static const Node *node_find(const PlanSnapshot *snapshot, const char *name)
{
    for (guint i = 0; i < snapshot->nodes->len; i++) {
        const Node *node = snapshot->nodes->pdata[i];
        if (strcmp(node->name, name) == 0) {
            return node;
        }
    }
    return NULL;
}

static gboolean network_exists(const PlanSnapshot *snapshot, const char *name)
{
    for (guint i = 0; i < snapshot->networks->len; i++) {
        const Network *network = snapshot->networks->pdata[i];
        if (strcmp(network->name, name) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* The guest that has this MAC, or NULL. */
static const Guest *mac_owner(const PlanSnapshot *snapshot, const char *mac)
{
    for (guint i = 0; i < snapshot->guests->len; i++) {
        const Guest *guest = snapshot->guests->pdata[i];
        for (guint n = 0; n < guest->spec.nics->len; n++) {
            const GuestNic *nic = guest->spec.nics->pdata[n];
            if (g_strcmp0(nic->mac, mac) == 0) {
                return guest;
            }
        }
    }
    return NULL;
}

static gboolean check_name_and_nics(const PlanSnapshot *snapshot, const char *name, const GuestSpec *spec,
                                    GError **error)
{
    if (!ident_check_name(name, "name", error)) {
        return FALSE;
    }
    for (guint i = 0; i < snapshot->guests->len; i++) {
        const Guest *guest = snapshot->guests->pdata[i];
        if (strcmp(guest->name, name) == 0) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_EXISTS, "name: there is a guest '%s' already%s", name,
                                       guest->deleting ? ", still being deleted: retry when it is gone" : "");
        }
    }
    for (guint i = 0; i < spec->nics->len; i++) {
        const GuestNic *nic = spec->nics->pdata[i];
        if (!network_exists(snapshot, nic->network)) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_NOT_FOUND,
                                       "spec.nics[%u].network: there is no network '%s'", i, nic->network);
        }
        const Guest *owner = nic->mac ? mac_owner(snapshot, nic->mac) : NULL;
        if (owner) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_EXISTS, "spec.nics[%u].mac: guest '%s' has %s already", i,
                                       owner->name, nic->mac);
        }
    }
    return TRUE;
}

static gint64 round_up(gint64 bytes)
{
    return (bytes + VOLUME_GRAIN_BYTES - 1) / VOLUME_GRAIN_BYTES * VOLUME_GRAIN_BYTES;
}

/* Whoever fills the volume can get the image only from a holder that is there. */
static gboolean image_reachable(const PlanSnapshot *snapshot, const Image *image, guint index, GError **error)
{
    for (char **node = image->nodes; node && *node; node++) {
        if (plan_status_find(snapshot, *node)) {
            return TRUE;
        }
    }
    if (!image->nodes || !image->nodes[0]) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_REFUSED,
            "spec.volumes[%u].image: no node holds image '%s' any more: delete it and import it again", index,
            image->name);
    }
    g_autofree char *holders = g_strjoinv(" and ", image->nodes);
    return holdfast_error_fail(
        error, HOLDFAST_ERROR_UNAVAILABLE,
        "spec.volumes[%u].image: '%s' is only on %s, which %s down or without an agent: bring %s back, or import "
        "the image again under another name",
        index, image->name, holders, image->nodes[1] ? "are" : "is", image->nodes[1] ? "one of them" : "it");
}

/* The size of one volume; NOT_FOUND or UNAVAILABLE for its image, INVALID when the image does not fit. */
static gboolean volume_size(const PlanSnapshot *snapshot, const GuestVolumeSpec *volume, guint index, gint64 *ret_bytes,
                            GError **error)
{
    gint64 image_bytes = 0;
    if (volume->image) {
        const Image *image = plan_image_find(snapshot, volume->image);
        if (!image) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_NOT_FOUND,
                                       "spec.volumes[%u].image: there is no image '%s'", index, volume->image);
        }
        if (!image_reachable(snapshot, image, index, error)) {
            return FALSE;
        }
        image_bytes = round_up(image->size_bytes);
    }
    gint64 bytes = volume->size_mib > 0 ? volume->size_mib * MIB : image_bytes;
    if (bytes < image_bytes) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "spec.volumes[%u].size_mib: must be at least %" G_GINT64_FORMAT
                                   " to hold image '%s', not %" G_GINT64_FORMAT,
                                   index, image_bytes / MIB, volume->image, volume->size_mib);
    }
    *ret_bytes = bytes;
    return TRUE;
}

static GPtrArray *plan_volumes(const PlanSnapshot *snapshot, const char *name, const GuestSpec *spec, GError **error)
{
    g_autoptr(GPtrArray) volumes = g_ptr_array_new_with_free_func((GDestroyNotify) volume_free);
    for (guint i = 0; i < spec->volumes->len; i++) {
        const GuestVolumeSpec *wanted = spec->volumes->pdata[i];
        Volume *volume = object_new(&volume_type);
        g_ptr_array_add(volumes, volume);
        volume->guest = g_strdup(name);
        volume->index = i;
        volume->image = g_strdup(wanted->image);
        if (!volume_size(snapshot, wanted, i, &volume->size_bytes, error)) {
            return NULL;
        }
    }
    return g_steal_pointer(&volumes);
}

static char **too_few(const GPtrArray *candidates, const GuestSpec *spec, guint usable, GError **error)
{
    gboolean full = FALSE;
    for (guint i = 0; i < candidates->len; i++) {
        full = full || ((const PlanCandidate *) candidates->pdata[i])->full;
    }
    g_autofree char *text = plan_candidates_text(candidates, NULL, "; ");
    holdfast_error_fail(error, full ? HOLDFAST_ERROR_NO_SPACE : HOLDFAST_ERROR_REFUSED,
                        "spec.replicas: %" G_GINT64_FORMAT " needs as many usable nodes, there %s %u (%s)%s",
                        spec->replicas, usable == 1 ? "is" : "are", usable, *text ? text : "the cluster has no nodes",
                        full ? ": ask for less, or stop or delete guests there" : "");
    return NULL;
}

/* Replica nodes: the best ones, and usable candidates come first. nodes[0] fills the volumes, so it is one of them that
 * holds the images; when none does, it fetches them. */
static char **pick_nodes(const GPtrArray *candidates, const GuestSpec *spec, GError **error)
{
    const char *names[GUEST_REPLICAS_MAX + 1] = {NULL};
    guint usable = 0, filler = 0;
    for (guint i = 0; i < candidates->len; i++) {
        const PlanCandidate *candidate = candidates->pdata[i];
        if (candidate->refusal) {
            continue;
        }
        if (usable < spec->replicas) {
            names[usable] = candidate->node->name;
            const PlanCandidate *first = candidates->pdata[filler];
            filler = !first->holds_images && candidate->holds_images ? usable : filler;
        }
        usable++;
    }
    if (usable < spec->replicas) {
        return too_few(candidates, spec, usable, error);
    }
    const char *first = names[filler];
    memmove(names + 1, names, filler * sizeof(*names));
    names[0] = first;
    return g_strdupv((char **) names);
}

/* A slot is free when no guest has it and nobody gave one of its MACs to another guest by hand. */
static gboolean slot_free(const PlanSnapshot *snapshot, const GuestSpec *spec, gint64 slot)
{
    for (guint i = 0; i < snapshot->guests->len; i++) {
        if (((const Guest *) snapshot->guests->pdata[i])->slot == slot) {
            return FALSE;
        }
    }
    for (guint n = 0; n < spec->nics->len; n++) {
        g_autofree char *mac = guest_default_mac(slot, (int) n);
        if (mac_owner(snapshot, mac)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gint64 pick_slot(const PlanSnapshot *snapshot, const GuestSpec *spec, GError **error)
{
    for (gint64 slot = 1; slot <= GUEST_SLOT_MAX; slot++) {
        if (slot_free(snapshot, spec, slot)) {
            return slot;
        }
    }
    holdfast_error_fail(error, HOLDFAST_ERROR_NO_SPACE,
                        "name: all %d guest slots of the cluster are taken: delete a guest", GUEST_SLOT_MAX);
    return 0;
}

static Guest *guest_build(const char *name, const GuestSpec *spec, const GPtrArray *volumes, gint64 slot)
{
    Guest *guest = g_new0(Guest, 1);
    g_autoptr(json_t) copy = json_struct_encode(&guest_spec_type, spec);
    if (!json_struct_decode(copy, &guest_spec_type, "spec", &guest->spec, NULL)) {
        g_error("a guest spec did not survive its own codec");
    }
    guest->version = 1;
    guest->name = g_strdup(name);
    guest->uuid = ident_new_uuid();
    guest->created_at = ident_timestamp();
    guest->slot = slot;
    guest->drbd_secret = plan_new_secret();
    for (guint i = 0; i < volumes->len; i++) {
        ((GuestVolumeSpec *) guest->spec.volumes->pdata[i])->size_mib =
            ((const Volume *) volumes->pdata[i])->size_bytes / MIB;
    }
    for (guint n = 0; n < guest->spec.nics->len; n++) {
        GuestNic *nic = guest->spec.nics->pdata[n];
        nic->mac = nic->mac ? nic->mac : guest_default_mac(slot, (int) n);
    }
    return guest;
}

gboolean plan_guest(const PlanSnapshot *snapshot, const char *name, const GuestSpec *spec, Guest **ret_guest,
                    GPtrArray **ret_volumes, char **ret_reasons, GError **error)
{
    if (!check_name_and_nics(snapshot, name, spec, error) ||
        !relations_check(snapshot->guests, name, spec, NULL, error)) {
        return FALSE;
    }
    g_autoptr(GPtrArray) volumes = plan_volumes(snapshot, name, spec, error);
    if (!volumes) {
        return FALSE;
    }
    g_autoptr(GPtrArray) candidates = plan_candidates(snapshot, spec, volumes);
    g_auto(GStrv) nodes = pick_nodes(candidates, spec, error);
    gint64 slot = nodes ? pick_slot(snapshot, spec, error) : 0;
    if (slot == 0) {
        return FALSE;
    }
    Guest *guest = guest_build(name, spec, volumes, slot);
    guest->nodes = g_steal_pointer(&nodes);
    if (ret_reasons) {
        *ret_reasons = plan_candidates_text(candidates, guest->nodes, "\n");
    }
    *ret_guest = guest;
    *ret_volumes = g_steal_pointer(&volumes);
    return TRUE;
}

/* The name of a guest on `node` that must not share a node with `guest`; NULL: none. Borrowed. */
static const char *strictly_apart_there(const PlanSnapshot *snapshot, const Guest *guest, const char *node)
{
    g_autoptr(GPtrArray) places = relations_places(snapshot->guests);
    for (guint i = 0; snapshot->homes && i < places->len; i++) {
        const RelationPlace *place = places->pdata[i];
        const Guest *other = strcmp(place->guest->name, guest->name) == 0  ? place->with
                             : strcmp(place->with->name, guest->name) == 0 ? place->guest
                                                                           : NULL;
        if (other && place->kind == RELATION_APART_STRICT &&
            g_strcmp0(g_hash_table_lookup(snapshot->homes, other->name), node) == 0) {
            return other->name;
        }
    }
    return NULL;
}

gboolean plan_move(const PlanSnapshot *snapshot, const Guest *guest, const char *node_name, GError **error)
{
    const Node *node = node_find(snapshot, node_name);
    if (!node) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_NOT_FOUND, "node: there is no node '%s'", node_name);
    }
    if (!guest_on_node(guest, node_name)) {
        g_autofree char *places = g_strjoinv(", ", guest->nodes);
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "node: '%s' holds no replica of guest '%s': it can run on %s", node_name,
                                   guest->name, places);
    }
    if (node->leaving) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED, "node: '%s' is leaving the cluster", node_name);
    }
    const NodeStatus *status = plan_status_find(snapshot, node_name);
    if (!status) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED, "node: '%s' is down or its agent does not report",
                                   node_name);
    }
    if (plan_lacks_kvm(&guest->spec, status)) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "node: '%s' has no KVM, which engine 'kvm' of guest '%s' asks for", node_name,
                                   guest->name);
    }
    if (status->memory_free_mib < guest->spec.memory_mib) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_NO_SPACE,
                                   "node: '%s' has %" G_GINT64_FORMAT
                                   " MiB of memory free, guest '%s' needs %" G_GINT64_FORMAT " MiB",
                                   node_name, status->memory_free_mib, guest->name, guest->spec.memory_mib);
    }
    const char *other = strictly_apart_there(snapshot, guest, node_name);
    if (other) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_REFUSED,
            "node: '%s' runs guest '%s', which keeps apart from '%s' strictly: move it away first", node_name, other,
            guest->name);
    }
    return TRUE;
}
