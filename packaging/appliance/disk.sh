# SPDX-License-Identifier: Apache-2.0
# Shell functions to make bootable BIOS disks without loop devices or grub-install; sourced by the appliance and the demo guest.

GRUB_DIR=${GRUB_DIR:-/usr/lib/grub/i386-pc}
PARTITION_OFFSET=1048576 # 1 MiB: sector 2048, the gap before it holds GRUB's core image

# initrd_make OUT ROOTFS KERNEL_VERSION INIT [--file PROGRAM]... MODULE...: busybox, INIT, programs into /bin, and the named modules with what they
# depend on, in load order.
initrd_make() {
    local out=$1 rootfs=$2 version=$3 init=$4 work module file
    shift 4
    work=$(mktemp -d)
    mkdir -p "$work"/{bin,dev,proc,sys,root,modules}
    cp /bin/busybox "$work/bin/busybox"
    cp "$init" "$work/init"
    chmod 755 "$work/init"
    while [ "${1:-}" = --file ]; do
        cp "$2" "$work/bin/"
        shift 2
    done
    for module in "$@"; do # built-in ones print nothing
        modprobe --dirname "$rootfs" --set-version "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | awk '!seen[$0]++' >"$work/files"
    while read -r file; do
        file=$rootfs/lib/${file##*/lib/}
        cp "$file" "$work/modules/"
        echo "/modules/${file##*/}" >>"$work/modules/order"
    done <"$work/files"
    rm "$work/files"
    (cd "$work" && find . | LC_ALL=C sort | busybox cpio -o -H newc 2>/dev/null) | zstd -q -19 >"$out"
    rm -rf "$work"
}

# disk_make IMAGE SIZE_MIB ROOTFS LABEL UUID [MKE2FS_OPTION...]: one active MBR partition with an ext4 holding ROOTFS, and GRUB in the gap.
# ROOTFS brings its own /boot/grub/grub.cfg.
disk_make() {
    local image=$1 size_mib=$2 rootfs=$3 label=$4 uuid=$5 sectors core_sectors
    shift 5
    rm -f "$image"
    truncate -s "${size_mib}M" "$image"
    # Everything is initialised here, or the kernel would write to every fresh overlay in the background. GRUB 2.06 knows no checksum seed.
    mke2fs -q -F -t ext4 -L "$label" -U "$uuid" -e remount-ro -O ^metadata_csum_seed,^orphan_file -d "$rootfs" \
        -E "offset=$PARTITION_OFFSET,nodiscard,lazy_itable_init=0,lazy_journal_init=0" "$@" "$image" $(((size_mib - 1) * 1024))k

    grub-mkimage -O i386-pc -d "$GRUB_DIR" -p '(hd0,msdos1)/boot/grub' -o "$image.core" \
        biosdisk part_msdos ext2 normal linux configfile serial terminal echo test
    core_sectors=$((($(stat -c %s "$image.core") + 511) / 512))
    if [ "$core_sectors" -ge 2047 ]; then
        echo "GRUB's core image ($core_sectors sectors) does not fit before the partition" >&2
        return 1
    fi
    # The boot code ends at byte 440; what follows is the partition table, which is written whole: GRUB refuses garbage in unused entries.
    dd if="$GRUB_DIR/boot.img" of="$image" bs=1 count=440 conv=notrunc status=none
    dd if="$image.core" of="$image" bs=512 seek=1 conv=notrunc status=none
    sectors=$(((size_mib - 1) * 2048))
    {
        head -c 6 /dev/zero                                                    # 440: disk signature and its padding
        printf '\x80\xfe\xff\xff\x83\xfe\xff\xff'                             # 446: active, Linux, CHS "too large"
        disk_le32 $((PARTITION_OFFSET / 512))
        disk_le32 "$sectors"
        head -c 48 /dev/zero
        printf '\x55\xaa'
    } | dd of="$image" bs=1 seek=440 conv=notrunc status=none
    rm -f "$image.core"
}

disk_le32() {
    local hex
    hex=$(printf '%08x' "$1")
    printf "\\x${hex:6:2}\\x${hex:4:2}\\x${hex:2:2}\\x${hex:0:2}"
}
