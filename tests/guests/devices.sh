#!/bin/busybox sh
# The first process of the Linux guest that uses virtio devices: a disk with ext4 on it, random numbers, a console, and a network where
# the kernel's command line has `trapline_port=`, at which a program outside listens. One line for each step; a line that begins with
# `trapline-varies:` depends on chance.
/bin/busybox --install -s /bin
export PATH=/bin
say() { echo "trapline-devices: $*"; }
step() { n=$((n + 1)); say "step $n $*"; }
n=0

mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /mnt
step "disk: $(cat /sys/block/vda/size) sectors, serial $(cat /sys/block/vda/serial)"

mount -t ext4 /dev/vda /mnt || step 'disk: not mounted'
step "read: $(md5sum < /mnt/numbers | cut -d' ' -f1), $(cat /mnt/hello)"

tac /mnt/numbers > /mnt/written; sync; echo 3 > /proc/sys/vm/drop_caches
step "written and read back: $(md5sum < /mnt/written | cut -d' ' -f1)"
umount /mnt; mount -t ext4 -o ro /dev/vda /mnt
step "mounted again: $(wc -l < /mnt/written) lines"

if [ -e /dev/hwrng ]; then
    echo "trapline-varies: $(head -c 16 /dev/hwrng | md5sum)"
    step "random numbers by $(cat /sys/class/misc/hw_random/rng_current)"
fi
if [ -n "$trapline_port" ]; then
    # A gateway leads to the host. What is sent comes back reversed, and what is asked for is a page.
    ifconfig eth0 10.0.2.15 up
    say "network: card $(cat /sys/class/net/eth0/address)"
    say "network: back came $(head -c 100000 /mnt/numbers | nc 10.0.2.2 "$trapline_port" | md5sum | cut -d' ' -f1)"
    say "network: the page is $(wget -q -O - "http://10.0.2.2:$trapline_port/page" | md5sum | cut -d' ' -f1)"
    say "network: where nobody listens: $(wget -q -O - http://10.0.2.2:1/ 2>&1 | grep -o refused)"
fi
# A terminal that is closed throws away what was typed.
exec 3<>/dev/hvc0
echo 'say something' >&3; read -r typed <&3; echo "typed: $typed" >&3
step "console: $typed"
step 'end: power off'; umount /mnt; poweroff -f
