/* SPDX-License-Identifier: Apache-2.0
 * Importing disk images.
 *
 * The format is decided here by magic numbers and then told to qemu-img, which is never left to guess: a raw disk whose
 * content a guest chose could otherwise make it open any file of the host as "backing file". The header of a qcow2 file
 * is checked before qemu-img sees it, for the same reason. */
#include "storage/image.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/json.h"
#include "storage/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define QEMU_IMG "/usr/bin/qemu-img"
#define CHECK_TIMEOUT_MS (10 * 60 * 1000)
#define CONVERT_TIMEOUT_MS (4 * 60 * 60 * 1000)
#define SUFFIX_WHOLE ".raw"
#define SUFFIX_IMPORTING ".importing"
#define SUFFIX_RECEIVING ".receiving"
#define ROOM_RESERVE_BYTES ((gint64) 256 * 1024 * 1024) /* the folder is on the node's system disk */
#define HEAD_BYTES (0x10040 + 8)                        /* as far as the farthest magic number below */

char *image_path(const char *name)
{
    return g_strdup_printf(IMAGE_FOLDER "/%s.raw", name);
}

/* One name for an unfinished file, so what a kill left behind is used up by the next try. */
static char *unfinished_path(const char *folder, const char *name, const char *suffix)
{
    return g_strdup_printf("%s/.%s%s", folder, name, suffix);
}

static char *whole_path(const char *folder, const char *name)
{
    return g_strdup_printf("%s/%s%s", folder, name, SUFFIX_WHOLE);
}

static gboolean bad_file(GError **error, const char *path, const char *what)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "path: %s %s", path, what);
    return FALSE;
}

/* ---- what is it ---- */

typedef struct {
    gsize offset, length;
    const char *bytes;
    const char *what; /* NULL: it is a disk */
} Magic;

/* First match wins. */
static const Magic magics[] = {
    {0, 4, "QFI\xfb", "qcow2"},
    {0, 4, "KDMV", "is a VMware disk (VMDK); convert it with: qemu-img convert -O qcow2"},
    {0, 21, "# Disk DescriptorFile",
     "is a VMware disk description (VMDK); convert the disk with: qemu-img convert -O qcow2"},
    {0, 8, "vhdxfile", "is a Hyper-V disk (VHDX); convert it with: qemu-img convert -O qcow2"},
    {0, 8, "conectix", "is a Virtual PC disk (VHD); convert it with: qemu-img convert -O qcow2"},
    {64, 4, "\x7f\x10\xda\xbe", "is a VirtualBox disk (VDI); convert it with: qemu-img convert -O qcow2"},
    {0, 4, "QED\0", "is a QED disk; convert it with: qemu-img convert -O qcow2"},
    {0, 2, "\x1f\x8b", "is compressed (gzip); unpack it first"},
    {0, 6,
     "\xfd"
     "7zXZ\0",
     "is compressed (xz); unpack it first"},
    {0, 4, "\x28\xb5\x2f\xfd", "is compressed (zstd); unpack it first"},
    {0, 3, "BZh", "is compressed (bzip2); unpack it first"},
    {0, 4, "PK\x03\x04", "is a zip archive; unpack it first"},
    {0, 6, "7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it first"},
    {257, 5, "ustar", "is a tar archive (an OVA?); unpack it first"},
    {510, 2, "\x55\xaa", NULL},          /* boot sector: MBR, protective MBR of GPT, FAT, NTFS */
    {512, 8, "EFI PART", NULL},          /* GPT, 512-byte sectors */
    {4096, 8, "EFI PART", NULL},         /* GPT, 4096-byte sectors */
    {1080, 2, "\x53\xef", NULL},         /* ext2, ext3, ext4 */
    {0, 4, "XFSB", NULL},                /* XFS */
    {0x10040, 8, "_BHRfS_M", NULL},      /* btrfs */
    {0, 4, "hsqs", NULL},                /* squashfs */
    {1024, 4, "\xe2\xe1\xf5\xe0", NULL}, /* erofs */
    {32769, 5, "CD001", NULL},           /* ISO 9660 */
    {512, 8, "LABELONE", NULL},          /* LVM physical volume */
};

