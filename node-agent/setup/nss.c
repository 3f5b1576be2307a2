/* SPDX-License-Identifier: Apache-2.0
 * NSS databases, made by certutil and pk12util in a folder beside and put in place by rename. */
#include "node-agent/setup/nss.h"

#include "cluster/node_config.h"
#include "common/error.h"
#include "node-agent/setup/tls.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#define TOOL_TIMEOUT_MS 30000
#define TRANSPORT_PASSWORD "holdfast" /* of a file only root can read, for as long as it takes to import it */

/* Run a tool and demand success. */
#define nss_tool(context, error, ...) process_call((context)->runner, TOOL_TIMEOUT_MS, NULL, error, __VA_ARGS__, NULL)

static gboolean remove_tree(const SetupContext *context, const char *folder, GError **error)
{
    return nss_tool(context, error, "/bin/rm", "-rf", "--one-file-system", "--", folder);
}

/* Certificate and key under `nickname`, and the CA, in a new database at `folder`. */
static gboolean database_fill(const SetupContext *context, const char *folder, const char *certificate_file,
                              const char *nickname, GError **error)
{
    g_autofree char *database = g_strconcat("sql:", folder, NULL);
    g_autofree char *bundle = g_strconcat(folder, "/import.p12", NULL);
    g_autofree char *ca = setup_path(context, NODE_CA_FILE);
    g_autofree char *key = setup_path(context, NODE_KEY_FILE);
    gboolean ok = nss_tool(context, error, "/usr/bin/certutil", "-N", "-d", database, "--empty-password") &&
                  nss_tool(context, error, "/usr/bin/certutil", "-A", "-d", database, "-n", "QNet CA", "-t", "CT,c,c",
                           "-i", ca) &&
                  nss_tool(context, error, "/usr/bin/openssl", "pkcs12", "-export", "-in", certificate_file, "-inkey",
                           key, "-name", nickname, "-passout", "pass:" TRANSPORT_PASSWORD, "-out", bundle) &&
                  nss_tool(context, error, "/usr/bin/pk12util", "-d", database, "-i", bundle, "-W", TRANSPORT_PASSWORD);
    g_unlink(bundle);
    return ok;
}

static gboolean database_make(const SetupContext *context, const char *path, const char *certificate_file,
                              const char *nickname, const char *group, GError **error)
{
    g_autofree char *place = setup_path(context, path);
    g_autofree char *fresh = g_strconcat(place, ".new", NULL);
    if (!remove_tree(context, fresh, error)) {
        return FALSE;
    }
    if (g_mkdir_with_parents(fresh, 0700) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot make folder %s", fresh);
    }
    if (!database_fill(context, fresh, certificate_file, nickname, error)) {
        return FALSE;
    }
    if (group && !context->testing &&
        (!nss_tool(context, error, "/bin/chgrp", "-R", group, fresh) ||
         !nss_tool(context, error, "/bin/chmod", "-R", "g+rX", fresh))) {
        return FALSE;
    }
    if (!remove_tree(context, place, error)) {
        return FALSE;
    }
    return g_rename(fresh, place) == 0 || holdfast_error_set_errno(error, errno, "cannot put %s in place", place);
}

gboolean nss_qnetd_make(const SetupContext *context, GError **error)
{
    g_autofree char *certificate = setup_path(context, NODE_CERT_FILE);
    return database_make(context, NSS_QNETD_PATH, certificate, "QNetd Cert", "coroqnetd", error);
}

gboolean nss_qdevice_ensure(const SetupContext *context, const char *cluster, GError **error)
{
    if (setup_exists(context, NSS_QDEVICE_PATH "/cert9.db")) {
        return TRUE;
    }
    g_autofree char *certificate = tls_client_certificate(context, cluster, error);
    g_autofree char *file = setup_path(context, "/etc/holdfast/tls/qdevice.crt");
    return certificate && setup_write(context, "/etc/holdfast/tls/qdevice.crt", certificate, -1, 0644, NULL, error) &&
           database_make(context, NSS_QDEVICE_PATH, file, "Cluster Cert", NULL, error);
}
