/* SPDX-License-Identifier: Apache-2.0
 * The rules of user input that need no cluster state. */
#include "cluster/objects.h"
#include "common/error.h"
#include "common/ident.h"

#include <string.h>

#define VOLUME_GRAIN_MIB 4
#define NETWORK_NAME_MAX 12   /* the bridge is hf-<name>, and Linux allows 15 characters */
#define INTERFACE_NAME_MAX 15 /* IFNAMSIZ without the NUL */
#define DESCRIPTION_MAX_BYTES 1024
#define RESTART_WINDOW_MIN_S 60 /* one start may take that long: the failures of a shorter one never add up */

static gboolean volume_check(const GuestVolumeSpec *volume, guint index, GError **error)
{
    g_autofree char *image_field = g_strdup_printf("spec.volumes[%u].image", index);
    if (volume->image && !ident_check_name(volume->image, image_field, error)) {
        return FALSE;
    }
    if (volume->size_mib == 0 && !volume->image) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "spec.volumes[%u].size_mib: is missing; only a volume with an image may go without",
                                   index);
    }
    if (volume->size_mib % VOLUME_GRAIN_MIB != 0) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "spec.volumes[%u].size_mib: must be a multiple of %d, not %" G_GINT64_FORMAT, index,
                                   VOLUME_GRAIN_MIB, volume->size_mib);
    }
    return TRUE;
}

static gboolean volumes_check(const GPtrArray *volumes, GError **error)
{
    if (volumes->len < 1 || volumes->len > GUEST_VOLUMES_MAX) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "spec.volumes: must be 1 to %d, not %u",
                                   GUEST_VOLUMES_MAX, volumes->len);
    }
    for (guint i = 0; i < volumes->len; i++) {
        if (!volume_check(volumes->pdata[i], i, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean network_name_check(const char *name, const char *what, GError **error)
{
    if (!ident_check_name(name, what, error)) {
        return FALSE;
    }
    return strlen(name) <= NETWORK_NAME_MAX ||
           holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "%s: '%s' is longer than %d characters", what, name,
                               NETWORK_NAME_MAX);
}

/* Six pairs of lower-case hex digits; a unicast address and not all zero. */
static gboolean mac_ok(const char *mac)
{
    if (strlen(mac) != 17) {
        return FALSE;
    }
    for (int i = 0; i < 17; i++) {
        if (i % 3 == 2 ? mac[i] != ':' : !g_ascii_isxdigit(mac[i])) {
            return FALSE;
        }
    }
    return g_ascii_xdigit_value(mac[1]) % 2 == 0 && strcmp(mac, "00:00:00:00:00:00") != 0;
}

static gboolean nic_check(const GPtrArray *nics, guint index, GError **error)
{
    GuestNic *nic = nics->pdata[index];
    g_autofree char *network_field = g_strdup_printf("spec.nics[%u].network", index);
    if (!network_name_check(nic->network, network_field, error)) {
        return FALSE;
    }
    if (!nic->mac) {
        return TRUE;
    }
    for (char *c = nic->mac; *c; c++) {
        *c = g_ascii_tolower(*c);
    }
    if (!mac_ok(nic->mac)) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "spec.nics[%u].mac: '%s' must be a unicast address like 52:54:00:12:34:56", index,
                                   nic->mac);
    }
    for (guint i = 0; i < index; i++) {
        const GuestNic *other = nics->pdata[i];
        if (g_strcmp0(other->mac, nic->mac) == 0) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                       "spec.nics[%u].mac: '%s' is that of spec.nics[%u] too", index, nic->mac, i);
        }
    }
    return TRUE;
}

