/* SPDX-License-Identifier: Apache-2.0
 * openssl(1) driven through files of a private temporary folder. `openssl ca` is used for signing because only it can
 * back-date a certificate: a joiner whose clock is a few minutes behind must not find its own certificate "not yet
 * valid". */
#include "node-agent/setup/tls.h"

#include "cluster/node_config.h"
#include "common/error.h"
#include "common/file.h"
#include "node-agent/setup/nss.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPENSSL "/usr/bin/openssl"
#define OPENSSL_TIMEOUT_MS 30000
#define CA_YEARS 10
#define NODE_YEARS 5
#define BACKDATE_HOURS 24

static const char *const scratch_files[] = {"conf",       "request",   "certificate",   "index",
                                            "index.attr", "index.old", "index.attr.old"};

typedef struct {
    char *folder;
} Scratch;

static char *scratch_path(const Scratch *scratch, const char *name)
{
    return g_build_filename(scratch->folder, name, NULL);
}

static void scratch_clear(Scratch *scratch)
{
    for (gsize i = 0; scratch->folder && i < G_N_ELEMENTS(scratch_files); i++) {
        g_autofree char *path = scratch_path(scratch, scratch_files[i]);
        g_unlink(path);
    }
    if (scratch->folder) {
        /* `openssl ca` leaves a copy named after the serial number. */
        g_autoptr(GDir) dir = g_dir_open(scratch->folder, 0, NULL);
        const char *name;
        while (dir && (name = g_dir_read_name(dir))) {
            g_autofree char *path = scratch_path(scratch, name);
            g_unlink(path);
        }
        g_rmdir(scratch->folder);
    }
    g_clear_pointer(&scratch->folder, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Scratch, scratch_clear)

static gboolean scratch_open(Scratch *scratch, GError **error)
{
    scratch->folder = g_dir_make_tmp("holdfast-tls-XXXXXX", NULL);
    return scratch->folder || holdfast_error_set_errno(error, errno, "cannot make a temporary folder for openssl");
}

static gboolean scratch_put(const Scratch *scratch, const char *name, const char *text, GError **error)
{
    g_autofree char *path = scratch_path(scratch, name);
    return file_write_durable(path, text, -1, 0600, error);
}

static char *key_new(const SetupContext *context, GError **error)
{
    char *key = NULL;
    process_call(context->runner, OPENSSL_TIMEOUT_MS, &key, error, OPENSSL, "genpkey", "-algorithm", "EC", "-pkeyopt",
                 "ec_paramgen_curve:P-256", NULL);
    return key;
}

static gboolean key_ensure(const SetupContext *context, const char *path, int mode, const char *group, GError **error)
{
    if (setup_exists(context, path)) {
        return TRUE;
    }
    g_autofree char *key = key_new(context, error);
    return key && setup_write(context, path, key, -1, mode, group, error);
}

static char *request_new(const SetupContext *context, const char *key_path, const char *name, GError **error)
{
    g_autofree char *key_file = setup_path(context, key_path);
    g_autofree char *subject = g_strdup_printf("/O=Holdfast/CN=%s", name);
    char *request = NULL;
    process_call(context->runner, OPENSSL_TIMEOUT_MS, &request, error, OPENSSL, "req", "-new", "-sha256", "-key",
                 key_file, "-subj", subject, NULL);
    return request;
}

/* Configuration of `openssl ca`: nothing of the machine's own openssl.cnf, nothing of the request but its key and name.
 */
static char *signing_conf(const Scratch *scratch, const char *extensions)
{
    return g_strdup_printf(
        "[ca]\ndefault_ca = holdfast\n[holdfast]\ndatabase = %s/index\nnew_certs_dir = %s\nrand_serial = yes\n"
        "default_md = sha256\nunique_subject = no\ncopy_extensions = none\nemail_in_dn = no\npolicy = any\n"
        "x509_extensions = extensions\n[any]\norganizationName = optional\ncommonName = supplied\n"
        "[extensions]\nsubjectKeyIdentifier = hash\n%s",
        scratch->folder, scratch->folder, extensions);
}

static char *openssl_date(int hours, int years)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autoptr(GDateTime) shifted = g_date_time_add_hours(now, hours);
    g_autoptr(GDateTime) date = g_date_time_add_years(shifted, years);
    return g_date_time_format(date, "%Y%m%d%H%M%SZ");
}

