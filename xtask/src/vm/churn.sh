# Connections at full speed over so few ports that most of them are reused, in a network namespace of
# their own, are recorded; what the programs cost is watched for a second of it. vm/churn.rs reads what
# the report of the recording says.
exec unshare -n sh -c '
rm -f /tmp/trace.twt /tmp/record /tmp/report /tmp/check /tmp/churn
ip link set lo up
echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse
echo 100000 > /proc/sys/net/ipv4/tcp_max_tw_buckets
echo "20000 27999" > /proc/sys/net/ipv4/ip_local_port_range
twtrace record -o /tmp/trace.twt --netns self --probes @TIER@ > /tmp/record 2>&1 &
record=$!
while [ ! -s /tmp/trace.twt ]; do
    kill -0 $record || { cat /tmp/record >&2; exit 1; }
    usleep 100000
done
{ usleep 500000; twtrace check --json --probes @TIER@ > /tmp/check 2>&1; } &
check=$!
@DISTURB@
twtrace-peer churn "@CONNECTIONS@ client false v4 1 1 0" < /dev/null > /tmp/churn 2>&1 || cat /tmp/churn >&2
wait $check
@SETTLE@
sleep 2
cat /proc/$record/fdinfo/* 2>/dev/null | awk "
    /^prog_id/ { id = \$2 } /^recursion_misses/ { misses[id] = \$2 }
    END { for (id in misses) sum += misses[id]; print sum + 0 }" > /tmp/misses
kill -INT $record
wait $record || cat /tmp/record >&2
twtrace verify /tmp/trace.twt >&2 || exit 1
twtrace report --json /tmp/trace.twt > /tmp/report || exit 1
printf "{\"report\":"; cat /tmp/report; printf ",\"check\":"; cat /tmp/check
printf ",\"misses\":"; cat /tmp/misses; printf "}"
'