static const Magic *magic_find(const char *head, gsize length)
{
    for (gsize i = 0; i < G_N_ELEMENTS(magics); i++) {
        const Magic *magic = &magics[i];
        if (magic->offset + magic->length <= length && memcmp(head + magic->offset, magic->bytes, magic->length) == 0) {
            return magic;
        }
    }
    return NULL;
}

static guint64 get_be(const char *bytes, int count)
{
    guint64 value = 0;
    for (int i = 0; i < count; i++) {
        value = value << 8 | (guint8) bytes[i];
    }
    return value;
}

/* Fields by QEMU's docs/interop/qcow2.txt. */
static gboolean qcow2_header_check(const char *path, const char *head, gsize length, GError **error)
{
    if (length < 104) {
        return bad_file(error, path, "is a cut-off qcow2 file: copy it again");
    }
    guint64 version = get_be(head + 4, 4);
    guint64 incompatible = version >= 3 ? get_be(head + 72, 8) : 0;
    if (version != 2 && version != 3) {
        return bad_file(error, path, "is a qcow file of an unsupported version");
    }
    if (get_be(head + 8, 8) != 0) {
        return bad_file(error, path,
                        "is a qcow2 overlay with a backing file; flatten it with: qemu-img convert -O qcow2");
    }
    if (get_be(head + 32, 4) != 0) {
        return bad_file(error, path, "is encrypted; decrypt it with: qemu-img convert");
    }
    if (incompatible & 2) {
        return bad_file(error, path, "is marked corrupt; repair it with: qemu-img check -r all");
    }
    if (incompatible & 4) {
        return bad_file(error, path, "keeps its data in another file; flatten it with: qemu-img convert -O qcow2");
    }
    return TRUE;
}

/* Look at the source. *ret_qcow2: else raw. */
static gboolean source_check(const char *path, gboolean *ret_qcow2, GError **error)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int err = errno;
        return err == ENOENT ? bad_file(error, path, "is not on this node")
                             : holdfast_error_set_errno(error, err, "path: cannot open %s", path);
    }
    g_autofree char *head = g_malloc0(HEAD_BYTES);
    gboolean regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    ssize_t got = regular ? pread(fd, head, HEAD_BYTES, 0) : 0;
    close(fd);
    if (!regular) {
        return bad_file(error, path, "is no regular file");
    }
    if (got <= 0) {
        return bad_file(error, path, "is empty");
    }
    const Magic *magic = magic_find(head, (gsize) got);
    if (!magic) {
        return bad_file(error, path,
                        "is neither qcow2 nor a raw disk: it has no boot sector, partition table or file system");
    }
    *ret_qcow2 = magic->what && strcmp(magic->what, "qcow2") == 0;
    if (*ret_qcow2) {
        return qcow2_header_check(path, head, (gsize) got, error);
    }
    if (magic->what) {
        return bad_file(error, path, magic->what);
    }
    return st.st_size % 512 == 0 || bad_file(error, path, "is no whole number of 512-byte sectors: is it cut off?");
}

/* ---- qemu-img ---- */

/* `qemu-img info` and `check` of a qcow2 file. check matters: clusters beyond the end of a cut-off file read as zeros
 * without an error. */
static gboolean qcow2_check(const ProcessRunner *runner, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    if (!process_call(runner, CHECK_TIMEOUT_MS, &text, error, QEMU_IMG, "info", "-f", "qcow2", "--output=json", path,
                      NULL)) {
        g_prefix_error(error, "path: ");
        return FALSE;
    }
    g_autoptr(json_t) info = json_text_parse(text, -1, "qemu-img info", error);
    if (!info) {
        return FALSE;
    }
    if (json_object_get(info, "backing-filename")) {
        return bad_file(error, path, "has a backing file");
    }
    if (json_integer_value(json_object_get(info, "virtual-size")) <= 0) {
        return bad_file(error, path, "describes a disk of no size");
    }
    const char *argv[] = {QEMU_IMG, "check", "-q", "-f", "qcow2", path, NULL};
    g_auto(ProcessResult) result = {0};
    if (!runner->run(runner, argv, NULL, CHECK_TIMEOUT_MS, &result, error)) {
        return FALSE;
    }
    /* 0 clean, 3 leaked clusters (harmless), 2 corrupt, 1 not checked */
    return result.exit_status == 0 || result.exit_status == 3
               ? TRUE
               : bad_file(error, path, "is damaged or cut off (qemu-img check); copy it again");
}

