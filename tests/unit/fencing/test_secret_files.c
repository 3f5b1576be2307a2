/* SPDX-License-Identifier: Apache-2.0
 * Pacemaker's secret files, in a folder of the test's own. */
#include "fencing/secret_files.h"

#include "common/error.h"
#include "common/process.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *top, *folder;
    GPtrArray *devices;
    char **stored;
} Fixture;

static FenceDevice *device_new(const char *node, const char *password)
{
    FenceDevice *device = object_new(&fence_device_type);
    g_autofree char *pair = g_strconcat("password=", password, NULL);
    const char *parameters[] = {"ip=192.0.2.1", pair, "api_token=to ken", NULL};
    device->node = g_strdup(node);
    device->parameters = g_strdupv((char **) parameters);
    return device;
}

static void set_up(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    f->top = g_dir_make_tmp("holdfast-secrets-XXXXXX", NULL);
    f->folder = g_build_filename(f->top, "lrm", "secrets", NULL);
    f->devices = g_ptr_array_new_with_free_func((GDestroyNotify) fence_device_free);
    g_ptr_array_add(f->devices, device_new("n2", "s3cret"));
    g_ptr_array_add(f->devices, device_new("n3", "s3cret"));
    g_ptr_array_add(f->devices, device_new("n1", "own"));
}

static void tear_down(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    const char *argv[] = {"/bin/rm", "-r", "--", f->top, NULL};
    g_assert_true(process_run_ok(process_runner_default(), argv, NULL, 10000, NULL, NULL));
    g_ptr_array_unref(f->devices);
    g_strfreev(f->stored);
    g_free(f->folder);
    g_free(f->top);
}

static void sync_well(Fixture *f, gboolean complete)
{
    g_autoptr(GError) error = NULL;
    g_clear_pointer(&f->stored, g_strfreev);
    secret_files_sync(f->folder, f->devices, "n1", complete, &f->stored, &error);
    g_assert_no_error(error);
}

static char *path_of(const Fixture *f, const char *folder, const char *name)
{
    return g_build_filename(f->folder, folder, name, NULL);
}

static void assert_file(const Fixture *f, const char *folder, const char *name, const char *content)
{
    g_autofree char *path = path_of(f, folder, name);
    g_autofree char *text = NULL;
    struct stat found;
    g_assert_cmpint(lstat(path, &found), ==, 0);
    g_assert_cmpint(found.st_mode & 07777, ==, 0600);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, content);
}

static ino_t inode_of(const Fixture *f, const char *folder, const char *name)
{
    g_autofree char *path = path_of(f, folder, name);
    struct stat found;
    g_assert_cmpint(stat(path, &found), ==, 0);
    return found.st_ino;
}

