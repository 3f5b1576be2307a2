/* SPDX-License-Identifier: Apache-2.0
 * VmmSpec to QEMU 7.2 command line, pure. Both ends of a live migration get the same line from the same spec, so
 * everything the guest can see is pinned here: machine version, CPU model and PCI slots. Changing any of it is a new
 * machine version, not an edit. */
#include "vmm/qemu/qemu.h"

#include "common/error.h"

#include <string.h>

#define ARGV_PROGRAM "/usr/bin/qemu-system-x86_64"
#define ARGV_MACHINE "pc-q35-7.2,usb=off,vmport=off,smm=off,dump-guest-core=off"
/* x86-64-v2 with AES, the common ground of servers since 2010. Not `host`: that cannot move between unlike nodes. No
 * `enforce`: under emulation and nested KVM a missing bit is a warning in the journal, not a guest that does not start.
 */
#define ARGV_CPU "qemu64,svm=off,pni=on,ssse3=on,sse4.1=on,sse4.2=on,popcnt=on,cx16=on,lahf-lm=on,aes=on"
/* Emulation keeps translated code in memory; the default cache of 1 GiB would not fit into the guest's memory limit. */
#define ARGV_TCG "tcg,thread=multi,tb-size=128"

/* PCI slots, fixed so that adding a disk does not rename the guest's network interfaces. */
#define SLOT_RNG 0x02
#define SLOT_BALLOON 0x03
#define SLOT_NIC_FIRST 0x04
#define SLOT_NICS 8
#define SLOT_DISK_FIRST 0x10
#define SLOT_DISKS 14

static void add(GPtrArray *argv, const char *option, const char *value_format, ...) G_GNUC_PRINTF(3, 4);

static void add(GPtrArray *argv, const char *option, const char *value_format, ...)
{
    va_list arguments;
    va_start(arguments, value_format);
    g_ptr_array_add(argv, g_strdup(option));
    g_ptr_array_add(argv, g_strdup_vprintf(value_format, arguments));
    va_end(arguments);
}

static void add_flag(GPtrArray *argv, const char *option)
{
    g_ptr_array_add(argv, g_strdup(option));
}

/* In QEMU's option lists a comma inside a value is written twice. */
static char *quoted(const char *value)
{
    g_auto(GStrv) parts = g_strsplit(value, ",", -1);
    return g_strjoinv(",,", parts);
}

