/* SPDX-License-Identifier: Apache-2.0
 * Objects as the API shows them. */
#include "node-agent/views.h"

#include "cluster/admission.h"
#include "cluster/fence_secret.h"
#include "common/error.h"
#include "node-agent/plan_snapshot.h"
#include "node-agent/resync.h"
#include "node-agent/store_care.h"
#include "node-agent/verify.h"
#include "node-agent/witness.h"
#include "storage/record.h"

#include <string.h>

json_t *view_document(const JsonStruct *type, gconstpointer object)
{
    json_t *view = json_struct_encode(type, object);
    json_object_del(view, "version");
    return view;
}

json_t *view_fence(const FenceDevice *device)
{
    json_t *view = view_document(&fence_device_type, device);
    json_t *parameters = json_object();
    for (char **parameter = device->parameters; parameter && *parameter; parameter++) {
        g_auto(GStrv) pair = g_strsplit(*parameter, "=", 2);
        gboolean secret = fence_secret_name(pair[0]);
        json_object_set_new(parameters, pair[0], json_string(secret ? "***" : pair[1] ? pair[1] : ""));
    }
    json_object_set_new(view, "parameters", parameters);
    return view;
}

static const PacemakerNode *pacemaker_node(const PacemakerStatus *pacemaker, const char *name)
{
    for (guint i = 0; pacemaker && i < pacemaker->nodes->len; i++) {
        const PacemakerNode *node = pacemaker->nodes->pdata[i];
        if (g_str_equal(node->name, name)) {
            return node;
        }
    }
    return NULL;
}

json_t *view_node(Daemon *daemon, const Node *node, const PacemakerStatus *pacemaker)
{
    const PacemakerNode *seen = pacemaker_node(pacemaker, node->name);
    g_autofree char *fence_key = g_strconcat("fence/", node->name, NULL);
    g_autofree char *status_key = g_strdup_printf("status/%s/node", node->name);
    g_autoptr(FenceDevice) device = cache_object(daemon->cache, &fence_device_type, fence_key, NULL);
    g_autoptr(NodeStatus) status = cache_object(daemon->cache, &node_status_type, status_key, NULL);
    /* Without Pacemaker's word only corosync's is known, and nothing says that a node must be fenced. */
    gboolean online = pacemaker ? seen && seen->online : daemon_node_online(daemon, node->name);
    gboolean clean = pacemaker ? seen && seen->clean : TRUE;
    json_t *view =
        json_pack("{s:s,s:I,s:s,s:s?,s:b,s:b,s:b,s:b,s:b}", "name", node->name, "id", (json_int_t) node->id, "ring0",
                  node->ring0, "ring1", node->ring1, "online", online, "standby", seen && seen->standby, "clean", clean,
                  "dc", seen && seen->is_dc, "agent", daemon_agent_present(daemon, (guint32) node->id));
    json_object_set_new(view, "fencing", device ? view_fence(device) : json_pack("{s:s}", "state", "unproven"));
    json_object_set_new(view, "status", status ? view_document(&node_status_type, status) : json_null());
    return view;
}

static json_t *replicas_view(Daemon *daemon, const Guest *guest, gint64 index)
{
    json_t *replicas = json_array();
    for (char **node = guest->nodes; node && *node; node++) {
        g_autofree char *key = g_strdup_printf("status/%s/guest/%s", *node, guest->name);
        g_autoptr(GuestStatus) status = cache_object(daemon->cache, &guest_status_type, key, NULL);
        json_t *replica = NULL;
        for (guint i = 0; status && i < status->volumes->len; i++) {
            const VolumeStatus *volume = status->volumes->pdata[i];
            if (volume->index == index) {
                g_autofree char *resync = resync_text(volume);
                replica = json_struct_encode(&volume_status_type, volume);
                if (resync && g_strcmp0(volume->disk, "UpToDate") != 0) {
                    json_object_set_new(replica, "resync", json_string(resync));
                }
            }
        }
        if (!replica) {
            replica = json_pack("{s:s,s:s}", "disk", "unknown", "role", "unknown");
        }
        json_object_set_new(replica, "node", json_string(*node));
        json_array_append_new(replicas, replica);
    }
    return replicas;
}

