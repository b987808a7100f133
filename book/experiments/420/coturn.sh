#!/bin/sh
# coturn on 127.0.0.1 and 127.0.0.2, in the foreground, with the user lab and
# the password secret: coturn.sh PORT PORT
set -eu
dir=$(mktemp -d)
trap 'kill $! 2>/dev/null; rm -rf "$dir"; exit' EXIT INT TERM
turnserver -n -c /dev/null --no-tls --no-dtls --no-cli -p "$1" \
    --alt-listening-port="$2" -L 127.0.0.1 -L 127.0.0.2 -E 127.0.0.1 -a \
    -u lab:secret -r lab.test --allow-loopback-peers --min-port 40000 \
    --max-port 49999 --pidfile "$dir/pid" --db "$dir/db" --log-file stdout \
    --simple-log >"$dir/log" 2>&1 &
until timeout 1 turnutils_stunclient -p "$1" 127.0.0.1 | grep -q reflexive; do
    sleep 0.1
done
echo "coturn is listening"
wait $!