static gboolean nics_check(const GPtrArray *nics, GError **error)
{
    if (nics->len > GUEST_NICS_MAX) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "spec.nics: must be at most %d, not %u",
                                   GUEST_NICS_MAX, nics->len);
    }
    for (guint i = 0; i < nics->len; i++) {
        if (!nic_check(nics, i, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean description_check(const char *description, GError **error)
{
    return !description || strlen(description) <= DESCRIPTION_MAX_BYTES ||
           holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "spec.description: must be at most %d bytes",
                               DESCRIPTION_MAX_BYTES);
}

static gboolean names_check(char *const *names, const char *field, GError **error)
{
    guint n = names ? g_strv_length((char **) names) : 0;
    if (n > GUEST_RELATIONS_MAX) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "%s: must be at most %d guests, not %u", field,
                                   GUEST_RELATIONS_MAX, n);
    }
    for (guint i = 0; i < n; i++) {
        if (!ident_check_name(names[i], field, error)) {
            return FALSE;
        }
        for (guint before = 0; before < i; before++) {
            if (strcmp(names[before], names[i]) == 0) {
                return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "%s: names '%s' twice", field, names[i]);
            }
        }
    }
    return TRUE;
}

/* The rules among guests need the cluster's state: cluster/relations. */
static gboolean recovery_check(const GuestSpec *spec, GError **error)
{
    if (!names_check(spec->start_after, "spec.start_after", error) ||
        !names_check(spec->keep_apart, "spec.keep_apart", error) ||
        !names_check(spec->keep_together, "spec.keep_together", error)) {
        return FALSE;
    }
    for (char **name = spec->keep_apart; name && *name; name++) {
        if (spec->keep_together && g_strv_contains((const char *const *) spec->keep_together, *name)) {
            return holdfast_error_fail(
                error, HOLDFAST_ERROR_INVALID,
                "spec.keep_apart: '%s' is in spec.keep_together too: leave it out of one of them", *name);
        }
    }
    if (spec->keep_apart_strict && (!spec->keep_apart || !*spec->keep_apart)) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "spec.keep_apart_strict: needs spec.keep_apart, the guests it is about");
    }
    return spec->restart_window_s == 0 || spec->restart_window_s >= RESTART_WINDOW_MIN_S ||
           holdfast_error_fail(
               error, HOLDFAST_ERROR_INVALID,
               "spec.restart_window_s: must be 0 (the default, %d) or between %d and 86400, not %" G_GINT64_FORMAT,
               GUEST_RESTART_WINDOW_S, RESTART_WINDOW_MIN_S, spec->restart_window_s);
}

gboolean guest_spec_from_json(const json_t *json, GuestSpec *out, GError **error)
{
    *out = (GuestSpec){
        .vcpus = 1, .engine = GUEST_ENGINE_AUTO, .desired = GUEST_DESIRED_RUNNING, .replicas = 2, .priority = 100};
    if (json_struct_decode(json, &guest_spec_type, "spec", out, error) && volumes_check(out->volumes, error) &&
        nics_check(out->nics, error) && description_check(out->description, error) && recovery_check(out, error)) {
        return TRUE;
    }
    json_struct_clear(&guest_spec_type, out);
    return FALSE;
}

static gboolean interface_name_ok(const char *name)
{
    gsize length = strlen(name);
    gboolean ok = length >= 1 && length <= INTERFACE_NAME_MAX && g_ascii_isalnum(name[0]);
    for (gsize i = 0; ok && i < length; i++) {
        ok = g_ascii_isalnum(name[i]) || strchr("._-", name[i]) != NULL;
    }
    return ok;
}

gboolean network_check(const Network *network, GError **error)
{
    if (!network_name_check(network->name, "name", error)) {
        return FALSE;
    }
    if (network->interface && !interface_name_ok(network->interface)) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "interface: '%s' is no network interface name",
                                   network->interface);
    }
    if (network->vlan < 0 || network->vlan > 4094) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "vlan: must be between 0 and 4094, not %" G_GINT64_FORMAT, network->vlan);
    }
    if (network->vlan > 0 && !network->interface) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "vlan: needs an interface; a network without one is isolated");
    }
    return TRUE;
}

gboolean network_from_json(const json_t *json, Network *out, GError **error)
{
    g_autoptr(json_t) document = json_deep_copy(json);
    if (json_is_null(json_object_get(document, "interface"))) {
        json_object_del(document, "interface");
    }
    json_object_set_new(document, "version", json_integer(1));
    return json_struct_decode(document, &network_type, "", out, error) && network_check(out, error);
}
