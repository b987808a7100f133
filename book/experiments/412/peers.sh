#!/bin/bash
# The same request to our two servers, Go's net/http and nginx: curl compares the responses, wrk looks for errors.
# usage: peers.sh JDK_PORT NETTY_PORT GO_PORT NGINX_PORT
set -u
PATH=$PATH:/usr/sbin
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$dir"' EXIT
./jbang --quiet solution-412 help >/dev/null   # builds it, before two of them do so at once
./jbang --quiet solution-412 serve jdk "$1" >/dev/null &
./jbang --quiet solution-412 serve netty "$2" >/dev/null &
cat > "$dir/server.go" <<END
package main

import "net/http"

func main() {
	http.HandleFunc("/plaintext", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte("Hello, world!"))
	})
	http.ListenAndServe("127.0.0.1:$3", nil)
}
END
GOCACHE="$dir/cache" GO111MODULE=off go build -o "$dir/server" "$dir/server.go" && "$dir/server" &
cat > "$dir/nginx.conf" <<END
daemon off; worker_processes 1; pid $dir/pid; error_log stderr crit;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $dir/1; proxy_temp_path $dir/2;
    fastcgi_temp_path $dir/3; uwsgi_temp_path $dir/4; scgi_temp_path $dir/5;
    server { listen 127.0.0.1:$4; location = /plaintext { default_type text/plain; return 200 "Hello, world!"; } }
}
END
nginx -e stderr -p "$dir" -c "$dir/nginx.conf" &
for server in "JDK $1" "NETTY $2" "Go $3" "nginx $4"; do
    set -- $server
    url=http://127.0.0.1:$2/plaintext
    until curl -s -o /dev/null "$url"; do sleep 0.2; done
    found=$(curl -s -w ' %{http_code} %{content_type} %{size_download}' "$url")
    errors=$(wrk -t1 -c16 -d1s "$url" | grep -c -e Non-2xx -e 'Socket errors')
    echo "$1: $found; wrk: $errors lines about errors"
done
