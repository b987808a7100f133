# In a network namespace of its own: how often does Linux report a refusal?
# A neighbour with its own network, behind a pair of virtual network cards.
unshare -n sleep 60 &
neighbour=$!
ip link set lo up
ip link add near type veth peer name far
sleep 0.5
ip link set far netns $neighbour
ip addr add 10.9.0.1/24 dev near
ip link set near up
nsenter -t $neighbour -n sh -c '
    ip addr add 10.9.0.2/24 dev far; ip link set far up; ip link set lo up'
sleep 2
./jbang book/experiments/402/Reports.java 127.0.0.1 2> /dev/null
./jbang book/experiments/402/Reports.java 10.9.0.2 2> /dev/null
kill $neighbour
