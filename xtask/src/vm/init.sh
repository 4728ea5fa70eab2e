#!/bin/busybox sh
# The init of a virtual machine: runs each file in /tasks and sends what it said over the second
# serial port, which no message of the kernel gets into. vm/frame.rs reads it.
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
exec 2>/tmp/setup

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
ip link set lo up
for module in $(cat /modules/order); do insmod "/modules/$module"; done
echo 100000 > /proc/sys/net/ipv4/tcp_max_tw_buckets
echo 4096 > /proc/sys/net/core/somaxconn

exec 3<>/dev/ttyS1
stty raw -echo <&3
send() { # NAME FILE
    { printf '%s %s\n' "$1" "$(wc -c < "$2")"; cat "$2"; echo; } >&3
}
seconds() {
    cut -d. -f1 /proc/uptime
}
# Ends a task that takes too long, after it has said what everything is waiting for.
guard() { # PID
    sleep "$(cat /limit)"
    for thread in /proc/[0-9]*/task/*; do
        [ -e "$thread/exe" ] || continue # the kernel's have none
        echo "$thread $(cat "$thread/comm"): $(cat "$thread/syscall")"
        cat "$thread/stack"
    done > /tmp/stuck
    dmesg | tail -n 20 >> /tmp/stuck
    kill -KILL "$1"
}

uname -r > /tmp/release
send release /tmp/release
send setup /tmp/setup
for task in /tasks/*; do
    name=${task##*/}
    started=$(seconds)
    : > /tmp/stuck
    sh "$task" > /tmp/out 2> /tmp/err < /dev/null 3>&- &
    running=$!
    guard "$running" 3>&- &
    wait "$running"
    echo "$? $(($(seconds) - started))" > /tmp/code
    # What it left running must not disturb the next one; this spares init.
    kill -9 -1
    send "$name.out" /tmp/out
    send "$name.err" /tmp/err
    send "$name.stuck" /tmp/stuck
    send "$name.code" /tmp/code
done
: > /tmp/none
send end /tmp/none
poweroff -f
