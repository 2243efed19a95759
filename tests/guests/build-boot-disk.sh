#!/bin/sh
# Makes a disk that a BIOS boots: SYSLINUX on a FAT file system, with a kernel and an initial file system.
# usage: build-boot-disk.sh DISK BZIMAGE INITRD
# Needs Debian and the network: the packages syslinux and mtools are unpacked, not installed. No root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"
disk=${1:?usage: build-boot-disk.sh DISK BZIMAGE INITRD} kernel=$2 initrd=$3
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM HUP
for package in syslinux mtools; do unpack "$work" "$package"; done
PATH=$work/usr/bin:$PATH # syslinux calls mtools

cat > "$work/syslinux.cfg" <<'CONFIG'
DEFAULT linux
LABEL linux
  KERNEL bzImage
  INITRD initrd.gz
  APPEND console=ttyS0 lpj=1000000 nolapic noapic tsc=unstable panic=-1
CONFIG
truncate -s 40M "$disk.new"
mformat -i "$disk.new" -F -N 0 ::
mcopy -i "$disk.new" "$work/syslinux.cfg" "$kernel" ::
mcopy -i "$disk.new" "$initrd" ::initrd.gz
syslinux --install "$disk.new"
mv "$disk.new" "$disk"
