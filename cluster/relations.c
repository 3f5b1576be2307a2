/* SPDX-License-Identifier: Apache-2.0
 * Relations among guests. */
#include "cluster/relations.h"

#include "common/error.h"

#include <string.h>

static const Guest *guest_find(const GPtrArray *guests, const char *name)
{
    for (guint i = 0; i < guests->len; i++) {
        const Guest *guest = guests->pdata[i];
        if (strcmp(guest->name, name) == 0) {
            return guest;
        }
    }
    return NULL;
}

static gboolean names(char *const *list, const char *name)
{
    return list && g_strv_contains((const char *const *) list, name);
}

/* --- what a user may ask for */

static gboolean names_exist(const GPtrArray *guests, const char *name, char *const *list, char *const *before,
                            const char *field, GError **error)
{
    for (; list && *list; list++) {
        if (strcmp(*list, name) == 0) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: names guest '%s' itself", field, name);
            return FALSE;
        }
        if (!guest_find(guests, *list) && !names(before, *list)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND,
                        "%s: there is no guest '%s'; 'holdfast guest list' shows what there is", field, *list);
            return FALSE;
        }
    }
    return TRUE;
}

/* Whether `from` starts, over any number of others, after `to`. `seen`: guests already looked at. */
static gboolean starts_after(const GPtrArray *guests, const char *from, const char *to, GHashTable *seen)
{
    const Guest *guest = guest_find(guests, from);
    if (!guest || !g_hash_table_add(seen, (gpointer) guest->name)) {
        return FALSE;
    }
    for (char **name = guest->spec.start_after; name && *name; name++) {
        if (strcmp(*name, to) == 0 || starts_after(guests, *name, to, seen)) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean no_circle(const GPtrArray *guests, const char *name, const GuestSpec *spec, GError **error)
{
    for (char **first = spec->start_after; first && *first; first++) {
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        if (starts_after(guests, *first, name, seen)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                        "spec.start_after: '%s' starts after '%s' already, perhaps over others; take '%s' out of that "
                        "chain first with 'holdfast guest set'",
                        *first, name, name);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean no_opposite(const GPtrArray *guests, const char *name, const GuestSpec *spec, GError **error)
{
    for (guint i = 0; i < guests->len; i++) {
        const Guest *other = guests->pdata[i];
        if (names(spec->keep_apart, other->name) && names(other->spec.keep_together, name)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                        "spec.keep_apart: guest '%s' has '%s' in its keep_together; change that first with 'holdfast "
                        "guest set %s keep_together=...'",
                        other->name, name, other->name);
            return FALSE;
        }
        if (names(spec->keep_together, other->name) && names(other->spec.keep_apart, name)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                        "spec.keep_together: guest '%s' has '%s' in its keep_apart; change that first with 'holdfast "
                        "guest set %s keep_apart=...'",
                        other->name, name, other->name);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean relations_check(const GPtrArray *guests, const char *name, const GuestSpec *spec, const GuestSpec *before,
                         GError **error)
{
    return names_exist(guests, name, spec->start_after, before ? before->start_after : NULL, "spec.start_after",
                       error) &&
           names_exist(guests, name, spec->keep_apart, before ? before->keep_apart : NULL, "spec.keep_apart", error) &&
           names_exist(guests, name, spec->keep_together, before ? before->keep_together : NULL, "spec.keep_together",
                       error) &&
           no_circle(guests, name, spec, error) && no_opposite(guests, name, spec, error);
}

/* --- what becomes of it in the CIB */

/* Whether, by the orders taken so far, `guest` starts after `other`. They hold no circle, so this ends. */
static gboolean ordered_after(const GPtrArray *orders, const Guest *guest, const Guest *other)
{
    for (guint i = 0; i < orders->len; i++) {
        const RelationOrder *order = orders->pdata[i];
        if (order->then == guest && (order->first == other || ordered_after(orders, order->first, other))) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Every node must come to the same result, and the same guests in another order must not change the CIB. */
static int guest_compare(gconstpointer a, gconstpointer b)
{
    return strcmp((*(const Guest *const *) a)->name, (*(const Guest *const *) b)->name);
}

static GPtrArray *sorted(const GPtrArray *guests)
{
    GPtrArray *copy = g_ptr_array_copy((GPtrArray *) guests, NULL, NULL);
    g_ptr_array_set_free_func(copy, NULL);
    g_ptr_array_sort(copy, guest_compare);
    return copy;
}

GPtrArray *relations_orders(const GPtrArray *guests)
{
    g_autoptr(GPtrArray) by_name = sorted(guests);
    GPtrArray *orders = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < by_name->len; i++) {
        const Guest *then = by_name->pdata[i];
        for (char **name = then->spec.start_after; name && *name; name++) {
            const Guest *first = guest_find(by_name, *name);
            if (!first || first == then || ordered_after(orders, first, then)) {
                continue;
            }
            RelationOrder *order = g_new0(RelationOrder, 1);
            *order = (RelationOrder){.first = first, .then = then};
            g_ptr_array_add(orders, order);
        }
    }
    return orders;
}

static gboolean recovered_before(const Guest *a, const Guest *b)
{
    return a->spec.priority != b->spec.priority ? a->spec.priority > b->spec.priority : strcmp(a->name, b->name) < 0;
}

/* Wishes of one guest add up, and together they must not outweigh the stickiness: others, too, may have named it. */
static void place_add(GPtrArray *places, const Guest *a, const Guest *b, RelationKind kind)
{
    const Guest *with = recovered_before(a, b) ? a : b;
    const Guest *guest = with == a ? b : a;
    guint wishes = 0;
    for (guint i = 0; i < places->len; i++) {
        RelationPlace *place = places->pdata[i];
        if (place->guest == guest && place->with == with) {
            place->kind = MAX(place->kind, kind);
            return;
        }
        wishes += place->guest == guest && place->kind != RELATION_APART_STRICT;
    }
    if (wishes >= GUEST_RELATIONS_MAX && kind != RELATION_APART_STRICT) {
        return;
    }
    RelationPlace *place = g_new0(RelationPlace, 1);
    *place = (RelationPlace){.guest = guest, .with = with, .kind = kind};
    g_ptr_array_add(places, place);
}

static void places_add(GPtrArray *places, const GPtrArray *guests, const Guest *guest, char *const *list,
                       RelationKind kind)
{
    for (; list && *list; list++) {
        const Guest *other = guest_find(guests, *list);
        if (other && other != guest) {
            place_add(places, guest, other, kind);
        }
    }
}

GPtrArray *relations_places(const GPtrArray *guests)
{
    g_autoptr(GPtrArray) by_name = sorted(guests);
    GPtrArray *places = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < by_name->len; i++) {
        const Guest *guest = by_name->pdata[i];
        places_add(places, by_name, guest, guest->spec.keep_together, RELATION_TOGETHER);
        places_add(places, by_name, guest, guest->spec.keep_apart,
                   guest->spec.keep_apart_strict ? RELATION_APART_STRICT : RELATION_APART);
    }
    return places;
}
