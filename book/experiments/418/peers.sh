#!/usr/bin/env bash
# dnsmasq, unbound and bind, each with the zone lab.test, in the foreground:
# peers.sh PORT PORT PORT
set -euo pipefail
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null; wait; rm -rf "$dir"' EXIT INT TERM

text=$(printf 'x%.0s' {1..200})
texts=""   # ten strings of 200 octets: more than fits into 512
for _ in 1 2 3 4 5 6 7 8 9 10; do texts="$texts \"$text\""; done

/usr/sbin/dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv \
    --no-hosts --pid-file="$dir/dnsmasq.pid" --port="$1" \
    --listen-address=127.0.0.1 --bind-interfaces --local=/lab.test/ \
    --host-record=www.lab.test,10.0.0.10,fd00::10,300 \
    --cname=alias.lab.test,www.lab.test,300 --mx-host=lab.test,b.lab.test,20 \
    --mx-host=lab.test,a.lab.test,10 \
    --txt-record=big.lab.test"$(printf ",$text%.0s" {1..10})" &

cat > "$dir/unbound.conf" <<END
server:
    interface: 127.0.0.1
    port: $2
    do-daemonize: no
    chroot: ""
    username: ""
    directory: "$dir"
    pidfile: ""
    use-syslog: no
    verbosity: 0
    logfile: "$dir/unbound.log"
    local-zone: "lab.test." static
    local-data: "lab.test. 60 SOA ns.lab.test. admin.lab.test. 1 3600 600 86400 60"
    local-data: "www.lab.test. 300 A 10.0.0.10"
    local-data: "www.lab.test. 300 AAAA fd00::10"
    local-data: "alias.lab.test. 300 CNAME www.lab.test."
    local-data: "lab.test. 300 MX 20 b.lab.test."
    local-data: "lab.test. 300 MX 10 a.lab.test."
    local-data: 'big.lab.test. 300 TXT$texts'
remote-control:
    control-enable: no
END
/usr/sbin/unbound -d -c "$dir/unbound.conf" 2>"$dir/unbound.err" &

cat > "$dir/zone" <<END
\$TTL 300
@       SOA     ns admin 1 3600 600 86400 60
        NS      ns
        MX      20 b
        MX      10 a
ns      A       127.0.0.1
www     A       10.0.0.10
        AAAA    fd00::10
alias   CNAME   www
big     TXT     ($texts)
END
cat > "$dir/named.conf" <<END
options {
    directory "$dir"; pid-file "$dir/named.pid";
    session-keyfile "$dir/session.key"; lock-file none;
    listen-on port $3 { 127.0.0.1; }; listen-on-v6 { none; };
    recursion no; empty-zones-enable no;
};
controls { };
zone "lab.test" { type primary; file "$dir/zone"; };
END
/usr/sbin/named -f -c "$dir/named.conf" -L "$dir/named.log" &

for port in "$1" "$2" "$3"; do
    until [ "$(dig +short +time=1 +tries=1 -p "$port" @127.0.0.1 \
            www.lab.test)" = 10.0.0.10 ]; do
        sleep 0.1
    done
done
echo "dnsmasq, unbound and bind are listening"
wait
