/* SPDX-License-Identifier: Apache-2.0
 * The projection as a pure function: put every piece that should be there, then remove those of ours that nothing asked
 * for. */
#include "cluster/projection.h"

#include "cluster/projection_parts.h"
#include "common/error.h"

#include <string.h>

gboolean projection_check_guest_name(const char *name, GError **error)
{
    if (!g_str_has_prefix(name, "fence-") && !g_str_has_prefix(name, "hf-") &&
        strcmp(name, "cib-bootstrap-options") != 0) {
        return TRUE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                "name: '%s' is reserved: names must not begin with 'fence-' or 'hf-' nor be 'cib-bootstrap-options'",
                name);
    return FALSE;
}

xmlNode *projection_section(Projection *projection, const char *name)
{
    xmlNode *section = xml_child(projection->configuration, name);
    return section ? section : xml_add(projection->configuration, name);
}

void projection_want(Projection *projection, const char *id)
{
    g_hash_table_add(projection->wanted, g_strdup(id));
}

void projection_put(Projection *projection, xmlNode *parent, xmlNode *element)
{
    g_autofree char *id = xml_get(element, "id");
    projection_want(projection, id);
    xmlNode *present = xml_child_by_id(parent, id);
    if (!present) {
        xmlAddChild(parent, element);
    } else if (xml_equal(present, element)) {
        xmlFreeNode(element);
    } else {
        xmlReplaceNode(present, element);
        xmlFreeNode(present);
    }
}

xmlNode *projection_element(const char *name, const char *id)
{
    xmlNode *element = xmlNewNode(NULL, BAD_CAST name);
    xml_set(element, "id", id);
    return element;
}

xmlNode *projection_set(xmlNode *parent, const char *set_name, const char *set_id)
{
    xmlNode *set = xml_add(parent, set_name);
    xml_set(set, "id", set_id);
    return set;
}

void projection_pair(xmlNode *set, const char *name, const char *value)
{
    g_autofree char *set_id = xml_get(set, "id");
    g_autofree char *id = g_strdup_printf("%s.%s", set_id, name);
    xmlNode *pair = xml_add(set, "nvpair");
    xml_set(pair, "id", id);
    xml_set(pair, "name", name);
    xml_set(pair, "value", value);
}

void projection_op(xmlNode *operations, const char *prefix, const char *name, const char *interval, const char *timeout)
{
    g_autofree char *id = g_strdup_printf("%s.%s", prefix, name);
    xmlNode *op = xml_add(operations, "op");
    xml_set(op, "id", id);
    xml_set(op, "name", name);
    xml_set(op, "interval", interval);
    xml_set(op, "timeout", timeout);
}

void projection_location(Projection *projection, const char *resource, const char *node, const char *score,
                         const char *discovery)
{
    g_autofree char *id = g_strdup_printf("hf-loc.%s.%s", resource, node);
    xmlNode *location = projection_element("rsc_location", id);
    xml_set(location, "rsc", resource);
    xml_set(location, "node", node);
    xml_set(location, "score", score);
    if (discovery) {
        xml_set(location, "resource-discovery", discovery);
    }
    projection_put(projection, projection_section(projection, "constraints"), location);
}

/* Ours: guests by their agent, fence devices by the id of their parameters (an operator may have a fence-something of
 * his own). */
static gboolean primitive_is_ours(const xmlNode *primitive)
{
    if (xml_is(primitive, "class", "ocf") && xml_is(primitive, "provider", "holdfast") &&
        xml_is(primitive, "type", "guest")) {
        return TRUE;
    }
    g_autofree char *id = xml_get(xml_child(primitive, "instance_attributes"), "id");
    return xml_is(primitive, "class", "stonith") && id && g_str_has_prefix(id, "hf-");
}

static gboolean mentions(const xmlNode *element, const char *resource)
{
    static const char *const attributes[] = {"rsc", "with-rsc", "first", "then"};
    for (guint i = 0; i < G_N_ELEMENTS(attributes); i++) {
        if (xml_is(element, attributes[i], resource)) {
            return TRUE;
        }
    }
    for (const xmlNode *child = xml_child(element, NULL); child; child = xml_next(child, NULL)) {
        if ((xml_named(child, "resource_ref") && xml_is(child, "id", resource)) || mentions(child, resource)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* A constraint or tag that names a resource which is gone makes the whole CIB invalid, so whoever made it (crm_resource
 * --move), it goes too. */
static void remove_mentions(Projection *projection, const char *resource)
{
    xmlNode *constraints = projection_section(projection, "constraints");
    for (xmlNode *each = xml_child(constraints, NULL), *next = NULL; each; each = next) {
        next = xml_next(each, NULL);
        if (mentions(each, resource)) {
            xml_remove(each);
        }
    }
    xmlNode *tags = xml_child(projection->configuration, "tags");
    for (xmlNode *tag = xml_child(tags, "tag"), *next_tag = NULL; tag; tag = next_tag) {
        next_tag = xml_next(tag, "tag");
        for (xmlNode *each = xml_child(tag, "obj_ref"), *next = NULL; each; each = next) {
            next = xml_next(each, "obj_ref");
            if (xml_is(each, "id", resource)) {
                xml_remove(each);
            }
        }
        if (!xml_child(tag, NULL)) {
            xml_remove(tag);
        }
    }
}

/* Of the children of a section, those that are ours by their id and that nothing asked for. */
static void prune_by_id(Projection *projection, xmlNode *section, const char *prefix)
{
    for (xmlNode *each = xml_child(section, NULL), *next = NULL; each; each = next) {
        next = xml_next(each, NULL);
        g_autofree char *id = xml_get(each, "id");
        if (id && g_str_has_prefix(id, prefix) && !g_hash_table_contains(projection->wanted, id)) {
            xml_remove(each);
        }
    }
}

static void prune(Projection *projection)
{
    xmlNode *resources = projection_section(projection, "resources");
    for (xmlNode *each = xml_child(resources, "primitive"), *next = NULL; each; each = next) {
        next = xml_next(each, "primitive");
        g_autofree char *id = xml_get(each, "id");
        if (primitive_is_ours(each) && !g_hash_table_contains(projection->wanted, id)) {
            remove_mentions(projection, id);
            xml_remove(each);
        }
    }
    prune_by_id(projection, projection_section(projection, "constraints"), "hf-loc.");
    prune_by_id(projection, projection_section(projection, "constraints"), "hf-order.");
    prune_by_id(projection, projection_section(projection, "constraints"), "hf-place.");
    prune_by_id(projection, xml_child(projection->configuration, "fencing-topology"), PROJECTION_LEVEL_PREFIX);
}

char *projection_desired_cib(const ProjectionInput *input, const char *live_cib, GError **error)
{
    g_autoptr(xmlDoc) document = xml_parse(live_cib, "CIB", error);
    if (!document) {
        return NULL;
    }
    xmlNode *root = xmlDocGetRootElement(document);
    xmlNode *configuration = xml_named(root, "cib") ? xml_child(root, "configuration") : NULL;
    if (!configuration) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                            "CIB: no <cib> with a <configuration> in it");
        return NULL;
    }
    g_autoptr(GHashTable) wanted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Projection projection = {.input = input, .document = document, .configuration = configuration, .wanted = wanted};
    projection_nodes(&projection);
    projection_options(&projection);
    projection_fencing(&projection);
    projection_guests(&projection);
    if (!input->incomplete) {
        prune(&projection);
    }
    return xml_to_text(document);
}
