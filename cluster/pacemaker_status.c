/* SPDX-License-Identifier: Apache-2.0
 * What crm_mon and the CIB's status section say, as structures. Pure. */
#include "cluster/pacemaker.h"

#include "cluster/xml.h"
#include "common/error.h"

#include <string.h>

static void node_free(gpointer data)
{
    PacemakerNode *node = data;
    g_free(node->name);
    g_free(node);
}

static void resource_free(gpointer data)
{
    PacemakerResource *resource = data;
    g_free(resource->id);
    g_free(resource->node);
    g_free(resource->role);
    g_free(resource->pending);
    g_free(resource->target_role);
    g_free(resource);
}

static void fail_count_free(gpointer data)
{
    PacemakerFailCount *fail_count = data;
    g_free(fail_count->resource);
    g_free(fail_count->node);
    g_free(fail_count);
}

void pacemaker_status_free(PacemakerStatus *status)
{
    if (!status) {
        return;
    }
    g_free(status->dc);
    g_clear_pointer(&status->nodes, g_ptr_array_unref);
    g_clear_pointer(&status->resources, g_ptr_array_unref);
    g_clear_pointer(&status->fail_counts, g_ptr_array_unref);
    g_strfreev(status->failures);
    g_free(status);
}

const PacemakerResource *pacemaker_status_resource(const PacemakerStatus *status, const char *id)
{
    for (guint i = 0; i < status->resources->len; i++) {
        const PacemakerResource *resource = g_ptr_array_index(status->resources, i);
        if (strcmp(resource->id, id) == 0) {
            return resource;
        }
    }
    return NULL;
}

static const PacemakerFailCount *limit_reached_on(const PacemakerStatus *status, const char *id, const char *node)
{
    for (guint i = 0; i < status->fail_counts->len; i++) {
        const PacemakerFailCount *fail_count = g_ptr_array_index(status->fail_counts, i);
        if (strcmp(fail_count->resource, id) == 0 && (!node || strcmp(fail_count->node, node) == 0) &&
            fail_count->limit > 0 && fail_count->count >= fail_count->limit) {
            return fail_count;
        }
    }
    return NULL;
}

char *pacemaker_status_limit_reached(const PacemakerStatus *status, const char *id)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < status->nodes->len; i++) {
        const PacemakerNode *node = g_ptr_array_index(status->nodes, i);
        const PacemakerFailCount *reached = limit_reached_on(status, id, node->name);
        if (reached && reached->count == G_MAXUINT) {
            g_string_append_printf(text, "%sfor good on %s", text->len ? ", " : "", node->name);
        } else if (reached) {
            g_string_append_printf(text, "%s%u time%s on %s", text->len ? ", " : "", reached->count,
                                   reached->count == 1 ? "" : "s", node->name);
        }
    }
    return text->len ? g_string_free(g_steal_pointer(&text), FALSE) : NULL;
}

gboolean pacemaker_status_node_usable(const PacemakerStatus *status, const char *name)
{
    for (guint i = 0; i < status->nodes->len; i++) {
        const PacemakerNode *node = g_ptr_array_index(status->nodes, i);
        if (strcmp(node->name, name) == 0) {
            return node->online && !node->standby && !node->maintenance;
        }
    }
    return FALSE;
}

gboolean pacemaker_status_given_up(const PacemakerStatus *status, const char *id, const char *const *nodes)
{
    const PacemakerResource *resource = pacemaker_status_resource(status, id);
    gboolean reached = FALSE;
    if (!resource || resource->node || resource->pending) {
        return FALSE;
    }
    for (; *nodes; nodes++) {
        gboolean here = limit_reached_on(status, id, *nodes) != NULL;
        if (!here && pacemaker_status_node_usable(status, *nodes)) {
            return FALSE;
        }
        reached = reached || here;
    }
    return reached;
}

static void parse_node(const xmlNode *element, PacemakerStatus *status)
{
    PacemakerNode *node = g_new0(PacemakerNode, 1);
    node->name = xml_get(element, "name");
    node->online = xml_is(element, "online", "true");
    node->clean = xml_is(element, "unclean", "false");
    node->standby = xml_is(element, "standby", "true") || xml_is(element, "standby_onfail", "true");
    node->maintenance = xml_is(element, "maintenance", "true");
    node->is_dc = xml_is(element, "is_dc", "true");
    g_ptr_array_add(status->nodes, node);
}

/* crm_mon lists an instance once for each node it runs on ("active on two nodes" is two elements of one id): fold them
 * into one. */
static PacemakerResource *resource_of(PacemakerStatus *status, char *id)
{
    PacemakerResource *known = (PacemakerResource *) pacemaker_status_resource(status, id);
    if (known) {
        g_free(id);
        return known;
    }
    PacemakerResource *resource = g_new0(PacemakerResource, 1);
    resource->id = id;
    g_ptr_array_add(status->resources, resource);
    return resource;
}

static void replace(char **text, char *value)
{
    if (value) {
        g_free(*text);
        *text = value;
    }
}

