/* SPDX-License-Identifier: Apache-2.0
 * Room after the loss of any one node. */
#include "cluster/admission.h"

#include "cluster/plan_parts.h"
#include "common/error.h"

#include <string.h>

/* Where it runs, or would be started; NULL: nowhere, or it needs nothing. Borrowed. */
static const char *home_of(const PlanSnapshot *snapshot, const Guest *guest)
{
    const char *home = snapshot->homes ? g_hash_table_lookup(snapshot->homes, guest->name) : NULL;
    if (home) {
        return home;
    }
    if (guest->deleting || guest->spec.desired != GUEST_DESIRED_RUNNING) {
        return NULL;
    }
    for (char **node = guest->nodes; node && *node; node++) {
        if (plan_status_find(snapshot, *node)) {
            return *node;
        }
    }
    return NULL;
}

typedef struct {
    gint64 memory_mib, vcpus;
} Load;

/* What runs on `node` (lost: NULL), or would come over to it from `lost`. */
static Load load_of(const PlanSnapshot *snapshot, const char *node, const char *lost, const Guest *except)
{
    Load load = {0};
    for (guint i = 0; i < snapshot->guests->len; i++) {
        const Guest *guest = snapshot->guests->pdata[i];
        const char *home = except && strcmp(guest->name, except->name) == 0 ? NULL : home_of(snapshot, guest);
        if (!home || strcmp(home, lost ? lost : node) != 0 || (lost && !guest_on_node(guest, node))) {
            continue;
        }
        load.memory_mib += guest->spec.memory_mib;
        load.vcpus += guest->spec.vcpus;
    }
    return load;
}

gboolean admission_room(const PlanSnapshot *snapshot, const char *node, const Guest *except, AdmissionRoom *ret)
{
    const NodeStatus *status = plan_status_find(snapshot, node);
    if (!status) {
        return FALSE;
    }
    Load own = load_of(snapshot, node, NULL, except), worst = {0};
    *ret = (AdmissionRoom){.memory_mib = status->memory_mib - NODE_RESERVE_MIB,
                           .vcpus = status->cpus * ADMISSION_VCPUS_PER_CPU};
    for (guint i = 0; i < snapshot->nodes->len; i++) {
        const char *lost = ((const Node *) snapshot->nodes->pdata[i])->name;
        Load over = strcmp(lost, node) == 0 ? (Load){0} : load_of(snapshot, node, lost, except);
        if (over.memory_mib > worst.memory_mib) {
            worst.memory_mib = over.memory_mib;
            ret->memory_lost = lost;
        }
        if (over.vcpus > worst.vcpus) {
            worst.vcpus = over.vcpus;
            ret->vcpus_lost = lost;
        }
    }
    ret->memory_used_mib = own.memory_mib + worst.memory_mib;
    ret->vcpus_used = own.vcpus + worst.vcpus;
    return TRUE;
}

static gboolean lacks_memory(const AdmissionRoom *room, const GuestSpec *spec)
{
    return spec->memory_mib > room->memory_mib - room->memory_used_mib;
}

static gboolean lacks_vcpus(const AdmissionRoom *room, const GuestSpec *spec)
{
    return room->vcpus > 0 && spec->vcpus > room->vcpus - room->vcpus_used;
}

static char *after_loss(const char *lost)
{
    return lost ? g_strdup_printf(" if %s is lost", lost) : g_strdup("");
}

char *admission_refusal(const AdmissionRoom *room, const GuestSpec *spec)
{
    if (lacks_memory(room, spec)) {
        g_autofree char *when = after_loss(room->memory_lost);
        return g_strdup_printf("it has %" G_GINT64_FORMAT
                               " MiB memory for guests, and those there need %" G_GINT64_FORMAT
                               " MiB%s; this guest needs %" G_GINT64_FORMAT " MiB",
                               room->memory_mib, room->memory_used_mib, when, spec->memory_mib);
    }
    if (lacks_vcpus(room, spec)) {
        g_autofree char *when = after_loss(room->vcpus_lost);
        return g_strdup_printf("it can run %" G_GINT64_FORMAT " vCPUs (%d for each CPU), and the guests there have "
                               "%" G_GINT64_FORMAT "%s; this guest has %" G_GINT64_FORMAT,
                               room->vcpus, ADMISSION_VCPUS_PER_CPU, room->vcpus_used, when, spec->vcpus);
    }
    return NULL;
}

gboolean admission_check(const PlanSnapshot *snapshot, const Guest *guest, GError **error)
{
    for (char **node = guest->nodes; node && *node; node++) {
        AdmissionRoom room;
        g_autofree char *refusal =
            admission_room(snapshot, *node, guest, &room) ? admission_refusal(&room, &guest->spec) : NULL;
        if (refusal) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE,
                        "%s: node %s has no room for guest '%s' with the loss of any one node in reserve: %s. Stop a "
                        "guest there, move one whose replicas are elsewhere too, or give this one less with 'holdfast "
                        "guest set'",
                        lacks_memory(&room, &guest->spec) ? "spec.memory_mib" : "spec.vcpus", *node, guest->name,
                        refusal);
            return FALSE;
        }
    }
    return TRUE;
}

