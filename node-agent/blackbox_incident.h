/* SPDX-License-Identifier: Apache-2.0
 * Incidents, derived from what the black box kept: nothing of an incident is stored. Pure.
 *
 * An incident is one node's loss, fencing or reset. It begins with the node's last sign of life and ends when its
 * guests run, the node is a member again and every replica there is in sync. */
#pragma once

#include "node-agent/blackbox_fact.h"

/* One line in its place among all nodes' lines. */
typedef struct {
    const char *node; /* interned */
    gint64 at_us;     /* by the keeper's clock */
    BlackboxLine *line;
    Fact *fact; /* or NULL */
} IncidentEntry;

typedef struct {
    GPtrArray *entries; /* of IncidentEntry; sorted by incident_log_sort() */
    GHashTable *ids;    /* corosync node id -> name; borrowed, may be NULL */
} IncidentLog;

IncidentLog *incident_log_new(GHashTable *ids);
void incident_log_free(IncidentLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(IncidentLog, incident_log_free)

/* The lines of one node as its ring has them, oldest first (GPtrArray of BlackboxLine). Their times are corrected by
 * the clock marks among them. Kept is what incidents are made of, and everything between from_us and to_us. */
void incident_log_add(IncidentLog *log, const char *node, const GPtrArray *lines, gint64 from_us, gint64 to_us);
/* A sign of life of `node` that is not in its ring yet. */
void incident_log_heard(IncidentLog *log, const char *node, gint64 at_us);
void incident_log_sort(IncidentLog *log);

typedef enum {
    INCIDENT_SILENT, /* no word: power, or the machine stopped dead */
    INCIDENT_PANIC,  /* the kernel said so */
    INCIDENT_WATCHDOG,
    INCIDENT_SHUTDOWN, /* in order */
    INCIDENT_CUT_OFF,  /* alive, but out of the membership; then reset by fencing */
    INCIDENT_FENCED,   /* shot as a member, for a reason Pacemaker gave */
    INCIDENT_RESET,    /* began to boot again by itself, without a word before */
    INCIDENT_LEFT,     /* left the membership and came back in the same life */
} IncidentReason;

typedef struct {
    char *name;
    char *from, *to;
    gboolean moved; /* it ran on the lost node; else only its replica was there */
    gint64 asked_us, claimed_us, started_us, frozen_us, marked_us, protected_us; /* 0: not seen */
    gint64 generation;
    char *steps, *failure;
} IncidentGuest;

typedef struct {
    char *id;
    const char *node;    /* interned */
    char *boot;          /* the life that ended; NULL: no line of it is known */
    gint64 begin_us;     /* last sign of life before the loss */
    gboolean heard;      /* begin_us is a sign of life; FALSE: only the loss itself is known */
    gint64 last_line_us; /* newest line of that life, even if it came to light later */
    gint64 suspected_us, detected_us, lost_us, decided_us, asked_us, fenced_us, powered_on_us, booted_us, member_us,
        end_us;
    gboolean noticed; /* the others lost it; FALSE: it just booted anew */
    char *why, *decided_on, *device, *fenced_by, *fence_for, *fence_client, *fence_result, *confirmed_by, *power_error;
    guint shots_failed;
    gint64 reboot_us;                                /* first line of a later life */
    char *panic, *hung, *disk, *watchdog, *shutdown; /* the lines */
    gboolean no_quorum, unclean;
    GPtrArray *guests; /* of IncidentGuest */
    GPtrArray *gaps;   /* texts: what of its last minutes is missing */
    int reason;        /* IncidentReason */
    gboolean given_up; /* not back for an hour, or it could not be powered on */
} Incident;

void incident_free(Incident *incident);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Incident, incident_free)

/* All incidents in a sorted log, oldest first (GPtrArray of Incident, frees them). */
GPtrArray *incident_find(const IncidentLog *log, gint64 now_us);

/* As the API shows it: a summary, or everything with the lines from a minute before to the end. */
json_t *incident_summary(const Incident *incident);
json_t *incident_report(const Incident *incident, const IncidentLog *log);
/* How `guest` was recovered, newest first and at most `max`: of each incident that cost it its node the reason, from,
 * to, and how long it took from the loss and from its detection until it ran. */
json_t *incident_recoveries(const GPtrArray *incidents, const char *guest, guint max);
/* What the report's lines cover. */
void incident_window(const Incident *incident, gint64 now_us, gint64 *ret_from_us, gint64 *ret_to_us);