static gboolean convert(const ProcessRunner *runner, const char *path, const char *target, GError **error)
{
    const char *argv[] = {QEMU_IMG, "convert", "-f", "qcow2", "-O", "raw", path, target, NULL};
    g_auto(ProcessResult) result = {0};
    if (!runner->run(runner, argv, NULL, CONVERT_TIMEOUT_MS, &result, error)) {
        return FALSE;
    }
    if (result.exit_status == 0) {
        return TRUE;
    }
    gboolean full = strstr(result.stderr_text, g_strerror(ENOSPC)) || strstr(result.stderr_text, "No space left");
    g_set_error(error, HOLDFAST_ERROR, full ? HOLDFAST_ERROR_NO_SPACE : HOLDFAST_ERROR_FAILED, "cannot convert %s: %s",
                path, full ? "the image folder is full" : g_strchomp(result.stderr_text));
    return FALSE;
}

/* ---- import ---- */

/* Set the length of `path` and flush it; made if it is not there. */
static gboolean file_size_set(const char *path, gint64 size_bytes, GError **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    gboolean ok = fd >= 0 && ftruncate(fd, size_bytes) == 0 && fsync(fd) == 0;
    int err = errno;
    if (fd >= 0) {
        close(fd);
    }
    return ok || holdfast_error_set_errno(error, err, "cannot write %s", path);
}

static gboolean file_size_get(const char *path, gint64 *ret, GError **error)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot look at %s", path);
    }
    *ret = st.st_size;
    return TRUE;
}

/* Fill the temporary file. It was emptied before, so what is not written reads zero. copy_sparse() may write up to the
 * next 4096 bytes: cut back. qemu-img does not flush its target, so both ways end in the flush of file_size_set(). */
static gboolean fill_temporary(const ProcessRunner *runner, const char *source, gboolean qcow2, const char *temporary,
                               GChecksum *checksum, gint64 *ret_size, GError **error)
{
    CopyOptions options = {.checksum = checksum};
    if (!file_size_set(temporary, 0, error)) {
        return FALSE;
    }
    if (qcow2) {
        return convert(runner, source, temporary, error) && file_size_get(temporary, ret_size, error) &&
               file_size_set(temporary, *ret_size, error) && copy_sparse(temporary, NULL, &options, error);
    }
    return file_size_get(source, ret_size, error) && file_size_set(temporary, *ret_size, error) &&
           copy_sparse(source, temporary, &options, error) && file_size_set(temporary, *ret_size, error);
}

static gboolean publish(const char *temporary, const char *folder, const char *path, GError **error)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    gboolean ok = fd >= 0 && rename(temporary, path) == 0 && fsync(fd) == 0;
    int err = errno;
    if (fd >= 0) {
        close(fd);
    }
    return ok || holdfast_error_set_errno(error, err, "cannot put %s in place", path);
}

gboolean image_import_into(const ProcessRunner *runner, const char *folder, const char *name, const char *source_path,
                           gint64 *ret_size_bytes, char **ret_sha256, GError **error)
{
    gboolean qcow2 = FALSE;
    gint64 size = 0;
    if (!ident_check_name(name, "name", error)) {
        return FALSE;
    }
    if (!source_path || source_path[0] != '/') {
        return bad_file(error, source_path ? source_path : "", "must be an absolute path on this node");
    }
    if (!source_check(source_path, &qcow2, error) || (qcow2 && !qcow2_check(runner, source_path, error))) {
        return FALSE;
    }
    if (g_mkdir_with_parents(folder, 0755) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot make %s", folder);
    }
    g_autofree char *temporary = unfinished_path(folder, name, SUFFIX_IMPORTING);
    g_autofree char *path = whole_path(folder, name);
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    if (!fill_temporary(runner, source_path, qcow2, temporary, checksum, &size, error) ||
        !publish(temporary, folder, path, error)) {
        unlink(temporary);
        return FALSE;
    }
    *ret_size_bytes = size;
    *ret_sha256 = g_strdup(g_checksum_get_string(checksum));
    return TRUE;
}

