/* SPDX-License-Identifier: Apache-2.0
 * Stream in: a peer's lines go to its ring file here. The peer proves who it is by its certificate; what it sends is
 * checked line by line, and it gets bounded threads, memory, disk and time, whatever it does. */
#include "node-agent/blackbox_internal.h"

#include "common/error.h"
#include "common/log.h"
#include "node-agent/join_wire.h"

#define CONNECTIONS_MAX 80 /* a cell has at most 32 nodes; an old connection of each may be dying */
#define STRANGER_TIME_S 10
/* A new mark: at once when a clock was set, seldom when it drifts or is measured badly, and now and then anyway. */
#define CLOCK_SET_US 1000000
#define CLOCK_DRIFT_US 10000
#define CLOCK_DRIFT_EVERY_US (60 * (gint64) G_USEC_PER_SEC)
#define CLOCK_MARK_US (600 * (gint64) G_USEC_PER_SEC)
#define SYNC_US (10 * G_USEC_PER_SEC) /* so much of the peers' lines may be lost when the whole cluster loses power */
#define THROTTLE_US 10000             /* between two messages with lines: 4800 lines a second are plenty */

typedef struct {
    Blackbox *box;
    GCancellable *cancellable;
    char *node; /* NULL until it is known */
    BlackboxRing *ring;
    gint64 clock_us, clock_at_us; /* the last mark; at 0: none */
    gint64 heard_us, synced_us;
} Visit;

static gboolean invalid(GError **error, const char *text)
{
    g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, text);
    return FALSE;
}

