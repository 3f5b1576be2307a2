/* SPDX-License-Identifier: Apache-2.0
 * A node's own copy of what it must know of a guest. */
#include "cluster/manifest.h"

#include "common/error.h"
#include "common/file.h"
#include "common/ident.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define MANIFEST_SUFFIX ".json"
#define MANIFEST_ASIDE_SUFFIX ".aside"

static const JsonField manifest_fields[] = {
    {.name = "version", .kind = JSON_FIELD_INT, .offset = offsetof(Manifest, version), .required = TRUE},
    {.name = "guest",
     .kind = JSON_FIELD_STRUCT,
     .offset = offsetof(Manifest, guest),
     .required = TRUE,
     .sub = &guest_type},
    {.name = "volumes", .kind = JSON_FIELD_STRUCTS, .offset = offsetof(Manifest, volumes), .sub = &volume_type},
    {.name = "address", .kind = JSON_FIELD_STRING, .offset = offsetof(Manifest, address), .required = TRUE},
    {.name = "peer_node", .kind = JSON_FIELD_STRING, .offset = offsetof(Manifest, peer_node)},
    {.name = "peer_id", .kind = JSON_FIELD_INT, .offset = offsetof(Manifest, peer_id), .min = 0, .max = G_MAXUINT32},
    {.name = "peer_address", .kind = JSON_FIELD_STRING, .offset = offsetof(Manifest, peer_address)},
    {.name = "bridges", .kind = JSON_FIELD_STRV, .offset = offsetof(Manifest, bridges)},
    {0},
};

const JsonStruct manifest_type = {.size = sizeof(Manifest), .fields = manifest_fields};

void manifest_free(Manifest *manifest)
{
    object_free(&manifest_type, manifest);
}

/* NULL with INVALID when `guest` is no name and so could lead out of the folder. */
static char *manifest_path(const char *folder, const char *guest, GError **error)
{
    return ident_check_name(guest, "guest", error) ? g_strconcat(folder, "/", guest, MANIFEST_SUFFIX, NULL) : NULL;
}

Manifest *manifest_read_at(const char *folder, const char *guest, GError **error)
{
    g_autofree char *path = manifest_path(folder, guest, error);
    g_autofree char *text = path ? file_read(path, JSON_TEXT_MAX_BYTES, error) : NULL;
    return text ? object_from_text(&manifest_type, text, path, error) : NULL;
}

gboolean manifest_write_at(const char *folder, const Manifest *manifest, GError **error)
{
    g_autofree char *path = manifest_path(folder, manifest->guest.name, error);
    if (!path) {
        return FALSE;
    }
    g_autofree char *text = object_to_text(&manifest_type, manifest);
    g_autofree char *present = file_read(path, JSON_TEXT_MAX_BYTES, NULL);
    return (present && strcmp(present, text) == 0) || file_write_durable(path, text, -1, 0600, error);
}

gboolean manifest_remove_at(const char *folder, const char *guest, GError **error)
{
    g_autofree char *path = manifest_path(folder, guest, error);
    if (!path) {
        return FALSE;
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return holdfast_error_set_errno(error, errno, "cannot remove %s", path);
    }
    return TRUE;
}

gboolean manifest_set_aside_at(const char *folder, const char *guest, GError **error)
{
    g_autofree char *path = manifest_path(folder, guest, error);
    if (!path) {
        return FALSE;
    }
    g_autofree char *aside = g_strconcat(path, MANIFEST_ASIDE_SUFFIX, NULL);
    if (rename(path, aside) != 0 && errno != ENOENT) {
        return holdfast_error_set_errno(error, errno, "cannot set %s aside", path);
    }
    return TRUE;
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

char **manifest_list_at(const char *path, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(GStrvBuilder) names = g_strv_builder_new();
    g_autoptr(GDir) folder = g_dir_open(path, 0, &problem);
    if (!folder && !g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "cannot list guests: %s", problem->message);
        return NULL;
    }
    const char *file;
    while (folder && (file = g_dir_read_name(folder))) {
        if (g_str_has_suffix(file, MANIFEST_SUFFIX)) {
            g_autofree char *name = g_strndup(file, strlen(file) - strlen(MANIFEST_SUFFIX));
            if (ident_check_name(name, "guest", NULL)) {
                g_strv_builder_add(names, name);
            }
        }
    }
    char **list = g_strv_builder_end(names);
    qsort(list, g_strv_length(list), sizeof(*list), name_compare);
    return list;
}

Manifest *manifest_read(const char *guest, GError **error)
{
    return manifest_read_at(MANIFEST_FOLDER, guest, error);
}

gboolean manifest_write(const Manifest *manifest, GError **error)
{
    return manifest_write_at(MANIFEST_FOLDER, manifest, error);
}

gboolean manifest_remove(const char *guest, GError **error)
{
    return manifest_remove_at(MANIFEST_FOLDER, guest, error);
}

gboolean manifest_set_aside(const char *guest, GError **error)
{
    return manifest_set_aside_at(MANIFEST_FOLDER, guest, error);
}

char **manifest_list(GError **error)
{
    return manifest_list_at(MANIFEST_FOLDER, error);
}
