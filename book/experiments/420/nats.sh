#!/usr/bin/env bash
# Lab 420's solution behind NATs of the Linux kernel, in network namespaces:
#   a (10.0.1.2) - nat-a (203.0.113.1) - 203.0.113.254 and .253 - nat-b - b
# As root, or as a user who may make user namespaces; iproute2 and nftables.
set -euo pipefail
nat=book/experiments/420/Nat.java
if [ -z "${WORKBOOK_INSIDE:-}" ]; then
    ./jbang --quiet build $nat
    user=-Ur
    [ "$(id -u)" = 0 ] && user=--
    WORKBOOK_INSIDE=yes exec unshare --net --mount $user "$0"
fi
files=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$files"' EXIT
mount -t tmpfs tmpfs /run   # ip netns keeps its names there

ip link set lo up
ip link add inet type bridge
ip link set inet up
ip addr add 203.0.113.254/24 dev inet
ip addr add 203.0.113.253/24 dev inet
i=1
for x in a b; do
    ip netns add $x
    ip netns add nat-$x
    ip link add port-$x type veth peer name wan netns nat-$x
    ip link set port-$x master inet up
    ip link add lan netns nat-$x type veth peer name eth0 netns $x
    ip -n nat-$x addr add 203.0.113.$i/24 dev wan
    ip -n nat-$x addr add 10.0.$i.1/24 dev lan
    ip -n $x addr add 10.0.$i.2/24 dev eth0
    for link in lo wan lan; do ip -n nat-$x link set $link up; done
    ip -n $x link set lo up
    ip -n $x link set eth0 up
    ip -n $x route add default via 10.0.$i.1
    ip netns exec nat-$x sysctl -qw net.ipv4.ip_forward=1
    i=$((i + 1))
done

# What comes to the NAT itself is dropped: otherwise a check that arrives too
# early leaves an entry in the kernel's table, which changes the next mapping.
rules() {   # NAMESPACE HOST masquerade|random|forward
    masquerade=masquerade
    forward=
    [ "$3" = random ] && masquerade="masquerade fully-random"
    [ "$3" = forward ] && forward="iifname wan meta l4proto udp dnat to $2;"
    ip netns exec "$1" nft -f - <<END
flush ruleset
table ip nat {
    chain before { type nat hook prerouting priority -100; $forward }
    chain behind { type nat hook postrouting priority 100; oifname wan $masquerade; }
}
table ip filter {
    chain through {
        type filter hook forward priority 0; policy drop;
        iifname lan accept; ct state established,related accept; ct status dnat accept;
    }
    chain own { type filter hook input priority 0; iifname wan meta l4proto udp drop; }
}
END
}

./jbang --quiet $nat serve 203.0.113.254 3478 203.0.113.253 3479 >"$files/server" &
until [ -s "$files/server" ]; do sleep 0.1; done
for kind in masquerade random forward; do
    rules nat-a 10.0.1.2 $kind
    echo "$kind"
    ip netns exec a ./jbang --quiet $nat detect 203.0.113.254:3478
done
for pair in "masquerade masquerade" "masquerade random" "forward random" "random random"; do
    set -- $pair
    rules nat-a 10.0.1.2 "$1"
    rules nat-b 10.0.2.2 "$2"
    rm -f "$files"/a "$files"/b
    ip netns exec b ./jbang --quiet $nat meet 203.0.113.254:3478 "$files/b" "$files/a" no &
    printf '%-23s ' "$1 and $2:"
    ip netns exec a ./jbang --quiet $nat meet 203.0.113.254:3478 "$files/a" "$files/b" yes
    wait $!
done
