/* SPDX-License-Identifier: Apache-2.0
 * Who is asking: the peer's uid on the unix socket, a bearer token on TCP. */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* Whether the process at the other end of unix socket `fd` is root or of this process's own uid. DENIED otherwise. Sets
 * *ret_user to a name for logs ("root", "uid 990"); caller frees. */
gboolean auth_check_peer(int fd, char **ret_user, GError **error);

/* Whether `header` (the Authorization header, NULL: none) holds the token of the file. DENIED otherwise, also when the
 * file is missing or too short; compared in constant time. The file is read each time, so a new token counts at once.
 */
gboolean auth_check_token(const char *header, const char *token_path, GError **error);
