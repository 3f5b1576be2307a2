/* SPDX-License-Identifier: Apache-2.0
 * Inside of the projection: the parts that build pieces of the CIB, and what they share. Ids are made of names joined
 * by '.', which no name contains, so two objects never make the same id ("hf-loc.a.b-c" is not "hf-loc.a-b.c"). */
#pragma once

#include "cluster/projection.h"
#include "cluster/xml.h"

typedef struct {
    const ProjectionInput *input;
    xmlDoc *document;
    xmlNode *configuration;
    GHashTable *wanted; /* ids of the resources and constraints of ours that stay */
} Projection;

/* The section of <configuration>, made when missing. */
xmlNode *projection_section(Projection *projection, const char *name);
/* Make `element` (owned, not linked yet) the child of `parent` with its id: kept as it is when equal, replaced in
 * place, or added. The id is wanted. */
void projection_put(Projection *projection, xmlNode *parent, xmlNode *element);
void projection_want(Projection *projection, const char *id);

xmlNode *projection_element(const char *name, const char *id);
/* <set_name id="set_id"> as last child of parent, and one nvpair in a set. */
xmlNode *projection_set(xmlNode *parent, const char *set_name, const char *set_id);
void projection_pair(xmlNode *set, const char *name, const char *value);
void projection_op(xmlNode *operations, const char *prefix, const char *name, const char *interval,
                   const char *timeout);
/* rsc_location hf-loc.<resource>.<node>. */
void projection_location(Projection *projection, const char *resource, const char *node, const char *score,
                         const char *discovery);

void projection_options(Projection *projection);
void projection_nodes(Projection *projection); /* memory of the nodes */
void projection_fencing(Projection *projection);
void projection_guests(Projection *projection);

/* 2 nodes without a witness: survivors have no majority by count, so who shoots first is decided by delay. 0 otherwise.
 */
int projection_fencing_delay_s(const ProjectionInput *input);
/* TRUE when every node's memory is known to the CIB: only then may placement count memory, or nothing would start. */
gboolean projection_memory_known(const Projection *projection);

/* projection_apply() with its temporary files in `folder`. */
gboolean projection_apply_in(const ProcessRunner *runner, const char *folder, ProjectionRead read, gpointer user_data,
                             gboolean *ret_changed, GError **error);
