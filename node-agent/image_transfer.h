/* SPDX-License-Identifier: Apache-2.0
 * An image from one node to another. Every holdfastd serves the images it holds on port 7422 of its cluster and its
 * replication network, over TLS where both sides show a certificate of the cluster's CA. Nothing else can be asked for
 * there.
 *
 *   C: {"v":1,"image":"debian","sha256":"..."}    S: {"size":BYTES,"data":BYTES of it that are not holes}
 *   C: {"go":true}                                S: frames, binary
 *   S: {"error":{"code","message"}} instead of its answer; the connection then ends.
 *
 * A frame is offset and length (64-bit, big endian) and that many bytes; zeros are left out; length 0 ends the image. A
 * copy that was cut off begins anew: it is whole only when its SHA-256, read back from the disk, is the one from the
 * import. */
#pragma once

#include "node-agent/setup/context.h"

#include <gio/gio.h>

#define IMAGE_PORT 7422

/* Whether this node has `image` with that SHA-256. Called in the connections' threads. */
typedef gboolean (*ImageOffered)(const char *image, const char *sha256, gpointer user_data);

typedef struct ImageServer ImageServer;
/* Listen on `addresses` (NULL-terminated; port 0 in tests: any free one). `context` tells where the certificates are;
 * it, `folder` and user_data are borrowed. Accepts in the caller's thread-default main context. */
ImageServer *image_server_new(const SetupContext *context, const char *const *addresses, int port, const char *folder,
                              ImageOffered offered, gpointer user_data, GError **error);
int image_server_port(const ImageServer *server);
/* No new connections from now on; those under way end by themselves. */
void image_server_free(ImageServer *server);

typedef void (*ImageReceived)(gint64 done_bytes, gint64 total_bytes, gpointer user_data);
typedef struct {
    const SetupContext *context;
    const char *const *addresses; /* of the other node, tried in this order */
    int port;
    const char *node; /* its name, which its certificate must have */
    const char *folder, *image, *sha256;
    gint64 size_bytes;
    ImageReceived on_received; /* may be NULL */
    gpointer user_data;
    GCancellable *cancellable; /* may be NULL */
} ImageFetch;
/* Fetch one image into `folder` and put it in place. Blocks. UNAVAILABLE: the node cannot be reached or hung up;
 * FAILED: its copy is damaged; NOT_FOUND: it has none; NO_SPACE, CANCELLED. Nothing is left behind. */
gboolean image_fetch(const ImageFetch *fetch, GError **error);
