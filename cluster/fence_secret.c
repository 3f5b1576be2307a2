/* SPDX-License-Identifier: Apache-2.0
 * Secrets of fence devices, as far as they are decided by looking at them. */
#include "cluster/fence_secret.h"

#include <stddef.h>
#include <string.h>

static const JsonField secrets_fields[] = {
    {.name = "version", .kind = JSON_FIELD_INT, .offset = offsetof(FenceSecrets, version), .required = TRUE},
    {.name = "node", .kind = JSON_FIELD_STRING, .offset = offsetof(FenceSecrets, node), .required = TRUE},
    {.name = "devices", .kind = JSON_FIELD_STRV, .offset = offsetof(FenceSecrets, devices)},
    {0},
};
const JsonStruct fence_secrets_type = {.size = sizeof(FenceSecrets), .fields = secrets_fields, .open = TRUE};

void fence_secrets_free(FenceSecrets *secrets)
{
    object_free(&fence_secrets_type, secrets);
}

gboolean fence_secret_name(const char *name)
{
    static const char *const marks[] = {"pass", "secret", "key", "token"};
    g_autofree char *lower = g_ascii_strdown(name, (gssize) strcspn(name, "="));
    if (g_str_has_prefix(lower, "pcmk_")) { /* the fencer's own, used before it replaces secrets */
        return FALSE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(marks); i++) {
        if (strstr(lower, marks[i])) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean fence_secret_parameter(const char *parameter)
{
    const char *equals = strchr(parameter, '=');
    return equals && equals[1] && fence_secret_name(parameter);
}

gboolean fence_secret_fits(const char *value)
{
    gsize length = strlen(value);
    return length > 0 && length <= FENCE_SECRET_MAX_BYTES && !g_ascii_isspace(value[length - 1]) &&
           value[length - 1] != '\v' && !strpbrk(value, "\r\n");
}

char *fence_secret_digest(const FenceDevice *device)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    gboolean any = FALSE;
    for (char **each = device->parameters; each && *each; each++) {
        if (fence_secret_parameter(*each) && fence_secret_fits(strchr(*each, '=') + 1)) {
            g_checksum_update(sum, (const guchar *) *each, (gssize) strlen(*each) + 1);
            any = TRUE;
        }
    }
    return any ? g_strdup_printf("%s=%s", device->node, g_checksum_get_string(sum)) : NULL;
}

static gboolean holds(const char *node, const char *digest, const GPtrArray *statuses)
{
    for (guint i = 0; i < statuses->len; i++) {
        const FenceSecrets *secrets = statuses->pdata[i];
        if (g_str_equal(secrets->node, node)) {
            return secrets->devices && g_strv_contains((const char *const *) secrets->devices, digest);
        }
    }
    return FALSE;
}

gboolean fence_secret_everywhere(const FenceDevice *device, const GPtrArray *online, const GPtrArray *statuses)
{
    g_autofree char *digest = fence_secret_digest(device);
    for (guint i = 0; digest && i < online->len; i++) {
        const char *node = online->pdata[i];
        if (!g_str_equal(node, device->node) && !holds(node, digest, statuses)) {
            return FALSE;
        }
    }
    return TRUE;
}
