/* SPDX-License-Identifier: Apache-2.0
 * Stream out: one thread per peer sends this node's lines from the tail, from where the peer has got to. Ring1 first,
 * ring0 when that fails, with back-off; a peer that hangs costs its own thread its patience and nobody else anything.
 */
#include "node-agent/blackbox_internal.h"

#include "common/error.h"
#include "common/log.h"
#include "node-agent/join_wire.h"

#include <string.h>

#define CONNECT_TIMEOUT_S 3

typedef struct {
    BlackboxSender *sender;
    JoinWire wire;
    BlackboxClock clock;
    BlackboxPlace place; /* what the peer has */
} Stream;

/* One question and its answer, which also measures the clocks. Steals `question`. */
static json_t *exchange(Stream *stream, json_t *question, GError **error)
{
    g_autoptr(json_t) owned = question;
    gint64 t0 = g_get_real_time();
    json_object_set_new(owned, "t", json_integer(t0));
    g_autoptr(json_t) answer =
        join_wire_send(&stream->wire, owned, error) ? join_wire_receive(&stream->wire, error) : NULL;
    if (!answer || join_wire_is_error(answer, error)) {
        return NULL;
    }
    const json_t *came = json_object_get(answer, "t"), *went = json_object_get(answer, "u");
    if (json_is_integer(came) && json_is_integer(went)) {
        blackbox_clock_add(&stream->clock, t0, json_integer_value(came), json_integer_value(went), g_get_real_time());
    }
    return g_steal_pointer(&answer);
}

static gboolean hello(Stream *stream, GError **error)
{
    json_t *question =
        json_pack("{s:i,s:s}", "v", BLACKBOX_WIRE_VERSION, "blackbox", stream->sender->box->config->node);
    g_autoptr(json_t) answer = exchange(stream, question, error);
    if (!answer) {
        return FALSE;
    }
    const json_t *have = json_object_get(answer, "have");
    const char *boot = json_string_value(json_object_get(have, "boot"));
    if (json_integer_value(json_object_get(answer, "v")) != BLACKBOX_WIRE_VERSION || !boot) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED, "it speaks another version");
        return FALSE;
    }
    blackbox_place_set(&stream->place, boot, json_integer_value(json_object_get(have, "mono_us")));
    return TRUE;
}

/* Says at the place just before `first` that something is missing. */
static json_t *gap_before(const BlackboxLine *first)
{
    g_autoptr(BlackboxLine) gap =
        blackbox_line_new(BLACKBOX_GAP, first->boot, first->mono_us - 1, first->time_us, 4, "blackbox",
                          "lines are missing here: the stream was interrupted for longer than the sender's memory");
    return blackbox_line_to_json(gap);
}

static gboolean feed(Stream *stream, GError **error)
{
    Blackbox *box = stream->sender->box;
    gboolean gap = FALSE;
    g_autoptr(GPtrArray) lines =
        blackbox_tail_after(box->tail, &stream->place, BLACKBOX_BATCH_LINES, box->config->quiet_ms, &gap);
    json_t *list = json_array();
    if (gap) {
        json_array_append_new(list, gap_before(lines->pdata[0]));
    }
    for (guint i = 0; i < lines->len; i++) {
        json_array_append_new(list, blackbox_line_to_json(lines->pdata[i]));
    }
    json_t *question = json_pack("{s:o}", "lines", list);
    gint64 offset_us;
    if (blackbox_clock_best(&stream->clock, &offset_us)) {
        json_object_set_new(question, "offset_us", json_integer(offset_us));
    }
    g_autoptr(json_t) answer = exchange(stream, question, error);
    if (answer && lines->len > 0) {
        const BlackboxLine *last = lines->pdata[lines->len - 1];
        blackbox_place_set(&stream->place, last->boot, last->mono_us);
    }
    return answer != NULL;
}

