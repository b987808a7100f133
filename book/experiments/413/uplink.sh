#!/bin/sh
# A clinic's uplink of 8 Mbit/s with a buffer of 500 KiB, made of two network
# namespaces: a backup goes up, and a ping shows what a telephone call gets.
# With an argument, the backup goes through lab 413's relay at that rate.
# Linux, as root; needs iproute2, iperf3 and busybox.
set -eu
clinic=clinic$$
world=world$$
relay=
trap 'kill $server $relay; ip netns del $clinic; ip netns del $world
    rm -f $log $log.iperf3' EXIT
ip netns add $clinic
ip netns add $world
ip link add inside netns $clinic type veth peer name outside netns $world
ip -n $clinic addr add 10.4.13.1/24 dev inside
ip -n $world addr add 10.4.13.2/24 dev outside
for each in $clinic $world; do ip -n $each link set lo up; done
ip -n $clinic link set inside up
ip -n $world link set outside up
ip netns exec $clinic tc qdisc add dev inside root tbf \
    rate 8mbit burst 16kb limit 500kb

ip netns exec $world iperf3 --server >/dev/null 2>&1 &
server=$!
log=$(mktemp)
to=10.4.13.2
port=5201
if [ $# = 1 ]; then
    ip netns exec $clinic ./jbang --quiet solution-413 \
        serve 4130 --to 10.4.13.2:5201 --global "$1" >$log &
    relay=$!
    until grep -q listening $log; do sleep 0.2; done
    to=127.0.0.1
    port=4130
fi
sleep 1
timeout 30 ip netns exec $clinic iperf3 --client $to --port $port --time 8 --parallel 4 \
    >$log.iperf3 &
backup=$!
sleep 2
ip netns exec $clinic busybox ping -c 20 -i 0.2 10.4.13.2 | tail -1
wait $backup
grep "SUM.*receiver" $log.iperf3 | cut -c 7-50
