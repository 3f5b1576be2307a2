/* SPDX-License-Identifier: Apache-2.0
 * Identity of this node and of objects. */
#include "common/ident.h"

#include "common/error.h"

#include <string.h>
#include <sys/random.h>

#define IDENT_NAME_MAX 40

gboolean ident_check_name(const char *name, const char *what, GError **error)
{
    gsize length = name ? strlen(name) : 0;
    gboolean ok = length >= 1 && length <= IDENT_NAME_MAX && g_ascii_islower(name[0]) && name[length - 1] != '-';
    for (gsize i = 0; ok && i < length; i++) {
        ok = g_ascii_islower(name[i]) || g_ascii_isdigit(name[i]) || name[i] == '-';
    }
    if (!ok) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "%s: '%s' must be 1 to %d characters of a-z, 0-9 and '-', begin with a letter and not end with '-'",
                    what, name ? name : "", IDENT_NAME_MAX);
    }
    return ok;
}

char *ident_new_uuid(void)
{
    guint8 b[16];
    if (getrandom(b, sizeof(b), 0) != (ssize_t) sizeof(b)) {
        g_error("the kernel gave no random bytes");
    }
    guint64 now_ms = (guint64) (g_get_real_time() / 1000);
    for (int i = 0; i < 6; i++) {
        b[i] = (guint8) (now_ms >> (8 * (5 - i)));
    }
    b[6] = (guint8) (0x70 | (b[6] & 0x0f));
    b[8] = (guint8) (0x80 | (b[8] & 0x3f));
    return g_strdup_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
                           b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

const char *ident_node_name(void)
{
    static gsize once = 0;
    static char *name = NULL;
    if (g_once_init_enter(&once)) {
        name = g_strdup(g_get_host_name());
        char *dot = strchr(name, '.');
        if (dot) {
            *dot = '\0';
        }
        g_once_init_leave(&once, 1);
    }
    return name;
}

const char *ident_boot_id(void)
{
    static gsize once = 0;
    static char *boot_id = NULL;
    if (g_once_init_enter(&once)) {
        if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &boot_id, NULL, NULL)) {
            g_error("cannot read the kernel's boot id");
        }
        g_strstrip(boot_id);
        g_once_init_leave(&once, 1);
    }
    return boot_id;
}

char *ident_timestamp(void)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *seconds = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
    return g_strdup_printf("%s.%03dZ", seconds, g_date_time_get_microsecond(now) / 1000);
}
