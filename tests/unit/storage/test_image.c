/* SPDX-License-Identifier: Apache-2.0
 * Image import: what is taken, what is refused, and that nothing is left behind; with the real qemu-img where a qcow2
 * file is needed. */
#include "storage/image.h"

#include "common/error.h"
#include "storage/copy.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1024 * 1024)
#define QEMU_IMG "/usr/bin/qemu-img"

typedef struct {
    char *folder, *images;
} Fixture;

static void setup(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    f->folder = g_dir_make_tmp("holdfast-image-XXXXXX", NULL);
    f->images = g_build_filename(f->folder, "images", NULL);
}

static void folder_empty(const char *path)
{
    GDir *folder = g_dir_open(path, 0, NULL);
    const char *name;
    while (folder && (name = g_dir_read_name(folder))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_unlink(file);
    }
    g_clear_pointer(&folder, g_dir_close);
    g_rmdir(path);
}

static void teardown(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    folder_empty(f->images);
    folder_empty(f->folder);
    g_free(f->images);
    g_free(f->folder);
}

static guint files_in(const char *path)
{
    GDir *folder = g_dir_open(path, 0, NULL);
    guint count = 0;
    while (folder && g_dir_read_name(folder)) {
        count++;
    }
    g_clear_pointer(&folder, g_dir_close);
    return count;
}

/* A file of `size` bytes, zero but for `bytes` at `offset`. Caller frees the path. */
static char *file_make(const Fixture *f, const char *name, gsize size, gsize offset, const char *bytes, gsize length)
{
    char *path = g_build_filename(f->folder, name, NULL);
    g_autofree char *content = g_malloc0(size + 1);
    if (length > 0) {
        memcpy(content + offset, bytes, length);
    }
    g_assert_true(g_file_set_contents(path, content, (gssize) size, NULL));
    return path;
}

static gboolean import(const Fixture *f, const char *path, gint64 *ret_size, char **ret_sha, GError **error)
{
    return image_import_into(process_runner_default(), f->images, "debian", path, ret_size, ret_sha, error);
}

static void assert_refused(const Fixture *f, const char *path, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *sha = NULL;
    gint64 size;
    g_assert_false(import(f, path, &size, &sha, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    if (!strstr(error->message, text) || !g_str_has_prefix(error->message, "path: ")) {
        g_error("%s: '%s' does not say '%s'", path, error->message, text);
    }
    g_assert_cmpuint(files_in(f->images), ==, 0);
}

static void assert_imported(const Fixture *f, const char *path, const char *content, gsize length)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *sha = NULL;
    g_autofree char *got = NULL;
    gsize got_length;
    gint64 size = 0;
    gboolean ok = import(f, path, &size, &sha, &error);
    g_assert_no_error(error);
    g_assert_true(ok);
    g_autofree char *target = g_build_filename(f->images, "debian.raw", NULL);
    g_assert_true(g_file_get_contents(target, &got, &got_length, NULL));
    g_assert_cmpint(size, ==, length);
    g_assert_cmpmem(got, got_length, content, length);
    g_autofree char *wanted = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *) content, length);
    g_assert_cmpstr(sha, ==, wanted);
    g_assert_cmpuint(files_in(f->images), ==, 1);
}

static char *disk_content(gsize length)
{
    char *content = g_malloc0(length);
    memcpy(content + 510, "\x55\xaa", 2);
    memset(content + 2 * MIB + 77, 'x', 5000); /* after a hole, across nothing in particular */
    memset(content + length - 512, 'e', 512);
    return content;
}

static void test_raw(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    gsize length = 5 * MIB + 512; /* the end is not on a 4096 boundary */
    g_autofree char *content = disk_content(length);
    g_autofree char *path = file_make(f, "disk", length, 0, content, length);
    assert_imported(f, path, content, length);
    /* Again, over itself and over what a kill left behind, which is longer. */
    g_autofree char *left = g_build_filename(f->images, ".debian.importing", NULL);
    g_autofree char *junk = g_malloc(7 * MIB);
    memset(junk, 'j', 7 * MIB);
    g_assert_true(g_file_set_contents(left, junk, 7 * MIB, NULL));
    assert_imported(f, path, content, length);
}

static void test_raw_sparse(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *content = g_malloc0(32 * MIB);
    memcpy(content + 1080, "\x53\xef", 2); /* ext4, and holes to the end */
    g_autofree char *path = file_make(f, "disk", 4096, 0, content, 4096);
    g_assert_cmpint(truncate(path, 32 * MIB), ==, 0);
    assert_imported(f, path, content, 32 * MIB);
    GStatBuf st;
    g_autofree char *target = g_build_filename(f->images, "debian.raw", NULL);
    g_assert_cmpint(g_stat(target, &st), ==, 0);
    g_assert_cmpint(st.st_blocks * 512, <=, 2 * MIB);
}

