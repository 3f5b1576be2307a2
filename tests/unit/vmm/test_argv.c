/* SPDX-License-Identifier: Apache-2.0
 * Golden command lines: what a guest can see of its machine must not change by accident. */
#include "common/error.h"
#include "vmm/qemu/qemu.h"

static void spec_fill(VmmSpec *spec)
{
    *spec = (VmmSpec){
        .name = g_strdup("web1"),
        .uuid = g_strdup("0190a0a0-0000-7000-8000-000000000001"),
        .vcpus = 2,
        .memory_mib = 512,
        .uid = 20001,
        .kvm = TRUE,
        .disk_paths = g_new0(char *, 3),
        .nics = g_new0(VmmNic, 1),
        .n_nics = 1,
        .run_folder = g_strdup("/run/holdfast/guests/web1"),
        .migration_uri_listen = g_strdup("10.77.1.2"),
        .migration_port = 7501,
    };
    spec->disk_paths[0] = g_strdup("/dev/mapper/web1-0");
    spec->disk_paths[1] = g_strdup("/dev/mapper/web1-1");
    spec->nics[0] = (VmmNic){.mac = g_strdup("52:54:00:00:00:01"), .tap = g_strdup("hft-1-0")};
}

#define CPU "qemu64,svm=off,pni=on,ssse3=on,sse4.1=on,sse4.2=on,popcnt=on,cx16=on,lahf-lm=on,aes=on"
#define BLOCKDEV_TAIL ",aio=threads,locking=off,cache.direct=on,cache.no-flush=off,discard=unmap"
#define RAW_TAIL ",cache.direct=on,cache.no-flush=off,discard=unmap,detect-zeroes=off"
#define ERRORS "write-cache=on,rerror=stop,werror=stop"

/* An option and its value on one line. */
/* clang-format off */
static const char *const golden_kvm[] = {
    "/usr/bin/qemu-system-x86_64",
    "-name", "guest=web1,process=holdfast-web1,debug-threads=on",
    "-nodefaults",
    "-no-user-config",
    "-machine", "pc-q35-7.2,usb=off,vmport=off,smm=off,dump-guest-core=off",
    "-accel", "kvm",
    "-cpu", CPU,
    "-smp", "cpus=2,sockets=1,cores=2,threads=1",
    "-m", "size=512M",
    "-uuid", "0190a0a0-0000-7000-8000-000000000001",
    "-rtc", "base=utc",
    "-boot", "strict=on",
    "-display", "none",
    "-msg", "timestamp=on",
    "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    "-S",
    "-incoming", "defer",
    "-chardev", "socket,id=monitor0,path=/run/holdfast/guests/web1/qmp.sock,server=on,wait=off",
    "-mon", "chardev=monitor0,mode=control",
    "-chardev", "socket,id=monitor1,path=/run/holdfast/guests/web1/agent.sock,server=on,wait=off",
    "-mon", "chardev=monitor1,mode=control",
    "-chardev", "socket,id=serial0,path=/run/holdfast/guests/web1/serial.sock,server=on,wait=off,"
                "logfile=/run/holdfast/guests/web1/serial.log,logappend=on",
    "-device", "isa-serial,chardev=serial0",
    "-object", "rng-random,id=rng0,filename=/dev/urandom",
    "-device", "virtio-rng-pci,rng=rng0,bus=pcie.0,addr=0x02,disable-legacy=on",
    "-device", "virtio-balloon-pci,id=balloon0,bus=pcie.0,addr=0x03,disable-legacy=on,free-page-reporting=on",
    "-blockdev", "driver=host_device,node-name=gate0,filename=/dev/mapper/web1-0" BLOCKDEV_TAIL,
    "-blockdev", "driver=raw,node-name=disk0,file=gate0" RAW_TAIL,
    "-device", "virtio-blk-pci,id=vd0,drive=disk0,bus=pcie.0,addr=0x10,disable-legacy=on,serial=disk0," ERRORS ",bootindex=1",
    "-blockdev", "driver=host_device,node-name=gate1,filename=/dev/mapper/web1-1" BLOCKDEV_TAIL,
    "-blockdev", "driver=raw,node-name=disk1,file=gate1" RAW_TAIL,
    "-device", "virtio-blk-pci,id=vd1,drive=disk1,bus=pcie.0,addr=0x11,disable-legacy=on,serial=disk1," ERRORS,
    "-netdev", "tap,id=net0,ifname=hft-1-0,script=no,downscript=no,vhost=on",
    "-device", "virtio-net-pci,id=nic0,netdev=net0,bus=pcie.0,addr=0x04,disable-legacy=on,mac=52:54:00:00:00:01,romfile=",
    NULL,
};
/* clang-format on */