static void parse_resource(const xmlNode *element, PacemakerStatus *status)
{
    PacemakerResource *resource = resource_of(status, xml_get(element, "id"));
    replace(&resource->role, xml_get(element, "role"));
    replace(&resource->pending, xml_get(element, "pending"));
    replace(&resource->target_role, xml_get(element, "target_role"));
    resource->failed = resource->failed || xml_is(element, "failed", "true");
    resource->blocked = resource->blocked || xml_is(element, "blocked", "true");
    g_autofree char *running = xml_get(element, "nodes_running_on");
    resource->n_running_on = (guint) g_ascii_strtoull(running ? running : "0", NULL, 10);
    const xmlNode *node = xml_child(element, "node");
    if (node && !resource->node) {
        resource->node = xml_get(node, "name");
    }
}

/* Resources of groups, clones and bundles count too; guests are always plain. */
static void parse_resources(const xmlNode *parent, PacemakerStatus *status)
{
    for (const xmlNode *element = xml_child(parent, NULL); element; element = xml_next(element, NULL)) {
        if (!xml_named(element, "resource")) {
            parse_resources(element, status);
        } else if (xmlHasProp((xmlNode *) element, BAD_CAST "id")) {
            parse_resource(element, status);
        }
    }
}

/* Pacemaker escapes exit reasons once more than XML needs: what is left are entities that people would read. */
static char *reason_text(const xmlNode *element, const char *attribute)
{
    static const struct {
        const char *entity, *text;
    } entities[] = {{"&apos;", "'"}, {"&quot;", "\""}, {"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}};
    g_autofree char *reason = xml_get(element, attribute);
    g_autoptr(GString) text = g_string_new(reason);
    for (guint i = 0; i < G_N_ELEMENTS(entities); i++) {
        g_string_replace(text, entities[i].entity, entities[i].text, 0);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *failure_text(const xmlNode *element)
{
    g_autofree char *key = xml_get(element, "op_key");
    g_autofree char *id = xml_get(element, "id");
    g_autofree char *node = xml_get(element, "node");
    g_autofree char *exit_status = xml_get(element, "exitstatus");
    g_autofree char *status = xml_get(element, "status");
    g_autofree char *reason = reason_text(element, "exitreason");
    g_autofree char *when = xml_get(element, "last-rc-change");
    return g_strdup_printf("%s on %s: %s (%s)%s%s%s%s", key ? key : id, node, exit_status, status, *reason ? ": " : "",
                           reason, when ? ", " : "", when ? when : "");
}

/* Fencing that failed stands apart from resource actions, and crm_mon keeps telling it after it succeeded at last. */
static char *fence_failure_text(const xmlNode *element, const char *target)
{
    g_autofree char *action = xml_get(element, "action");
    g_autofree char *reason = reason_text(element, "exit-reason");
    g_autofree char *when = xml_get(element, "completed");
    return g_strdup_printf("fencing (%s) of %s failed%s%s%s%s", action, target, *reason ? ": " : "", reason,
                           when ? ", " : "", when ? when : "");
}

static gboolean node_is_clean(const PacemakerStatus *status, const char *name)
{
    for (guint i = 0; i < status->nodes->len; i++) {
        const PacemakerNode *node = g_ptr_array_index(status->nodes, i);
        if (g_strcmp0(node->name, name) == 0) {
            return node->clean;
        }
    }
    return FALSE;
}

/* The latest failure (the first listed) of each node that is still to be fenced. */
static void fence_failures(const xmlNode *root, const PacemakerStatus *status, GPtrArray *lines)
{
    g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    const xmlNode *fencing = xml_child(root, "fence_history");
    for (const xmlNode *each = xml_child(fencing, "fence_event"); each; each = xml_next(each, "fence_event")) {
        g_autofree char *target = xml_get(each, "target");
        if (target && xml_is(each, "status", "failed") && !node_is_clean(status, target) &&
            !g_hash_table_contains(told, target)) {
            g_ptr_array_add(lines, fence_failure_text(each, target));
            g_hash_table_add(told, g_steal_pointer(&target));
        }
    }
}

static char **parse_failures(const xmlNode *root, const PacemakerStatus *status)
{
    GPtrArray *lines = g_ptr_array_new();
    const xmlNode *failures = xml_child(root, "failures");
    for (const xmlNode *each = xml_child(failures, "failure"); each; each = xml_next(each, "failure")) {
        g_ptr_array_add(lines, failure_text(each));
    }
    fence_failures(root, status, lines);
    g_ptr_array_add(lines, NULL);
    return (char **) g_ptr_array_free(lines, FALSE);
}

/* Pacemaker writes 1000000 or more as INFINITY. */
static guint count_of(const xmlNode *element, const char *attribute)
{
    g_autofree char *text = xml_get(element, attribute);
    return !text                                               ? 0
           : strcmp(text, "INFINITY") == 0 || strlen(text) > 6 ? G_MAXUINT
                                                               : (guint) g_ascii_strtoull(text, NULL, 10);
}

static void parse_fail_counts(const xmlNode *root, PacemakerStatus *status)
{
    const xmlNode *history = xml_child(root, "node_history");
    for (const xmlNode *node = xml_child(history, "node"); node; node = xml_next(node, "node")) {
        for (const xmlNode *each = xml_child(node, "resource_history"); each;
             each = xml_next(each, "resource_history")) {
            guint count = count_of(each, "fail-count");
            if (count == 0 || !xmlHasProp((xmlNode *) each, BAD_CAST "id") ||
                !xmlHasProp((xmlNode *) node, BAD_CAST "name")) {
                continue;
            }
            PacemakerFailCount *fail_count = g_new0(PacemakerFailCount, 1);
            fail_count->resource = xml_get(each, "id");
            fail_count->node = xml_get(node, "name");
            fail_count->count = count;
            fail_count->limit = count_of(each, "migration-threshold");
            g_ptr_array_add(status->fail_counts, fail_count);
        }
    }
}

PacemakerStatus *pacemaker_status_parse(const char *xml, GError **error)
{
    g_autoptr(xmlDoc) document = xml_parse(xml, "crm_mon", error);
    if (!document) {
        return NULL;
    }
    const xmlNode *root = xmlDocGetRootElement(document);
    const xmlNode *summary = xml_child(root, "summary");
    const xmlNode *nodes = xml_child(root, "nodes");
    if (!(xml_named(root, "pacemaker-result") || xml_named(root, "crm_mon")) || !summary || !nodes) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                            "crm_mon: its XML has no summary or no nodes; is this Pacemaker 2.1?");
        return NULL;
    }
    PacemakerStatus *status = g_new0(PacemakerStatus, 1);
    status->nodes = g_ptr_array_new_with_free_func(node_free);
    status->resources = g_ptr_array_new_with_free_func(resource_free);
    status->fail_counts = g_ptr_array_new_with_free_func(fail_count_free);
    const xmlNode *dc = xml_child(summary, "current_dc");
    status->quorate = dc && xml_is(dc, "with_quorum", "true");
    status->dc = dc && xml_is(dc, "present", "true") ? xml_get(dc, "name") : NULL;
    for (const xmlNode *node = xml_child(nodes, "node"); node; node = xml_next(node, "node")) {
        if (xmlHasProp((xmlNode *) node, BAD_CAST "name")) {
            parse_node(node, status);
        }
    }
    const xmlNode *resources = xml_child(root, "resources");
    if (resources) {
        parse_resources(resources, status);
    }
    parse_fail_counts(root, status);
    status->failures = parse_failures(root, status);
    return status;
}

/* The last non-recurring action Pacemaker has on record for a guest there ("web1_last_0") shows it not running: a stop
 * that succeeded or a probe that found nothing. Anything else, also no record at all, may be a guest left running by a
 * shutdown in maintenance mode. */
static gboolean history_is_inactive(const xmlNode *lrm_resource)
{
    for (const xmlNode *op = xml_child(lrm_resource, "lrm_rsc_op"); op; op = xml_next(op, "lrm_rsc_op")) {
        g_autofree char *id = xml_get(op, "id");
        if (!id || !g_str_has_suffix(id, "_last_0")) {
            continue;
        }
        gboolean complete = xml_is(op, "op-status", "0");
        gboolean stopped = xml_is(op, "operation", "stop") && xml_is(op, "rc-code", "0");
        gboolean never_ran = xml_is(op, "operation", "monitor") && xml_is(op, "rc-code", "7");
        return complete && (stopped || never_ran);
    }
    return FALSE;
}

static gboolean no_guest_active(const xmlNode *node_state)
{
    const xmlNode *resources = xml_child(xml_child(node_state, "lrm"), "lrm_resources");
    for (const xmlNode *each = xml_child(resources, "lrm_resource"); each; each = xml_next(each, "lrm_resource")) {
        if (xml_is(each, "provider", "holdfast") && !history_is_inactive(each)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Seen on Pacemaker 2.1.5:
 *   crashed, not fenced yet:        in_ccm=false crmd=offline join=member expected=member
 *   fenced:                         in_ccm=false crmd=offline join=down   expected=down, its history erased
 *   Pacemaker stopped, corosync on: in_ccm=true  crmd=offline join=down   expected=down
 *   left by itself:                 in_ccm=false crmd=offline join=down   expected=down, its history kept
 * So expected=down is the word that matters; the others say that it has not come back since. */
gboolean pacemaker_node_clean_down_parse(const char *node_state_xml, gboolean *ret, GError **error)
{
    g_autoptr(xmlDoc) document = xml_parse(node_state_xml, "node_state", error);
    if (!document) {
        return FALSE;
    }
    const xmlNode *state = xmlDocGetRootElement(document);
    if (!xml_named(state, "node_state")) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "node_state: found <%s> instead; is this Pacemaker 2.1?", state->name);
        return FALSE;
    }
    *ret = xml_is(state, "in_ccm", "false") && xml_is(state, "crmd", "offline") && xml_is(state, "join", "down") &&
           xml_is(state, "expected", "down") && no_guest_active(state);
    return TRUE;
}
