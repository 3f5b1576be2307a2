/* SPDX-License-Identifier: Apache-2.0
 * Planning of new guests and moves over a snapshot of the store. No I/O. */
#include "cluster/admission.h"
#include "cluster/plan_parts.h"
#include "cluster/relations.h"

#include "common/error.h"
#include "common/ident.h"

#include <string.h>
#include <sys/random.h>

#define MIB (1024 * 1024)
#define VOLUME_GRAIN_BYTES (4 * (gint64) MIB)
#define SECRET_BYTES 16

/* One node as a place for the new guest. */
typedef struct {
    const Node *node;
    gint64 pool_free_mib;
    gint64 memory_left_mib; /* after the worst loss of another node, the new guest not counted */
    int company;            /* guests with a replica here that it wants to be together with, less those to be apart */
    gboolean full;          /* refused for a figure, not for its state */
    gboolean holds_images;
    char *refusal; /* NULL: usable */
} Candidate;

static void candidate_free(Candidate *candidate)
{
    g_free(candidate->refusal);
    g_free(candidate);
}

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

const NodeStatus *plan_status_find(const PlanSnapshot *snapshot, const char *node)
{
    for (guint i = 0; i < snapshot->node_statuses->len; i++) {
        const NodeStatus *status = snapshot->node_statuses->pdata[i];
        if (strcmp(status->node, node) == 0) {
            return status;
        }
    }
    return NULL;
}