static void test_refusals(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const struct {
        gsize size, offset, length;
        const char *bytes, *text;
    } cases[] = {
        {0, 0, 0, "", "is empty"},
        {4096, 0, 11, "hello world", "neither qcow2 nor a raw disk"},
        {MIB, 0, 0, "", "neither qcow2 nor a raw disk"},
        {4096, 0, 2, "\x1f\x8b", "gzip"},
        {4096, 257, 5, "ustar", "tar"},
        {4096, 0, 4, "KDMV", "VMware"},
        {700, 510, 2, "\x55\xaa", "sectors"},
        {50, 0, 8, "QFI\xfb\0\0\0\3", "cut-off qcow2"},
        {4096, 0, 20, "QFI\xfb\0\0\0\3\0\0\0\0\0\0\1\0\0\0\0\7", "backing file"},
        {4096, 0, 8, "QFI\xfb\0\0\0\1", "unsupported version"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = file_make(f, "file", cases[i].size, cases[i].offset, cases[i].bytes, cases[i].length);
        assert_refused(f, path, cases[i].text);
    }
    g_autofree char *external = file_make(f, "external", 4096, 0, "QFI\xfb\0\0\0\3", 8);
    g_autofree char *content = NULL;
    g_assert_true(g_file_get_contents(external, &content, NULL, NULL));
    content[79] = 4; /* incompatible feature: external data file */
    g_assert_true(g_file_set_contents(external, content, 4096, NULL));
    assert_refused(f, external, "another file");
    assert_refused(f, f->folder, "regular file");
    assert_refused(f, "/nonexistent/x", "not on this node");
    assert_refused(f, "relative", "absolute");
}

/* ---- with the real qemu-img ---- */

static gboolean have_qemu_img(void)
{
    if (g_access(QEMU_IMG, X_OK) == 0) {
        return TRUE;
    }
    g_test_skip("qemu-img is not installed");
    return FALSE;
}

static char *qcow2_make(const Fixture *f, const char *raw, const char *backing)
{
    char *path = g_build_filename(f->folder, backing ? "overlay.qcow2" : "disk.qcow2", NULL);
    GError *error = NULL;
    if (backing) {
        process_call(process_runner_default(), 20000, NULL, &error, QEMU_IMG, "create", "-q", "-f", "qcow2", "-F",
                     "qcow2", "-b", backing, path, NULL);
    } else {
        process_call(process_runner_default(), 20000, NULL, &error, QEMU_IMG, "convert", "-f", "raw", "-O", "qcow2",
                     raw, path, NULL);
    }
    g_assert_no_error(error);
    return path;
}

static void test_qcow2(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    if (!have_qemu_img()) {
        return;
    }
    gsize length = 5 * MIB + 512;
    g_autofree char *content = disk_content(length);
    g_autofree char *raw = file_make(f, "disk", length, 0, content, length);
    g_autofree char *path = qcow2_make(f, raw, NULL);
    g_autofree char *overlay = qcow2_make(f, NULL, path);
    assert_refused(f, overlay, "backing file");
    /* Cut off: the header is whole, a cluster is not there. qemu-img convert alone would read zeros. */
    g_autofree char *whole = NULL;
    gsize whole_length;
    g_assert_true(g_file_get_contents(path, &whole, &whole_length, NULL));
    g_autofree char *cut = file_make(f, "cut.qcow2", whole_length - 130000, 0, whole, whole_length - 130000);
    assert_refused(f, cut, "damaged or cut off");
    assert_imported(f, path, content, length);
}

/* qemu-img says that the disk is full half-way: NO_SPACE, nothing stays. */
static gboolean run_full(const ProcessRunner *runner G_GNUC_UNUSED, const char *const *argv,
                         const char *input G_GNUC_UNUSED, int timeout_ms G_GNUC_UNUSED, ProcessResult *ret,
                         GError **error G_GNUC_UNUSED)
{
    gboolean convert = strcmp(argv[1], "convert") == 0;
    *ret = (ProcessResult){.exit_status = convert ? 1 : 0,
                           .stdout_text = g_strdup(strcmp(argv[1], "info") == 0 ? "{\"virtual-size\": 1048576}" : ""),
                           .stderr_text =
                               g_strdup(convert ? "qemu-img: error while writing: No space left on device\n" : "")};
    return TRUE;
}

static void test_disk_full(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *path = file_make(f, "disk.qcow2", 4096, 0, "QFI\xfb\0\0\0\3", 8);
    const ProcessRunner runner = {.run = run_full};
    g_autofree char *sha = NULL;
    gint64 size;
    GError *error = NULL;
    g_assert_false(image_import_into(&runner, f->images, "debian", path, &size, &sha, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE);
    g_error_free(error);
    g_assert_cmpuint(files_in(f->images), ==, 0);
}

static void test_names(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    GError *error = NULL;
    gint64 size;
    char *sha;
    g_assert_false(image_import_into(process_runner_default(), f->images, "../etc", "/x", &size, &sha, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(image_remove("../../etc/passwd", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_autofree char *path = image_path("debian");
    g_assert_cmpstr(path, ==, IMAGE_FOLDER "/debian.raw");
}

/* ---- the folder ---- */

static void put(const Fixture *f, const char *file, const char *content)
{
    g_autofree char *path = g_build_filename(f->images, file, NULL);
    g_mkdir_with_parents(f->images, 0700);
    g_assert_true(g_file_set_contents(path, content, -1, NULL));
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

static void assert_folder_names(const Fixture *f, const char *expected)
{
    g_auto(GStrv) names = image_folder_names(f->images);
    qsort(names, g_strv_length(names), sizeof(*names), by_name);
    g_autofree char *text = g_strjoinv(" ", names);
    g_assert_cmpstr(text, ==, expected);
}

static void test_folder(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    assert_folder_names(f, ""); /* no folder yet */
    put(f, "debian.raw", "x");
    put(f, ".debian.importing", "x");
    put(f, ".alma.receiving", "x");
    put(f, ".suse.raw", "x"); /* not ours, all of these */
    put(f, "notes.txt", "x");
    put(f, "suse.receiving", "x");
    put(f, "Bad_Name.raw", "x");
    assert_folder_names(f, "alma debian");
    image_folder_clean(f->images, "debian");
    assert_folder_names(f, "alma");
    image_folder_clean(f->images, "alma");
    image_folder_clean(f->images, "never-there");
    g_assert_cmpuint(files_in(f->images), ==, 4);
}

static void test_adopt(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    GError *error = NULL;
    g_autofree char *sha = g_compute_checksum_for_string(G_CHECKSUM_SHA256, "content", -1);
    g_assert_false(image_adopt(f->images, "debian", 7, sha, NULL, &error)); /* nothing was received */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
    put(f, ".debian.receiving", "contenT");
    g_assert_false(image_adopt(f->images, "debian", 7, sha, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    g_clear_error(&error);
    put(f, ".debian.receiving", "content");
    g_assert_false(image_adopt(f->images, "debian", 8, sha, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    g_clear_error(&error);
    g_assert_true(image_adopt(f->images, "debian", 7, sha, NULL, &error));
    g_assert_no_error(error);
    g_autofree char *path = g_build_filename(f->images, "debian.raw", NULL);
    g_assert_cmpint(g_access(path, F_OK), ==, 0);
    g_assert_cmpuint(files_in(f->images), ==, 1);
}

static void test_room(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    GError *error = NULL;
    g_assert_false(image_folder_has_room(f->images, "debian", (gint64) 1 << 60, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE);
    g_assert_nonnull(strstr(error->message, "image 'debian' needs 1099511627776 MiB in "));
    g_clear_error(&error);
}

/* ---- copy ---- */

static void on_progress(gint64 done, gint64 total, gpointer user_data)
{
    gint64 *last = user_data;
    g_assert_cmpint(done, >, *last);
    g_assert_cmpint(done, <=, total);
    *last = done;
}

/* Blocks that are zero are not written: what the target had there stays. (It reads zero in real life.) */
static void test_copy(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *content = disk_content(4 * MIB);
    g_autofree char *source = file_make(f, "source", 4 * MIB, 0, content, 4 * MIB);
    g_autofree char *old = g_malloc(4 * MIB);
    memset(old, 'o', 4 * MIB);
    g_autofree char *target = file_make(f, "target", 4 * MIB, 0, old, 4 * MIB);
    gint64 last = 0;
    CopyOptions options = {.on_progress = on_progress, .user_data = &last};
    GError *error = NULL;
    g_assert_true(copy_sparse(source, target, &options, &error));
    g_assert_cmpint(last, ==, 4 * MIB);
    g_autofree char *got = NULL;
    g_assert_true(g_file_get_contents(target, &got, NULL, NULL));
    g_assert_cmpmem(got, MIB, content, MIB);
    g_assert_cmpmem(got + MIB, MIB, old, MIB);
    g_assert_cmpmem(got + 2 * MIB, 2 * MIB, content + 2 * MIB, 2 * MIB);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_cancellable_cancel(cancellable);
    options = (CopyOptions){.cancellable = cancellable};
    g_assert_false(copy_sparse(source, target, &options, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED);
    g_clear_error(&error);
    options = (CopyOptions){0};
    g_assert_false(copy_sparse("/nonexistent/x", target, &options, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(copy_sparse(source, "/nonexistent/x", &options, &error));
    g_clear_error(&error);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/image/raw", Fixture, NULL, setup, test_raw, teardown);
    g_test_add("/image/raw-sparse", Fixture, NULL, setup, test_raw_sparse, teardown);
    g_test_add("/image/refusals", Fixture, NULL, setup, test_refusals, teardown);
    g_test_add("/image/qcow2", Fixture, NULL, setup, test_qcow2, teardown);
    g_test_add("/image/disk-full", Fixture, NULL, setup, test_disk_full, teardown);
    g_test_add("/image/names", Fixture, NULL, setup, test_names, teardown);
    g_test_add("/image/folder", Fixture, NULL, setup, test_folder, teardown);
    g_test_add("/image/adopt", Fixture, NULL, setup, test_adopt, teardown);
    g_test_add("/image/room", Fixture, NULL, setup, test_room, teardown);
    g_test_add("/image/copy", Fixture, NULL, setup, test_copy, teardown);
    return g_test_run();
}