static gboolean is_peer(Blackbox *box, const char *name)
{
    g_autoptr(GPtrArray) peers = box->config->peers(box->config->user_data);
    g_ptr_array_set_free_func(peers, (GDestroyNotify) blackbox_peer_free);
    for (guint i = 0; name && i < peers->len; i++) {
        if (g_str_equal(((const BlackboxPeer *) peers->pdata[i])->name, name)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* --- signs of life
 * ----------------------------------------------------------------------------------------------------------- */

/* A newer connection of the same node replaces the older one, which may hang. */
static void visit_register(Visit *visit)
{
    Blackbox *box = visit->box;
    g_mutex_lock(&box->lock);
    BlackboxSign *sign = g_hash_table_lookup(box->signs, visit->node);
    if (!sign) {
        sign = g_new0(BlackboxSign, 1);
        g_hash_table_insert(box->signs, g_strdup(visit->node), sign);
    }
    if (sign->stream) {
        g_cancellable_cancel(sign->stream);
    }
    g_set_object(&sign->stream, visit->cancellable);
    g_mutex_unlock(&box->lock);
}

static void visit_heard(Visit *visit)
{
    visit->heard_us = g_get_real_time();
    g_mutex_lock(&visit->box->lock);
    BlackboxSign *sign = g_hash_table_lookup(visit->box->signs, visit->node);
    sign->heard_us = visit->heard_us;
    g_mutex_unlock(&visit->box->lock);
}

static void visit_unregister(Visit *visit)
{
    g_mutex_lock(&visit->box->lock);
    BlackboxSign *sign = g_hash_table_lookup(visit->box->signs, visit->node);
    if (sign && sign->stream == visit->cancellable) {
        g_clear_object(&sign->stream);
    }
    g_mutex_unlock(&visit->box->lock);
}

/* --- lines
 * -------------------------------------------------------------------------------------------------------------------
 */

static void keep(Visit *visit, const BlackboxLine *line)
{
    g_autoptr(GError) error = NULL;
    if (!blackbox_ring_append(visit->ring, line, &error) && error) {
        log_line(LOG_LEVEL_WARNING, "black box: lines of %s are not kept: %s", visit->node, error->message);
    }
}

static void keep_mark(Visit *visit, BlackboxKind kind, gint64 time_us, gint64 offset_us, const char *text)
{
    g_autoptr(BlackboxLine) mark = blackbox_line_new(kind, "", 0, time_us, 6, "blackbox", text);
    mark->offset_us = offset_us;
    keep(visit, mark);
}

static void follow_clock(Visit *visit, const json_t *offset)
{
    gint64 offset_us = json_integer_value(offset);
    if (!json_is_integer(offset) || ABS(offset_us) > G_MAXINT64 / 4) {
        return;
    }
    gint64 now_us = g_get_monotonic_time(), age_us = now_us - visit->clock_at_us;
    gint64 change_us = ABS(offset_us - visit->clock_us);
    if (visit->clock_at_us != 0 && change_us < CLOCK_SET_US && age_us < CLOCK_MARK_US &&
        (change_us < CLOCK_DRIFT_US || age_us < CLOCK_DRIFT_EVERY_US)) {
        return;
    }
    visit->clock_us = offset_us;
    visit->clock_at_us = now_us;
    keep_mark(visit, BLACKBOX_CLOCK, g_get_real_time(), offset_us, "");
}

static gboolean keep_lines(Visit *visit, const json_t *lines, GError **error)
{
    if (!json_is_array(lines) || json_array_size(lines) > BLACKBOX_BATCH_LINES + 1) {
        return invalid(error, "lines: must be an array of a few lines");
    }
    for (size_t i = 0; i < json_array_size(lines); i++) {
        g_autoptr(BlackboxLine) line = blackbox_line_from_json(json_array_get(lines, i), error);
        if (!line) {
            return FALSE;
        }
        if (line->kind != BLACKBOX_LOG && line->kind != BLACKBOX_GAP) {
            return invalid(error, "lines: k must be log or gap");
        }
        keep(visit, line);
    }
    return TRUE;
}

static gboolean answer(JoinWire *wire, json_t *object, gint64 came_us, GError **error)
{
    g_autoptr(json_t) owned = object;
    json_object_set_new(owned, "t", json_integer(came_us));
    json_object_set_new(owned, "u", json_integer(g_get_real_time()));
    return join_wire_send(wire, owned, error);
}

static gboolean greet(Visit *visit, JoinWire *wire, const char *proven, GError **error)
{
    g_autoptr(json_t) question = join_wire_receive(wire, error);
    gint64 came_us = g_get_real_time();
    if (!question) {
        return FALSE;
    }
    if (json_integer_value(json_object_get(question, "v")) != BLACKBOX_WIRE_VERSION) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED,
                            "v: this node speaks version 1 of the black box's stream");
        return FALSE;
    }
    if (g_strcmp0(json_string_value(json_object_get(question, "blackbox")), proven) != 0) {
        return invalid(error, "blackbox: must be the node that the certificate names");
    }
    visit->node = g_strdup(proven);
    visit->ring = blackbox_ring(visit->box, proven);
    visit_register(visit);
    visit_heard(visit);
    BlackboxPlace place = blackbox_ring_place(visit->ring);
    return answer(wire,
                  json_pack("{s:i,s:{s:s,s:I}}", "v", BLACKBOX_WIRE_VERSION, "have", "boot", place.boot, "mono_us",
                            (json_int_t) place.mono_us),
                  came_us, error);
}

static gboolean take_one(Visit *visit, JoinWire *wire, GError **error)
{
    g_autoptr(json_t) message = join_wire_receive(wire, error);
    gint64 came_us = g_get_real_time();
    if (!message) {
        return FALSE;
    }
    const json_t *lines = json_object_get(message, "lines");
    follow_clock(visit, json_object_get(message, "offset_us"));
    if (!keep_lines(visit, lines, error) || !answer(wire, json_object(), came_us, error)) {
        return FALSE;
    }
    visit_heard(visit);
    if (came_us - visit->synced_us > SYNC_US || came_us < visit->synced_us) {
        visit->synced_us = came_us;
        blackbox_ring_sync(visit->ring);
    }
    if (json_array_size(lines) > 0) {
        g_usleep(THROTTLE_US);
    }
    return TRUE;
}

static void serve(Visit *visit, GIOStream *tls, GError **error)
{
    g_auto(JoinWire) wire = {0};
    join_wire_init(&wire, tls, visit->cancellable, BLACKBOX_WIRE_LINE_MAX_BYTES);
    g_autofree char *proven = blackbox_tls_peer_name(G_TLS_CONNECTION(tls));
    g_autoptr(GError) problem = NULL;
    if (!is_peer(visit->box, proven)) {
        g_set_error(&problem, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED, "'%s' is not another node of this cluster",
                    proven ? proven : "");
    } else if (greet(visit, &wire, proven, &problem)) {
        while (take_one(visit, &wire, &problem)) {
        }
    }
    if (!g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE)) {
        g_autoptr(json_t) refusal = join_wire_error(problem);
        join_wire_send(&wire, refusal, NULL);
    }
    if (visit->node) {
        keep_mark(visit, BLACKBOX_HEARD, visit->heard_us, 0, "the stream ended");
        blackbox_ring_sync(visit->ring);
        visit_unregister(visit);
    }
    g_propagate_error(error, g_steal_pointer(&problem));
}

/* --- connections
 * ------------------------------------------------------------------------------------------------------------- */

static gboolean on_time_over(gpointer cancellable)
{
    g_cancellable_cancel(cancellable);
    return G_SOURCE_REMOVE;
}

static GSource *stranger_timer(const Visit *visit)
{
    GSource *timer = g_timeout_source_new_seconds(STRANGER_TIME_S);
    g_source_set_callback(timer, on_time_over, g_object_ref(visit->cancellable), g_object_unref);
    g_source_attach(timer, visit->box->main_context);
    return timer;
}

