#!/bin/busybox sh
# The first process of the Linux guests (/init of the initramfs): what a shell script makes a kernel do, said step by step.
# Each step prints one line; a line that depends on chance or time (both cross into the guest) begins with `trapline-varies:`.
# The kernel command line chooses the end, as an environment variable: trapline=reboot reboots, otherwise it powers off.
/bin/busybox --install -s /bin
export PATH=/bin
step() { n=$((n + 1)); echo "trapline-init: step $n $*"; }
n=0

mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /tmp; mount -t devpts pts /dev/pts; mount -t tmpfs tmp /tmp; cd /tmp || exit
step "mounts: $(grep -c -E ' /(proc|sys|dev|dev/pts|tmp) ' /proc/mounts)"

primes=0 i=2
while [ $i -lt 60 ]; do
    d=2; while [ $((d * d)) -le $i ] && [ $((i % d)) -ne 0 ]; do d=$((d + 1)); done
    [ $((d * d)) -gt $i ] && primes=$((primes + 1))
    i=$((i + 1))
done
step "arithmetic: $primes primes below 60"

for child in 1 2 3 4; do (echo "child $child" > "said.$child"; exit "$child") & eval "pid$child=\$!"; done
sum=0; for child in 1 2 3 4; do eval "wait \$pid$child"; sum=$((sum + $?)); done
step "processes: $(cat said.* | wc -l) children, statuses add up to $sum"

step "pipeline: $(seq 1 2000 | sort -rn | grep 7 | head -n 3 | tr '\n' ' ')"

sh -c 'trap "echo caught > caught; exit 7" USR1; : > ready; while :; do sleep 1; done' & waiting=$!
until [ -e ready ]; do sleep 0.1; done
kill -USR1 $waiting; wait $waiting; trapped=$?
sleep 60 & asleep=$!
kill -TERM $asleep; wait $asleep
step "signals: trap $(cat caught) and left with $trapped, the sleeper with $?"

yes 'all that a guest could not have known by itself' | head -c 262144 > file
step "checksum: $(md5sum < file | cut -d' ' -f1)"

mkfifo pipe; { cat file > pipe & }; step "fifo: $(md5sum < pipe | cut -d' ' -f1)"

echo "trapline-varies: up $(cut -d' ' -f1 /proc/uptime) s, date $(date +%s), random $(head -c 8 /dev/urandom | md5sum | cut -c1-16)"
sleep 0.1; step 'slept 0.1 s'
sleep 1; step 'slept 1 s'
echo "trapline-varies: up $(cut -d' ' -f1 /proc/uptime) s, clock source $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"

if [ -x /dynamic/busybox ]; then
    echo "trapline-init: dynamic $(/dynamic/busybox seq 1 2000 | /dynamic/busybox md5sum | /dynamic/busybox cut -d' ' -f1)"
fi

if [ "$trapline" = reboot ]; then step 'end: reboot'; reboot -f; else step 'end: power off'; poweroff -f; fi