static gboolean is_there(const Fixture *f, const char *folder, const char *name)
{
    g_autofree char *path = path_of(f, folder, name);
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void assert_entries(const Fixture *f, guint count)
{
    g_autoptr(GDir) dir = g_dir_open(f->folder, 0, NULL);
    guint n = 0;
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_assert_cmpint(n, ==, count);
}

static void test_write(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    sync_well(f, TRUE);
    assert_file(f, "fence-n2", "password", "s3cret");
    assert_file(f, "fence-n2", "password.sign", "33e1b232a4e6fa0028a6670753749a17"); /* printf s3cret | md5sum */
    assert_file(f, "fence-n3", "api_token", "to ken");
    g_assert_false(is_there(f, "fence-n2", "ip"));
    g_assert_false(is_there(f, "fence-n1", NULL)); /* this node never shoots itself */
    g_assert_cmpint(g_strv_length(f->stored), ==, 2);
    g_autofree char *digest = fence_secret_digest(f->devices->pdata[0]);
    g_assert_cmpstr(f->stored[0], ==, digest);
    struct stat found;
    g_assert_cmpint(stat(f->folder, &found), ==, 0);
    g_assert_cmpint(found.st_mode & 07777, ==, 0700);
    assert_entries(f, 2); /* nothing half made is left */
}

static void test_touches_only_what_differs(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    sync_well(f, TRUE);
    ino_t kept = inode_of(f, "fence-n2", "password"), changed = inode_of(f, "fence-n3", "password");
    g_autofree char *before = g_strdup(f->stored[1]);
    fence_device_free(f->devices->pdata[1]);
    f->devices->pdata[1] = device_new("n3", "other");
    sync_well(f, TRUE);
    g_assert_cmpint(inode_of(f, "fence-n2", "password"), ==, kept);
    g_assert_cmpint(inode_of(f, "fence-n3", "password"), !=, changed);
    assert_file(f, "fence-n3", "password", "other");
    g_assert_cmpstr(f->stored[1], !=, before);
    assert_entries(f, 2);
}

/* Each way in which a folder can be wrong is repaired by the next call. */
static void test_repair(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    sync_well(f, TRUE);
    g_autofree char *password = path_of(f, "fence-n2", "password");
    g_autofree char *sign = path_of(f, "fence-n2", "password.sign");
    g_autofree char *extra = path_of(f, "fence-n2", "left.over");
    for (int fault = 0; fault < 6; fault++) {
        switch (fault) {
        case 0:
            g_assert_cmpint(unlink(password), ==, 0);
            break;
        case 1:
            g_assert_true(g_file_set_contents(sign, "0", -1, NULL));
            break;
        case 2:
            g_assert_cmpint(chmod(password, 0644), ==, 0);
            break;
        case 3:
            g_assert_true(g_file_set_contents(extra, "x", -1, NULL));
            break;
        case 4:
            g_assert_cmpint(unlink(password), ==, 0);
            g_assert_cmpint(symlink(sign, password), ==, 0);
            break;
        default:
            g_assert_true(g_file_set_contents(password, "", 0, NULL));
        }
        sync_well(f, TRUE);
        assert_file(f, "fence-n2", "password", "s3cret");
        assert_file(f, "fence-n2", "password.sign", "33e1b232a4e6fa0028a6670753749a17");
        g_assert_false(is_there(f, "fence-n2", "left.over"));
    }
}

/* A link in a folder's place goes, and what it leads to stays. */
static void test_link_in_its_place(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    sync_well(f, TRUE);
    g_autofree char *elsewhere = g_build_filename(f->top, "elsewhere", NULL);
    g_autofree char *file = g_build_filename(elsewhere, "file", NULL);
    g_autofree char *place = path_of(f, "fence-n2", NULL);
    const char *argv[] = {"/bin/rm", "-r", "--", place, NULL};
    g_assert_true(process_run_ok(process_runner_default(), argv, NULL, 10000, NULL, NULL));
    g_assert_cmpint(g_mkdir(elsewhere, 0700), ==, 0);
    g_assert_true(g_file_set_contents(file, "x", -1, NULL));
    g_assert_cmpint(symlink(elsewhere, place), ==, 0);
    sync_well(f, TRUE);
    assert_file(f, "fence-n2", "password", "s3cret");
    g_assert_true(g_file_test(file, G_FILE_TEST_IS_REGULAR));
    assert_entries(f, 2);
}

/* Gone devices go, but not when the list may be short, and never what an operator keeps there. */
static void test_remove(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    sync_well(f, TRUE);
    g_autofree char *foreign = path_of(f, "fence-pdu", NULL);
    g_autofree char *foreign_file = path_of(f, "fence-pdu", "password");
    g_autofree char *half_made = path_of(f, ".hf-crash", NULL);
    g_assert_cmpint(g_mkdir(foreign, 0700), ==, 0);
    g_assert_cmpint(g_mkdir(half_made, 0700), ==, 0);
    g_assert_true(g_file_set_contents(foreign_file, "x", -1, NULL));
    g_ptr_array_remove_index(f->devices, 0);
    sync_well(f, FALSE);
    g_assert_true(is_there(f, "fence-n2", "password"));
    g_assert_cmpint(g_strv_length(f->stored), ==, 1);
    sync_well(f, TRUE);
    g_assert_false(is_there(f, "fence-n2", NULL));
    g_assert_false(is_there(f, ".hf-crash", NULL));
    g_assert_true(is_there(f, "fence-n3", "password"));
    g_assert_true(is_there(f, "fence-pdu", "password"));
}

/* A folder that others may write to could be put in ours' place by them. */
static void test_refuses_foreign_folder(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *parent = g_path_get_dirname(f->folder);
    g_assert_cmpint(g_mkdir(parent, 0700), ==, 0);
    g_assert_cmpint(chmod(parent, 0777), ==, 0);
    g_assert_false(secret_files_sync(f->folder, f->devices, "n1", TRUE, &f->stored, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_assert_cmpint(g_strv_length(f->stored), ==, 0); /* so nobody is told that they are here */
    g_assert_false(g_file_test(f->folder, G_FILE_TEST_EXISTS));
    g_clear_error(&error);
    g_assert_cmpint(rmdir(parent), ==, 0);
    g_assert_cmpint(symlink("/tmp", parent), ==, 0);
    g_clear_pointer(&f->stored, g_strfreev);
    g_assert_false(secret_files_sync(f->folder, f->devices, "n1", TRUE, &f->stored, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/secret-files/write", Fixture, NULL, set_up, test_write, tear_down);
    g_test_add("/secret-files/touches-only-what-differs", Fixture, NULL, set_up, test_touches_only_what_differs,
               tear_down);
    g_test_add("/secret-files/repair", Fixture, NULL, set_up, test_repair, tear_down);
    g_test_add("/secret-files/link-in-its-place", Fixture, NULL, set_up, test_link_in_its_place, tear_down);
    g_test_add("/secret-files/remove", Fixture, NULL, set_up, test_remove, tear_down);
    g_test_add("/secret-files/refuses-foreign-folder", Fixture, NULL, set_up, test_refuses_foreign_folder, tear_down);
    return g_test_run();
}
