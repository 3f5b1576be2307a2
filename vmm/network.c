/* SPDX-License-Identifier: Apache-2.0
 * Bridges and taps through ip(8). Present state is read from sysfs, so that "ensure" of what is there starts no
 * program. */
#include "vmm/network.h"

#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IP "/usr/sbin/ip"
#define IP_TIMEOUT_MS 5000
#define SYSFS_NET "/sys/class/net"
#define PROC_IPV6 "/proc/sys/net/ipv6/conf"

#define ip_call(runner, error, ...) process_call(runner, IP_TIMEOUT_MS, NULL, error, IP, __VA_ARGS__, NULL)

static gboolean link_exists(const char *link)
{
    g_autofree char *path = g_build_filename(SYSFS_NET, link, NULL);
    return access(path, F_OK) == 0;
}

/* One value below /sys/class/net/<link>/, without its newline; NULL when there is none. */
static char *link_value(const char *link, const char *name)
{
    g_autofree char *path = g_build_filename(SYSFS_NET, link, name, NULL);
    char *text = NULL;
    return g_file_get_contents(path, &text, NULL, NULL) ? g_strstrip(text) : NULL;
}

static gboolean link_is_up(const char *link)
{
    g_autofree char *flags = link_value(link, "flags");
    return flags && (strtoul(flags, NULL, 0) & IFF_UP) != 0;
}

static gboolean link_is_port_of(const char *link, const char *bridge)
{
    g_autofree char *path = g_build_filename(SYSFS_NET, link, "master", NULL);
    g_autofree char *target = g_file_read_link(path, NULL);
    g_autofree char *master = target ? g_path_get_basename(target) : NULL;
    return g_strcmp0(master, bridge) == 0;
}

static gboolean link_name_check(const char *link, const char *what, GError **error)
{
    if (strlen(link) >= IFNAMSIZ) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "%s: '%s' is longer than the %d characters of an interface name", what, link, IFNAMSIZ - 1);
        return FALSE;
    }
    return TRUE;
}

static gboolean link_ensure_up(const ProcessRunner *runner, const char *link, GError **error)
{
    return link_is_up(link) || ip_call(runner, error, "link", "set", "dev", link, "up");
}

static gboolean link_ensure_port(const ProcessRunner *runner, const char *link, const char *bridge, GError **error)
{
    return link_is_port_of(link, bridge) || ip_call(runner, error, "link", "set", "dev", link, "master", bridge);
}

/* `hf-` and the network's name; an interface name has 15 characters, so a long one is cut and told apart by a hash. */
char *network_bridge_name(const char *network)
{
    if (strlen(network) + 3 < IFNAMSIZ) {
        return g_strdup_printf("hf-%s", network);
    }
    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, network, -1);
    return g_strdup_printf("hf-%.5s-%.6s", network, hash);
}

static char *vlan_name(const char *bridge)
{
    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, bridge, -1);
    return g_strdup_printf("hfv-%.10s", hash);
}

/* The interface below the bridge: `interface`, or its VLAN. */
static char *uplink_ensure(const ProcessRunner *runner, const char *bridge, const char *interface, int vlan,
                           GError **error)
{
    if (!link_exists(interface)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "network interface %s is not on this node",
                    interface);
        return NULL;
    }
    if (!link_ensure_up(runner, interface, error)) {
        return NULL;
    }
    if (vlan <= 0) {
        return g_strdup(interface);
    }
    g_autofree char *link = vlan_name(bridge);
    g_autofree char *id = g_strdup_printf("%d", vlan);
    if (!link_exists(link) &&
        !ip_call(runner, error, "link", "add", "link", interface, "name", link, "type", "vlan", "id", id)) {
        return NULL;
    }
    return link_ensure_up(runner, link, error) ? g_steal_pointer(&link) : NULL;
}

/* The host stays out of guest networks, but IPv6 gives every interface an address by itself. No such file: no IPv6
 * here. */
