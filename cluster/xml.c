/* SPDX-License-Identifier: Apache-2.0
 * libxml2 made short. */
#include "cluster/xml.h"

#include "common/error.h"

#include <libxml/parser.h>
#include <string.h>

xmlDoc *xml_parse(const char *text, const char *what, GError **error)
{
    size_t length = text ? strlen(text) : 0;
    xmlDoc *document = NULL;
    if (length > 0 && length < G_MAXINT) {
        document = xmlReadMemory(text, (int) length, NULL, NULL,
                                 XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    }
    if (!document || !xmlDocGetRootElement(document)) {
        g_clear_pointer(&document, xmlFreeDoc);
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: not well-formed XML", what);
    }
    return document;
}

char *xml_to_text(xmlDoc *document)
{
    xmlChar *text = NULL;
    int length = 0;
    xmlDocDumpFormatMemory(document, &text, &length, 1);
    char *copy = g_strndup((const char *) text, (gsize) length);
    xmlFree(text);
    return copy;
}

char *xml_get(const xmlNode *element, const char *attribute)
{
    xmlChar *value = xmlGetNoNsProp(element, BAD_CAST attribute);
    char *copy = g_strdup((const char *) value);
    xmlFree(value);
    return copy;
}

gboolean xml_is(const xmlNode *element, const char *attribute, const char *value)
{
    g_autofree char *found = xml_get(element, attribute);
    return g_strcmp0(found, value) == 0;
}

gboolean xml_named(const xmlNode *node, const char *name)
{
    return node && node->type == XML_ELEMENT_NODE && strcmp((const char *) node->name, name) == 0;
}

void xml_set(xmlNode *element, const char *attribute, const char *value)
{
    xmlSetProp(element, BAD_CAST attribute, BAD_CAST value);
}

static xmlNode *first_element(xmlNode *node, const char *name)
{
    while (node && (node->type != XML_ELEMENT_NODE || (name && !xml_named(node, name)))) {
        node = node->next;
    }
    return node;
}

xmlNode *xml_child(const xmlNode *parent, const char *name)
{
    return parent ? first_element(parent->children, name) : NULL;
}

xmlNode *xml_next(const xmlNode *element, const char *name)
{
    return first_element(element->next, name);
}

xmlNode *xml_child_by_id(const xmlNode *parent, const char *id)
{
    for (xmlNode *child = xml_child(parent, NULL); child; child = xml_next(child, NULL)) {
        if (xml_is(child, "id", id)) {
            return child;
        }
    }
    return NULL;
}

xmlNode *xml_add(xmlNode *parent, const char *name)
{
    return xmlNewChild(parent, NULL, BAD_CAST name, NULL);
}

void xml_remove(xmlNode *element)
{
    xmlUnlinkNode(element);
    xmlFreeNode(element);
}

static guint attribute_count(const xmlNode *element)
{
    guint count = 0;
    for (const xmlAttr *attribute = element->properties; attribute; attribute = attribute->next) {
        count++;
    }
    return count;
}

static gboolean attributes_equal(const xmlNode *a, const xmlNode *b)
{
    for (const xmlAttr *attribute = a->properties; attribute; attribute = attribute->next) {
        g_autofree char *value = xml_get(a, (const char *) attribute->name);
        if (!xml_is(b, (const char *) attribute->name, value)) {
            return FALSE;
        }
    }
    return attribute_count(a) == attribute_count(b);
}

gboolean xml_equal(const xmlNode *a, const xmlNode *b)
{
    if (!xmlStrEqual(a->name, b->name) || !attributes_equal(a, b)) {
        return FALSE;
    }
    const xmlNode *x = xml_child(a, NULL);
    const xmlNode *y = xml_child(b, NULL);
    for (; x && y; x = xml_next(x, NULL), y = xml_next(y, NULL)) {
        if (!xml_equal(x, y)) {
            return FALSE;
        }
    }
    return !x && !y;
}
