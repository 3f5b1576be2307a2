/* SPDX-License-Identifier: Apache-2.0
 * Images between nodes over real TLS on loopback: whole, sparse and verified, or not there at all. */
#include "node-agent/image_transfer.h"

#include "cluster/node_config.h"
#include "common/error.h"
#include "node-agent/setup/tls.h"
#include "storage/image.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGE_BYTES (5 * 1024 * 1024 + 512)

/* Nodes 0 and 1 have certificates of one CA, node 2 of another. */
typedef struct {
    char *folder, *prefix[3], *images[3];
    SetupContext context[3];
    char *sha256;
    ImageServer *server;
    int serving;      /* the node that serves */
    gboolean refuses; /* it offers nothing */
    int port;
    GMainContext *main_context;
    GMainLoop *loop;
    GThread *thread;
    GMutex mutex;
    GCond ready;
    gint64 received;
    GCancellable *cancellable; /* cancelled at the first progress */
} Fixture;

static void certificate_make(const SetupContext *context, const SetupContext *authority, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(tls_key_ensure(context, &error));
    g_autofree char *request = tls_request(context, name, &error);
    g_autofree char *certificate = tls_sign(authority, request, name, "127.0.0.1", NULL, FALSE, &error);
    g_assert_no_error(error);
    g_autofree char *ca = setup_read(authority, NODE_CA_FILE, NULL);
    g_assert_true(setup_write(context, NODE_CERT_FILE, certificate, -1, 0600, NULL, &error));
    g_assert_true(setup_write(context, NODE_CA_FILE, ca, -1, 0600, NULL, &error));
}

/* Data at both ends and zeros, written and not, in between. */
static void image_make(Fixture *f, const char *path)
{
    g_autofree char *data = g_malloc0(IMAGE_BYTES);
    for (int i = 0; i < 700 * 1024; i++) {
        data[i] = (char) (i * 7 + i / 4096);
    }
    memset(data + IMAGE_BYTES - 512, 'e', 512);
    f->sha256 = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *) data, IMAGE_BYTES);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    g_assert_cmpint(ftruncate(fd, IMAGE_BYTES), ==, 0);
    g_assert_cmpint(pwrite(fd, data, 1024 * 1024, 0), ==, 1024 * 1024);
    g_assert_cmpint(pwrite(fd, data + IMAGE_BYTES - 512, 512, IMAGE_BYTES - 512), ==, 512);
    close(fd);
}

static gboolean offered(const char *image, const char *sha256, gpointer user_data)
{
    const Fixture *f = user_data;
    return !f->refuses && strcmp(image, "debian") == 0 && strcmp(sha256, f->sha256) == 0;
}

static gpointer serve(gpointer user_data)
{
    Fixture *f = user_data;
    g_autoptr(GError) error = NULL;
    static const char *const addresses[] = {"127.0.0.1", NULL};
    g_main_context_push_thread_default(f->main_context);
    g_mutex_lock(&f->mutex);
    f->server = image_server_new(&f->context[f->serving], addresses, 0, f->images[f->serving], offered, f, &error);
    g_assert_no_error(error);
    f->port = image_server_port(f->server);
    g_cond_signal(&f->ready);
    g_mutex_unlock(&f->mutex);
    g_main_loop_run(f->loop);
    image_server_free(f->server);
    g_main_context_pop_thread_default(f->main_context);
    return NULL;
}

static void server_start(Fixture *f, int node)
{
    f->serving = node;
    f->server = NULL;
    f->main_context = g_main_context_new();
    f->loop = g_main_loop_new(f->main_context, FALSE);
    g_mutex_lock(&f->mutex);
    f->thread = g_thread_new("server", serve, f);
    while (!f->server) {
        g_cond_wait(&f->ready, &f->mutex);
    }
    g_mutex_unlock(&f->mutex);
}

static void server_stop(Fixture *f)
{
    g_main_loop_quit(f->loop);
    g_thread_join(f->thread);
    g_main_loop_unref(f->loop);
    g_main_context_unref(f->main_context);
}

static void quiet(const char *text G_GNUC_UNUSED)
{
}

