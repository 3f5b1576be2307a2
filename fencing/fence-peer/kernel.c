/* SPDX-License-Identifier: Apache-2.0
 * Manifest and /proc/drbd as the handler needs them. */
#include "fencing/fence-peer/io.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MANIFEST_PATTERN "/var/lib/holdfast/guests/%s.json"

static void copy_text(char *out, const char *text)
{
    snprintf(out, RECORD_NAME_MAX, "%s", text ? text : "");
}

static bool boot_id_read(char *out)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file) {
        return false;
    }
    bool ok = fgets(out, RECORD_NAME_MAX, file) != NULL;
    fclose(file);
    out[strcspn(out, "\n")] = '\0';
    return ok && out[0] != '\0';
}

static bool host_name_read(char *out)
{
    if (gethostname(out, RECORD_NAME_MAX) != 0) {
        return false;
    }
    out[RECORD_NAME_MAX - 1] = '\0';
    out[strcspn(out, ".")] = '\0';
    return out[0] != '\0';
}

bool handler_guest_read(const char *guest, HandlerGuest *out)
{
    char path[300];
    memset(out, 0, sizeof(*out));
    if (strchr(guest, '/') || (size_t) snprintf(path, sizeof(path), MANIFEST_PATTERN, guest) >= sizeof(path)) {
        return false;
    }
    json_t *manifest = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    json_t *document = json_object_get(manifest, "guest");
    json_t *volumes = json_object_get(manifest, "volumes");
    int64_t slot = json_integer_value(json_object_get(document, "slot"));
    bool ok = slot > 0 && json_array_size(volumes) > 0 && json_array_size(volumes) <= HANDLER_VOLUMES_MAX &&
              host_name_read(out->node) && boot_id_read(out->boot_id);
    if (ok) {
        copy_text(out->guest, guest);
        copy_text(out->peer, json_string_value(json_object_get(manifest, "peer_node")));
        out->peer_id = (uint32_t) json_integer_value(json_object_get(manifest, "peer_id"));
        out->n_minors = (int) json_array_size(volumes);
        for (int i = 0; i < out->n_minors; i++) {
            out->minors[i] = (int) slot * 16 + i;
        }
    }
    json_decref(manifest);
    /* Without the peer's node id corosync cannot be asked about it, and asking about id 0 would answer for ourselves.
     */
    return ok && (out->peer[0] == '\0' || out->peer_id != 0);
}

/* One device's line of /proc/drbd: " 16: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----". */
static bool device_add(const char *line, HandlerDisks *out)
{
    char connection[32], roles[64], disks[64];
    if (sscanf(line, " %*d: cs:%31s ro:%63s ds:%63s", connection, roles, disks) != 3) {
        return false;
    }
    /* The flags are the line's last word and begin with s(uspended) or r(unning). The role would mislead: while volume
     * 1 of a guest is being promoted, volume 0 is Primary already. */
    const char *flags = strrchr(line, ' ');
    out->any_suspended |= flags && flags[1] == 's';
    out->all_connected &= strcmp(connection, "Connected") == 0 || strncmp(connection, "Sync", 4) == 0;
    out->all_up_to_date &= strncmp(disks, "UpToDate/", 9) == 0;
    return true;
}

bool handler_disks_read(const HandlerGuest *guest, HandlerDisks *out)
{
    FILE *file = fopen("/proc/drbd", "re");
    if (!file) {
        return false;
    }
    *out = (HandlerDisks){.all_connected = true, .all_up_to_date = true};
    int seen = 0;
    char line[512];
    while (fgets(line, sizeof(line), file)) {
        int minor;
        if (sscanf(line, " %d: cs:", &minor) != 1) {
            continue;
        }
        for (int i = 0; i < guest->n_minors; i++) {
            if (guest->minors[i] == minor) {
                seen += device_add(line, out);
            }
        }
    }
    fclose(file);
    return seen == guest->n_minors;
}