json_t *view_volume(Daemon *daemon, const Guest *guest, const Volume *volume)
{
    g_autofree char *name = g_strdup_printf("%s-%" G_GINT64_FORMAT, volume->guest, volume->index);
    json_t *view =
        json_pack("{s:s,s:s,s:I,s:I,s:s?}", "name", name, "guest", volume->guest, "index", (json_int_t) volume->index,
                  "size_bytes", (json_int_t) volume->size_bytes, "image", volume->image);
    json_object_set_new(view, "replicas", replicas_view(daemon, guest, volume->index));
    return view;
}

static json_t *volumes_view(Daemon *daemon, const Guest *guest)
{
    json_t *volumes = json_array();
    for (guint i = 0; i < guest->spec.volumes->len; i++) {
        g_autofree char *key = g_strdup_printf("volume/%s-%u", guest->name, i);
        g_autoptr(Volume) volume = cache_object(daemon->cache, &volume_type, key, NULL);
        if (volume) {
            json_array_append_new(volumes, view_volume(daemon, guest, volume));
        }
    }
    return volumes;
}

/* Where it might run, as far as its data go. */
static gboolean given_up(const Guest *guest, const Record *record, const PacemakerStatus *pacemaker)
{
    const char *nodes[GUEST_REPLICAS_MAX + 1] = {NULL};
    guint n = 0;
    for (char **node = guest->nodes; node && *node && n < GUEST_REPLICAS_MAX; node++) {
        if (record_is_in_sync(record, *node)) {
            nodes[n++] = *node;
        }
    }
    return guest->spec.desired == GUEST_DESIRED_RUNNING && pacemaker_status_given_up(pacemaker, guest->name, nodes);
}