static void set_up(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const char *const names[] = {"n1", "n2", "stranger"};
    g_autoptr(GError) error = NULL;
    f->folder = g_dir_make_tmp("holdfast-image-XXXXXX", NULL);
    g_mutex_init(&f->mutex);
    g_cond_init(&f->ready);
    for (int i = 0; i < 3; i++) {
        f->prefix[i] = g_build_filename(f->folder, names[i], NULL);
        f->images[i] = g_build_filename(f->prefix[i], "images", NULL);
        g_assert_cmpint(g_mkdir_with_parents(f->images[i], 0700), ==, 0);
        f->context[i] = (SetupContext){
            .prefix = f->prefix[i], .runner = process_runner_default(), .testing = TRUE, .progress = quiet};
        if (i != 1) {
            g_assert_true(tls_ca_ensure(&f->context[i], "demo", &error));
        }
        certificate_make(&f->context[i], &f->context[i == 1 ? 0 : i], names[i]);
    }
    g_autofree char *path = g_build_filename(f->images[0], "debian.raw", NULL);
    image_make(f, path);
    server_start(f, 0);
}

static void tear_down(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    server_stop(f);
    g_assert_true(process_call(process_runner_default(), 10000, NULL, NULL, "/bin/rm", "-rf", "--", f->folder, NULL));
    for (int i = 0; i < 3; i++) {
        g_free(f->prefix[i]);
        g_free(f->images[i]);
    }
    g_free(f->folder);
    g_free(f->sha256);
    g_mutex_clear(&f->mutex);
    g_cond_clear(&f->ready);
}

static void on_received(gint64 done, gint64 total, gpointer user_data)
{
    Fixture *f = user_data;
    g_assert_cmpint(total, ==, IMAGE_BYTES);
    g_assert_cmpint(done, >=, f->received);
    f->received = done;
    if (f->cancellable) {
        g_cancellable_cancel(f->cancellable);
    }
}

static ImageFetch fetch_of(Fixture *f, int node)
{
    static const char *const addresses[] = {"127.0.0.9", "127.0.0.1", NULL}; /* the first answers nobody */
    f->received = 0;
    return (ImageFetch){.context = &f->context[node],
                        .addresses = addresses,
                        .port = f->port,
                        .node = "n1",
                        .folder = f->images[node],
                        .image = "debian",
                        .sha256 = f->sha256,
                        .size_bytes = IMAGE_BYTES,
                        .on_received = on_received,
                        .user_data = f,
                        .cancellable = f->cancellable};
}

static void assert_folder_is_empty(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    g_assert_null(g_dir_read_name(dir));
}

static void assert_fails(const Fixture *f, const ImageFetch *fetch, int code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(image_fetch(fetch, &error));
    g_test_message("%s", error->message);
    g_assert_error(error, HOLDFAST_ERROR, code);
    g_assert_nonnull(strstr(error->message, part));
    g_assert_nonnull(strstr(error->message, "debian"));
    g_assert_nonnull(strstr(error->message, fetch->node));
    (void) f;
    assert_folder_is_empty(fetch->folder);
}

static void assert_fetched(Fixture *f, const ImageFetch *fetch)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(image_fetch(fetch, &error));
    g_assert_no_error(error);
    g_autofree char *a = g_build_filename(f->images[0], "debian.raw", NULL);
    g_autofree char *b = g_build_filename(f->images[1], "debian.raw", NULL);
    g_autofree char *text_a = NULL, *text_b = NULL;
    gsize length_a = 0, length_b = 0;
    g_assert_true(g_file_get_contents(a, &text_a, &length_a, NULL));
    g_assert_true(g_file_get_contents(b, &text_b, &length_b, NULL));
    g_assert_cmpmem(text_a, length_a, text_b, length_b);
    struct stat st;
    g_assert_cmpint(stat(b, &st), ==, 0);
    g_assert_cmpint(st.st_blocks * 512, <, 2 * 1024 * 1024); /* zeros were not written */
    g_assert_cmpint(f->received, ==, IMAGE_BYTES);
    g_auto(GStrv) names = image_folder_names(f->images[1]);
    g_assert_cmpuint(g_strv_length(names), ==, 1);
    g_autofree char *unfinished = image_receiving_path(f->images[1], "debian");
    g_assert_cmpint(g_access(unfinished, F_OK), !=, 0);
}