static void add_machine(GPtrArray *argv, const VmmSpec *spec, gboolean incoming)
{
    g_autofree char *name = quoted(spec->name);
    add(argv, "-name", "guest=%s,process=holdfast-%s,debug-threads=on", name, name);
    add_flag(argv, "-nodefaults");
    add_flag(argv, "-no-user-config");
    add(argv, "-machine", "%s", ARGV_MACHINE);
    add(argv, "-accel", "%s", spec->kvm ? "kvm" : ARGV_TCG);
    add(argv, "-cpu", "%s", ARGV_CPU);
    add(argv, "-smp", "cpus=%d,sockets=1,cores=%d,threads=1", spec->vcpus, spec->vcpus);
    add(argv, "-m", "size=%dM", spec->memory_mib);
    add(argv, "-uuid", "%s", spec->uuid);
    add(argv, "-rtc", "base=utc");
    add(argv, "-boot", "strict=on");
    add(argv, "-display", "none");
    add(argv, "-msg", "timestamp=on");
    add(argv, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    if (incoming) {
        add_flag(argv, "-S");
        add(argv, "-incoming", "defer");
    }
}

/* Two monitors because QEMU serves one client per socket. logappend lets the daemon cut the console log under the
 * running VMM. */
static void add_sockets(GPtrArray *argv, const VmmSpec *spec)
{
    g_autofree char *folder = quoted(spec->run_folder);
    add(argv, "-chardev", "socket,id=monitor0,path=%s/qmp.sock,server=on,wait=off", folder);
    add(argv, "-mon", "chardev=monitor0,mode=control");
    add(argv, "-chardev", "socket,id=monitor1,path=%s/agent.sock,server=on,wait=off", folder);
    add(argv, "-mon", "chardev=monitor1,mode=control");
    add(argv, "-chardev", "socket,id=serial0,path=%s/serial.sock,server=on,wait=off,logfile=%s/serial.log,logappend=on",
        folder, folder);
    add(argv, "-device", "isa-serial,chardev=serial0");
}

/* cache.direct: the page cache would hide from DRBD, and from the other node, what the guest believes written.
 * aio=threads: with native, io_submit() blocks the main loop while DRBD has frozen I/O and the monitor stops answering;
 * a guest whose disk waits for fencing must not look like a hung VMM. locking=off: the gate decides who writes, and the
 * target of a migration opens its gate while the source runs. rerror/werror=stop: a closed gate answers EIO. Reported
 * to the guest that would end in a read-only file system or worse; stopped, the guest waits, its state is io-error for
 * all to see, and resume repeats the request. It also makes QEMU's habit harmless of resuming the source by itself when
 * the last phase of a migration fails. */
static void add_disk(GPtrArray *argv, const char *path, int index)
{
    g_autofree char *file = quoted(path);
    const char *driver = g_str_has_prefix(path, "/dev/") ? "host_device" : "file"; /* plain files: tests */
    add(argv, "-blockdev",
        "driver=%s,node-name=gate%d,filename=%s,aio=threads,locking=off,cache.direct=on,cache.no-flush=off,discard="
        "unmap",
        driver, index, file);
    add(argv, "-blockdev",
        "driver=raw,node-name=disk%d,file=gate%d,cache.direct=on,cache.no-flush=off,discard=unmap,detect-zeroes=off",
        index, index);
    g_autofree char *boot = index == 0 ? g_strdup(",bootindex=1") : g_strdup("");
    add(argv, "-device",
        "virtio-blk-pci,id=vd%d,drive=disk%d,bus=pcie.0,addr=0x%02x,disable-legacy=on,serial=disk%d,write-cache=on,"
        "rerror=stop,"
        "werror=stop%s",
        index, index, SLOT_DISK_FIRST + index, index, boot);
}

static void add_nic(GPtrArray *argv, const VmmNic *nic, int index, gboolean vhost)
{
    g_autofree char *tap = quoted(nic->tap);
    g_autofree char *mac = quoted(nic->mac);
    add(argv, "-netdev", "tap,id=net%d,ifname=%s,script=no,downscript=no,vhost=%s", index, tap, vhost ? "on" : "off");
    add(argv, "-device",
        "virtio-net-pci,id=nic%d,netdev=net%d,bus=pcie.0,addr=0x%02x,disable-legacy=on,mac=%s,romfile=", index, index,
        SLOT_NIC_FIRST + index, mac);
}

static gboolean spec_check(const VmmSpec *spec, GError **error)
{
    const char *problem = NULL;
    if (!spec->name || !spec->uuid || !spec->run_folder) {
        problem = "name, uuid, run_folder: must be given";
    } else if (spec->vcpus < 1 || spec->vcpus > 255) {
        problem = "vcpus: must be between 1 and 255";
    } else if (spec->memory_mib < 1) {
        problem = "memory_mib: must be at least 1";
    } else if (spec->n_nics > SLOT_NICS) {
        problem = "nics: at most " G_STRINGIFY(SLOT_NICS) " fit into the machine";
    } else if (spec->disk_paths && g_strv_length(spec->disk_paths) > SLOT_DISKS) {
        problem = "disks: at most " G_STRINGIFY(SLOT_DISKS) " fit into the machine";
    }
    if (problem) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, problem);
    }
    return problem == NULL;
}

char **qemu_argv(const VmmSpec *spec, gboolean incoming, gboolean vhost, GError **error)
{
    if (!spec_check(spec, error)) {
        return NULL;
    }
    GPtrArray *argv = g_ptr_array_new();
    add_flag(argv, ARGV_PROGRAM);
    add_machine(argv, spec, incoming);
    add_sockets(argv, spec);
    add(argv, "-object", "rng-random,id=rng0,filename=/dev/urandom");
    add(argv, "-device", "virtio-rng-pci,rng=rng0,bus=pcie.0,addr=0x%02x,disable-legacy=on", SLOT_RNG);
    add(argv, "-device",
        "virtio-balloon-pci,id=balloon0,bus=pcie.0,addr=0x%02x,disable-legacy=on,free-page-reporting=on", SLOT_BALLOON);
    for (int i = 0; spec->disk_paths && spec->disk_paths[i]; i++) {
        add_disk(argv, spec->disk_paths[i], i);
    }
    for (int i = 0; i < spec->n_nics; i++) {
        add_nic(argv, &spec->nics[i], i, vhost);
    }
    g_ptr_array_add(argv, NULL);
    return (char **) g_ptr_array_free(argv, FALSE);
}

char **qemu_argv_warm_up(gboolean kvm)
{
    GPtrArray *argv = g_ptr_array_new();
    add_flag(argv, ARGV_PROGRAM);
    add_flag(argv, "-nodefaults");
    add_flag(argv, "-no-user-config");
    add(argv, "-machine", "%s", ARGV_MACHINE);
    add(argv, "-accel", "%s", kvm ? "kvm" : ARGV_TCG);
    add(argv, "-m", "size=16M");
    add(argv, "-display", "none");
    add(argv, "-blockdev", "null-co,node-name=disk0");
    add(argv, "-device", "virtio-blk-pci,drive=disk0");
    add_flag(argv, "-S");
    add(argv, "-qmp", "stdio");
    g_ptr_array_add(argv, NULL);
    return (char **) g_ptr_array_free(argv, FALSE);
}