static const Image *image_find(const PlanSnapshot *snapshot, const char *name)
{
    for (guint i = 0; i < snapshot->images->len; i++) {
        const Image *image = snapshot->images->pdata[i];
        if (strcmp(image->name, name) == 0) {
            return image;
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
        const Image *image = image_find(snapshot, volume->image);
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

static char *space_refusal(const Candidate *candidate, const NodeStatus *status, gint64 need_mib)
{
    if (status->pool_used_permille >= POOL_FULL_PERMILLE || status->pool_metadata_permille >= POOL_FULL_PERMILLE) {
        return g_strdup_printf(
            "its pool is %" G_GINT64_FORMAT " %% full (metadata %" G_GINT64_FORMAT " %%), nothing new from %d %% on",
            status->pool_used_permille / 10, status->pool_metadata_permille / 10, POOL_FULL_PERMILLE / 10);
    }
    if (need_mib > candidate->pool_free_mib) {
        return g_strdup_printf("its pool has %" G_GINT64_FORMAT " MiB free of %" G_GINT64_FORMAT
                               " MiB, the volumes need %" G_GINT64_FORMAT " MiB",
                               candidate->pool_free_mib, status->pool_size_mib, need_mib);
    }
    return NULL;
}

static gboolean lacks_kvm(const GuestSpec *spec, const NodeStatus *status)
{
    return spec->engine == GUEST_ENGINE_KVM && !status->kvm;
}

static gboolean images_on_node(const PlanSnapshot *snapshot, const GuestSpec *spec, const char *node)
{
    for (guint i = 0; i < spec->volumes->len; i++) {
        const GuestVolumeSpec *volume = spec->volumes->pdata[i];
        const Image *image = volume->image ? image_find(snapshot, volume->image) : NULL;
        if (image && (!image->nodes || !g_strv_contains((const char *const *) image->nodes, node))) {
            return FALSE;
        }
    }
    return TRUE;
}

static int company(const PlanSnapshot *snapshot, const GuestSpec *spec, const char *node)
{
    int n = 0;
    for (guint i = 0; i < snapshot->guests->len; i++) {
        const Guest *guest = snapshot->guests->pdata[i];
        if (guest_on_node(guest, node)) {
            n += spec->keep_together && g_strv_contains((const char *const *) spec->keep_together, guest->name);
            n -= spec->keep_apart && g_strv_contains((const char *const *) spec->keep_apart, guest->name);
        }
    }
    return n;
}

static Candidate *candidate_new(const PlanSnapshot *snapshot, const GuestSpec *spec, const Node *node, gint64 need_mib)
{
    Candidate *candidate = g_new0(Candidate, 1);
    candidate->node = node;
    const NodeStatus *status = plan_status_find(snapshot, node->name);
    AdmissionRoom room = {0};
    if (node->leaving) {
        candidate->refusal = g_strdup("it is leaving the cluster");
    } else if (!admission_room(snapshot, node->name, NULL, &room)) {
        candidate->refusal = g_strdup("it is down or its agent does not report");
    } else {
        candidate->pool_free_mib = status->pool_size_mib * (1000 - status->pool_used_permille) / 1000;
        candidate->memory_left_mib = room.memory_mib - room.memory_used_mib;
        candidate->company = company(snapshot, spec, node->name);
        candidate->holds_images = images_on_node(snapshot, spec, node->name);
        candidate->refusal = space_refusal(candidate, status, need_mib);
        candidate->refusal = candidate->refusal ? candidate->refusal : admission_refusal(&room, spec);
        candidate->full = candidate->refusal != NULL;
        if (!candidate->refusal && lacks_kvm(spec, status)) {
            candidate->refusal = g_strdup("it has no KVM, which engine 'kvm' asks for ('auto' would emulate)");
        }
    }
    return candidate;
}

/* Usable ones first; then the company it wants, most free pool, most memory, the images' holders, name. */
static int candidate_compare(gconstpointer a, gconstpointer b)
{
    const Candidate *x = *(const Candidate *const *) a;
    const Candidate *y = *(const Candidate *const *) b;
    if (!x->refusal != !y->refusal) {
        return x->refusal ? 1 : -1;
    }
    if (x->company != y->company) {
        return x->company < y->company ? 1 : -1;
    }
    if (x->pool_free_mib != y->pool_free_mib) {
        return x->pool_free_mib < y->pool_free_mib ? 1 : -1;
    }
    if (x->memory_left_mib != y->memory_left_mib) {
        return x->memory_left_mib < y->memory_left_mib ? 1 : -1;
    }
    if (x->holds_images != y->holds_images) {
        return x->holds_images ? -1 : 1;
    }
    return strcmp(x->node->name, y->node->name);
}

static GPtrArray *candidates_new(const PlanSnapshot *snapshot, const GuestSpec *spec, const GPtrArray *volumes)
{
    gint64 need_mib = 0;
    for (guint i = 0; i < volumes->len; i++) {
        need_mib += ((const Volume *) volumes->pdata[i])->size_bytes / MIB;
    }
    GPtrArray *candidates = g_ptr_array_new_with_free_func((GDestroyNotify) candidate_free);
    for (guint i = 0; i < snapshot->nodes->len; i++) {
        g_ptr_array_add(candidates, candidate_new(snapshot, spec, snapshot->nodes->pdata[i], need_mib));
    }
    g_ptr_array_sort(candidates, candidate_compare);
    return candidates;
}

/* For each node "n1: chosen, <figures>" or "n2: <why not>". */
static char *candidates_text(const GPtrArray *candidates, char *const *chosen, const char *separator)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < candidates->len; i++) {
        const Candidate *candidate = candidates->pdata[i];
        g_string_append_printf(text, "%s%s: ", i ? separator : "", candidate->node->name);
        if (candidate->refusal) {
            g_string_append(text, candidate->refusal);
            continue;
        }
        gboolean picked = chosen && g_strv_contains((const char *const *) chosen, candidate->node->name);
        g_string_append_printf(text,
                               "%s, %" G_GINT64_FORMAT " MiB of pool free, %" G_GINT64_FORMAT " MiB of memory left%s",
                               picked ? "chosen" : "usable", candidate->pool_free_mib, candidate->memory_left_mib,
                               candidate->holds_images ? "" : ", does not hold the image");
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static char **too_few(const GPtrArray *candidates, const GuestSpec *spec, guint usable, GError **error)
{
    gboolean full = FALSE;
    for (guint i = 0; i < candidates->len; i++) {
        full = full || ((const Candidate *) candidates->pdata[i])->full;
    }
    g_autofree char *text = candidates_text(candidates, NULL, "; ");
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
        const Candidate *candidate = candidates->pdata[i];
        if (candidate->refusal) {
            continue;
        }
        if (usable < spec->replicas) {
            names[usable] = candidate->node->name;
            const Candidate *first = candidates->pdata[filler];
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

static char *new_secret(void)
{
    guint8 bytes[SECRET_BYTES];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes)) {
        g_error("the kernel gave no random bytes");
    }
    char *secret = g_malloc(2 * SECRET_BYTES + 1);
    for (int i = 0; i < SECRET_BYTES; i++) {
        g_snprintf(secret + 2 * i, 3, "%02x", bytes[i]);
    }
    return secret;
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
    guest->drbd_secret = new_secret();
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
    g_autoptr(GPtrArray) candidates = candidates_new(snapshot, spec, volumes);
    g_auto(GStrv) nodes = pick_nodes(candidates, spec, error);
    gint64 slot = nodes ? pick_slot(snapshot, spec, error) : 0;
    if (slot == 0) {
        return FALSE;
    }
    Guest *guest = guest_build(name, spec, volumes, slot);
    guest->nodes = g_steal_pointer(&nodes);
    if (ret_reasons) {
        *ret_reasons = candidates_text(candidates, guest->nodes, "\n");
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
    if (lacks_kvm(&guest->spec, status)) {
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
