/* SPDX-License-Identifier: Apache-2.0
 * The join listener. Strangers may connect, so until a joiner has proved its token a connection gets little time and
 * short lines, and the number of threads is bounded. */
#include "node-agent/join.h"

#include "common/error.h"
#include "common/json.h"
#include "node-agent/join_admit.h"
#include "node-agent/join_session.h"

#define CONNECTIONS_MAX 8
#define STRANGER_LINE_MAX_BYTES (16u * 1024) /* a request with its CSR */
#define STRANGER_TIME_S 15
#define TRUSTED_TIME_S 1800
#define READ_TIMEOUT_S 60 /* a joiner pings while it waits for its daemons */

struct JoinServer {
    gint references; /* atomic: the owner's, and one of the signal handler that may be starting a thread just now */
    const SetupContext *context;
    Store *store;
    const NodeConfig *self;
    GMainContext *main_context;
    GTlsCertificate *certificate;
    GSocketService *service;
    int port;
    GMutex mutex;
    GCond empty;
    gboolean stopping;       /* mutex */
    GPtrArray *cancellables; /* mutex: of the running connections, borrowed */
};

typedef struct {
    JoinServer *server;
    GCancellable *cancellable;
    GSource *timer;
} Visit;

static gboolean on_time_over(gpointer cancellable)
{
    g_cancellable_cancel(cancellable);
    return G_SOURCE_REMOVE;
}

static void visit_allow(Visit *visit, guint seconds)
{
    if (visit->timer) {
        g_source_destroy(visit->timer);
        g_clear_pointer(&visit->timer, g_source_unref);
    }
    if (seconds > 0) {
        visit->timer = g_timeout_source_new_seconds(seconds);
        g_source_set_callback(visit->timer, on_time_over, g_object_ref(visit->cancellable), g_object_unref);
        g_source_attach(visit->timer, visit->server->main_context);
    }
}

static void on_trusted(gpointer user_data)
{
    visit_allow(user_data, TRUSTED_TIME_S);
}

static gboolean visit_serve(Visit *visit, GSocketConnection *connection, GError **error)
{
    JoinServer *server = visit->server;
    g_socket_set_timeout(g_socket_connection_get_socket(connection), READ_TIMEOUT_S);
    g_autoptr(GIOStream) tls = g_tls_server_connection_new(G_IO_STREAM(connection), server->certificate, error);
    if (!tls || !g_tls_connection_handshake(G_TLS_CONNECTION(tls), visit->cancellable, error)) {
        return FALSE;
    }
    JoinSession session = {.context = server->context,
                           .store = server->store,
                           .self = server->self,
                           .certificate = server->certificate,
                           .cancellable = visit->cancellable,
                           .on_trusted = on_trusted,
                           .user_data = visit};
    g_auto(JoinWire) wire = {0};
    join_wire_init(&wire, tls, visit->cancellable, STRANGER_LINE_MAX_BYTES);
    gboolean ok = join_session_run(&session, &wire, error);
    g_io_stream_close(tls, visit->cancellable, NULL);
    return ok;
}

static char *visitor_name(GSocketConnection *connection)
{
    g_autoptr(GSocketAddress) address = g_socket_connection_get_remote_address(connection, NULL);
    if (!G_IS_INET_SOCKET_ADDRESS(address)) {
        return g_strdup("somebody");
    }
    return g_inet_address_to_string(g_inet_socket_address_get_address(G_INET_SOCKET_ADDRESS(address)));
}

static gboolean visit_begin(Visit *visit)
{
    JoinServer *server = visit->server;
    g_mutex_lock(&server->mutex);
    gboolean welcome = !server->stopping;
    if (welcome) {
        g_ptr_array_add(server->cancellables, visit->cancellable);
    }
    g_mutex_unlock(&server->mutex);
    return welcome;
}

static void visit_end(Visit *visit)
{
    JoinServer *server = visit->server;
    visit_allow(visit, 0);
    g_mutex_lock(&server->mutex);
    g_ptr_array_remove_fast(server->cancellables, visit->cancellable);
    g_cond_signal(&server->empty);
    g_mutex_unlock(&server->mutex);
}

static gboolean on_run(GThreadedSocketService *service G_GNUC_UNUSED, GSocketConnection *connection,
                       GObject *source G_GNUC_UNUSED, gpointer user_data)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    Visit visit = {.server = user_data, .cancellable = cancellable};
    g_autofree char *name = visitor_name(connection);
    g_autoptr(GError) error = NULL;
    if (!visit_begin(&visit)) {
        return TRUE;
    }
    visit_allow(&visit, STRANGER_TIME_S);
    if (!visit_serve(&visit, connection, &error)) {
        setup_progress(visit.server->context, "join: %s was not served: %s", name, error->message);
    }
    visit_end(&visit);
    return TRUE;
}

