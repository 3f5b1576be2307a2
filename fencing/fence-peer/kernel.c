/* SPDX-License-Identifier: Apache-2.0
 * Manifest, /proc/drbd and drbdsetup as the handler needs them. */
#include "fencing/fence-peer/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#define MANIFEST_FOLDER HANDLER_ROOT "var/lib/holdfast/guests"
#define MANIFEST_PATTERN MANIFEST_FOLDER "/%s.json"
#define DRBDSETUP HANDLER_ROOT "lib/drbd/drbdsetup-84"
#define PORT_BASE 7800 /* of guest_drbd_port() */

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
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
        copy_text(out->guest, sizeof(out->guest), guest);
        copy_text(out->peer, sizeof(out->peer), json_string_value(json_object_get(manifest, "peer_node")));
        copy_text(out->address, sizeof(out->address), json_string_value(json_object_get(manifest, "address")));
        copy_text(out->peer_address, sizeof(out->peer_address),
                  json_string_value(json_object_get(manifest, "peer_address")));
        out->port = PORT_BASE + (int) slot;
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

bool handler_guest_of_minor(int minor, HandlerGuest *out)
{
    DIR *folder = opendir(MANIFEST_FOLDER);
    struct dirent *entry;
    bool found = false;
    while (folder && !found && (entry = readdir(folder))) {
        size_t length = strlen(entry->d_name);
        char guest[RECORD_NAME_MAX];
        if (length <= 5 || length - 5 >= sizeof(guest) || strcmp(entry->d_name + length - 5, ".json") != 0) {
            continue;
        }
        memcpy(guest, entry->d_name, length - 5);
        guest[length - 5] = '\0';
        if (handler_guest_read(guest, out)) {
            for (int i = 0; i < out->n_minors; i++) {
                found = found || out->minors[i] == minor;
            }
        }
    }
    if (folder) {
        closedir(folder);
    }
    return found;
}

/* A state in which what the Primary writes is still sent to us. Every name that is not surely beyond it counts. */
static bool talks_to_peer(const char *connection)
{
    static const char *const apart[] = {"StandAlone",     "Disconnecting", "Unconnected", "Timeout",     "BrokenPipe",
                                        "NetworkFailure", "ProtocolError", "TearDown",    "WFConnection"};
    for (size_t i = 0; i < sizeof(apart) / sizeof(apart[0]); i++) {
        if (strcmp(connection, apart[i]) == 0) {
            return false;
        }
    }
    return true;
}

/* One device's line of /proc/drbd: " 16: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----". */
static bool device_add(const char *line, HandlerDisks *out)
{
    char connection[32], roles[64], disks[64];
    if (strstr(line, " cs:Unconfigured")) { /* a Secondary with neither disk nor connection */
        out->all_connected = out->all_up_to_date = false;
        return true;
    }
    if (sscanf(line, " %*d: cs:%31s ro:%63s ds:%63s", connection, roles, disks) != 3) {
        return false;
    }
    /* The flags are the line's last word and begin with s(uspended) or r(unning). The role would mislead: while volume
     * 1 of a guest is being promoted, volume 0 is Primary already. */
    const char *flags = strrchr(line, ' ');
    out->any_suspended |= flags && flags[1] == 's';
    out->any_primary |= strncmp(roles, "Primary/", 8) == 0;
    out->all_connected &= strcmp(connection, "Connected") == 0 || strncmp(connection, "Sync", 4) == 0;
    out->any_connected |= talks_to_peer(connection);
    out->all_up_to_date &= strncmp(disks, "UpToDate/", 9) == 0;
    return true;
}

bool handler_disks_read(const HandlerGuest *guest, HandlerDisks *out)
{
    FILE *file = fopen(HANDLER_ROOT "proc/drbd", "re");
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

static void run_detached(char *const argv[])
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    setsid();
    for (int fd = 0; null >= 0 && fd <= 2; fd++) {
        dup2(null, fd);
    }
    if (fork() == 0) {
        execv(argv[0], argv);
    }
    _exit(0); /* both: the one that could not be replaced, and its parent */
}

/* drbdsetup waits until DRBD's worker thread has cleaned up, and that thread waits for us: so nobody waits for
 * drbdsetup. Only its parent, which ends at once, is waited for. --force: an orderly disconnect would tell the Primary
 * that we left and let it write on unfrozen. */
void handler_disconnect_begin(const HandlerGuest *guest)
{
    char local[100], remote[100];
    snprintf(local, sizeof(local), "ipv4:%s:%d", guest->address, guest->port);
    snprintf(remote, sizeof(remote), "ipv4:%s:%d", guest->peer_address, guest->port);
    char *argv[] = {DRBDSETUP, "disconnect", "--force=yes", local, remote, NULL};
    pid_t child = fork();
    if (child == 0) {
        run_detached(argv);
    }
    if (child < 0) {
        syslog(LOG_ERR, "guest '%s': cannot begin to disconnect from %s: %m", guest->guest, guest->peer);
        return;
    }
    waitpid(child, NULL, 0);
}
