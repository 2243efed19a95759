#!/bin/sh
# Two more KVM engines on any machine, in software: boots Debian's Linux on an emulated processor and runs a command there,
# where /dev/kvm is the real driver on an emulated processor. Not silicon: see README.md beside this file.
#   svm  kvm_amd   on QEMU's emulation of an AMD processor (TCG)
#   vmx  kvm_intel on Bochs' emulation of an Intel processor
#
# usage: kvm-lab.sh svm|vmx [-m MEGABYTES] [-t SECONDS] [-k] [-i FILE_OR_DIR]... [-o OUT_DIR] -- COMMAND...
#   -i  copied to /in/NAME in the lab (repeatable). Programs bring the shared libraries that `ldd` lists for them.
#       Big programs lose their debug information on the way (their symbols stay); -k keeps it.
#   -o  whatever COMMAND leaves in /out comes back here (at most 250 MB).
#   -m  memory of the lab (1536). -t  time limit in seconds of this machine (300).
#   COMMAND is run by `sh -c` as root in /in (busybox is there); several words are joined by spaces.
#   Its stdout and stderr are ours, byte for byte, as pipes, while it runs; so is its exit status.
#   124: the time limit; 125: the lab did not start.
# needs (Debian): cpio binutils; svm: qemu-system-x86; vmx: bochs bochsbios vgabios. Root: installed when missing.
#   Linux and busybox come by `apt-get download` into a cache (KVM_LAB_CACHE, default ~/.cache/kvm-lab) once.
set -eu
usage() { sed -n '2,/^set -eu/p' "$0" | grep '^#' >&2; exit 2; }
trouble() { echo "kvm-lab: $*" >&2; exit 125; }
engine=${1:-}; case $engine in svm|vmx) shift;; *) usage;; esac
mem=1536 limit=300 out='' ins='' keep=''
while [ $# -gt 0 ]; do case $1 in
    -m) mem=$2; shift 2;; -t) limit=$2; shift 2;; -o) out=$2; shift 2;; -k) keep=1; shift;;
    -i) [ -e "$2" ] || trouble "-i $2: no such file"; ins="$ins
$2"; shift 2;; --) shift; break;; *) usage;; esac; done
[ $# -gt 0 ] || usage
[ "$mem" -ge 512 ] || trouble '-m: at least 512' # the vmx boot sector puts the initrd at 256 MiB

missing=''
need() { command -v "$1" >/dev/null || missing="$missing $2"; }
need cpio cpio; need strip binutils
case $engine in
    svm) wanted='kvm-amd' disks='virtio_pci virtio_blk' disk=/dev/vda; need qemu-system-x86_64 qemu-system-x86;;
    vmx) wanted='kvm-intel' disks='ata_piix sd_mod' disk=/dev/sda; need bochs bochs
        [ -e /usr/share/bochs/BIOS-bochs-latest ] || [ -e /usr/share/bios/BIOS-bochs-latest ] || missing="$missing bochsbios"
        [ -e /usr/share/vgabios/VGABIOS-lgpl-latest ] || [ -e /usr/share/bochs/VGABIOS-lgpl-latest ] || missing="$missing vgabios";; esac

# One lock for all that is shared (apt, the cache); a lab that runs holds nothing, so any number run side by side.
cache=${KVM_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kvm-lab}; mkdir -p "$cache"
exec 9>"$cache/lock"; flock 9
if [ -n "$missing" ]; then
    [ "$(id -u)" = 0 ] || trouble "install what is missing, then try again: sudo apt-get install --no-install-recommends$missing"
    # shellcheck disable=SC2086
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing; } >"$cache/install.log" 2>&1 9>&- ||
        { tail -3 "$cache/install.log" >&2; trouble "cannot install:$missing"; }
