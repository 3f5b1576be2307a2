/* SPDX-License-Identifier: Apache-2.0
 * TLS certificates for one migration. The run folder belongs to the guest's uid in part (it must create sockets there),
 * and that uid is what a guest that broke out of QEMU has. So the way to the node's key goes through two root-owned
 * entries in a sticky folder, which that uid can neither replace nor remove: `tls`, a link to the node's folder, and
 * `tls.d`, into which the key is copied only while QEMU reads it. */
#include "vmm/qemu/qemu.h"

#include "common/error.h"
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TLS_OBJECT "holdfast-tls"
#define AUTHZ_OBJECT "holdfast-authz"
#define DH_PARAMS "dh-params.pem"
#define FILE_MAX_BYTES (256u * 1024)

static const char *const endpoint_names[] = {[QEMU_TLS_CLIENT] = "client", [QEMU_TLS_SERVER] = "server"};

/* The link made at launch; only one that its maker owns is believed. */
static char *source_folder(const char *run_folder, GError **error)
{
    g_autofree char *link = g_build_filename(run_folder, "tls", NULL);
    struct stat status;
    if (lstat(link, &status) != 0 || !S_ISLNK(status.st_mode) || status.st_uid != geteuid()) {
        g_set_error(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
            "%s is not there: the guest was started without migration certificates; restart it to make it movable",
            link);
        return NULL;
    }
    return g_file_read_link(link, error);
}

static gboolean file_copy(const char *from_folder, const char *to_folder, const char *name, gid_t gid, GError **error)
{
    g_autofree char *from = g_build_filename(from_folder, name, NULL);
    g_autofree char *to = g_build_filename(to_folder, name, NULL);
    g_autofree char *content = file_read(from, FILE_MAX_BYTES, error);
    if (!content) {
        return FALSE;
    }
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    gsize length = strlen(content);
    gboolean ok = fd >= 0 && fchown(fd, (uid_t) -1, gid) == 0 && fchmod(fd, 0640) == 0 &&
                  write(fd, content, length) == (ssize_t) length;
    int err = errno;
    if (fd >= 0) {
        close(fd);
    }
    explicit_bzero(content, length);
    return ok || holdfast_error_set_errno(error, err, "cannot write %s", to);
}

/* The group ffdhe2048 of RFC 7919. Without this file QEMU makes Diffie-Hellman parameters of its own at every incoming
 * migration: a second on good hardware, minutes under emulation, with its monitor deaf meanwhile. */
static const char dh_params[] = "-----BEGIN DH PARAMETERS-----\n"
                                "MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz\n"
                                "+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a\n"
                                "87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7\n"
                                "YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi\n"
                                "7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD\n"
                                "ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==\n"
                                "-----END DH PARAMETERS-----\n";

static gboolean dh_params_write(const char *folder, gid_t gid, GError **error)
{
    g_autofree char *path = g_build_filename(folder, DH_PARAMS, NULL);
    if (!file_write_durable(path, dh_params, -1, 0640, error)) {
        return FALSE;
    }
    return chown(path, geteuid(), gid) == 0 ||
           holdfast_error_set_errno(error, errno, "cannot give %s to the guest", path);
}

static void copies_remove(const char *folder)
{
    static const char *const names[] = {"ca-cert.pem",     "client-cert.pem", "client-key.pem",
                                        "server-cert.pem", "server-key.pem",  DH_PARAMS};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);
        unlink(path);
    }
}

static gboolean copies_make(const char *run_folder, const char *folder, const char *endpoint, GError **error)
{
    g_autofree char *source = source_folder(run_folder, error);
    struct stat status;
    if (!source) {
        return FALSE;
    }
    if (lstat(folder, &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != geteuid()) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "%s is not the folder made at launch", folder);
        return FALSE;
    }
    g_autofree char *certificate = g_strdup_printf("%s-cert.pem", endpoint);
    g_autofree char *key = g_strdup_printf("%s-key.pem", endpoint);
    copies_remove(folder);
    return file_copy(source, folder, "ca-cert.pem", status.st_gid, error) &&
           file_copy(source, folder, certificate, status.st_gid, error) &&
           file_copy(source, folder, key, status.st_gid, error) && dh_params_write(folder, status.st_gid, error);
}

void qemu_credentials_remove(Qmp *qmp)
{
    qmp_run(qmp, "object-del", json_pack("{s:s}", "id", TLS_OBJECT), NULL);
    qmp_run(qmp, "object-del", json_pack("{s:s}", "id", AUTHZ_OBJECT), NULL);
}

/* Whom the listening side lets in: the certificate's distinguished name must hold CN=<peer>, wherever the CA put it.
 * Node names have no character that means something to a glob. */
static json_t *peer_rules(const char *peer_name)
{
    g_autofree char *only = g_strdup_printf("CN=%s", peer_name);
    g_autofree char *first = g_strdup_printf("CN=%s,*", peer_name);
    g_autofree char *last = g_strdup_printf("*,CN=%s", peer_name);
    return json_pack("[{s:s,s:s,s:s},{s:s,s:s,s:s},{s:s,s:s,s:s}]", "match", only, "policy", "allow", "format", "exact",
                     "match", first, "policy", "allow", "format", "glob", "match", last, "policy", "allow", "format",
                     "glob");
}

static gboolean objects_add(Qmp *qmp, const char *folder, QemuTlsEndpoint endpoint, const char *peer_name,
                            GError **error)
{
    qemu_credentials_remove(qmp);
    if (!qmp_run(qmp, "object-add",
                 json_pack("{s:s, s:s, s:s, s:s, s:b}", "qom-type", "tls-creds-x509", "id", TLS_OBJECT, "dir", folder,
                           "endpoint", endpoint_names[endpoint], "verify-peer", 1),
                 error)) {
        return FALSE;
    }
    if (endpoint == QEMU_TLS_CLIENT) {
        return qmp_run(qmp, "migrate-set-parameters",
                       json_pack("{s:s, s:s}", "tls-creds", TLS_OBJECT, "tls-hostname", peer_name), error);
    }
    return qmp_run(qmp, "object-add",
                   json_pack("{s:s, s:s, s:s, s:o}", "qom-type", "authz-list", "id", AUTHZ_OBJECT, "policy", "deny",
                             "rules", peer_rules(peer_name)),
                   error) &&
           qmp_run(qmp, "migrate-set-parameters",
                   json_pack("{s:s, s:s}", "tls-creds", TLS_OBJECT, "tls-authz", AUTHZ_OBJECT), error);
}

gboolean qemu_credentials_add(Qmp *qmp, const char *run_folder, QemuTlsEndpoint endpoint, const char *peer_name,
                              GError **error)
{
    g_autofree char *folder = g_build_filename(run_folder, "tls.d", NULL);
    gboolean ok = copies_make(run_folder, folder, endpoint_names[endpoint], error) &&
                  objects_add(qmp, folder, endpoint, peer_name, error);
    copies_remove(folder);
    return ok;
}