static void test_golden_kvm_incoming(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(VmmSpec) spec = {0};
    spec_fill(&spec);
    g_auto(GStrv) argv = qemu_argv(&spec, TRUE, TRUE, &error);
    g_assert_no_error(error);
    for (int i = 0; golden_kvm[i]; i++) {
        g_assert_cmpstr(argv[i], ==, golden_kvm[i]);
    }
    g_assert_cmpuint(g_strv_length(argv), ==, G_N_ELEMENTS(golden_kvm) - 1);
}

static gboolean has(char **argv, const char *text)
{
    return g_strv_contains((const char *const *) argv, text);
}

static void test_emulated_start(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(VmmSpec) spec = {0};
    spec_fill(&spec);
    spec.kvm = FALSE;
    g_auto(GStrv) argv = qemu_argv(&spec, FALSE, FALSE, &error);
    g_assert_no_error(error);
    g_assert_true(has(argv, "tcg,thread=multi,tb-size=128"));
    g_assert_true(has(argv, CPU)); /* the same machine either way */
    g_assert_false(has(argv, "-S"));
    g_assert_false(has(argv, "-incoming"));
    g_assert_true(has(argv, "tap,id=net0,ifname=hft-1-0,script=no,downscript=no,vhost=off"));
}

/* A comma must not become a second option. */
static void test_comma(void)
{
    g_auto(VmmSpec) spec = {0};
    spec_fill(&spec);
    g_free(spec.run_folder);
    spec.run_folder = g_strdup("/run/a,server=off");
    g_auto(GStrv) argv = qemu_argv(&spec, FALSE, FALSE, NULL);
    g_assert_true(has(argv, "socket,id=monitor0,path=/run/a,,server=off/qmp.sock,server=on,wait=off"));
}

static void assert_invalid(const VmmSpec *spec, const char *field)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(qemu_argv(spec, FALSE, FALSE, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    g_assert_true(g_str_has_prefix(error->message, field));
}

static void test_limits(void)
{
    g_auto(VmmSpec) spec = {0};
    spec_fill(&spec);
    spec.vcpus = 0;
    assert_invalid(&spec, "vcpus:");
    spec.vcpus = 1;
    spec.memory_mib = 0;
    assert_invalid(&spec, "memory_mib:");
    spec.memory_mib = 64;
    g_strfreev(spec.disk_paths);
    spec.disk_paths = g_new0(char *, 16);
    for (int i = 0; i < 15; i++) {
        spec.disk_paths[i] = g_strdup("/dev/mapper/x");
    }
    assert_invalid(&spec, "disks:");
}

static void test_engine_table(void)
{
    g_assert_true(vmm_engine_find("qemu") == &qemu_engine);
    g_assert_null(vmm_engine_find("xen"));
    g_assert_null(vmm_engine_find(NULL));
    g_assert_cmpstr(vmm_state_name(VMM_STOPPED), ==, "stopped");
    g_assert_cmpstr(vmm_state_name(VMM_BROKEN), ==, "broken");
    g_assert_cmpstr(vmm_state_name((VmmState) 99), ==, "unknown");
}

static void test_run_states(void)
{
    g_assert_cmpint(qemu_state_from("running"), ==, VMM_RUNNING);
    g_assert_cmpint(qemu_state_from("inmigrate"), ==, VMM_INCOMING);
    g_assert_cmpint(qemu_state_from("io-error"), ==, VMM_BROKEN);
    g_assert_cmpint(qemu_state_from("postmigrate"), ==, VMM_PAUSED);
    g_assert_cmpint(qemu_state_from("internal-error"), ==, VMM_BROKEN);
    g_assert_cmpint(qemu_state_from("a word of a later QEMU"), ==, VMM_BROKEN);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/argv/golden/kvm-incoming", test_golden_kvm_incoming);
    g_test_add_func("/vmm/argv/emulated", test_emulated_start);
    g_test_add_func("/vmm/argv/comma", test_comma);
    g_test_add_func("/vmm/argv/limits", test_limits);
    g_test_add_func("/vmm/engines/table", test_engine_table);
    g_test_add_func("/vmm/engines/run-states", test_run_states);
    return g_test_run();
}