fi
if [ ! -s "$cache/linux/vmlinuz" ]; then (
    cd "$cache"; rm -rf x linux linux.new ./*.deb
    get() { image=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends:/ {print $2; exit}')
        [ -n "$image" ] && apt-get download -q "$image" busybox-static >download.log 2>&1; }
    get || { [ "$(id -u)" = 0 ] && apt-get update -q >download.log 2>&1 && get; } || { tail -3 download.log >&2; exit 1; }
    for deb in ./*.deb; do dpkg -x "$deb" x; done; rm -f ./*.deb
    mkdir linux.new; mv x/lib/modules linux.new/modules; mv x/bin/busybox linux.new/busybox; mv x/boot/vmlinuz-* linux.new/vmlinuz
    rm -rf x; mv linux.new linux ) || trouble "cannot fetch Debian's kernel and busybox (network? apt-get update?)"; fi

# The part of the initrd that never changes (busybox, modules) is packed once per version of this script.
base=$cache/base-$engine-$(cksum < "$0" | cut -d' ' -f1)
work=$(mktemp -d "${TMPDIR:-/tmp}/kvm-lab.XXXXXX"); children=''
cleanup() { for p in $children; do kill "$p" 2>/dev/null || true; done; rm -rf "$work"; }
trap cleanup EXIT; trap 'exit 130' INT; trap 'exit 143' TERM HUP
if [ ! -s "$base" ]; then
    root=$work/base; mkdir -p "$root/bin" "$root/modules"; cp "$cache/linux/busybox" "$root/bin/"
    module() { # copies one kernel module after those it depends on, and notes the order in the file $2
        [ ! -e "$root/modules/$1.ko" ] || return 0
        file=$(find "$cache/linux/modules" -name "$1.ko" -o -name "$(echo "$1" | tr _ -).ko" | head -1)
        [ -n "$file" ] || return 0 # built in
        for d in $(strings "$file" | sed -n 's/^depends=//p' | tr , ' '); do module "$d" "$2"; done
        file=$(find "$cache/linux/modules" -name "$1.ko" -o -name "$(echo "$1" | tr _ -).ko" | head -1)
        cp "$file" "$root/modules/$1.ko"; strip -g "$root/modules/$1.ko"; echo "$1" >> "$root/modules/$2"; }
    for m in $wanted; do module "$m" order; done
    for m in $disks; do module "$m" disks; done
    (cd "$root" && find . | cpio -o -H newc --quiet) > "$work/new"; rm -f "$cache/base-$engine-"*; mv "$work/new" "$base"
fi
cp "$base" "$work/initrd"; flock -u 9; exec 9>&-

root=$work/root; mkdir -p "$root/in" "$root/out" "$root/dev" "$root/proc" "$root/sys" "$root/tmp"
libraries() { ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r lib; do
    [ -e "$root$lib" ] || { mkdir -p "$root$(dirname "$lib")"; cp -L "$lib" "$root$lib"; }; done; }
echo "$ins" | while IFS= read -r f; do [ -n "$f" ] || continue; cp -rL "$f" "$root/in/"; done
find "$root/in" -type f -perm -100 | while IFS= read -r x; do libraries "$x"
    [ -n "$keep" ] || [ "$(stat -c %s "$x")" -lt 8000000 ] || strip --strip-debug "$x" 2>/dev/null || true; done
printf '%s\n' "$*" > "$root/command"
token=lab-$$-$(date +%s) # in the lines that frame stderr, so that no output can be taken for them
# stdout goes alone through the second serial port, raw; stderr and the exit status through the first, which the kernel's last words use too.
cat > "$root/init" <<EOF
#!/bin/busybox sh
/bin/busybox --install -s /bin; export PATH=/bin:/in HOME=/tmp TERM=dumb
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null; mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; mount -t tmpfs tmp /tmp
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
for m in \$(cat /modules/order); do insmod /modules/\$m.ko; done
exec 8>/dev/ttyS0 9>/dev/ttyS1; for s in 0 1; do stty -F /dev/ttyS\$s raw -echo -crtscts clocal; done
# QEMU may lose an interrupt (README.md): any other one, such as an alarm two seconds ahead, makes it find it again.
w=/sys/class/rtc/rtc0/wakealarm
[ $engine = vmx ] || while [ -e \$w ]; do echo 0 >\$w; echo +2 >\$w; sleep 1; done 2>/dev/null 8>&- 9>&- &
mkfifo /1 /2; cat </1 >&9 & one=\$!; cat </2 >&8 & two=\$!
cd /in; echo >&8; echo "=== $token ready" >&8
sh -c "\$(cat /command)" >/1 2>/2 8>&- 9>&- </dev/null; status=\$?
# What COMMAND left running would hold the pipes open.
for p in /proc/[0-9]*; do p=\${p#/proc/}; case \$p in 1|\$one|\$two) ;; *) [ -z "\$(tr -d '\\0' 2>/dev/null </proc/\$p/cmdline)" ] || kill -9 \$p 2>/dev/null;; esac; done
wait \$one \$two
if [ -n "$out" ] && [ -n "\$(ls -A /out)" ]; then
    for m in \$(cat /modules/disks); do insmod /modules/\$m.ko 2>/dev/null; done
    n=0; while [ ! -b $disk ] && [ \$n -lt 50 ]; do usleep 100000; n=\$((n+1)); done
    tar -cf - -C /out . | dd of=$disk bs=1M seek=256 2>/dev/null || { echo; echo "kvm-lab: /out did not fit"; } >&8; sync
fi
exec 9>&-; echo >&8; echo "=== $token status \$status" >&8; exec 8>&-; poweroff -f
EOF
chmod +x "$root/init"; (cd "$root" && find . | cpio -o -H newc --quiet) >> "$work/initrd"

# The first 256 MiB of the disk are for the vmx boot, the rest for /out; a whole number of 16-head, 63-sector cylinders. Sparse.
truncate -s $((516096 * 1040)) "$work/disk"
# Self-tests of ciphers and loading certificates cost Bochs 10 s and give a lab nothing.
append="console=ttyS0,115200 quiet loglevel=1 mitigations=off panic=-1 nokaslr no_timer_check norandmaps cryptomgr.notests initcall_blacklist=load_system_certificate_list"

mkfifo "$work/1" "$work/2"; exec 7<>"$work/1" 8<>"$work/2" # held open: a reader must not wait for an emulator that never starts
cat <"$work/1" 7>&- 8>&- & reader1=$!
# A line's newline is printed when the next line comes: so the last line ends as the command ended it.
while IFS= read -r line; do case $line in
    "=== $token ready"*) on=1 first=1;;
    "=== $token status "*) line=${line##* }; echo "${line%%[!0-9]*}" > "$work/status"; on='';;
    *) if [ -n "${on:-}" ]; then if [ -n "$first" ]; then printf %s "$line"; first=''; else printf '\n%s' "$line"; fi; else printf '%s\n' "$line" >> "$work/boot"; fi;;
    esac; done <"$work/2" >&2 7>&- 8>&- & reader2=$!
children="$reader1 $reader2"

case $engine in
# One processor: Linux patches its own code when the first vCPU comes and the last one goes, and QEMU 7.2's emulation of a second
# processor was seen to go on running the old code and never return.
svm) timeout "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu EPYC-Rome -machine q35 -m "$mem" -smp 1 -display none -nic none -no-reboot \
        -kernel "$cache/linux/vmlinuz" -initrd "$work/initrd" -append "$append" -drive file="$work/disk",format=raw,if=virtio \
        -serial file:"$work/2" -serial file:"$work/1" </dev/null >"$work/log" 2>&1 7>&- 8>&- & emulator=$!;;
vmx) # No boot loader: firmware reads a CD at a crawl, and emulated instructions are what the vmx lab is short of.
    # A boot sector of our own asks for the memory map, reads kernel and initrd by port, and enters the kernel by its 32-bit protocol.
    # On the disk, in chunks of 64 KiB after the first: zero page + command line | kernel | initrd.
    kernel=$cache/linux/vmlinuz
    byte() { od -An -tu1 -j "$(($1))" -N1 "$kernel" | tr -d ' '; }
    le32() { printf '%b' "$(printf '\\0%o\\0%o\\0%o\\0%o' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)))"; }
    put() { dd of="$work/disk" conv=notrunc status=none bs=64k oflag=seek_bytes seek=$((65536 + $1)); }
    chunks() { echo $((($(stat -Lc %s "$1") + 65535) / 65536)); }
    header=$((0x202 + $(byte 0x201) - 0x1f1)) skip=$((($(byte 0x1f1) + 1) * 512))
    tail -c +$((skip + 1)) "$kernel" > "$work/kernel"; ksize=$(chunks "$work/kernel") isize=$(chunks "$work/initrd")
    [ $((ksize + isize)) -lt 4080 ] || trouble 'what goes in (-i) is too big for vmx: 240 MB'
    tail -c +$((0x1f2)) "$kernel" | head -c "$header" | put 0x1f1
    printf '\377' | put 0x210                                        # type_of_loader: none of the known ones
    { le32 $((0x10000000)); le32 "$(stat -c %s "$work/initrd")"; } | put 0x218
    le32 $((0x11000)) | put 0x228; printf '%s\0' "$append tsc=reliable lpj=1000000" | put 0x1000
    put 0x10000 < "$work/kernel"; put $((0x10000 * (1 + ksize))) < "$work/initrd"
    as --32 --defsym KSIZE="$ksize" --defsym ISIZE="$isize" -o "$work/boot.o" - <<'EOF'
        .intel_syntax noprefix
        .code16
start:  cli; xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x7c00
        mov ax, 0x2000; mov es, ax; xor di, di; xor ebx, ebx; xor bp, bp
1:      mov eax, 0xe820; mov edx, 0x534d4150; mov ecx, 20; int 0x15
        jc 2f
        add di, 20; inc bp; test ebx, ebx; jnz 1b
2:      cli; in al, 0x92; or al, 2; out 0x92, al        # A20
        lgdt [gdtr]; mov eax, cr0; or al, 1; mov cr0, eax
        .byte 0x66, 0xea; .long wide; .word 0x10        # jmp 0x10:wide
        .code32
wide:   mov eax, 0x18; mov ds, ax; mov es, ax; mov ss, ax; mov fs, ax; mov gs, ax
        mov esp, 0x7c00; movzx ebp, bp; mov ebx, 128
        mov edi, 0x10000; mov esi, 1; call load
        mov edi, 0x1000000; mov esi, KSIZE; call load
        mov edi, 0x10000000; mov esi, ISIZE; call load
        mov eax, ebp; mov [0x101e8], al; imul ecx, eax, 20; mov esi, 0x20000; mov edi, 0x102d0; rep movsb
        mov esi, 0x10000; xor ebp, ebp; xor edi, edi; xor ebx, ebx
        mov eax, 0x1000000; jmp eax
load:   mov edx, 0x1f2; mov al, 128; out dx, al         # esi chunks from sector ebx to edi, read 128 sectors at a time
        mov eax, ebx; inc edx; out dx, al; shr eax, 8; inc edx; out dx, al; shr eax, 8; inc edx; out dx, al
        shr eax, 8; and al, 15; or al, 0xe0; inc edx; out dx, al; inc edx; mov al, 0x20; out dx, al
        mov ah, 128
1:      mov edx, 0x1f7; in al, dx; test al, 0x80; jnz 1b
        test al, 8; jz 1b
        mov edx, 0x1f0; mov ecx, 256; cld; rep insw
        dec ah; jnz 1b
        add ebx, 128; dec esi; jnz load
        ret
        .balign 8
gdt:    .quad 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   .word 31; .long gdt
        .org 510; .word 0xaa55
EOF
    ld -m elf_i386 -Ttext 0x7c00 -e 0x7c00 --oformat binary -o "$work/sector" "$work/boot.o" || trouble "cannot build the boot sector"
    dd if="$work/sector" of="$work/disk" conv=notrunc status=none
    echo c > "$work/rc"
    bios=$(find /usr/share /usr/local/share -name BIOS-bochs-latest 2>/dev/null | head -1); vga=$(find /usr/share -name VGABIOS-lgpl-latest 2>/dev/null | head -1)
    # Sound is off because Bochs' mixer thread dies of a buffer overflow on a machine without a sound card.
    cat > "$work/bochsrc" <<EOF
cpu: model=corei7_skylake_x, count=1, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=$mem, host=$mem
romimage: file=$bios
vgaromimage: file=$vga
ata0-master: type=disk, path=$work/disk, mode=flat
boot: disk
com1: enabled=1, mode=file, dev=$work/2
com2: enabled=1, mode=file, dev=$work/1
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
clock: sync=none, time0=1000000000
log: $work/bochs.log
display_library: rfb, options="timeout=0"
panic: action=fatal
error: action=ignore
info: action=ignore
EOF
    timeout "$limit" bochs -q -f "$work/bochsrc" -rc "$work/rc" </dev/null >"$work/log" 2>&1 7>&- 8>&- & emulator=$!;;
esac
children="$children $emulator"; code=0; wait "$emulator" || code=$?
exec 7>&- 8>&-; wait "$reader1" "$reader2" || true; children=''
if [ ! -s "$work/status" ]; then
    [ $code != 124 ] || { echo "kvm-lab: stopped at the time limit of $limit s" >&2; exit 124; }
    cat "$work/boot" "$work/log" 2>/dev/null | grep -v "TCG doesn't" | tail -5 >&2; trouble 'the lab did not start or died'
fi
if [ -n "$out" ]; then mkdir -p "$out"; tail -c +$((256 * 1048576 + 1)) "$work/disk" | tar -xf - -C "$out" 2>/dev/null || true; fi
exit "$(cat "$work/status")"