gboolean image_import(const ProcessRunner *runner, const char *name, const char *source_path, gint64 *ret_size_bytes,
                      char **ret_sha256, GError **error)
{
    return image_import_into(runner, IMAGE_FOLDER, name, source_path, ret_size_bytes, ret_sha256, error);
}

gboolean image_remove(const char *name, GError **error)
{
    if (!ident_check_name(name, "name", error)) {
        return FALSE;
    }
    g_autofree char *path = image_path(name);
    if (unlink(path) != 0 && errno != ENOENT) {
        return holdfast_error_set_errno(error, errno, "cannot remove %s", path);
    }
    return TRUE;
}

/* ---- copies from other nodes ---- */

char *image_receiving_path(const char *folder, const char *name)
{
    return unfinished_path(folder, name, SUFFIX_RECEIVING);
}

gboolean image_adopt(const char *folder, const char *name, gint64 size_bytes, const char *sha256,
                     GCancellable *cancellable, GError **error)
{
    g_autofree char *received = image_receiving_path(folder, name);
    g_autofree char *path = whole_path(folder, name);
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    CopyOptions options = {.checksum = checksum, .cancellable = cancellable};
    gint64 size = 0;
    if (!file_size_get(received, &size, error) || !copy_sparse(received, NULL, &options, error)) {
        return FALSE;
    }
    const char *got = g_checksum_get_string(checksum);
    if (size != size_bytes || g_strcmp0(got, sha256) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                    "the copy of image '%s' is not what was imported (%" G_GINT64_FORMAT " bytes with SHA-256 %s, "
                    "expected %" G_GINT64_FORMAT " with %s)",
                    name, size, got, size_bytes, sha256);
        return FALSE;
    }
    return publish(received, folder, path, error);
}

/* The image a file of the folder belongs to; NULL: none. Caller frees. */
static char *name_of_file(const char *file)
{
    static const char *const suffixes[] = {SUFFIX_WHOLE, SUFFIX_IMPORTING, SUFFIX_RECEIVING};
    for (gsize i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        const char *start = i == 0 ? file : file + 1;
        if (g_str_has_suffix(file, suffixes[i]) && (file[0] == '.') == (i > 0)) {
            g_autofree char *name = g_strndup(start, strlen(start) - strlen(suffixes[i]));
            return ident_check_name(name, "name", NULL) ? g_steal_pointer(&name) : NULL;
        }
    }
    return NULL;
}

char **image_folder_names(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    const char *file;
    while (dir && (file = g_dir_read_name(dir))) {
        char *name = name_of_file(file);
        if (name) {
            g_hash_table_add(names, name);
        }
    }
    g_autofree char **keys = (char **) g_hash_table_get_keys_as_array(names, NULL);
    return g_strdupv(keys);
}

void image_folder_clean(const char *folder, const char *name)
{
    g_autofree char *whole = whole_path(folder, name);
    g_autofree char *importing = unfinished_path(folder, name, SUFFIX_IMPORTING);
    g_autofree char *receiving = unfinished_path(folder, name, SUFFIX_RECEIVING);
    unlink(whole);
    unlink(importing);
    unlink(receiving);
}

gboolean image_folder_has_room(const char *folder, const char *name, gint64 data_bytes, GError **error)
{
    struct statvfs room;
    if (g_mkdir_with_parents(folder, 0755) != 0 || statvfs(folder, &room) != 0) {
        return holdfast_error_set_errno(error, errno, "image folder %s", folder);
    }
    gint64 free_bytes = (gint64) room.f_bavail * (gint64) room.f_frsize;
    if (data_bytes + ROOM_RESERVE_BYTES > free_bytes) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE,
                    "image '%s' needs %" G_GINT64_FORMAT " MiB in %s, where %" G_GINT64_FORMAT
                    " MiB are free and %" G_GINT64_FORMAT " MiB must stay so: delete images",
                    name, data_bytes >> 20, folder, free_bytes >> 20, ROOM_RESERVE_BYTES >> 20);
        return FALSE;
    }
    return TRUE;
}