/* Memory that is really free for guests there, whatever is yet to come. */
static gint64 left_now_mib(const PlanSnapshot *snapshot, const NodeStatus *status)
{
    gint64 left_mib = status->memory_mib - NODE_RESERVE_MIB;
    for (guint i = 0; i < snapshot->guests->len; i++) {
        const Guest *guest = snapshot->guests->pdata[i];
        if (g_strcmp0(g_hash_table_lookup(snapshot->homes, guest->name), status->node) == 0) {
            left_mib -= guest->spec.memory_mib;
        }
    }
    return left_mib;
}

/* Why a guest that is to run and does not may be waiting for memory; NULL: one of its nodes has room, or none is there.
 */
static char *shortage(const PlanSnapshot *snapshot, const Guest *guest)
{
    g_autoptr(GString) nodes = g_string_new(NULL);
    for (char **node = guest->nodes; node && *node; node++) {
        const NodeStatus *status = plan_status_find(snapshot, *node);
        gint64 left_mib = status ? left_now_mib(snapshot, status) : 0;
        if (status && left_mib >= guest->spec.memory_mib) {
            return NULL;
        }
        if (status) {
            g_string_append_printf(nodes, "%s%s has %" G_GINT64_FORMAT " MiB left", nodes->len ? ", " : "", *node,
                                   MAX(left_mib, 0));
        }
    }
    return nodes->len ? g_strdup_printf("guest '%s' has no room to run: it needs %" G_GINT64_FORMAT
                                        " MiB and %s; guests of higher priority come first: stop one there, move one "
                                        "away or raise its priority with 'holdfast guest set'",
                                        guest->name, guest->spec.memory_mib, nodes->str)
                      : NULL;
}

static void add_shortages(const PlanSnapshot *snapshot, GStrvBuilder *texts)
{
    for (guint i = 0; snapshot->homes && i < snapshot->guests->len; i++) {
        const Guest *guest = snapshot->guests->pdata[i];
        gboolean waits = guest->spec.desired == GUEST_DESIRED_RUNNING && !guest->deleting &&
                         !g_hash_table_contains(snapshot->homes, guest->name);
        g_autofree char *text = waits ? shortage(snapshot, guest) : NULL;
        if (text) {
            g_strv_builder_add(texts, text);
        }
    }
}

static guint node_index(const PlanSnapshot *snapshot, const char *name)
{
    guint i = 0;
    while (i < snapshot->nodes->len && strcmp(((const Node *) snapshot->nodes->pdata[i])->name, name) != 0) {
        i++;
    }
    return i;
}

/* Memory by nodes' places in the snapshot: [home][home] runs there, [home][other] would come over. One pass over the
 * guests, since the status asks for it all the time. */
static gint64 *memory_matrix(const PlanSnapshot *snapshot)
{
    guint n = snapshot->nodes->len;
    gint64 *matrix = g_new0(gint64, n * n);
    for (guint i = 0; i < snapshot->guests->len; i++) {
        const Guest *guest = snapshot->guests->pdata[i];
        const char *home = home_of(snapshot, guest), *peer = home ? guest_peer_node(guest, home) : NULL;
        guint at = home ? node_index(snapshot, home) : n, other = peer ? node_index(snapshot, peer) : n;
        if (at < n) {
            matrix[at * n + at] += guest->spec.memory_mib;
        }
        if (at < n && other < n) {
            matrix[at * n + other] += guest->spec.memory_mib;
        }
    }
    return matrix;
}

static void add_losses(const PlanSnapshot *snapshot, GStrvBuilder *texts)
{
    guint n = snapshot->nodes->len;
    g_autofree gint64 *matrix = memory_matrix(snapshot);
    for (guint lost = 0; lost < n; lost++) {
        for (guint node = 0; node < n; node++) {
            const char *name = ((const Node *) snapshot->nodes->pdata[node])->name;
            const NodeStatus *status = plan_status_find(snapshot, name);
            gint64 own_mib = matrix[node * n + node], over_mib = lost == node ? 0 : matrix[lost * n + node];
            if (!status || over_mib == 0 || own_mib + over_mib <= status->memory_mib - NODE_RESERVE_MIB) {
                continue;
            }
            g_autofree char *text = g_strdup_printf(
                "if %s is lost, not all guests have room: %s has %" G_GINT64_FORMAT
                " MiB for guests, those there need %" G_GINT64_FORMAT " MiB and those coming over %" G_GINT64_FORMAT
                " MiB; the ones of lowest priority would stay down: move or stop guests, or give %s memory",
                ((const Node *) snapshot->nodes->pdata[lost])->name, name, status->memory_mib - NODE_RESERVE_MIB,
                own_mib, over_mib, name);
            g_strv_builder_add(texts, text);
        }
    }
}

char **admission_problems(const PlanSnapshot *snapshot)
{
    g_autoptr(GStrvBuilder) texts = g_strv_builder_new();
    add_losses(snapshot, texts);
    add_shortages(snapshot, texts);
    return g_strv_builder_end(texts);
}
