/* SPDX-License-Identifier: Apache-2.0
 * Authentication. */
#include "webui-api/server/auth.h"

#include "common/error.h"
#include "common/file.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOKEN_MIN_CHARACTERS 16
#define TOKEN_FILE_MAX_BYTES 4096

gboolean auth_check_peer(int fd, char **ret_user, GError **error)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || (peer.uid != 0 && peer.uid != geteuid())) {
        g_set_error_literal(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED,
            "only root may use this socket: run the command with sudo, or use the TCP listener with a token");
        return FALSE;
    }
    *ret_user = peer.uid == 0 ? g_strdup("root") : g_strdup_printf("uid %u", peer.uid);
    return TRUE;
}

/* Equal length digests of both sides are compared without a branch: time tells nothing about the token or its length.
 */
static gboolean texts_equal(const char *a, const char *b)
{
    guint8 left[32], right[32];
    gsize left_length = sizeof left, right_length = sizeof right;
    g_autoptr(GChecksum) left_sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autoptr(GChecksum) right_sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_checksum_update(left_sum, (const guchar *) a, -1);
    g_checksum_update(right_sum, (const guchar *) b, -1);
    g_checksum_get_digest(left_sum, left, &left_length);
    g_checksum_get_digest(right_sum, right, &right_length);
    guint8 difference = 0;
    for (gsize i = 0; i < sizeof left; i++) {
        difference |= left[i] ^ right[i];
    }
    return difference == 0;
}

gboolean auth_check_token(const char *header, const char *token_path, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *token = file_read(token_path, TOKEN_FILE_MAX_BYTES, &problem);
    if (!token || strlen(g_strstrip(token)) < TOKEN_MIN_CHARACTERS) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED,
                    "no API token is set up on this node, so nobody gets in over TCP: write one of at least %d "
                    "characters to %s "
                    "(%s), or use `holdfast` as root on the node",
                    TOKEN_MIN_CHARACTERS, token_path, problem ? problem->message : "it is too short");
        return FALSE;
    }
    if (!header || g_ascii_strncasecmp(header, "Bearer ", 7) != 0) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED,
                            "a token is needed: send the header 'Authorization: Bearer TOKEN'");
        return FALSE;
    }
    g_autofree char *given = g_strdup(header + 7);
    if (!texts_equal(g_strstrip(given), token)) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED, "the token is wrong");
        return FALSE;
    }
    return TRUE;
}
