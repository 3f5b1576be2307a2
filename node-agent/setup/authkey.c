/* SPDX-License-Identifier: Apache-2.0
 * corosync's shared key. */
#include "node-agent/setup/authkey.h"

#include "common/error.h"

#include <string.h>
#include <sys/random.h>

#define AUTHKEY_MIN_BYTES 128 /* what corosync demands */
#define AUTHKEY_MAX_BYTES 4096

gboolean authkey_ensure(const SetupContext *context, GError **error)
{
    char key[AUTHKEY_BYTES];
    if (setup_exists(context, SETUP_AUTHKEY_PATH)) {
        return TRUE;
    }
    if (getrandom(key, sizeof(key), 0) != (ssize_t) sizeof(key)) {
        g_error("the kernel gave no random bytes");
    }
    gboolean ok = setup_write(context, SETUP_AUTHKEY_PATH, key, sizeof(key), 0400, NULL, error);
    explicit_bzero(key, sizeof(key));
    return ok;
}

char *authkey_read(const char *path, gsize *ret_length, GError **error)
{
    g_autoptr(GError) problem = NULL;
    char *key = NULL;
    if (!g_file_get_contents(path, &key, ret_length, &problem)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "cannot read corosync's key: %s", problem->message);
        return NULL;
    }
    return key;
}

gboolean authkey_install(const SetupContext *context, const char *base64, GError **error)
{
    gsize length = 0;
    g_autofree guchar *key = g_base64_decode(base64, &length);
    if (length < AUTHKEY_MIN_BYTES || length > AUTHKEY_MAX_BYTES) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "authkey: %" G_GSIZE_FORMAT " bytes, corosync wants %d to %d", length, AUTHKEY_MIN_BYTES,
                    AUTHKEY_MAX_BYTES);
        return FALSE;
    }
    return setup_write(context, SETUP_AUTHKEY_PATH, (const char *) key, (gssize) length, 0400, NULL, error);
}
