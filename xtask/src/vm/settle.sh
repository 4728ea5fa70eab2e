touch /tmp/settle
wait $disturb
[ "$(wc -l < /tmp/offline)" -gt 1 ] || { echo "the processor did not go: $(cat /tmp/disturb)" >&2; exit 1; }