static GIOStream *open_stream(BlackboxSender *sender, const char *address, GError **error)
{
    Blackbox *box = sender->box;
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_socket_client_set_timeout(client, CONNECT_TIMEOUT_S);
    g_socket_client_set_enable_proxy(client, FALSE);
    g_autoptr(GSocketConnection) connection =
        g_socket_client_connect_to_host(client, address, (guint16) box->config->port, box->cancellable, error);
    if (!connection) {
        return NULL;
    }
    g_socket_set_timeout(g_socket_connection_get_socket(connection), (guint) MAX(box->config->patience_ms / 1000, 1));
    /* The certificate must be the peer's own, not just anybody's of the cluster. */
    g_autoptr(GSocketConnectable) identity = g_network_address_new(sender->peer, (guint16) box->config->port);
    g_autoptr(GIOStream) tls = g_tls_client_connection_new(G_IO_STREAM(connection), identity, error);
    if (!tls) {
        return NULL;
    }
    g_tls_connection_set_database(G_TLS_CONNECTION(tls), box->authority);
    g_tls_connection_set_certificate(G_TLS_CONNECTION(tls), box->certificate);
    return g_tls_connection_handshake(G_TLS_CONNECTION(tls), box->cancellable, error) ? g_steal_pointer(&tls) : NULL;
}

/* Until it breaks. *ret_worked: at least the greeting was answered. */
static void stream_once(BlackboxSender *sender, const char *address, gboolean *ret_worked, GError **error)
{
    Blackbox *box = sender->box;
    g_autoptr(GIOStream) tls = blackbox_tls_load(box, error) ? open_stream(sender, address, error) : NULL;
    if (!tls) {
        return;
    }
    Stream stream = {.sender = sender};
    join_wire_init(&stream.wire, tls, box->cancellable, BLACKBOX_WIRE_LINE_MAX_BYTES);
    if (hello(&stream, error)) {
        *ret_worked = TRUE;
        log_line(LOG_LEVEL_INFO, "black box: streaming to %s (%s)", sender->peer, address);
        while (!blackbox_stopping(box) && feed(&stream, error)) {
        }
    }
    join_wire_clear(&stream.wire);
    g_io_stream_close(tls, box->cancellable, NULL);
}

/* Addresses of the peer, NULL when it is no longer in the cluster. */
static BlackboxPeer *peer_find(const BlackboxSender *sender)
{
    const BlackboxConfig *config = sender->box->config;
    g_autoptr(GPtrArray) peers = config->peers(config->user_data);
    BlackboxPeer *found = NULL;
    for (guint i = 0; i < peers->len; i++) {
        BlackboxPeer *peer = peers->pdata[i];
        if (!found && g_str_equal(peer->name, sender->peer)) {
            found = peer;
        } else {
            blackbox_peer_free(peer);
        }
    }
    return found;
}

gpointer blackbox_sender_run(gpointer user_data)
{
    BlackboxSender *sender = user_data;
    Blackbox *box = sender->box;
    int wait_ms = box->config->retry_ms;
    gboolean silent = FALSE; /* a peer that is down is said once */
    for (guint turn = 0; !blackbox_stopping(box); turn++) {
        BlackboxPeer *peer = peer_find(sender);
        if (!peer) {
            break;
        }
        g_autoptr(GError) error = NULL;
        gboolean worked = FALSE;
        guint n = g_strv_length(peer->addresses);
        stream_once(sender, peer->addresses[turn % MAX(n, 1)], &worked, &error);
        blackbox_peer_free(peer);
        if (error && (worked || !silent) && !blackbox_stopping(box)) {
            log_line(LOG_LEVEL_INFO, "black box: stream to %s ended: %s", sender->peer, error->message);
        }
        silent = !worked;
        if (worked) {
            wait_ms = box->config->retry_ms;
            turn = G_MAXUINT; /* the preferred address again */
        } else if (turn % MAX(n, 1) == MAX(n, 1) - 1) {
            wait_ms = MIN(2 * wait_ms, box->config->retry_max_ms);
        }
        blackbox_pause(box, wait_ms / 2 + g_random_int_range(0, wait_ms / 2 + 1));
    }
    g_atomic_int_set(&sender->ended, TRUE);
    return NULL;
}

void blackbox_tend(Blackbox *box, const char *peer)
{
    BlackboxSender *sender = g_hash_table_lookup(box->senders, peer);
    if (sender && g_atomic_int_get(&sender->ended)) {
        g_hash_table_remove(box->senders, peer);
        sender = NULL;
    }
    if (!sender) {
        sender = g_new0(BlackboxSender, 1);
        sender->box = box;
        sender->peer = g_strdup(peer);
        g_hash_table_insert(box->senders, g_strdup(peer), sender);
        sender->thread = g_thread_new("blackbox-out", blackbox_sender_run, sender);
    }
}
