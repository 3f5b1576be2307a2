/* SPDX-License-Identifier: Apache-2.0
 * Checks of the machine. */
#include "node-agent/setup/checks.h"

#include "common/error.h"
#include "storage/pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMAND_TIMEOUT_MS 15000

static gboolean field_wrong(GError **error, const char *field, const char *format, ...) G_GNUC_PRINTF(3, 4);
static gboolean field_wrong(GError **error, const char *field, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: %s", field, text);
    return FALSE;
}

gboolean check_address_text(const SetupContext *context, const char *address, const char *field, GError **error)
{
    struct in_addr parsed;
    if (!address || inet_pton(AF_INET, address, &parsed) != 1) {
        return field_wrong(error, field, "'%s' must be an IPv4 address such as 10.77.0.1", address ? address : "");
    }
    guint32 host = ntohl(parsed.s_addr);
    gboolean loopback = host >> 24 == 127 && !context->testing;
    if (loopback || host >> 28 == 0xe || host >> 24 == 0 || host == 0xffffffff) {
        return field_wrong(error, field, "%s is no address other nodes could reach: give one of a cluster network",
                           address);
    }
    return TRUE;
}

gboolean check_address_here(const SetupContext *context, const char *address, const char *field, GError **error)
{
    if (!check_address_text(context, address, field, error)) {
        return FALSE;
    }
    struct sockaddr_in local = {.sin_family = AF_INET};
    inet_pton(AF_INET, address, &local.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return holdfast_error_set_errno(error, errno, "cannot make a socket");
    }
    /* The kernel binds only to addresses it has, whatever interface they are on. */
    int rc = bind(fd, (const struct sockaddr *) &local, sizeof(local));
    int err = errno;
    close(fd);
    if (rc != 0 && err == EADDRNOTAVAIL) {
        return field_wrong(
            error, field, "%s is not configured on any interface of this machine: see `ip -4 addr` and set it up first",
            address);
    }
    return rc == 0 || holdfast_error_set_errno(error, err, "%s: cannot use %s", field, address);
}

static gboolean device_is_ours(const SetupContext *context, const char *device)
{
    g_autofree char *group = NULL;
    return process_call(context->runner, COMMAND_TIMEOUT_MS, &group, NULL, "/sbin/pvs", "--noheadings", "-o", "vg_name",
                        device, NULL) &&
           strcmp(g_strstrip(group), POOL_VG) == 0;
}

gboolean check_device(const SetupContext *context, const char *device, const char *field, GError **error)
{
    struct stat status;
    if (!device || device[0] != '/') {
        return field_wrong(error, field, "'%s' must be the path of a block device such as /dev/vdb",
                           device ? device : "");
    }
    if (stat(device, &status) != 0) {
        return field_wrong(error, field, "%s: %s: `lsblk` lists the devices", device, g_strerror(errno));
    }
    if (!S_ISBLK(status.st_mode)) {
        if (context->testing) {
            return TRUE;
        }
        return field_wrong(error, field, "%s is not a block device: `lsblk` lists the devices", device);
    }
    /* O_EXCL on a block device fails while it is mounted or held by LVM, RAID or another driver. */
    int fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        return TRUE;
    }
    if (errno == EBUSY && device_is_ours(context, device)) {
        return TRUE;
    }
    return field_wrong(error, field,
                       "%s is in use (%s): choose an empty disk, or free this one first; `lsblk` shows by what", device,
                       g_strerror(errno));
}

gboolean check_root(const SetupContext *context, GError **error)
{
    if (geteuid() != 0 && !context->testing) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED, "holdfast-setup changes the system: run it as root");
        return FALSE;
    }
    return TRUE;
}

gboolean check_hostname_set(const SetupContext *context, const char *node, GError **error)
{
    char present[256] = "";
    gethostname(present, sizeof(present) - 1);
    g_autofree char *line = g_strconcat(node, "\n", NULL);
    if (context->testing) {
        return setup_write(context, "/etc/hostname", line, -1, 0644, NULL, error);
    }
    if (strcmp(present, node) == 0) {
        return TRUE;
    }
    setup_progress(context, "this machine's name changes from '%s' to '%s'", present, node);
    if (!setup_write(context, "/etc/hostname", line, -1, 0644, NULL, error)) {
        return FALSE;
    }
    return sethostname(node, strlen(node)) == 0 ||
           holdfast_error_set_errno(error, errno, "cannot set the host name to '%s'", node);
}