/* GIO leaves a server's verdict on a client's certificate to this: no fault found by the database is a yes. */
static gboolean on_certificate(GTlsConnection *tls G_GNUC_UNUSED, GTlsCertificate *certificate G_GNUC_UNUSED,
                               GTlsCertificateFlags faults, gpointer user_data G_GNUC_UNUSED)
{
    return faults == 0;
}

/* Only who has a certificate of this cluster's CA gets through. */
static GIOStream *shake_hands(const Visit *visit, GSocketConnection *connection, GError **error)
{
    Blackbox *box = visit->box;
    if (!blackbox_tls_load(box, error)) {
        return NULL;
    }
    g_autoptr(GIOStream) tls = g_tls_server_connection_new(G_IO_STREAM(connection), box->certificate, error);
    if (!tls) {
        return NULL;
    }
    g_object_set(tls, "authentication-mode", G_TLS_AUTHENTICATION_REQUIRED, NULL);
    g_tls_connection_set_database(G_TLS_CONNECTION(tls), box->authority);
    g_signal_connect(tls, "accept-certificate", G_CALLBACK(on_certificate), NULL);
    GSource *timer = stranger_timer(visit);
    gboolean ok = g_tls_connection_handshake(G_TLS_CONNECTION(tls), visit->cancellable, error);
    g_source_destroy(timer);
    g_source_unref(timer);
    return ok ? g_steal_pointer(&tls) : NULL;
}

static gboolean visit_begin(Blackbox *box)
{
    g_mutex_lock(&box->lock);
    gboolean welcome = !blackbox_stopping(box);
    box->visits += welcome ? 1 : 0;
    g_mutex_unlock(&box->lock);
    return welcome;
}

static void visit_end(Blackbox *box)
{
    g_mutex_lock(&box->lock);
    box->visits--;
    g_cond_broadcast(&box->idle);
    g_mutex_unlock(&box->lock);
}

static void on_box_stops(GCancellable *all G_GNUC_UNUSED, gpointer cancellable)
{
    g_cancellable_cancel(cancellable);
}

static void visit_run(Visit *visit, GSocketConnection *connection)
{
    Blackbox *box = visit->box;
    g_autoptr(GError) error = NULL;
    gulong link = g_cancellable_connect(box->cancellable, G_CALLBACK(on_box_stops), g_object_ref(visit->cancellable),
                                        g_object_unref);
    g_socket_set_timeout(g_socket_connection_get_socket(connection), (guint) MAX(box->config->patience_ms / 1000, 1));
    g_autoptr(GIOStream) tls = shake_hands(visit, connection, &error);
    if (tls) {
        serve(visit, tls, &error);
        g_io_stream_close(tls, visit->cancellable, NULL);
    }
    if (visit->node || !error || g_error_matches(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED)) {
        log_line(LOG_LEVEL_INFO, "black box: stream from %s ended: %s", visit->node ? visit->node : "a stranger",
                 error ? error->message : "closed");
    }
    g_cancellable_disconnect(box->cancellable, link);
}

static gboolean on_run(GThreadedSocketService *service G_GNUC_UNUSED, GSocketConnection *connection,
                       GObject *source G_GNUC_UNUSED, gpointer user_data)
{
    Blackbox *box = user_data;
    if (!visit_begin(box)) {
        return TRUE;
    }
    Visit visit = {.box = box, .cancellable = g_cancellable_new()};
    visit_run(&visit, connection);
    g_object_unref(visit.cancellable);
    g_free(visit.node);
    visit_end(box);
    return TRUE;
}

static void on_handler_gone(gpointer box, GClosure *closure G_GNUC_UNUSED)
{
    blackbox_unref(box);
}

gboolean blackbox_listen(Blackbox *box, const char *address, int *ret_port, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(GSocketService) service = g_threaded_socket_service_new(CONNECTIONS_MAX);
    g_autoptr(GSocketAddress) wanted = g_inet_socket_address_new_from_string(address, (guint) box->config->port);
    g_autoptr(GSocketAddress) bound = NULL;
    if (!wanted || !g_socket_listener_add_address(G_SOCKET_LISTENER(service), wanted, G_SOCKET_TYPE_STREAM,
                                                  G_SOCKET_PROTOCOL_TCP, NULL, &bound, &problem)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "cannot listen on %s:%d: %s", address,
                    box->config->port, problem ? problem->message : "not an address");
        return FALSE;
    }
    if (ret_port) {
        *ret_port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
    }
    blackbox_ref(box);
    g_signal_connect_data(service, "run", G_CALLBACK(on_run), box, on_handler_gone, 0);
    g_socket_service_start(service);
    g_ptr_array_add(box->services, g_steal_pointer(&service));
    return TRUE;
}
