/* SPDX-License-Identifier: Apache-2.0
 * An operator's word that a node without proven fencing is off: key confirm/<node>, written by the verb fence.confirm,
 * used up by one `off` of fence_holdfast_manual. Since it takes the place of a power switch it is narrow: it names the
 * life (kernel boot id as registered at boot/<node>) it is for, serves once, and vanishes unused after CONFIRM_TTL_S.
 */
#pragma once

#include "cluster/store.h"
#include "common/json.h"

#define CONFIRM_TTL_S 600

typedef struct {
    gint64 version; /* 1 */
    char *node;
    char *user;    /* who said so */
    char *at;      /* and when, RFC 3339 */
    char *boot_id; /* the life of the node it is for; NULL: it never registered one */
    char *used_at; /* NULL: not used yet */
    char *used_by; /* node where the fence agent used it */
} Confirmation;

extern const JsonStruct confirmation_type;

/* Record that `user` has confirmed `node` to be off. Replaces an earlier one. Call pacemaker_fence() afterwards: it
 * makes Pacemaker ask at once. */
gboolean confirm_write(Store *store, const char *node, const char *user, GError **error);
/* Is there one that an `off` could use now? REFUSED or NOT_FOUND say why not, for people. */
gboolean confirm_check(Store *store, const char *node, GError **error);
/* Use it up, atomically. `by`: this node. */
gboolean confirm_consume(Store *store, const char *node, const char *by, GError **error);

/* Pure: may this confirmation serve for the node's present life? */
gboolean confirm_judge(const Confirmation *confirmation, const char *node, const char *boot_id_now, GError **error);
