/* SPDX-License-Identifier: Apache-2.0
 * The real system for set-up and join, and small files under its prefix. */
#include "node-agent/setup/context.h"

#include "cluster/etcd_conf.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "storage/pool.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define FILE_MAX_BYTES (64u * 1024)

static void progress_to_log(const char *text)
{
    log_line(LOG_LEVEL_NOTICE, "%s", text);
}

const SetupContext *setup_context_default(void)
{
    static gsize once = 0;
    static SetupContext context;
    if (g_once_init_enter(&once)) {
        context = (SetupContext){
            .prefix = "",
            .runner = process_runner_default(),
            .etcd_client_port = ETCD_CLIENT_PORT,
            .etcd_peer_port = ETCD_PEER_PORT,
            .join_port = JOIN_PORT,
            .pool_create = pool_create,
            .membership = membership_query,
            .progress = progress_to_log,
            .poll_ms = 1000,
            .wait_ms = 180000,
        };
        g_once_init_leave(&once, 1);
    }
    return &context;
}

char *setup_path(const SetupContext *context, const char *path)
{
    return g_strconcat(context->prefix, path, NULL);
}

void setup_progress(const SetupContext *context, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    context->progress(text);
}

static gboolean group_give(const SetupContext *context, const char *path, const char *group, GError **error)
{
    struct group entry, *found = NULL;
    char buffer[16384];
    if (!group || context->testing || getgrnam_r(group, &entry, buffer, sizeof(buffer), &found) != 0 || !found) {
        return TRUE;
    }
    if (chown(path, 0, found->gr_gid) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot give %s to group %s", path, group);
    }
    return TRUE;
}

gboolean setup_write(const SetupContext *context, const char *path, const char *text, gssize length, int mode,
                     const char *group, GError **error)
{
    g_autofree char *full = setup_path(context, path);
    return file_write_durable(full, text, length, (mode_t) mode, error) && group_give(context, full, group, error);
}

char *setup_read(const SetupContext *context, const char *path, GError **error)
{
    g_autofree char *full = setup_path(context, path);
    return file_read(full, FILE_MAX_BYTES, error);
}

gboolean setup_exists(const SetupContext *context, const char *path)
{
    g_autofree char *full = setup_path(context, path);
    return g_access(full, F_OK) == 0;
}

char *setup_random_hex(gsize bytes)
{
    g_autofree guint8 *raw = g_malloc(bytes);
    if (getrandom(raw, bytes, 0) != (ssize_t) bytes) {
        g_error("the kernel gave no random bytes");
    }
    GString *hex = g_string_new(NULL);
    for (gsize i = 0; i < bytes; i++) {
        g_string_append_printf(hex, "%02x", raw[i]);
    }
    return g_string_free(hex, FALSE);
}
