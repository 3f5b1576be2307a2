/* SPDX-License-Identifier: Apache-2.0
 * libxml2 made short: parse with limits, attributes as borrowed or copied text, walking and building elements. */
#pragma once

#include <glib.h>
#include <libxml/tree.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* No network, no entities, no messages on standard error. INVALID, the text beginning with `what`. */
xmlDoc *xml_parse(const char *text, const char *what, GError **error);
/* The document as text. Caller g_frees. */
char *xml_to_text(xmlDoc *document);

/* Attribute, or NULL. Caller g_frees. */
char *xml_get(const xmlNode *element, const char *attribute);
gboolean xml_is(const xmlNode *element, const char *attribute, const char *value); /* there and equal */
gboolean xml_named(const xmlNode *node, const char *name);                         /* an element of this name */
void xml_set(xmlNode *element, const char *attribute, const char *value);

/* First child element with this name (NULL: any), next sibling likewise; NULL when there is none. */
xmlNode *xml_child(const xmlNode *parent, const char *name);
xmlNode *xml_next(const xmlNode *element, const char *name);
/* First child element with attribute id, whatever its name. */
xmlNode *xml_child_by_id(const xmlNode *parent, const char *id);

/* New last child. */
xmlNode *xml_add(xmlNode *parent, const char *name);
void xml_remove(xmlNode *element);

/* Same name, same attributes in any order, equal child elements in the same order; text and comments do not count. */
gboolean xml_equal(const xmlNode *a, const xmlNode *b);