static void server_unref(JoinServer *server)
{
    if (!g_atomic_int_dec_and_test(&server->references)) {
        return;
    }
    g_object_unref(server->certificate);
    g_main_context_unref(server->main_context);
    g_ptr_array_unref(server->cancellables);
    g_mutex_clear(&server->mutex);
    g_cond_clear(&server->empty);
    g_free(server);
}

static void on_handler_gone(gpointer server, GClosure *closure G_GNUC_UNUSED)
{
    server_unref(server);
}

static gboolean server_listen(JoinServer *server, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(GSocketAddress) address =
        g_inet_socket_address_new_from_string(server->self->ring0, (guint) server->context->join_port);
    g_autoptr(GSocketAddress) bound = NULL;
    if (!address || !g_socket_listener_add_address(G_SOCKET_LISTENER(server->service), address, G_SOCKET_TYPE_STREAM,
                                                   G_SOCKET_PROTOCOL_TCP, NULL, &bound, &problem)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "cannot listen for joining nodes on %s:%d: %s",
                    server->self->ring0, server->context->join_port, problem ? problem->message : "not an address");
        return FALSE;
    }
    server->port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
    g_atomic_int_inc(&server->references);
    g_signal_connect_data(server->service, "run", G_CALLBACK(on_run), server, on_handler_gone, 0);
    g_socket_service_start(server->service);
    return TRUE;
}

JoinServer *join_server_new(const SetupContext *context, Store *store, const NodeConfig *self, GError **error)
{
    g_autofree char *certificate_file = setup_path(context, NODE_CERT_FILE);
    g_autofree char *key_file = setup_path(context, NODE_KEY_FILE);
    g_autoptr(GError) problem = NULL;
    GTlsCertificate *certificate = g_tls_certificate_new_from_files(certificate_file, key_file, &problem);
    if (!certificate) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "cannot use the node's certificate %s: %s",
                    certificate_file, problem->message);
        return NULL;
    }
    JoinServer *server = g_new0(JoinServer, 1);
    server->references = 1;
    server->context = context;
    server->store = store;
    server->self = self;
    server->certificate = certificate;
    server->main_context = g_main_context_ref_thread_default();
    server->service = g_threaded_socket_service_new(CONNECTIONS_MAX);
    server->cancellables = g_ptr_array_new();
    g_mutex_init(&server->mutex);
    g_cond_init(&server->empty);
    if (!server_listen(server, error)) {
        join_server_free(server);
        return NULL;
    }
    return server;
}

int join_server_port(const JoinServer *server)
{
    return server->port;
}

void join_server_free(JoinServer *server)
{
    if (!server) {
        return;
    }
    g_socket_service_stop(server->service);
    g_socket_listener_close(G_SOCKET_LISTENER(server->service));
    g_mutex_lock(&server->mutex);
    server->stopping = TRUE;
    for (guint i = 0; i < server->cancellables->len; i++) {
        g_cancellable_cancel(server->cancellables->pdata[i]);
    }
    while (server->cancellables->len > 0) {
        g_cond_wait(&server->empty, &server->mutex);
    }
    g_mutex_unlock(&server->mutex);
    g_signal_handlers_disconnect_by_data(server->service, server);
    g_object_unref(server->service);
    server_unref(server);
}

gboolean join_token_put(Store *store, const char *token, int ttl_s, GError **error)
{
    g_autofree char *id = NULL, *secret = NULL;
    if (ttl_s < 60 || ttl_s > 7 * 24 * 3600) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "ttl_s: must be between 60 and %d", 7 * 24 * 3600);
        return FALSE;
    }
    if (!join_token_split(token, "token", &id, &secret, error)) {
        return FALSE;
    }
    JoinToken document = {.version = 1, .secret = secret};
    g_autoptr(json_t) object = json_struct_encode(&join_token_type, &document);
    g_autofree char *text = json_text_from(object);
    g_autofree char *key = g_strconcat(JOIN_TOKEN_PREFIX, id, NULL);
    gint64 lease = 0;
    g_autoptr(GError) problem = NULL;
    if (!store_lease_grant(store, ttl_s, &lease, error)) {
        return FALSE;
    }
    if (store_put(store, key, text, 0, lease, NULL, &problem)) {
        return TRUE;
    }
    store_lease_revoke(store, lease, NULL);
    if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT)) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

gboolean join_token_create(Store *store, int ttl_s, char **ret_token, GError **error)
{
    g_autofree char *id = setup_random_hex(4);
    g_autofree char *secret = setup_random_hex(16);
    g_autofree char *token = g_strdup_printf("%s.%s", id, secret);
    if (!join_token_put(store, token, ttl_s, error)) {
        return FALSE;
    }
    *ret_token = g_steal_pointer(&token);
    return TRUE;
}
