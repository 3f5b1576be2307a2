/* SPDX-License-Identifier: Apache-2.0
 * The verb that gives a guest a new replica in the place of another. */
#include "node-agent/verbs.h"

#include "node-agent/replica_replace.h"

static json_t *guest_replace_replica(const VerbCall *call, GError **error)
{
    gint64 revision = 0;
    g_autofree char *target = NULL;
    const char *from = verb_string(call, "from", error);
    const char *to = json_string_value(json_object_get(call->arguments, "to"));
    gboolean unprotected = json_is_true(json_object_get(call->arguments, "unprotected"));
    g_autoptr(Guest) guest = from ? verb_guest_for_change(call, &revision, &target, error) : NULL;
    return guest && verb_volumes_free(call, guest, error)
               ? replica_replace_begin(call->daemon, guest, from, to, unprotected, error)
               : NULL;
}

const Verb verbs_replace[] = {{"guest.replace_replica", guest_replace_replica}, {NULL, NULL}};
