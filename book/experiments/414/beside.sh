#!/bin/sh
# Runs Beside.java in a network namespace whose name server is that program.
# Linux, as root; needs iproute2 and curl.
set -eu
./jbang --quiet build book/experiments/414/Beside.java
conf=$(mktemp)
trap 'rm $conf' EXIT
echo 'nameserver 127.0.0.1' >"$conf"
unshare --net --mount sh -c "ip link set lo up
    mount --bind $conf /etc/resolv.conf
    exec ./jbang --quiet book/experiments/414/Beside.java"