static gboolean link_forbid_ipv6(const char *link, GError **error)
{
    g_autofree char *path = g_build_filename(PROC_IPV6, link, "disable_ipv6", NULL);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    gboolean ok = fd < 0 ? errno == ENOENT : write(fd, "1", 1) == 1;
    int err = errno;
    if (fd >= 0) {
        close(fd);
    }
    return ok || holdfast_error_set_errno(error, err, "cannot write %s", path);
}

/* No spanning tree and no forward delay: a tap must pass frames the moment the guest moves here. No multicast snooping:
 * without a querier it loses groups. */
static gboolean bridge_make(const ProcessRunner *runner, const char *bridge, GError **error)
{
    return link_exists(bridge) || ip_call(runner, error, "link", "add", "name", bridge, "type", "bridge", "stp_state",
                                          "0", "forward_delay", "0", "mcast_snooping", "0");
}

/* The uplink's frame size is what the network can carry. */
static gboolean bridge_match_mtu(const ProcessRunner *runner, const char *bridge, const char *uplink, GError **error)
{
    g_autofree char *have = link_value(bridge, "mtu");
    g_autofree char *want = link_value(uplink, "mtu");
    return !want || g_strcmp0(have, want) == 0 || ip_call(runner, error, "link", "set", "dev", bridge, "mtu", want);
}

gboolean network_bridge_ensure(const ProcessRunner *runner, const char *network, const char *interface, int vlan,
                               GError **error)
{
    g_autofree char *bridge = network_bridge_name(network);
    g_autofree char *uplink = NULL;
    if (interface) {
        uplink = uplink_ensure(runner, bridge, interface, vlan, error);
        if (!uplink) {
            return FALSE;
        }
    }
    return bridge_make(runner, bridge, error) && link_forbid_ipv6(bridge, error) &&
           (!uplink || link_ensure_port(runner, uplink, bridge, error)) &&
           (!uplink || bridge_match_mtu(runner, bridge, uplink, error)) && link_ensure_up(runner, bridge, error);
}

gboolean network_bridge_remove(const ProcessRunner *runner, const char *network, GError **error)
{
    g_autofree char *bridge = network_bridge_name(network);
    g_autofree char *vlan = vlan_name(bridge);
    return (!link_exists(bridge) || ip_call(runner, error, "link", "del", "dev", bridge)) &&
           (!link_exists(vlan) || ip_call(runner, error, "link", "del", "dev", vlan));
}

gboolean network_tap_ensure(const ProcessRunner *runner, const char *tap, int uid, const char *bridge, GError **error)
{
    if (!link_name_check(tap, "tap", error)) {
        return FALSE;
    }
    if (!link_exists(bridge)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "bridge %s is not on this node", bridge);
        return FALSE;
    }
    g_autofree char *user = g_strdup_printf("%d", uid);
    g_autofree char *owner = link_value(tap, "owner");
    if (owner && strcmp(owner, user) != 0 && !ip_call(runner, error, "link", "del", "dev", tap)) {
        return FALSE;
    }
    if (!link_exists(tap) &&
        !ip_call(runner, error, "tuntap", "add", "dev", tap, "mode", "tap", "user", user, "vnet_hdr")) {
        return FALSE;
    }
    g_autofree char *have = link_value(tap, "mtu");
    g_autofree char *want = link_value(bridge, "mtu");
    return (g_strcmp0(have, want) == 0 || !want || ip_call(runner, error, "link", "set", "dev", tap, "mtu", want)) &&
           link_forbid_ipv6(tap, error) && link_ensure_port(runner, tap, bridge, error) &&
           link_ensure_up(runner, tap, error);
}

gboolean network_tap_remove(const ProcessRunner *runner, const char *tap, GError **error)
{
    return !link_exists(tap) || ip_call(runner, error, "link", "del", "dev", tap);
}
