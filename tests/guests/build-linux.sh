#!/bin/sh
# Builds the small Linux 6.1 that the tests boot, from Debian's own kernel source package.
#
# usage: build-linux.sh DIRECTORY [debug]      -> DIRECTORY/vmlinux, bzImage, config
#   debug: with DWARF, ORC unwind tables and KASLR (for symbols, stacks and moved kernels); otherwise small and fast to boot
# Takes about 3 minutes on two cores and 2 GB of disk, once: it does nothing if this script built what is there.
# needs (Debian): make gcc flex bison bc libelf-dev xz-utils lz4. Root: installed when missing. The source is downloaded, not
# installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"
out=${1:?usage: build-linux.sh DIRECTORY [debug]}; variant=${2:-small}
case $variant in small|debug) ;; *) trouble "no variant is called $variant; there are: small debug";; esac
mkdir -p "$out"; out=$(cd "$out" && pwd)
built_by="$(sha256sum < "$0" | cut -d' ' -f1) $variant"

# A second one waits for the first, and then finds everything.
exec 9>"$out/.lock"; flock 9
if [ -s "$out/vmlinux" ] && [ -s "$out/bzImage" ] && [ "$(cat "$out/built-by" 2>/dev/null)" = "$built_by" ]; then exit 0; fi

need make make; need gcc gcc; need flex flex; need bison bison; need bc bc; need xz xz-utils; need lz4 lz4
need /usr/include/gelf.h libelf-dev
install_missing 'building Linux'
echo 'building Linux: this takes minutes, once' >&2
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM HUP
archive=/usr/src/linux-source-6.1.tar.xz
[ -s "$archive" ] || { unpack "$work" linux-source-6.1; archive=$work$archive; }
# Half of the archive is code for hardware that no virtual machine has. What configures it (Kconfig) stays: it is read whole.
tar -xf "$archive" -C "$work" --exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]' --exclude='*/drivers/staging/*.[ch]' \
    --exclude='*/drivers/net/wireless/*.[ch]' --exclude='*/drivers/net/ethernet/*.[ch]' --exclude='*/drivers/infiniband/*.[ch]' \
    --exclude='*/drivers/scsi/*.[ch]' --exclude='*/sound/*.[ch]' --exclude='*/tools/testing/*' --exclude='*/Documentation/*.rst'
cd "$work/linux-source-6.1"

# No configuration of the kernel's own: from the smallest, what the tests need. LZ4, because an interpreting KVM unpacks a
# bzImage at 3 MIPS.
make -s tinyconfig >/dev/null
on() { for o in "$@"; do echo "CONFIG_$o=y"; done; }
off() { for o in "$@"; do echo "# CONFIG_$o is not set"; done; }
{
    on 64BIT PRINTK TTY SERIAL_8250 SERIAL_8250_CONSOLE EARLY_PRINTK BLK_DEV_INITRD RD_GZIP BINFMT_ELF BINFMT_SCRIPT IA32_EMULATION
    on PROC_FS SYSFS DEVTMPFS TMPFS SHMEM MULTIUSER FUTEX EPOLL FILE_LOCKING UNIX98_PTYS HIGH_RES_TIMERS POSIX_TIMERS KALLSYMS KALLSYMS_ALL
    on PVH HYPERVISOR_GUEST PARAVIRT X86_X2APIC X86_MPPARSE ACPI PCI
    on BLOCK BLK_DEV EXT4_FS NET INET UNIX NETDEVICES NET_CORE HW_RANDOM
    on VIRTIO_MENU VIRTIO_MMIO VIRTIO_MMIO_CMDLINE_DEVICES VIRTIO_BLK VIRTIO_CONSOLE VIRTIO_NET HW_RANDOM_VIRTIO
    on RANDOM_TRUST_BOOTLOADER
    on KERNEL_LZ4 SLUB HZ_100; off KERNEL_XZ SLOB HZ_250
    # On by default beside those, and nothing that a test has.
    off IPV6 WIRELESS ETHERNET WLAN VT INPUT SERIO HID HW_RANDOM_INTEL HW_RANDOM_AMD HW_RANDOM_VIA CRYPTO_HW VGA_ARB MQ_IOSCHED_KYBER
    off RD_BZIP2 RD_LZMA RD_XZ RD_LZO RD_LZ4 RD_ZSTD SERIAL_8250_EXAR SERIAL_8250_LPSS SERIAL_8250_MID SERIAL_8250_PERICOM LEGACY_PTYS
    off PERF_EVENTS_INTEL_UNCORE PERF_EVENTS_INTEL_RAPL PERF_EVENTS_INTEL_CSTATE THERMAL SCHED_DEBUG EFI_PARTITION PTP_1588_CLOCK
    off INET_DIAG INET_TUNNEL NETWORK_FILESYSTEMS SLUB_DEBUG UNWINDER_ORC INIT_STACK_ALL_ZERO
    on UNWINDER_GUESS INIT_STACK_NONE
    [ "$variant" = small ] || on DEBUG_KERNEL DEBUG_INFO DEBUG_INFO_DWARF5 UNWINDER_ORC RELOCATABLE RANDOMIZE_BASE
} >> .config
make -s olddefconfig 2>"$work/log" || { cat "$work/log" >&2; trouble 'the configuration was refused'; }
# The same bytes from the same source and compiler, whoever builds them, and when and where.
export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_USER=trapline KBUILD_BUILD_HOST=trapline
make -s -j"$(nproc)" vmlinux bzImage 9>&-
rm -f "$out/built-by"
install -m 644 vmlinux arch/x86/boot/bzImage "$out/"; install -m 644 .config "$out/config"
echo "$built_by" > "$out/built-by"
