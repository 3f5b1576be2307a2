/* SPDX-License-Identifier: Apache-2.0
 * Real QEMU processes for tests: emulated, tiny, without systemd, each in a folder of its own, gone with the test. */
#pragma once

#include "common/error.h"
#include "vmm/qemu/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIXTURE_WAIT_US (60 * G_USEC_PER_SEC) /* how long anything may take before the test is failed */

typedef struct {
    VmmSpec spec;
    GPid pid;
} FixtureVm;

static inline void fixture_die_with_parent(gpointer user_data G_GNUC_UNUSED)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Real-mode program of a boot sector: reads sector 1, then at every timer tick change one word in each of 128 pages and
 * print a dot on the serial line. */
static inline void fixture_boot_disk(const char *path)
{
    /* clang-format off */
    static const guint8 code[] = {
        0x31, 0xc0, 0x8e, 0xc0,       /* xor ax, ax; mov es, ax */
        0xb8, 0x01, 0x02,             /* mov ax, 0201h (read one sector) */
        0xbb, 0x00, 0x7e,             /* mov bx, 7e00h */
        0xb9, 0x02, 0x00,             /* mov cx, 2 (the second) */
        0xba, 0x80, 0x00, 0xcd, 0x13, /* mov dx, 80h; int 13h */
        0xfb,                         /* again: sti */
        0xf4,                         /* hlt */
        0xbb, 0x00, 0x10,             /* mov bx, 1000h */
        0x8e, 0xc3,                   /* page: mov es, bx */
        0x26, 0xff, 0x06, 0x00, 0x00, /* inc word [es:0] */
        0x81, 0xc3, 0x00, 0x01,       /* add bx, 100h */
        0x81, 0xfb, 0x00, 0x90,       /* cmp bx, 9000h */
        0x72, 0xef,                   /* jb page */
        0xba, 0xf8, 0x03,             /* mov dx, 3f8h */
        0xb0, 0x2e,                   /* mov al, '.' */
        0xee,                         /* out dx, al */
        0xeb, 0xe2,                   /* jmp again */
    };
    /* clang-format on */
    g_autofree guint8 *disk = g_malloc0(1024 * 1024);
    memcpy(disk, code, sizeof(code));
    disk[510] = 0x55;
    disk[511] = 0xaa;
    g_assert_true(g_file_set_contents(path, (const char *) disk, 1024 * 1024, NULL));
}

static inline void fixture_spec(VmmSpec *spec, const char *folder, const char *run_name, const char *disk)
{
    spec->name = g_strdup("unit1");
    spec->uuid = g_strdup("0190a0a0-0000-7000-8000-000000000001");
    spec->vcpus = 1;
    spec->memory_mib = 32;
    spec->uid = (int) getgid(); /* the run folder's group */
    spec->run_folder = g_build_filename(folder, run_name, NULL);
    if (disk) {
        spec->disk_paths = g_new0(char *, 2);
        spec->disk_paths[0] = g_strdup(disk);
    }
}

static inline gboolean fixture_alive(const FixtureVm *vm)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t) vm->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

/* Start QEMU with `argv` and wait until it answers. */
static inline void fixture_spawn(FixtureVm *vm, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, fixture_die_with_parent, NULL, &vm->pid, &error);
    g_assert_no_error(error);
    gint64 deadline_us = g_get_monotonic_time() + FIXTURE_WAIT_US;
    Qmp *qmp = NULL;
    while (!(qmp = qmp_open(vm->spec.run_folder, 30000, NULL))) {
        g_assert_true(fixture_alive(vm));
        g_assert_cmpint(g_get_monotonic_time(), <, deadline_us);
        g_usleep(20000);
    }
    qmp_close(qmp);
}

/* The same with the product's command line. */
static inline void fixture_start(FixtureVm *vm, gboolean incoming)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(qemu_run_folder_prepare(&vm->spec, &error));
    g_auto(GStrv) argv = qemu_argv(&vm->spec, incoming, FALSE, &error);
    g_assert_no_error(error);
    fixture_spawn(vm, argv);
}

static inline void fixture_stop(FixtureVm *vm)
{
    if (vm->pid) {
        kill(vm->pid, SIGKILL);
        waitpid(vm->pid, NULL, 0);
        vm->pid = 0;
    }
    if (vm->spec.run_folder) {
        qemu_run_folder_remove(vm->spec.run_folder);
    }
    vmm_spec_clear(&vm->spec);
}

static inline char *fixture_run_state(const FixtureVm *vm)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Qmp) qmp = qmp_open(vm->spec.run_folder, 30000, &error);
    g_assert_no_error(error);
    char *word = qemu_run_state(qmp, &error);
    g_assert_no_error(error);
    return word;
}

static inline gsize fixture_serial_length(const FixtureVm *vm)
{
    g_autofree char *path = g_build_filename(vm->spec.run_folder, "serial.log", NULL);
    g_autofree char *text = NULL;
    gsize length = 0;
    return g_file_get_contents(path, &text, &length, NULL) ? length : 0;
}

/* Wait until the guest has printed `more` characters from now on. */
static inline void fixture_await_output(const FixtureVm *vm, gsize more)
{
    gsize start = fixture_serial_length(vm);
    gint64 deadline_us = g_get_monotonic_time() + FIXTURE_WAIT_US;
    while (fixture_serial_length(vm) < start + more) {
        g_assert_true(fixture_alive(vm));
        g_assert_cmpint(g_get_monotonic_time(), <, deadline_us);
        g_usleep(20000);
    }
}

/* A port nobody listens on just now. */
static inline int fixture_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *) &address, sizeof(address)), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *) &address, &length), ==, 0);
    close(fd);
    return ntohs(address.sin_port);
}
