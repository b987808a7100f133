#!/bin/sh
# Ways to fail, in a network of its own: unshare -n sh book/experiments/403/failures.sh
set -e
ip link set lo up
ip link add near type veth peer name far
ip addr add 10.9.0.1/24 dev near
ip link set near up
ip link set far up
ip route add unreachable 10.9.1.0/24
ip route add prohibit 10.9.2.0/24
ip route add blackhole 10.9.3.0/24
echo 2 >/proc/sys/net/ipv4/tcp_syn_retries
nft -f - <<'END'
table ip firewall {
    chain arriving {
        type filter hook input priority 0
        ip daddr 127.0.0.11 drop
        ip daddr 127.0.0.12 reject with tcp reset
        ip daddr 127.0.0.13 reject with icmp type port-unreachable
        ip daddr 127.0.0.14 reject with icmp type host-unreachable
        ip daddr 127.0.0.15 reject with icmp type net-unreachable
        ip daddr 127.0.0.16 reject with icmp type admin-prohibited
    }
}
END
exec ./jbang --quiet book/experiments/403/Failures.java \
    '127.0.0.1:80 nobody listens' \
    '127.0.0.12:80 firewall: tcp reset' \
    '127.0.0.13:80 ICMP port-unreachable' \
    '127.0.0.14:80 ICMP host-unreachable' \
    '127.0.0.16:80 ICMP admin-prohibited' \
    '10.9.1.1:80 route: unreachable' \
    '127.0.0.15:80 ICMP net-unreachable' \
    '192.0.2.1:80 no route at all' \
    '127.0.0.11:80 firewall: drop' \
    '127.0.0.11:80 drop, no limit' \
    '10.9.0.77:80 no such neighbour' \
    '10.9.2.1:80 route: prohibit' \
    '10.9.3.1:80 route: blackhole' \
    'scanner.test:80 unknown name'