static void test_whole(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    ImageFetch fetch = fetch_of(f, 1);
    /* What a kill left behind, longer than the image. */
    g_autofree char *rest = image_receiving_path(f->images[1], "debian");
    g_autofree char *junk = g_strnfill(IMAGE_BYTES + 4096, 'x');
    g_assert_true(g_file_set_contents(rest, junk, IMAGE_BYTES + 4096, NULL));
    assert_fetched(f, &fetch);
}

static void test_cancelled_then_whole(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    f->cancellable = cancellable;
    ImageFetch fetch = fetch_of(f, 1);
    assert_fails(f, &fetch, HOLDFAST_ERROR_CANCELLED, "cancelled");
    f->cancellable = NULL;
    fetch = fetch_of(f, 1);
    assert_fetched(f, &fetch);
}

static void test_damaged(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *path = g_build_filename(f->images[0], "debian.raw", NULL);
    int fd = open(path, O_WRONLY);
    g_assert_cmpint(pwrite(fd, "!", 1, 77), ==, 1);
    ImageFetch fetch = fetch_of(f, 1);
    assert_fails(f, &fetch, HOLDFAST_ERROR_FAILED, "is not what was imported");
    g_assert_cmpint(ftruncate(fd, IMAGE_BYTES - 512), ==, 0);
    close(fd);
    assert_fails(f, &fetch, HOLDFAST_ERROR_FAILED, "bytes on n1");
}

static void test_not_there(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    ImageFetch fetch = fetch_of(f, 1);
    f->refuses = TRUE;
    assert_fails(f, &fetch, HOLDFAST_ERROR_NOT_FOUND, "is not on node");
    f->refuses = FALSE;
    g_autofree char *path = g_build_filename(f->images[0], "debian.raw", NULL);
    g_assert_cmpint(g_unlink(path), ==, 0); /* promised and gone */
    assert_fails(f, &fetch, HOLDFAST_ERROR_NOT_FOUND, "is not on node");
}

static void test_strangers(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    ImageFetch fetch = fetch_of(f, 2); /* a client with another CA's certificate */
    assert_fails(f, &fetch, HOLDFAST_ERROR_UNAVAILABLE, "image 'debian' from n1: ");
    /* Even one that takes any server is not let in: it trusts our CA, which does not trust it. */
    g_autofree char *ca = setup_read(&f->context[0], NODE_CA_FILE, NULL);
    g_assert_true(setup_write(&f->context[2], NODE_CA_FILE, ca, -1, 0600, NULL, NULL));
    assert_fails(f, &fetch, HOLDFAST_ERROR_UNAVAILABLE, "image 'debian' from n1: ");
    fetch = fetch_of(f, 1);
    fetch.node = "n9"; /* the server is a node of ours, but not that one */
    assert_fails(f, &fetch, HOLDFAST_ERROR_UNAVAILABLE, "image 'debian' from n9: ");
    fetch.node = "n1";
    server_stop(f);
    assert_fails(f, &fetch, HOLDFAST_ERROR_UNAVAILABLE, "image 'debian' from n1: ");
    server_start(f, 2); /* somebody else answers on that address */
    fetch = fetch_of(f, 1);
    fetch.node = "stranger";
    assert_fails(f, &fetch, HOLDFAST_ERROR_UNAVAILABLE, "image 'debian' from stranger: ");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* As in holdfastd libcurl brings GnuTLS from the start: the leak checker trips over one that is loaded later. */
    g_assert_nonnull(curl_version());
    g_test_add("/image-transfer/whole", Fixture, NULL, set_up, test_whole, tear_down);
    g_test_add("/image-transfer/cancelled-then-whole", Fixture, NULL, set_up, test_cancelled_then_whole, tear_down);
    g_test_add("/image-transfer/damaged", Fixture, NULL, set_up, test_damaged, tear_down);
    g_test_add("/image-transfer/not-there", Fixture, NULL, set_up, test_not_there, tear_down);
    g_test_add("/image-transfer/strangers", Fixture, NULL, set_up, test_strangers, tear_down);
    return g_test_run();
}
