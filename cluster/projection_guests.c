/* SPDX-License-Identifier: Apache-2.0
 * The guests of the projection: one primitive and one location constraint per replica node each. The scores say where
 * it may be: no score at all means never (opt-in cluster), -INFINITY is a replica that is not in sync, 1000 is where it
 * is being moved to (above the stickiness of 100, which is above the initial preference).
 *
 * Relations among guests become colocations and orders. A wish to be apart or together decides where a guest is started
 * (its score is above the difference of the two replicas') and, being far below the stickiness, never moves one that
 * runs. An order is optional and one-way: it sorts what one transition starts, and no guest is stopped, moved or kept
 * waiting for another's sake.
 *
 * A running owner whose own disk failed is served by the other node's copy. It is not forbidden there: it runs on (or
 * waits, frozen) where it is, until a migration with its own preference takes it to its copy. A start there is refused
 * by the claim. */
#include "cluster/projection_parts.h"
#include "cluster/relations.h"

#include <string.h>

#define SCORE_MOVE_THERE "1000"
/* Above what all wishes of a guest can take away (8 of 10 each): Pacemaker uses no node whose sum is negative. */
#define SCORE_FIRST "110"
#define SCORE_OTHER "105"
#define SCORE_STAY "100"

static const char *const place_scores[] = {
    [RELATION_TOGETHER] = "10", [RELATION_APART] = "-10", [RELATION_APART_STRICT] = "-INFINITY"};

/* Only what differs from hf-rsc-defaults is said. */
static void restart_limits(xmlNode *meta, const GuestSpec *spec)
{
    if (spec->restart_limit > 0) {
        g_autofree char *limit = g_strdup_printf("%" G_GINT64_FORMAT, spec->restart_limit);
        projection_pair(meta, "migration-threshold", limit);
    }
    if (spec->restart_window_s > 0) {
        g_autofree char *window = g_strdup_printf("%" G_GINT64_FORMAT "s", spec->restart_window_s);
        projection_pair(meta, "failure-timeout", window);
    }
}

static xmlNode *guest_element(const Guest *guest)
{
    const GuestSpec *spec = &guest->spec;
    g_autofree char *parameters_id = g_strdup_printf("hf-guest.%s.parameters", guest->name);
    g_autofree char *meta_id = g_strdup_printf("hf-guest.%s.meta", guest->name);
    g_autofree char *memory_id = g_strdup_printf("hf-guest.%s.memory", guest->name);
    g_autofree char *op_prefix = g_strdup_printf("hf-guest.%s.op", guest->name);
    g_autofree char *priority = g_strdup_printf("%" G_GINT64_FORMAT, spec->priority + 1);
    g_autofree char *memory = g_strdup_printf("%" G_GINT64_FORMAT, spec->memory_mib);
    gboolean run = spec->desired == GUEST_DESIRED_RUNNING && !guest->deleting;
    xmlNode *primitive = projection_element("primitive", guest->name);
    xml_set(primitive, "class", "ocf");
    xml_set(primitive, "provider", "holdfast");
    xml_set(primitive, "type", "guest");
    /* The order of the sets is the schema's. The agent's parameter is the name only: a changed spec must never restart
     * a guest. */
    xmlNode *parameters = projection_set(primitive, "instance_attributes", parameters_id);
    projection_pair(parameters, "guest", guest->name);
    xmlNode *utilization = projection_set(primitive, "utilization", memory_id);
    projection_pair(utilization, "memory", memory);
    xmlNode *meta = projection_set(primitive, "meta_attributes", meta_id);
    projection_pair(meta, "allow-migrate", "true");
    /* Never "quorum": tried in the scheduler, a guest then starts elsewhere without waiting for its dead node's
     * fencing. */
    projection_pair(meta, "requires", "fencing");
    projection_pair(meta, "target-role", run ? "Started" : "Stopped");
    projection_pair(meta, "priority", priority);
    restart_limits(meta, spec);
    xmlNode *operations = xml_add(primitive, "operations");
    projection_op(operations, op_prefix, "start", "0s", "60s");
    projection_op(operations, op_prefix, "stop", "0s", "60s");
    projection_op(operations, op_prefix, "monitor", "10s", "20s");
    projection_op(operations, op_prefix, "migrate_to", "0s", "60s");
    projection_op(operations, op_prefix, "migrate_from", "0s", "60s");
    return primitive;
}

static const char *score_of(const ProjectionGuest *guest, const char *node)
{
    const Record *record = &guest->record;
    gboolean owner_lost_disk = record->state == RECORD_RUNNING && !record_is_in_sync(record, record->owner);
    if (!record_is_in_sync(record, node)) {
        return owner_lost_disk && strcmp(record->owner, node) == 0 ? SCORE_STAY : "-INFINITY";
    }
    if (g_strcmp0(guest->guest->preferred_node, node) == 0) {
        return SCORE_MOVE_THERE;
    }
    return strcmp(guest->guest->nodes[0], node) == 0 ? SCORE_FIRST : SCORE_OTHER;
}

