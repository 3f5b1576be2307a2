/* SPDX-License-Identifier: Apache-2.0
 * The OCF agent ocf:holdfast:guest: what its actions share. */
#pragma once

#include "cluster/manifest.h"
#include "cluster/ocf/guest_run.h"
#include "cluster/store.h"
#include "storage/volume.h"
#include "vmm/engine.h"

/* OCF 1.1 exit codes. Never 6 (OCF_ERR_CONFIGURED) on a data problem: it bans every node. */
enum {
    OCF_SUCCESS = 0,
    OCF_ERR_GENERIC = 1,
    OCF_ERR_ARGS = 2,
    OCF_ERR_UNIMPLEMENTED = 3,
    OCF_ERR_PERM = 4,
    OCF_ERR_INSTALLED = 5,
    OCF_ERR_CONFIGURED = 6,
    OCF_NOT_RUNNING = 7,
};

typedef struct {
    const char *guest;  /* name */
    Manifest *manifest; /* NULL: this node holds no replica */
    VolumeSet volumes;
    const VmmEngine *engine;
    char *run_folder;
    const ProcessRunner *runner;
    Store *store;      /* opened on first use */
    GString *timeline; /* "claim 40 ms, promote 120 ms", for the log */
    gint64 mark_us;
} OcfAgent;

/* FALSE only for a damaged manifest; a missing one leaves agent->manifest NULL. */
gboolean ocf_agent_open(OcfAgent *agent, const char *guest, GError **error);
void ocf_agent_close(OcfAgent *agent);
Store *ocf_agent_store(OcfAgent *agent, GError **error);
/* Note how long the step since the last mark took. */
void ocf_agent_step(OcfAgent *agent, const char *step);

/* What is true of the guest here, from VMM, DRBD and gates only (no store, no holdfastd). */
typedef enum { OCF_STATE_STOPPED, OCF_STATE_RUNNING, OCF_STATE_PARTIAL } OcfState;
OcfState ocf_agent_state(OcfAgent *agent, const char **ret_why);
gboolean ocf_agent_any_primary(const OcfAgent *agent);

int ocf_start(OcfAgent *agent, GError **error);
int ocf_stop(OcfAgent *agent, GError **error);
int ocf_monitor(OcfAgent *agent, GError **error);
int ocf_migrate_to(OcfAgent *agent, const char *target, GError **error);
int ocf_migrate_from(OcfAgent *agent, GError **error);
int ocf_validate(OcfAgent *agent, GError **error);

extern const char ocf_metadata[];
