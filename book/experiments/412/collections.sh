#!/bin/bash
# How often the collector runs, and how long it stops the threads in all, while wrk asks each server for 5 s.
# usage: collections.sh jdk|netty PORT
set -eu
log=$(mktemp)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -f "$log"' EXIT
JAVA_TOOL_OPTIONS="-XX:+UseSerialGC -Xmx256m -Xmn64m -Xlog:gc:file=$log" \
    ./jbang solution-412 serve "$1" "$2" >/dev/null 2>&1 &
until curl -s -o /dev/null "http://127.0.0.1:$2/plaintext"; do sleep 0.1; done
wrk -t1 -c64 -d3s "http://127.0.0.1:$2/plaintext" >/dev/null    # to warm up
before=$(grep -c 'Pause Young' "$log" || true)
rate=$(wrk -t1 -c64 -d5s "http://127.0.0.1:$2/plaintext" | awk '/Requests.sec/ { print int($2) }')
grep 'Pause Young' "$log" | tail -n +$((before + 1)) | awk -v kind="$1" -v rate="$rate" '
    { sub(/ms$/, "", $NF); ms += $NF; n++ }
    END { printf "%-6s %6d requests/s, %4d collections in 5 s, %.1f ms in all\n", kind, rate, n, ms }'