/* DRBD there holds a volume for Outdated, which only a resync or an operator's word ends. */
static gboolean is_outdated_on(Daemon *daemon, const Guest *guest, const char *node)
{
    g_autofree char *key = g_strdup_printf("status/%s/guest/%s", node, guest->name);
    g_autoptr(GuestStatus) status = cache_object(daemon->cache, &guest_status_type, key, NULL);
    for (guint i = 0; status && i < status->volumes->len; i++) {
        if (g_strcmp0(((const VolumeStatus *) status->volumes->pdata[i])->disk, "Outdated") == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* It shall run, and no node whose copy is current takes guests: people have to do something. NULL: it is not so. */
static char *no_place_text(Daemon *daemon, const Guest *guest, const Record *record, const PacemakerStatus *pacemaker)
{
    const PacemakerResource *resource = pacemaker ? pacemaker_status_resource(pacemaker, guest->name) : NULL;
    g_autoptr(GString) waited_for = g_string_new(NULL);
    const char *stale = NULL;
    if (!resource || resource->node || resource->pending || guest->spec.desired != GUEST_DESIRED_RUNNING ||
        record->state == RECORD_NEW || record->unconfirmed[0]) {
        return NULL;
    }
    for (char **node = guest->nodes; node && *node; node++) {
        gboolean usable = pacemaker_status_node_usable(pacemaker, *node);
        gboolean named = record_is_in_sync(record, *node) && !is_outdated_on(daemon, guest, *node);
        if (named && usable) {
            return NULL;
        }
        if (named) {
            g_string_append_printf(waited_for, "%s%s", waited_for->len ? " or " : "", *node);
        } else if (usable) {
            stale = *node;
        }
    }
    g_string_append(waited_for, ", which has the current data and takes no guests now: bring it back");
    if (stale) {
        g_string_append_printf(waited_for,
                               "; if it is lost for good, 'holdfast guest confirm %s %s --confirm %s' starts the guest "
                               "from the older copy on %s and gives up what was written since",
                               guest->name, stale, guest->name, stale);
    }
    return g_strdup_printf("waits for %s", waited_for->str);
}

static const char *guest_state(Daemon *daemon, const Guest *guest, const Record *record,
                               const PacemakerResource *resource, const PacemakerStatus *pacemaker)
{
    if (guest->deleting) {
        return "deleting";
    }
    if (record->state == RECORD_NEW) {
        return "creating";
    }
    if (!pacemaker) {
        return "unknown";
    }
    if (!resource) {
        return "stopped";
    }
    if (resource->pending) {
        return g_str_has_prefix(resource->pending, "Migrat")  ? "migrating"
               : g_str_has_prefix(resource->pending, "Stop")  ? "stopping"
               : g_str_has_prefix(resource->pending, "Start") ? "starting"
                                                              : "running";
    }
    if (resource->failed || resource->blocked || given_up(guest, record, pacemaker)) {
        return "failed";
    }
    if (resource->node || guest->spec.desired != GUEST_DESIRED_RUNNING) {
        return resource->node ? "running" : "stopped";
    }
    g_autofree char *no_place = no_place_text(daemon, guest, record, pacemaker);
    return no_place ? "waiting" : "starting";
}

/* Protected: if the node it runs on loses power now, it comes back elsewhere with every acknowledged write. */
static char *protection(Daemon *daemon, const Guest *guest, const Record *record, gboolean armed,
                        gboolean *ret_protected)
{
    Reserve reserve = witness_reserve(daemon);
    gboolean second_chance = reserve_present(&reserve);
    guint in_sync = 0, alive = 0;
    for (char **node = guest->nodes; node && *node; node++) {
        gboolean in = record_is_in_sync(record, *node);
        in_sync += in;
        alive += in && daemon_node_online(daemon, *node);
    }
    *ret_protected = armed && alive >= 2 && second_chance;
    if (guest->spec.replicas < 2) {
        return g_strdup("one replica only: not protected against the loss of its node");
    }
    if (in_sync < 2 && guest->joining) {
        g_autofree char *resync = resync_text_of_guest(daemon, guest);
        return g_strdup_printf(
            "a new replica is being built on %s%s%s%s: until it is complete the guest depends on the "
            "other one alone",
            guest->joining, resync ? " (" : "", resync ? resync : "", resync ? ")" : "");
    }
    if (in_sync < 2) {
        g_autofree char *resync = resync_text_of_guest(daemon, guest);
        return g_strdup_printf("one replica is out of sync%s%s%s: the guest depends on the other one alone until the "
                               "resync is complete",
                               resync ? " (" : "", resync ? resync : "", resync ? ")" : "");
    }
    if (alive < 2) {
        return g_strdup("the other replica's node is not in the cluster");
    }
    if (!second_chance) {
        return g_strdup("both replicas in sync, but the cluster has no second chance now");
    }
    return g_strdup(armed ? "both replicas in sync, fencing proven"
                          : "both replicas in sync, but HA is not armed: fencing of some node is not proven");
}

static gboolean ha_armed(Daemon *daemon)
{
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    for (guint i = 0; i < nodes->len; i++) {
        g_autofree char *key = g_strconcat("fence/", ((const Node *) nodes->pdata[i])->name, NULL);
        g_autoptr(FenceDevice) device = cache_object(daemon->cache, &fence_device_type, key, NULL);
        if (!device || device->state != FENCE_PROVEN) {
            return FALSE;
        }
    }
    return nodes->len > 1;
}

static gint64 restart_window_s(const GuestSpec *spec)
{
    return spec->restart_window_s > 0 ? spec->restart_window_s : GUEST_RESTART_WINDOW_S;
}

static void add_restart_limit(json_t *conditions, const Guest *guest, const PacemakerStatus *pacemaker)
{
    g_autofree char *reached = pacemaker ? pacemaker_status_limit_reached(pacemaker, guest->name) : NULL;
    if (reached) {
        json_array_append_new(
            conditions,
            json_sprintf("restart limit reached: it failed %s and is not started there until its last failure is "
                         "%" G_GINT64_FORMAT " s old; find the cause (the failures are listed here), then 'holdfast "
                         "guest start %s' forgets them and starts it at once",
                         reached, restart_window_s(&guest->spec), guest->name));
    }
}

/* What is left of replicas that were given up, on nodes that are there. */
static void add_old_replicas(json_t *conditions, Daemon *daemon, const Guest *guest)
{
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    for (guint i = 0; i < nodes->len; i++) {
        const char *node = ((const Node *) nodes->pdata[i])->name;
        g_autofree char *key = g_strdup_printf("status/%s/guest/%s", node, guest->name);
        g_autoptr(GuestStatus) status =
            guest_on_node(guest, node) ? NULL : cache_object(daemon->cache, &guest_status_type, key, NULL);
        if (status && status->condition && *status->condition) {
            json_array_append_new(conditions, json_sprintf("%s: %s", node, status->condition));
        }
    }
}

static json_t *guest_conditions(Daemon *daemon, const Guest *guest, const Record *record,
                                const PacemakerStatus *pacemaker)
{
    json_t *conditions = json_array();
    g_autofree char *no_place = no_place_text(daemon, guest, record, pacemaker);
    if (no_place) {
        json_array_append_new(conditions, json_string(no_place));
    }
    for (char **node = guest->nodes; node && *node; node++) {
        g_autofree char *key = g_strdup_printf("status/%s/guest/%s", *node, guest->name);
        g_autoptr(GuestStatus) status = cache_object(daemon->cache, &guest_status_type, key, NULL);
        if (!status) {
            json_array_append_new(conditions,
                                  json_sprintf("%s: no status: its holdfastd is not in the cluster", *node));
        } else if (status->condition && *status->condition) {
            json_array_append_new(conditions, json_sprintf("%s: %s", *node, status->condition));
        }
    }
    add_old_replicas(conditions, daemon, guest);
    add_restart_limit(conditions, guest, pacemaker);
    g_autofree char *verified_key = g_strconcat(VERIFIED_PREFIX, guest->name, NULL);
    g_autoptr(Verification) verified = cache_object(daemon->cache, &verification_type, verified_key, NULL);
    g_autofree char *difference = verify_problem(verified);
    if (difference) {
        json_array_append_new(conditions, json_string(difference));
    }
    for (char **failure = pacemaker ? pacemaker->failures : NULL; failure && *failure; failure++) {
        if (strstr(*failure, guest->name)) {
            json_array_append_new(conditions, json_string(*failure));
        }
    }
    return conditions;
}

/* Runs where there is no hardware virtualization: correct, and many times slower. */
static gboolean is_emulated(Daemon *daemon, const PacemakerResource *resource)
{
    if (!resource || !resource->node) {
        return FALSE;
    }
    g_autofree char *key = g_strdup_printf("status/%s/node", resource->node);
    g_autoptr(NodeStatus) status = cache_object(daemon->cache, &node_status_type, key, NULL);
    return status && !status->kvm;
}

static json_t *guest_status_view(Daemon *daemon, const Guest *guest, const PacemakerStatus *pacemaker)
{
    Record record = {0};
    char reason[200];
    g_autofree char *key = record_key(guest->name);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    gboolean known = entry && record_decode(entry->value, &record, reason, sizeof(reason));
    const PacemakerResource *resource = pacemaker ? pacemaker_status_resource(pacemaker, guest->name) : NULL;
    gboolean is_protected = FALSE;
    g_autofree char *text = protection(daemon, guest, &record, ha_armed(daemon), &is_protected);
    json_t *in_sync = json_array();
    for (int i = 0; i < RECORD_NODES_MAX; i++) {
        if (record.in_sync[i][0]) {
            json_array_append_new(in_sync, json_string(record.in_sync[i]));
        }
    }
    return json_pack("{s:s,s:s?,s:b,s:b,s:s,s:o,s:I,s:o,s:o}", "state",
                     known ? guest_state(daemon, guest, &record, resource, pacemaker) : "unknown", "node",
                     resource ? resource->node : NULL, "emulated", is_emulated(daemon, resource), "protected",
                     is_protected, "protection", text, "in_sync", in_sync, "generation", (json_int_t) record.generation,
                     "volumes", volumes_view(daemon, guest), "conditions",
                     guest_conditions(daemon, guest, &record, pacemaker));
}

/* With the limits that hold, also where the document leaves them at the default. */
static json_t *spec_view(const GuestSpec *spec)
{
    json_t *view = json_struct_encode(&guest_spec_type, spec);
    gint64 limit = spec->restart_limit > 0 ? spec->restart_limit : GUEST_RESTART_LIMIT;
    json_object_set_new(view, "restart_limit", json_integer(limit));
    json_object_set_new(view, "restart_window_s", json_integer(restart_window_s(spec)));
    return view;
}

json_t *view_guest(Daemon *daemon, const Guest *guest, gint64 revision, const PacemakerStatus *pacemaker)
{
    json_t *nodes = json_array();
    for (char **node = guest->nodes; node && *node; node++) {
        json_array_append_new(nodes, json_string(*node));
    }
    return json_pack("{s:s,s:s?,s:s?,s:I,s:o,s:s?,s:o,s:o}", "name", guest->name, "uuid", guest->uuid, "created_at",
                     guest->created_at, "revision", (json_int_t) revision, "nodes", nodes, "joining", guest->joining,
                     "spec", spec_view(&guest->spec), "status", guest_status_view(daemon, guest, pacemaker));
}

static void add_problem(json_t *problems, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void add_problem(json_t *problems, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    json_array_append_new(problems, json_string(text));
}

static void node_problems(json_t *problems, const json_t *node)
{
    static const char *const conditions[] = {"condition", "disk_condition", "pool_condition"};
    const char *name = json_string_value(json_object_get(node, "name"));
    const char *fencing = json_string_value(json_object_get(json_object_get(node, "fencing"), "state"));
    if (!json_is_true(json_object_get(node, "online"))) {
        add_problem(problems, "node %s is not online%s", name,
                    json_is_true(json_object_get(node, "clean")) ? " (cleanly down or fenced)"
                                                                 : " and was not fenced yet");
    } else if (!json_is_true(json_object_get(node, "agent"))) {
        add_problem(problems, "holdfastd on %s does not answer; guests there keep running", name);
    }
    if (g_strcmp0(fencing, "proven") != 0) {
        add_problem(problems,
                    "fencing of %s is not proven: 'holdfast fence prove %s'; until then its guests do not fail over by "
                    "themselves",
                    name, name);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(conditions); i++) {
        const char *text = json_string_value(json_object_get(json_object_get(node, "status"), conditions[i]));
        if (text && *text) {
            add_problem(problems, "node %s: %s", name, text);
        }
    }
}

static void guest_problems(json_t *problems, const json_t *guest)
{
    const char *name = json_string_value(json_object_get(guest, "name"));
    json_t *status = json_object_get(guest, "status");
    const char *state = json_string_value(json_object_get(status, "state"));
    gsize index;
    json_t *condition;
    json_array_foreach (json_object_get(status, "conditions"), index, condition) {
        add_problem(problems, "guest %s: %s", name, json_string_value(condition));
    }
    if (g_strcmp0(state, "failed") == 0) {
        add_problem(problems, "guest %s failed; see 'holdfast guest show %s', then 'holdfast guest start %s'", name,
                    name, name);
    } else if (g_strcmp0(state, "running") == 0 && !json_is_true(json_object_get(status, "protected"))) {
        add_problem(problems, "guest %s is not protected: %s", name,
                    json_string_value(json_object_get(status, "protection")));
    }
}

static void reserve_problems(json_t *problems, Daemon *daemon, const PacemakerStatus *pacemaker)
{
    g_auto(PlanSnapshot) snapshot = {0};
    plan_snapshot_take(daemon, pacemaker, &snapshot);
    g_auto(GStrv) texts = admission_problems(&snapshot);
    for (char **text = texts; *text; text++) {
        add_problem(problems, "%s", *text);
    }
}

json_t *view_status(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(daemon, &error);
    g_autoptr(GPtrArray) nodes = cache_objects(daemon->cache, &node_type, "node/");
    g_autoptr(GPtrArray) guests = cache_objects(daemon->cache, &guest_type, "guest/");
    MembershipView view = daemon_view(daemon);
    json_t *problems = json_array(), *node_views = json_array(), *guest_views = json_array();
    if (!pacemaker) {
        add_problem(problems, "%s", error->message);
    }
    if (!view.quorate) {
        add_problem(problems, "this node is not in a quorate partition: nothing is started or moved until it is");
    }
    store_care_problems(daemon, problems);
    Reserve reserve = witness_reserve(daemon);
    g_autofree char *no_reserve = reserve_problem(&reserve);
    if (no_reserve) {
        add_problem(problems, "%s", no_reserve);
    }
    reserve_problems(problems, daemon, pacemaker);
    for (guint i = 0; i < nodes->len; i++) {
        json_t *node = view_node(daemon, nodes->pdata[i], pacemaker);
        node_problems(problems, node);
        json_array_append_new(node_views, node);
    }
    for (guint i = 0; i < guests->len; i++) {
        json_t *guest = view_guest(daemon, guests->pdata[i], 0, pacemaker);
        guest_problems(problems, guest);
        json_array_append_new(guest_views, guest);
    }
    return json_pack("{s:s,s:s,s:b,s:s?,s:b,s:o,s:o,s:o,s:o}", "cluster", daemon->config->cluster, "node",
                     daemon->config->node, "quorate", view.quorate, "dc", pacemaker ? pacemaker->dc : NULL, "ha_armed",
                     ha_armed(daemon), "nodes", node_views, "witness", witness_view(daemon), "guests", guest_views,
                     "problems", problems);
}
