/* SPDX-License-Identifier: Apache-2.0
 * What a node keeps on its own disk: guests' manifests and its own configuration. */
#include "cluster/manifest.h"
#include "cluster/node_config.h"
#include "common/error.h"
#include "common/file.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#define GOLDEN                                                                                                         \
    "{\"address\":\"10.0.1.1\",\"bridges\":[\"hf-lan\"],\"guest\":{\"deleting\":false,\"name\":\"web1\",\"nodes\":["   \
    "\"n1\",\"n2\"],"                                                                                                  \
    "\"slot\":7,\"spec\":{\"desired_state\":\"running\",\"engine\":\"auto\",\"memory_mib\":512,\"nics\":[],"           \
    "\"priority\":100,"                                                                                                \
    "\"replicas\":2,\"vcpus\":1,\"volumes\":[{\"size_mib\":4}]},\"uuid\":\"u\",\"version\":1},\"peer_address\":\"10."  \
    "0.1.2\","                                                                                                         \
    "\"peer_id\":3,\"peer_node\":\"n2\",\"version\":1,\"volumes\":[{\"guest\":\"web1\",\"index\":0,\"size_bytes\":"    \
    "4194304,"                                                                                                         \
    "\"version\":1}]}"

static char *folder_new(void)
{
    GError *error = NULL;
    char *folder = g_dir_make_tmp("holdfast-manifest-XXXXXX", &error);
    g_assert_no_error(error);
    return folder;
}

static Manifest *golden(void)
{
    GError *error = NULL;
    Manifest *manifest = object_from_text(&manifest_type, GOLDEN, "manifest", &error);
    g_assert_no_error(error);
    return manifest;
}

static ino_t inode(const char *path)
{
    struct stat status;
    g_assert_cmpint(stat(path, &status), ==, 0);
    return status.st_ino;
}

static void test_round_trip(void)
{
    g_autofree char *folder = folder_new();
    g_autofree char *path = g_build_filename(folder, "web1.json", NULL);
    g_autoptr(Manifest) manifest = golden();
    g_autoptr(GError) error = NULL;
    g_assert_true(manifest_write_at(folder, manifest, &error));
    g_autofree char *text = file_read(path, 65536, &error);
    g_assert_cmpstr(text, ==, GOLDEN);
    g_autoptr(Manifest) read = manifest_read_at(folder, "web1", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(read->guest.name, ==, "web1");
    g_assert_cmpstr(read->peer_address, ==, "10.0.1.2");
    /* Lost once: the fence-peer handler then asked corosync about node 0 and stayed frozen for ever. */
    g_assert_cmpint(read->peer_id, ==, 3);
    g_assert_cmpstr(read->bridges[0], ==, "hf-lan");
    g_assert_cmpint(((Volume *) read->volumes->pdata[0])->size_bytes, ==, 4194304);
    /* Unchanged: the file is not replaced. Changed: it is. */
    ino_t before = inode(path);
    g_assert_true(manifest_write_at(folder, read, &error));
    g_assert_cmpuint(inode(path), ==, before);
    g_free(read->address);
    read->address = g_strdup("10.0.1.9");
    g_assert_true(manifest_write_at(folder, read, &error));
    g_autoptr(Manifest) changed = manifest_read_at(folder, "web1", &error);
    g_assert_cmpstr(changed->address, ==, "10.0.1.9");
    g_autofree char *aside = g_strconcat(path, ".aside", NULL);
    g_assert_true(manifest_set_aside_at(folder, "web1", &error));
    g_assert_true(g_file_test(aside, G_FILE_TEST_EXISTS) && !g_file_test(path, G_FILE_TEST_EXISTS));
    g_auto(GStrv) listed = manifest_list_at(folder, &error);
    g_assert_null(listed[0]);
    g_assert_true(manifest_set_aside_at(folder, "web1", &error));
    g_assert_cmpint(g_rename(aside, path), ==, 0);
    g_assert_true(manifest_remove_at(folder, "web1", &error));
    g_assert_true(manifest_remove_at(folder, "web1", &error)); /* gone already is fine */
    g_assert_no_error(error);
    g_rmdir(folder);
}

static void test_missing_and_bad(void)
{
    g_autofree char *folder = folder_new();
    g_autofree char *path = g_build_filename(folder, "web1.json", NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(manifest_read_at(folder, "web1", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_null(manifest_read_at(folder, "../web1", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(manifest_remove_at(folder, "../web1", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_true(file_write_durable(path, "{\"version\":2}", -1, 0600, NULL));
    g_assert_null(manifest_read_at(folder, "web1", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(error->message, path));
    g_unlink(path);
    g_rmdir(folder);
}

static void test_list(void)
{
    static const char *const files[] = {"web2.json", "db.json", "web1.json", "web1.json.a1b2c3",
                                        "Web.json",  "notes",   ".json"};
    g_autofree char *folder = folder_new();
    g_autoptr(GError) error = NULL;
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(folder, files[i], NULL);
        g_assert_true(g_file_set_contents(path, "", 0, NULL));
    }
    g_auto(GStrv) names = manifest_list_at(folder, &error);
    g_assert_no_error(error);
    g_autofree char *joined = g_strjoinv(" ", names);
    g_assert_cmpstr(joined, ==, "db web1 web2");
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(folder, files[i], NULL);
        g_unlink(path);
    }
    g_rmdir(folder);
    g_auto(GStrv) none = manifest_list_at(folder, &error); /* no folder yet: no guests */
    g_assert_no_error(error);
    g_assert_cmpuint(g_strv_length(none), ==, 0);
}

static void test_node_config(void)
{
    g_autofree char *folder = folder_new();
    g_autofree char *path = g_build_filename(folder, "node.json", NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(node_config_read_at(path, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "not a member"));
    g_clear_error(&error);
    static const char text[] =
        "{\"cluster\":\"demo\",\"node\":\"n1\",\"node_id\":1,\"ring0\":\"10.0.0.1\",\"version\":1}";
    g_autoptr(NodeConfig) config = object_from_text(&node_config_type, text, "config", &error);
    g_assert_no_error(error);
    g_assert_true(node_config_write_at(path, config, &error));
    g_autofree char *written = file_read(path, 65536, &error);
    g_assert_cmpstr(written, ==, text);
    g_autoptr(NodeConfig) read = node_config_read_at(path, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(read->ring1, ==, "10.0.0.1"); /* one network serves both */
    g_assert_cmpint(read->node_id, ==, 1);
    g_assert_cmpint(read->disk_hang_s, ==, 0);
    read->disk_hang_s = 45;
    g_assert_true(node_config_write_at(path, read, &error));
    g_autoptr(NodeConfig) slow = node_config_read_at(path, &error);
    g_assert_no_error(error);
    g_assert_cmpint(slow->disk_hang_s, ==, 45);
    g_assert_true(file_write_durable(path, "{\"version\":1}", -1, 0644, NULL));
    g_assert_null(node_config_read_at(path, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_unlink(path);
    g_rmdir(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/manifest/round-trip", test_round_trip);
    g_test_add_func("/manifest/missing-and-bad", test_missing_and_bad);
    g_test_add_func("/manifest/list", test_list);
    g_test_add_func("/node-config", test_node_config);
    return g_test_run();
}
