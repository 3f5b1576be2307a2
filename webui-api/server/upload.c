/* SPDX-License-Identifier: Apache-2.0
 * Uploads. The file keeps its path until the import operation has ended, because holdfastd opens it by path; if this
 * process dies meanwhile, the next one removes what is older than a day. */
#include "webui-api/server/upload.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SPOOL_RESERVE_BYTES (64ull * 1024 * 1024)
#define SPOOL_SUFFIX ".upload"
#define SPOOL_KEEP_S (24 * 3600)
#define CALL_TIMEOUT_MS 30000
#define SWEEP_WAIT_S 30
#define SWEEP_RETRY_S 5

struct Upload {
    Server *server;
    int fd;
    char *path; /* NULL once a sweeper has it */
    guint64 written_bytes;
};

typedef struct {
    char *path, *operation, *request_id;
} SweepJob;

static gboolean spool_has_room(const Request *request, GError **error)
{
    struct statvfs room;
    const char *spool = request->server->options->spool_path;
    if (statvfs(spool, &room) != 0) {
        return holdfast_error_set_errno(error, errno, "upload folder %s", spool);
    }
    guint64 free_bytes = (guint64) room.f_bavail * room.f_frsize;
    guint64 wanted = (guint64) MAX(request->content_length, 0) + SPOOL_RESERVE_BYTES;
    if (wanted > free_bytes) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE,
                    "the upload needs %" G_GUINT64_FORMAT " MiB in %s, only %" G_GUINT64_FORMAT
                    " MiB are free: make room, or copy the file to the node and import it by path",
                    wanted >> 20, spool, free_bytes >> 20);
        return FALSE;
    }
    return TRUE;
}

static gboolean upload_open(Request *request, GError **error)
{
    Upload *upload = g_new0(Upload, 1);
    g_autofree char *unique = ident_new_uuid();
    upload->server = request->server;
    upload->path = g_strconcat(request->server->options->spool_path, "/", unique, SPOOL_SUFFIX, NULL);
    upload->fd = open(upload->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (upload->fd < 0) {
        holdfast_error_set_errno(error, errno, "cannot create %s", upload->path);
        g_clear_pointer(&upload->path, g_free);
        upload_free(upload);
        return FALSE;
    }
    request->upload = upload;
    return TRUE;
}

gboolean upload_begin(Request *request, GError **error)
{
    if (!ident_check_name(g_hash_table_lookup(request->variables, "name"), "name", error) ||
        !spool_has_room(request, error)) {
        return FALSE;
    }
    if (g_atomic_int_add(&request->server->uploads, 1) >= SERVER_UPLOADS_MAX) {
        g_atomic_int_add(&request->server->uploads, -1);
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                    "%d uploads are under way on this node already: try again later", SERVER_UPLOADS_MAX);
        return FALSE;
    }
    return upload_open(request, error);
}

gboolean upload_write(Upload *upload, const char *data, gsize size, GError **error)
{
    while (size > 0) {
        ssize_t n = write(upload->fd, data, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return holdfast_error_set_errno(error, n < 0 ? errno : EIO, "cannot write the upload to %s", upload->path);
        }
        data += n;
        size -= (gsize) n;
        upload->written_bytes += (guint64) n;
    }
    return TRUE;
}

static void sweep_job_free(SweepJob *job)
{
    g_free(job->path);
    g_free(job->operation);
    g_free(job->request_id);
    g_free(job);
}

json_t *upload_finish(Request *request, GError **error)
{
    Upload *upload = request->upload;
    if (upload->written_bytes == 0) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "body: an image cannot be empty");
        return NULL;
    }
    g_autoptr(json_t) arguments = json_pack(
        "{s:s, s:s}", "name", (const char *) g_hash_table_lookup(request->variables, "name"), "path", upload->path);
    json_t *operation = request_call(request, request->route->verb, arguments, CALL_TIMEOUT_MS, error);
    const char *id = json_string_value(json_object_get(operation, "id"));
    if (id) {
        SweepJob *job = g_new0(SweepJob, 1);
        job->path = g_steal_pointer(&upload->path);
        job->operation = g_strdup(id);
        job->request_id = g_strdup(request->id);
        g_thread_pool_push(upload->server->sweepers, job, NULL);
    }
    return operation;
}

void upload_free(Upload *upload)
{
    if (!upload) {
        return;
    }
    if (upload->fd >= 0) {
        close(upload->fd);
    }
    if (upload->path) {
        unlink(upload->path);
        g_free(upload->path);
    }
    g_atomic_int_add(&upload->server->uploads, -1);
    g_free(upload);
}

/* TRUE when the import is over, whatever its end, or nobody knows it any more. */
static gboolean operation_ended(Server *server, const SweepJob *job, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(json_t) arguments = json_pack("{s:s, s:i}", "id", job->operation, "wait_s", SWEEP_WAIT_S);
    AgentRequest request = {job->request_id, "holdfast-api", "op.show", arguments};
    g_autoptr(json_t) operation =
        agent_client_call(server->agent, &request, CALL_TIMEOUT_MS + SWEEP_WAIT_S * 1000, &problem);
    if (!operation) {
        if (holdfast_error_code(problem) == HOLDFAST_ERROR_NOT_FOUND) {
            return TRUE;
        }
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    return g_strcmp0(json_string_value(json_object_get(operation, "state")), "running") != 0;
}

/* FALSE: the server stops. */
static gboolean pause_unless_stopping(const Server *server, int seconds)
{
    GPollFD fd = {.fd = server->stop_fd, .events = G_IO_IN};
    return g_poll(&fd, 1, seconds * 1000) == 0;
}

static void sweep(gpointer data, gpointer user_data)
{
    SweepJob *job = data;
    Server *server = user_data;
    g_autoptr(GError) error = NULL;
    while (!operation_ended(server, job, &error)) {
        /* An agent that is down, or that answers a wait at once, must not be asked in a busy loop. */
        if (!pause_unless_stopping(server, error ? SWEEP_RETRY_S : 1)) {
            sweep_job_free(job);
            return;
        }
        g_clear_error(&error);
    }
    if (unlink(job->path) != 0 && errno != ENOENT) {
        log_line(LOG_LEVEL_WARNING, "cannot remove %s: %s", job->path, g_strerror(errno));
    }
    sweep_job_free(job);
}

static void remove_leftovers(const char *spool)
{
    g_autoptr(GDir) folder = g_dir_open(spool, 0, NULL);
    const char *name;
    while (folder && (name = g_dir_read_name(folder))) {
        g_autofree char *path = g_build_filename(spool, name, NULL);
        struct stat info;
        if (g_str_has_suffix(name, SPOOL_SUFFIX) && lstat(path, &info) == 0 &&
            info.st_mtime < g_get_real_time() / G_USEC_PER_SEC - SPOOL_KEEP_S) {
            unlink(path);
        }
    }
}

GThreadPool *upload_sweepers_new(Server *server)
{
    remove_leftovers(server->options->spool_path);
    return g_thread_pool_new(sweep, server, -1, FALSE, NULL);
}
