/* SPDX-License-Identifier: Apache-2.0
 * What guests say about one another in their specs: who starts first, who keeps apart from whom, who stays together.
 * A relation may stand in either guest's spec. A name that no guest has says nothing. Pure. */
#pragma once

#include "cluster/objects.h"

typedef struct {
    const Guest *first, *then;
} RelationOrder;

typedef enum { RELATION_TOGETHER, RELATION_APART, RELATION_APART_STRICT } RelationKind;

/* `with` is the one that is recovered first (higher priority, then the name): it gets its place, and `guest` follows.
 */
typedef struct {
    const Guest *guest, *with;
    RelationKind kind;
} RelationPlace;

/* Whether guest `name` may have `spec` among `guests` (of Guest; itself among them or not). `before`: its present spec,
 * NULL: a new one; what it names already is not asked for again. INVALID (itself), NOT_FOUND (no such guest), REFUSED
 * (a circle of start_after; another guest says the opposite). Texts begin with the field. */
gboolean relations_check(const GPtrArray *guests, const char *name, const GuestSpec *spec, const GuestSpec *before,
                         GError **error);
/* The start orders among `guests`, without those that would close a circle: two specs written at the same time may make
 * one. Of RelationOrder, which the array frees; the guests are borrowed. */
GPtrArray *relations_orders(const GPtrArray *guests);
/* The places among them, each pair once: the strictest word counts, and apart counts more than together. Of one guest
 * that is not strict at most GUEST_RELATIONS_MAX, the first by name. Likewise. */
GPtrArray *relations_places(const GPtrArray *guests);
