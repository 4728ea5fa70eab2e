# Connections at full speed over so few ports that most of them are reused, in a network namespace of
# their own; what the programs cost is watched for a second of it. vm/churn.rs reads the answer.
exec unshare -n sh -c '
rm -f /tmp/top /tmp/check /tmp/churn
ip link set lo up
echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse
echo 100000 > /proc/sys/net/ipv4/tcp_max_tw_buckets
echo "20000 27999" > /proc/sys/net/ipv4/ip_local_port_range
twtrace top --batch --json -d 1 --netns self --probes @TIER@ > /tmp/top 2>&1 &
top=$!
while [ ! -s /tmp/top ]; do kill -0 $top || exit 1; usleep 100000; done
{ usleep 500000; twtrace check --json --probes @TIER@ > /tmp/check 2>&1; } &
check=$!
twtrace-peer churn "@CONNECTIONS@ client false v4 1 1" < /dev/null > /tmp/churn 2>&1 || cat /tmp/churn >&2
wait $check
sleep 2
cat /proc/$top/fdinfo/* 2>/dev/null | awk "
    /^prog_id/ { id = \$2 } /^recursion_misses/ { misses[id] = \$2 }
    END { for (id in misses) sum += misses[id]; print sum + 0 }" > /tmp/misses
kill -INT $top
wait $top || cat /tmp/top >&2
printf "{\"top\":"; tail -n 1 /tmp/top; printf ",\"check\":"; cat /tmp/check
printf ",\"misses\":"; cat /tmp/misses; printf "}"
'
