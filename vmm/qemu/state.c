/* SPDX-License-Identifier: Apache-2.0
 * QEMU's run states, and what they mean for a guest that is to be kept alive. */
#include "vmm/qemu/qemu.h"

#include "common/error.h"

VmmState qemu_state_from(const char *run_state)
{
    static const struct {
        const char *word;
        VmmState state;
    } table[] = {
        {"running", VMM_RUNNING},       {"suspended", VMM_RUNNING}, /* the guest put itself to sleep (ACPI S3) */
        {"shutdown", VMM_RUNNING},                                  /* powering off: the process is about to end */
        {"inmigrate", VMM_INCOMING},    {"paused", VMM_PAUSED},         {"prelaunch", VMM_PAUSED},
        {"io-error", VMM_BROKEN}, /* its disk failed or its gate is closed: Pacemaker shall recover it */
        {"finish-migrate", VMM_PAUSED}, {"postmigrate", VMM_PAUSED},    {"save-vm", VMM_PAUSED},
        {"restore-vm", VMM_PAUSED},     {"colo", VMM_PAUSED},           {"debug", VMM_PAUSED},
        {"internal-error", VMM_BROKEN}, {"guest-panicked", VMM_BROKEN}, {"watchdog", VMM_BROKEN},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        if (g_strcmp0(table[i].word, run_state) == 0) {
            return table[i].state;
        }
    }
    return VMM_BROKEN;
}

char *qemu_run_state(Qmp *qmp, GError **error)
{
    g_autoptr(json_t) answer = qmp_execute(qmp, "query-status", NULL, error);
    if (!answer) {
        return NULL;
    }
    const char *word = json_string_value(json_object_get(answer, "status"));
    if (!word) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "QEMU's query-status has no status");
    }
    return g_strdup(word);
}
