/* SPDX-License-Identifier: Apache-2.0
 * Durable writes and bounded reads. */
#include "common/error.h"
#include "common/file.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *folder_new(void)
{
    GError *error = NULL;
    char *folder = g_dir_make_tmp("holdfast-file-XXXXXX", &error);
    g_assert_no_error(error);
    return folder;
}

static guint folder_entries(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    guint count = 0;
    while (g_dir_read_name(dir)) {
        count++;
    }
    return count;
}

static void test_write(void)
{
    g_autofree char *folder = folder_new();
    g_autofree char *sub = g_build_filename(folder, "a", "b", NULL);
    g_autofree char *path = g_build_filename(sub, "file", NULL);
    GError *error = NULL;
    mode_t saved = umask(077); /* the mode asked for counts, not the umask */
    g_assert_true(file_write_durable(path, "one", -1, 0644, &error));
    g_assert_true(file_write_durable(path, "two more", 3, 0640, &error));
    umask(saved);
    g_assert_no_error(error);
    g_autofree char *text = file_read(path, 3, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, "two");
    struct stat status;
    g_assert_cmpint(stat(path, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 0777, ==, 0640);
    g_assert_cmpuint(folder_entries(sub), ==, 1); /* no temporary file stays */
    g_unlink(path);
    g_rmdir(sub);
    g_autofree char *a = g_build_filename(folder, "a", NULL);
    g_rmdir(a);
    g_rmdir(folder);
}

static void test_write_fails(void)
{
    g_autofree char *folder = folder_new();
    g_autofree char *taken = g_build_filename(folder, "taken", NULL);
    g_assert_cmpint(g_mkdir(taken, 0755), ==, 0);
    g_autofree char *inside = g_build_filename(taken, "inside", NULL);
    g_assert_cmpint(g_mkdir(inside, 0755), ==, 0);
    g_autoptr(GError) error = NULL;
    g_assert_false(file_write_durable(taken, "x", -1, 0600, &error)); /* a folder is in the way */
    g_assert_error(error, HOLDFAST_ERROR, holdfast_error_code(error));
    g_assert_nonnull(strstr(error->message, taken));
    g_assert_cmpuint(folder_entries(folder), ==, 1);
    g_rmdir(inside);
    g_rmdir(taken);
    g_rmdir(folder);
}

static void test_read(void)
{
    g_autofree char *folder = folder_new();
    g_autofree char *path = g_build_filename(folder, "file", NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(file_read(path, 10, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_autofree char *large = g_strnfill(40000, 'x');
    g_assert_true(file_write_durable(path, large, -1, 0600, &error));
    g_autofree char *all = file_read(path, 40000, &error);
    g_assert_cmpstr(all, ==, large);
    g_assert_null(file_read(path, 39999, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_true(file_write_durable(path, "", -1, 0600, &error));
    g_autofree char *empty = file_read(path, 0, &error);
    g_assert_cmpstr(empty, ==, "");
    g_unlink(path);
    g_rmdir(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/file/write", test_write);
    g_test_add_func("/file/write-fails", test_write_fails);
    g_test_add_func("/file/read", test_read);
    return g_test_run();
}
