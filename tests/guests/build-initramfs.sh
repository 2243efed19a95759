#!/bin/sh
# Makes the file systems that the Linux guests boot with. But for the disk, the same bytes wherever they are made.
#
# usage: build-initramfs.sh DIRECTORY BUSYBOX DYNAMIC
#   DIRECTORY/shell.cpio.gz           init.sh under that busybox: processes, signals, sleeps, then power-off or reboot
#   DIRECTORY/dynamic.cpio.gz         the same, and beside it DYNAMIC: a folder with another busybox, linked dynamically, its loader
#                                     and its libraries; the loader reads the TSC whenever it starts a program
#   DIRECTORY/first-process.cpio.gz   first_process.s alone: user mode without a system call
#   DIRECTORY/devices.cpio.gz         devices.sh under that busybox: a disk, random numbers, power-off
#   DIRECTORY/disk.img                an ext4 disk for devices.sh; with first_process.s as its /sbin/init, also a root
# needs (Debian): cpio gcc e2fsprogs. Root: installed when missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"
usage='usage: build-initramfs.sh DIRECTORY BUSYBOX DYNAMIC'
out=${1:?$usage}; busybox=${2:?$usage}; dynamic=${3:?$usage}
PATH=$PATH:/sbin:/usr/sbin
need cpio cpio; need gcc gcc; need mke2fs e2fsprogs
install_missing 'building the initial file systems'
mkdir -p "$out"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM HUP

pack() { # ROOT NAME: everything below ROOT, nothing of who made it, when, or in what order
    find "$1" -exec touch -h -d @0 {} +
    (cd "$1" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R +0:+0) | gzip -9n > "$out/.$2"
    mv "$out/.$2" "$out/$2"
}
umask 022
with_busybox() { # ROOT INIT
    mkdir -p "$1/bin" "$1/proc" "$1/sys" "$1/dev"
    install -m 755 "$busybox" "$1/bin/busybox"
    install -m 755 "$2" "$1/init"
}
with_busybox "$work/shell" "$here/init.sh"
pack "$work/shell" shell.cpio.gz
mkdir -p "$work/dynamic/dynamic" "$work/dynamic/lib64" "$work/dynamic/lib/x86_64-linux-gnu"
install -m 755 "$dynamic/busybox" "$work/dynamic/dynamic/busybox"
install -m 755 "$dynamic/ld-linux-x86-64.so.2" "$work/dynamic/lib64/"
install -m 644 "$dynamic/libc.so.6" "$dynamic/libresolv.so.2" "$work/dynamic/lib/x86_64-linux-gnu/"
pack "$work/dynamic" dynamic.cpio.gz
# Linux unpacks one archive after the other.
cat "$out/shell.cpio.gz" "$out/dynamic.cpio.gz" > "$out/.dynamic.cpio.gz"; mv "$out/.dynamic.cpio.gz" "$out/dynamic.cpio.gz"
with_busybox "$work/devices" "$here/devices.sh"
pack "$work/devices" devices.cpio.gz

mkdir "$work/first"
gcc -nostdlib -static -no-pie -s -Wl,--build-id=none -o "$work/first/init" "$here/first_process.s"
pack "$work/first" first-process.cpio.gz

mkdir -p "$work/disk/sbin" "$work/disk/dev" "$work/disk/proc"
cp "$work/first/init" "$work/disk/sbin/init"
seq 1 200000 > "$work/disk/numbers"
echo 'hello from the disk' > "$work/disk/hello"
find "$work/disk" -exec touch -h -d @0 {} +
# Its times are those of today: whoever wants the same disk twice keeps it.
mke2fs -q -t ext4 -d "$work/disk" -U 00000000-0000-4000-8000-000000000000 -L trapline \
    -E root_owner=0:0,hash_seed=00000000-0000-4000-8000-000000000001 "$out/.disk.img" 16M >/dev/null
mv "$out/.disk.img" "$out/disk.img"