/* Sign with the CA key; ca_cert NULL: the request is the CA's own. */
static char *certificate_sign(const SetupContext *context, const char *request, const char *extensions,
                              const char *ca_cert, int years, GError **error)
{
    g_auto(Scratch) scratch = {0};
    if (!scratch_open(&scratch, error)) {
        return NULL;
    }
    g_autofree char *conf = signing_conf(&scratch, extensions);
    if (!scratch_put(&scratch, "conf", conf, error) || !scratch_put(&scratch, "request", request, error) ||
        !scratch_put(&scratch, "index", "", error)) {
        return NULL;
    }
    g_autofree char *conf_file = scratch_path(&scratch, "conf");
    g_autofree char *request_file = scratch_path(&scratch, "request");
    g_autofree char *certificate_file = scratch_path(&scratch, "certificate");
    g_autofree char *key_file = setup_path(context, NODE_CA_KEY_FILE);
    g_autofree char *from = openssl_date(-BACKDATE_HOURS, 0);
    g_autofree char *until = openssl_date(0, years);
    const char *argv[] = {OPENSSL,
                          "ca",
                          "-batch",
                          "-notext",
                          "-config",
                          conf_file,
                          "-in",
                          request_file,
                          "-out",
                          certificate_file,
                          "-keyfile",
                          key_file,
                          "-startdate",
                          from,
                          "-enddate",
                          until,
                          ca_cert ? "-cert" : "-selfsign",
                          ca_cert,
                          NULL};
    if (!process_run_ok(context->runner, argv, NULL, OPENSSL_TIMEOUT_MS, NULL, error)) {
        return NULL;
    }
    return file_read(certificate_file, 65536, error);
}

gboolean tls_ca_ensure(const SetupContext *context, const char *cluster, GError **error)
{
    if (!key_ensure(context, NODE_CA_KEY_FILE, 0600, NULL, error)) {
        return FALSE;
    }
    if (setup_exists(context, NODE_CA_FILE)) {
        return TRUE;
    }
    g_autofree char *name = g_strdup_printf("Holdfast CA %s", cluster);
    g_autofree char *request = request_new(context, NODE_CA_KEY_FILE, name, error);
    g_autofree char *certificate =
        request ? certificate_sign(
                      context, request,
                      "basicConstraints = critical,CA:TRUE,pathlen:0\nkeyUsage = critical,keyCertSign,cRLSign\n", NULL,
                      CA_YEARS, error)
                : NULL;
    return certificate && setup_write(context, NODE_CA_FILE, certificate, -1, 0644, NULL, error);
}

gboolean tls_key_ensure(const SetupContext *context, GError **error)
{
    return key_ensure(context, NODE_KEY_FILE, 0640, "etcd", error);
}

char *tls_request(const SetupContext *context, const char *node, GError **error)
{
    return request_new(context, NODE_KEY_FILE, node, error);
}

char *tls_sign(const SetupContext *context, const char *request, const char *node, const char *ring0, const char *ring1,
               gboolean witness, GError **error)
{
    if (!g_str_has_prefix(request, "-----BEGIN CERTIFICATE REQUEST-----")) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "csr: must be a PEM certificate signing request");
        return NULL;
    }
    g_autofree char *ca_cert = setup_path(context, NODE_CA_FILE);
    g_autofree char *second = ring1 && strcmp(ring1, ring0) != 0 ? g_strdup_printf(",IP:%s", ring1) : g_strdup("");
    g_autofree char *extensions = g_strdup_printf(
        "authorityKeyIdentifier = keyid\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n"
        "extendedKeyUsage = serverAuth,clientAuth\nsubjectAltName = DNS:%s,DNS:localhost,IP:%s%s,IP:127.0.0.1%s\n",
        node, ring0, second, witness ? ",DNS:" NSS_QNETD_NAME : "");
    return certificate_sign(context, request, extensions, ca_cert, NODE_YEARS, error);
}

char *tls_client_certificate(const SetupContext *context, const char *cluster, GError **error)
{
    g_autofree char *ca_cert = setup_path(context, NODE_CA_FILE);
    g_autofree char *request = request_new(context, NODE_KEY_FILE, cluster, error);
    g_autofree char *extensions = g_strdup_printf(
        "authorityKeyIdentifier = keyid\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n"
        "extendedKeyUsage = clientAuth\nsubjectAltName = DNS:%s\n",
        cluster);
    return request ? certificate_sign(context, request, extensions, ca_cert, NODE_YEARS, error) : NULL;
}

static gboolean qemu_copy(const SetupContext *context, const char *from, const char *name, GError **error)
{
    g_autofree char *text = setup_read(context, from, error);
    g_autofree char *path = g_strconcat(SETUP_QEMU_TLS_PATH "/", name, NULL);
    return text && setup_write(context, path, text, -1, 0600, NULL, error);
}

gboolean tls_qemu_folder(const SetupContext *context, GError **error)
{
    g_autofree char *folder = setup_path(context, SETUP_QEMU_TLS_PATH);
    if (g_mkdir_with_parents(folder, 0700) != 0 || chmod(folder, 0700) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot make folder %s", folder);
    }
    return qemu_copy(context, NODE_CA_FILE, "ca-cert.pem", error) &&
           qemu_copy(context, NODE_CERT_FILE, "server-cert.pem", error) &&
           qemu_copy(context, NODE_KEY_FILE, "server-key.pem", error) &&
           qemu_copy(context, NODE_CERT_FILE, "client-cert.pem", error) &&
           qemu_copy(context, NODE_KEY_FILE, "client-key.pem", error);
}
