/* SPDX-License-Identifier: Apache-2.0
 * What the DRBD files share among themselves: the kernel's configuration as `drbdsetup-84 show` prints it, and device
 * facts. */
#pragma once

#include "storage/drbd.h"

#define DRBDSETUP "/lib/drbd/drbdsetup-84"
#define DRBD_CALL_TIMEOUT_MS 5000

typedef struct {
    gboolean exists; /* new-resource was done */
    gboolean net;    /* connect was done, and no disconnect or protocol error since; then with whom: */
    char remote[64]; /* "ipv4:10.0.0.2:7801", as given to `connect` */
    char secret[72]; /* empty: not shown */
    gboolean protocol_c;
    struct {
        int minor; /* -1: no such volume */
        gboolean attached;
        gboolean fencing; /* resource-and-stonith */
    } volumes[GUEST_VOLUMES_MAX];
} DrbdShow;

/* Pure. Options at their default are not in the text. */
void drbd_show_parse(const char *text, DrbdShow *ret);
gboolean drbd_show(const DrbdResource *r, DrbdShow *ret, GError **error);

char *drbd_resource_name(const Guest *guest); /* "hf-web1"; caller frees */
/* Usable bytes of /dev/drbd<minor>, 0 while it has no disk. */
gint64 drbd_device_size_bytes(int minor);
/* Bytes of the block device at `path`, 0 when there is none. */
gint64 drbd_backing_size_bytes(const char *path);
/* Forget the backing device's size that `drbdsetup check-resize` noted: the minor's next user has another device. */
void drbd_size_note_remove(int minor);
