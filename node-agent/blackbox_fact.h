/* SPDX-License-Identifier: Apache-2.0
 * What one line says that an incident is made of. Pure: words of corosync, Pacemaker, DRBD, systemd and our own
 * programs on one side, facts on the other. */
#pragma once

#include "node-agent/blackbox_line.h"

typedef enum {
    FACT_NONE,
    FACT_SUSPECT,      /* corosync has no link to a node (its id), or the token is missing */
    FACT_LOST,         /* a node is out of the membership */
    FACT_MEMBER,       /* a node is in it again */
    FACT_WILL_FENCE,   /* Pacemaker's scheduler decided to; why */
    FACT_FENCE_ASKED,  /* a node is to be fenced */
    FACT_FENCE_DEVICE, /* a device was used on it; number: exit code */
    FACT_FENCE_FAILED, /* a device could not be used; why */
    FACT_FENCE_DONE,   /* by whom, for whom, why: the result in words */
    FACT_CONFIRMED,    /* an operator said that it is off */
    FACT_MOVE,         /* Pacemaker moves a guest; to NULL: it has no place */
    FACT_START_ASKED,  /* a guest is to start on a node */
    FACT_CLAIMED,      /* record: number the generation, from the owner before */
    FACT_STARTED,      /* its VMM runs; why: the steps with their times */
    FACT_START_FAILED,
    FACT_FROZEN,    /* a guest's writes wait because the replica on a node is lost */
    FACT_MARKED,    /* record: the replica on a node is out of sync; number the generation */
    FACT_PROTECTED, /* record: it is in sync again */
    FACT_POWERED_ON,
    FACT_POWER_FAILED,
    /* of the node that says it */
    FACT_PANIC,
    FACT_HUNG,
    FACT_DISK_SHOT, /* its disk hangs under a guest, and it asks to be shot */
    FACT_WATCHDOG,
    FACT_SHUTDOWN,
    FACT_NO_QUORUM,
    FACT_UNCLEAN, /* the journal was not closed in order */
} FactKind;

typedef struct {
    FactKind kind;
    char *node, *guest, *device, *by, *why, *from, *to; /* NULL: not said */
    gint64 number;
} Fact;

/* NULL: the line says nothing of that sort. `node_name` (may be NULL) names corosync's node ids. */
Fact *fact_read(const BlackboxLine *line, const char *(*node_name)(guint id, gpointer user_data), gpointer user_data);
void fact_free(Fact *fact);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fact, fact_free)
