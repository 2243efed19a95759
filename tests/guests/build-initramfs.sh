#!/bin/sh
# Makes the two initial file systems that the Linux guests boot with. The same bytes wherever they are made.
#
# usage: build-initramfs.sh DIRECTORY BUSYBOX
#   DIRECTORY/shell.cpio.gz           init.sh under that busybox: processes, signals, sleeps, then power-off or reboot
#   DIRECTORY/first-process.cpio.gz   first_process.s alone: user mode without a system call
# needs (Debian): cpio gcc. Root: installed when missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"
out=${1:?usage: build-initramfs.sh DIRECTORY BUSYBOX}; busybox=${2:?usage: build-initramfs.sh DIRECTORY BUSYBOX}
need cpio cpio; need gcc gcc
install_missing 'building the initial file systems'
mkdir -p "$out"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM HUP

pack() { # ROOT NAME: everything below ROOT, nothing of who made it, when, or in what order
    find "$1" -exec touch -h -d @0 {} +
    (cd "$1" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R +0:+0) | gzip -9n > "$out/.$2"
    mv "$out/.$2" "$out/$2"
}
umask 022
mkdir -p "$work/shell/bin" "$work/shell/proc" "$work/shell/sys" "$work/shell/dev"
install -m 755 "$busybox" "$work/shell/bin/busybox"
install -m 755 "$here/init.sh" "$work/shell/init"
pack "$work/shell" shell.cpio.gz

mkdir "$work/first"
gcc -nostdlib -static -no-pie -s -Wl,--build-id=none -o "$work/first/init" "$here/first_process.s"
pack "$work/first" first-process.cpio.gz
