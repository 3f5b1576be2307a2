/* SPDX-License-Identifier: Apache-2.0
 * The wire format of peer.c: one JSON object per CPG message. Pure.
 *   {"v":1,"t":"call","from":1,"to":2,"seq":77,"verb":"replica.prepare","args":{...}}
 *   {"v":1,"t":"reply","from":2,"to":1,"seq":77,"ok":true,"result":...}
 *   {"v":1,"t":"reply","from":2,"to":1,"seq":77,"ok":false,"error":{"code":"refused","message":"..."}} */
#pragma once

#include "common/json.h"

#define PEER_MESSAGE_MAX_BYTES (64u * 1024)

typedef struct {
    gboolean is_call;
    guint32 from, to;
    gint64 seq;
    char *verb;     /* calls */
    json_t *args;   /* calls: an object */
    json_t *result; /* successful replies, may be JSON null */
    GError *error;  /* failed replies */
} PeerMessage;

void peer_message_clear(PeerMessage *message);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PeerMessage, peer_message_clear)

/* NO_SPACE when the text is over PEER_MESSAGE_MAX_BYTES. Callers own the bytes. A NULL `args` or `result` is written as
 * {} or null. */
GBytes *peer_message_encode(const PeerMessage *message, GError **error);
/* INVALID for anything that is not exactly one of the three forms. `out` zeroed by the caller. */
gboolean peer_message_decode(const char *data, gsize length, PeerMessage *out, GError **error);
