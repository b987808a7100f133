#!/bin/sh
# nginx on port $1 and HAProxy on port $2, both in front of 127.0.0.1:$3.
# Any user may run them; they end with this script.
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'kill $nginx $haproxy; wait; rm -r "$dir"' EXIT
trap 'exit' TERM INT
cat > "$dir/nginx.conf" <<END
daemon off; worker_processes 1; pid $dir/pid; error_log stderr crit;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $dir/1; proxy_temp_path $dir/2;
    fastcgi_temp_path $dir/3; uwsgi_temp_path $dir/4; scgi_temp_path $dir/5;
    server { listen 127.0.0.1:$1; location / { proxy_pass http://127.0.0.1:$3; } }
}
END
cat > "$dir/haproxy.cfg" <<END
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen proxy
    bind 127.0.0.1:$2
    server origin 127.0.0.1:$3
END
PATH=$PATH:/usr/sbin
nginx -e stderr -p "$dir" -c "$dir/nginx.conf" & nginx=$!
haproxy -db -f "$dir/haproxy.cfg" & haproxy=$!
sleep 1
echo "nginx and HAProxy are listening"
wait
