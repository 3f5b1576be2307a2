/* SPDX-License-Identifier: Apache-2.0
 * The OCF agent's metadata: well-formed, OCF 1.1, every action Pacemaker uses. */
#include "cluster/ocf/agent.h"

#include <libxml/parser.h>
#include <libxml/valid.h>
#include <libxml/xpath.h>
#include <string.h>

static int count(xmlXPathContext *context, const char *expression)
{
    xmlXPathObject *found = xmlXPathEvalExpression(BAD_CAST expression, context);
    g_assert_nonnull(found);
    int n = found->nodesetval ? found->nodesetval->nodeNr : 0;
    xmlXPathFreeObject(found);
    return n;
}

static void test_metadata(void)
{
    static const char *const actions[] = {"start",        "stop",         "monitor",      "migrate_to",
                                          "migrate_from", "reload-agent", "validate-all", "meta-data"};
    xmlDoc *document = xmlReadMemory(ocf_metadata, (int) strlen(ocf_metadata), "metadata.xml", NULL, XML_PARSE_NONET);
    g_assert_nonnull(document);
    xmlXPathContext *context = xmlXPathNewContext(document);
    g_assert_cmpint(count(context, "/resource-agent[@name='guest']/version[text()='1.1']"), ==, 1);
    g_assert_cmpint(count(context, "//parameter[@name='guest'][@required='1'][@unique='1']"), ==, 1);
    /* A reloadable guest parameter would let a rename restart nothing; only the revision may change under a running
     * guest. */
    g_assert_cmpint(count(context, "//parameter[@reloadable='1']"), ==, 1);
    g_assert_cmpint(count(context, "//parameter[@name='revision'][@reloadable='1']"), ==, 1);
    for (gsize i = 0; i < G_N_ELEMENTS(actions); i++) {
        g_autofree char *expression = g_strdup_printf("//action[@name='%s'][@timeout]", actions[i]);
        g_assert_cmpint(count(context, expression), ==, 1);
    }
    g_assert_cmpint(count(context, "//action[@name='monitor'][@interval]"), ==, 1);
    xmlXPathFreeContext(context);
    xmlFreeDoc(document);
    xmlCleanupParser();
}

/* What ocf-tester does: the DTD of the package resource-agents, found beside the document. */
static void test_dtd(void)
{
    int options = XML_PARSE_NONET | XML_PARSE_DTDLOAD;
    xmlDoc *document = xmlReadMemory(ocf_metadata, (int) strlen(ocf_metadata),
                                     "/usr/share/resource-agents/metadata.xml", NULL, options);
    g_assert_nonnull(document);
    g_assert_nonnull(document->extSubset);
    xmlValidCtxt *context = xmlNewValidCtxt();
    g_assert_cmpint(xmlValidateDocument(context, document), ==, 1);
    xmlFreeValidCtxt(context);
    xmlFreeDoc(document);
    xmlCleanupParser();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cluster/ocf/metadata", test_metadata);
    g_test_add_func("/cluster/ocf/metadata-dtd", test_dtd);
    return g_test_run();
}
