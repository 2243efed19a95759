#!/bin/sh
# Gets guests that other people wrote, and builds from them what the tests boot, so that none of it need be kept in this repository.
#
# usage: tests/guests/fetch.sh [NAME]...        (default: all but linux-debug)
#   seabios      bios.bin, bios-256k.bin: a PC's firmware       Debian package seabios
#   ovmf         OVMF.fd: UEFI firmware                          Debian package ovmf
#   linuxboot    linuxboot.bin: boots a kernel on a BIOS         Debian package qemu-system-data
#   grub         grub.img: a disk with a boot loader on it       Debian package grub-rescue-pc
#   ipxe         ipxe.lkrn: a kernel that needs a BIOS           Debian package ipxe
#   memtest86+   memtest86+x64.bin: a memory test               Debian package memtest86+
#   linux        linux/vmlinux, bzImage, config: a small 6.1    Debian package linux-source-6.1, built by build-linux.sh (minutes)
#   linux-debug  linux-debug/...: with DWARF, ORC and KASLR     the same
#   cloud        cloud/vmlinuz: Debian's kernel for clouds      what the Debian package linux-image-cloud-amd64 depends on
#   busybox      busybox: a user space in one static program    Debian package busybox-static
#   initramfs    shell.cpio.gz, dynamic.cpio.gz, first-process.cpio.gz, devices.cpio.gz, disk.img: file systems for Linux, by build-initramfs.sh
#   dynamic      dynamic/...: a busybox that is linked dynamically, and what it needs   Debian packages busybox, libc6
#   boot-disk    boot.img: a disk from which SYSLINUX boots that Linux, by build-boot-disk.sh
# into $TRAPLINE_GUESTS, or target/guests of this checkout. What is there already is left alone (what a script here
# builds is built again when the script changed); delete a file to get it anew.
# Needs Debian (apt-get, dpkg) and the network once; root only to install what building Linux lacks: it says what.
# The SHA-256 printed says which build it was. It is not a check: a point release of Debian changes it.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
scripts=$root/tests/guests
. "$scripts/debian.sh"
case ${TRAPLINE_GUESTS:-} in '') guests=$root/target/guests;; /*) guests=$TRAPLINE_GUESTS;; *) guests=$root/$TRAPLINE_GUESTS;; esac
mkdir -p "$guests"

show() { for f in "$@"; do echo "$(sha256sum < "$guests/$f" | cut -d' ' -f1)  $guests/$f"; done; }

debian() { # PACKAGE NAMER FILE_IN_PACKAGE=NAME...: into the cache. All or nothing.
    package=$1 namer=$2; shift 2; have=yes
    for f in "$@"; do [ -s "$guests/${f#*=}" ] || have=''; done
    if [ -z "$have" ]; then
        work=$(mktemp -d)
        unpack "$work" "$package" "$namer"
        for f in "$@"; do
            # A kernel's file is named after its version: a pattern, then.
            found=$(find "$work" -path "$work/${f%%=*}" | head -1)
            [ -s "$found" ] || trouble "Debian's $package has no ${f%%=*} any more"
            mkdir -p "$(dirname "$guests/${f#*=}")"
            cp -L "$found" "$guests/.new"; mv "$guests/.new" "$guests/${f#*=}"
        done
        rm -rf "$work"
    fi
    for f in "$@"; do show "${f#*=}"; done
}
cloud_today() { apt-cache depends "$1" 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }'; }
lab_has() { # FILE NAME: the lab has downloaded the same packages, where it has run
    cached=${KVM_LAB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/kvm-lab}/linux/$1
    [ -s "$guests/$2" ] || [ ! -s "$cached" ] || { mkdir -p "$(dirname "$guests/$2")"; cp "$cached" "$guests/.new"; mv "$guests/.new" "$guests/$2"; }
}

# A guest is a function of its name here (+ and - as _) and a word in these lists.
all='seabios ovmf linuxboot grub ipxe memtest86+ linux cloud busybox dynamic initramfs boot-disk' on_demand='linux-debug'
seabios() { debian seabios same usr/share/seabios/bios.bin=bios.bin usr/share/seabios/bios-256k.bin=bios-256k.bin; }
ovmf() { debian ovmf same usr/share/ovmf/OVMF.fd=OVMF.fd; }
linuxboot() { debian qemu-system-data same usr/share/qemu/linuxboot.bin=linuxboot.bin; }
grub() { debian grub-rescue-pc same usr/lib/grub-rescue/grub-rescue-floppy.img=grub.img; }
ipxe() { debian ipxe same boot/ipxe.lkrn=ipxe.lkrn; }
memtest86_() { debian memtest86+ same boot/memtest86+x64.bin=memtest86+x64.bin; }
linux() { "$scripts/build-linux.sh" "$guests/linux" 9>&-; show linux/vmlinux linux/bzImage; }
linux_debug() { "$scripts/build-linux.sh" "$guests/linux-debug" debug 9>&-; show linux-debug/vmlinux linux-debug/bzImage; }
cloud() { lab_has vmlinuz cloud/vmlinuz; debian linux-image-cloud-amd64 cloud_today 'boot/vmlinuz-*=cloud/vmlinuz'; }
busybox() { lab_has busybox busybox; debian busybox-static same bin/busybox=busybox; }
dynamic() {
    debian busybox same bin/busybox=dynamic/busybox
    lib=lib/x86_64-linux-gnu
    set -- ld-linux-x86-64.so.2 libc.so.6 libresolv.so.2
    debian libc6 same "$lib/$1=dynamic/$1" "$lib/$2=dynamic/$2" "$lib/$3=dynamic/$3"
}
initramfs() {
    busybox >/dev/null; dynamic >/dev/null
    "$scripts/build-initramfs.sh" "$guests" "$guests/busybox" "$guests/dynamic" 9>&-
    show shell.cpio.gz dynamic.cpio.gz first-process.cpio.gz devices.cpio.gz disk.img
}
boot_disk() {
    linux >/dev/null; initramfs >/dev/null
    for part in "$guests/linux/bzImage" "$scripts/init.sh" "$scripts/build-boot-disk.sh"; do
        [ "$guests/boot.img" -nt "$part" ] || rm -f "$guests/boot.img"
    done
    [ -s "$guests/boot.img" ] || "$scripts/build-boot-disk.sh" "$guests/boot.img" "$guests/linux/bzImage" "$guests/shell.cpio.gz" 9>&-
    show boot.img
}

# A second fetch.sh waits for the first, and then finds everything.
exec 9>"$guests/.lock"; flock 9
work=''; trap '[ -z "$work" ] || rm -rf "$work"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM HUP
for name in ${*:-$all}; do
    case " $all $on_demand " in *" $name "*) ;; *) trouble "no guest is called $name; there are: $all $on_demand";; esac
    "$(echo "$name" | tr +- __)"
done