static gboolean node_known(const ProjectionInput *input, const char *name)
{
    for (guint i = 0; i < input->nodes->len; i++) {
        const Node *node = g_ptr_array_index(input->nodes, i);
        if (strcmp(node->name, name) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Element anywhere in the configuration with this id: ids are unique in the whole CIB. */
static const xmlNode *find_id(const xmlNode *parent, const char *id)
{
    for (const xmlNode *child = xml_child(parent, NULL); child; child = xml_next(child, NULL)) {
        gboolean reference = xml_named(child, "resource_ref") || xml_named(child, "obj_ref");
        const xmlNode *found = !reference && xml_is(child, "id", id) ? child : find_id(child, id);
        if (found) {
            return found;
        }
    }
    return NULL;
}

static gboolean is_guest_primitive(const xmlNode *element)
{
    return xml_named(element, "primitive") && xml_named(element->parent, "resources") &&
           xml_is(element, "class", "ocf") && xml_is(element, "provider", "holdfast") &&
           xml_is(element, "type", "guest");
}

/* No record, no opinion: what the CIB says of this guest stays as it is. */
static void keep_guest(Projection *projection, const char *name)
{
    projection_want(projection, name);
    xmlNode *constraints = projection_section(projection, "constraints");
    for (xmlNode *each = xml_child(constraints, "rsc_location"); each; each = xml_next(each, "rsc_location")) {
        if (xml_is(each, "rsc", name)) {
            g_autofree char *id = xml_get(each, "id");
            projection_want(projection, id);
        }
    }
}

static void put_guest(Projection *projection, const ProjectionGuest *guest)
{
    projection_put(projection, projection_section(projection, "resources"), guest_element(guest->guest));
    for (char **node = guest->guest->nodes; *node; node++) {
        if (node_known(projection->input, *node)) {
            projection_location(projection, guest->guest->name, *node, score_of(guest, *node), "exclusive");
        }
    }
}

static void put_order(Projection *projection, const RelationOrder *order)
{
    g_autofree char *id = g_strdup_printf("hf-order.%s.%s", order->then->name, order->first->name);
    xmlNode *element = projection_element("rsc_order", id);
    xml_set(element, "first", order->first->name);
    xml_set(element, "first-action", "start");
    xml_set(element, "then", order->then->name);
    xml_set(element, "then-action", "start");
    xml_set(element, "kind", "Optional");
    xml_set(element, "symmetrical", "false");
    projection_put(projection, projection_section(projection, "constraints"), element);
}

static void put_place(Projection *projection, const RelationPlace *place)
{
    g_autofree char *id = g_strdup_printf("hf-place.%s.%s", place->guest->name, place->with->name);
    xmlNode *element = projection_element("rsc_colocation", id);
    xml_set(element, "rsc", place->guest->name);
    xml_set(element, "with-rsc", place->with->name);
    xml_set(element, "score", place_scores[place->kind]);
    if (place->kind != RELATION_APART_STRICT) {
        xml_set(element, "influence", "false"); /* many that wish to be near one do not move it */
    }
    projection_put(projection, projection_section(projection, "constraints"), element);
}

/* `guests`: those in the CIB, since a constraint on another one would make it invalid. */
static void put_relations(Projection *projection, const GPtrArray *guests)
{
    g_autoptr(GPtrArray) orders = relations_orders(guests);
    g_autoptr(GPtrArray) places = relations_places(guests);
    for (guint i = 0; i < orders->len; i++) {
        put_order(projection, orders->pdata[i]);
    }
    for (guint i = 0; i < places->len; i++) {
        put_place(projection, places->pdata[i]);
    }
}

void projection_guests(Projection *projection)
{
    g_autoptr(GPtrArray) placed = g_ptr_array_new();
    for (guint i = 0; i < projection->input->guests->len; i++) {
        const ProjectionGuest *guest = g_ptr_array_index(projection->input->guests, i);
        const char *name = guest->guest->name;
        const xmlNode *present = find_id(projection->configuration, name);
        if ((present && !is_guest_primitive(present)) || !projection_check_guest_name(name, NULL)) {
            continue; /* one unlucky name must not make the whole CIB invalid */
        }
        if (!present && !(guest->have_record && guest->guest->nodes && guest->ready)) {
            continue;
        }
        if (guest->have_record && guest->guest->nodes) {
            put_guest(projection, guest);
        } else {
            keep_guest(projection, name);
        }
        g_ptr_array_add(placed, guest->guest);
    }
    put_relations(projection, placed);
}
