/* SPDX-License-Identifier: Apache-2.0
 * ocf:holdfast:guest, the OCF resource agent, as a compiled program: guests fail over with holdfastd dead, and no
 * action pays for a shell. */
#include "cluster/ocf/agent.h"

#include "common/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int migrate_to(OcfAgent *agent, GError **error)
{
    return ocf_migrate_to(agent, g_getenv("OCF_RESKEY_CRM_meta_migrate_target"), error);
}

static int reload_agent(OcfAgent *agent G_GNUC_UNUSED, GError **error G_GNUC_UNUSED)
{
    return OCF_SUCCESS; /* nothing is kept between two calls */
}

static const struct {
    const char *name;
    int (*run)(OcfAgent *agent, GError **error);
} actions[] = {
    {"start", ocf_start},           {"stop", ocf_stop},
    {"monitor", ocf_monitor},       {"status", ocf_monitor},
    {"migrate_to", migrate_to},     {"migrate_from", ocf_migrate_from},
    {"reload-agent", reload_agent}, {"validate-all", ocf_validate},
};

static int action_run(const char *name, const char *guest)
{
    for (gsize i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (!g_str_equal(actions[i].name, name)) {
            continue;
        }
        g_autoptr(GError) error = NULL;
        OcfAgent agent = {0};
        int code = OCF_ERR_GENERIC;
        if (ocf_agent_open(&agent, guest, &error)) {
            code = actions[i].run(&agent, &error);
        }
        ocf_agent_close(&agent);
        if (error) {
            /* Pacemaker shows the last line as the reason of the failure; "ocf-exit-reason:" is its marker for that. */
            log_line(LOG_LEVEL_ERROR, "guest '%s': %s failed: %s", guest, name, error->message);
            fprintf(stderr, "ocf-exit-reason:%s\n", error->message);
        }
        return code;
    }
    fprintf(stderr, "unknown action '%s'\n", name);
    return OCF_ERR_UNIMPLEMENTED;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr,
                "usage: guest start|stop|monitor|migrate_to|migrate_from|reload-agent|validate-all|meta-data\n");
        return OCF_ERR_ARGS;
    }
    if (g_str_equal(argv[1], "meta-data")) {
        fputs(ocf_metadata, stdout);
        return OCF_SUCCESS;
    }
    const char *guest = g_getenv("OCF_RESKEY_guest");
    g_autoptr(GError) error = NULL;
    if (!guest || !*guest) {
        fprintf(stderr, "ocf-exit-reason:parameter 'guest' is not set\n");
        return OCF_ERR_CONFIGURED;
    }
    if (getuid() != 0) {
        fprintf(stderr, "ocf-exit-reason:must run as root\n");
        return OCF_ERR_PERM;
    }
    log_use_syslog("holdfast-ocf");
    return action_run(argv[1], guest);
}
