/* SPDX-License-Identifier: Apache-2.0
 * The verbs of holdfastd's socket: what the API, the OCF agent and the DRBD handler may ask. Each blocks in its
 * connection's thread. */
#pragma once

#include "node-agent/daemon.h"

/* One request as a verb sees it. */
typedef struct {
    Daemon *daemon;
    json_t *arguments; /* object; borrowed */
    const char *user;
} VerbCall;

/* Returns the result (caller owns) or NULL with error. */
typedef json_t *(*VerbFunction)(const VerbCall *call, GError **error);

typedef struct {
    const char *name;
    VerbFunction run;
} Verb;

/* One table per file, each ends with a NULL name. */
extern const Verb verbs_guest[], verbs_replace[], verbs_node[], verbs_fence[], verbs_incident[], verbs_other[],
    verbs_record[], verbs_store[];

/* Whether only root may call it: verbs that write what decides about data. Everything else is for the API, too. */
gboolean verb_is_for_root(const char *name);
/* NULL with UNSUPPORTED for an unknown verb. */
json_t *verb_run(Daemon *daemon, const char *name, json_t *arguments, const char *user, GError **error);

/* A required string argument; INVALID naming it. Borrowed. */
const char *verb_string(const VerbCall *call, const char *name, GError **error);
/* The object kind/<name> named by argument "name"; NOT_FOUND says so for people. */
gpointer verb_object(const VerbCall *call, const JsonStruct *type, const char *kind, gint64 *ret_revision,
                     GError **error);
/* Argument "confirm" is `wanted`: what cannot be taken back is said twice. INVALID. */
gboolean verb_confirmed(const VerbCall *call, const char *wanted, GError **error);
/* BUSY when an operation on `target` is running already; its text names that operation. */
gboolean verb_target_free(const VerbCall *call, const char *target, GError **error);
/* The guest named by the call, free for a new operation: BUSY when it is being deleted or has one. */
Guest *verb_guest_for_change(const VerbCall *call, gint64 *ret_revision, char **ret_target, GError **error);
/* BUSY while a volume of it grows: a disk must not change its size between two VMMs or two replicas. */
gboolean verb_volumes_free(const VerbCall *call, const Guest *guest, GError **error);
/* Start an operation: store it, kick its driver, return its view. Steals the operation. */
json_t *verb_operation(const VerbCall *call, Operation *operation, GError **error);
