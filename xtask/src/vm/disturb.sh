cpu=/sys/devices/system/cpu/cpu1/online
[ -w $cpu ] || { echo "this machine has no second processor that can go" >&2; exit 1; }
rm -f /tmp/settle /tmp/offline
( while [ ! -e /tmp/settle ]; do
    echo 0 > $cpu && [ "$(cat $cpu)" = 0 ] && echo gone >> /tmp/offline
    usleep 300000
    date -s "@$(($(date +%s) + 3600))"
    echo 1 > $cpu
    usleep 300000
    date -s "@$(($(date +%s) - 7200))"
done ) > /dev/null 2> /tmp/disturb &
disturb=$!
