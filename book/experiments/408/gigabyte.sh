#!/bin/sh
# nginx on port $1 with one file of 1 GiB; what is in it looks random.
# Any user may run it; it ends with this script.
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'kill $nginx; wait; rm -r "$dir"' EXIT
trap 'exit' TERM INT
head -c 1073741824 /dev/zero |
    openssl enc -aes-128-ctr -K 0 -iv 0 > "$dir/gigabyte" 2> /dev/null
cat > "$dir/nginx.conf" <<END
daemon off; worker_processes 1; pid $dir/pid; error_log stderr crit;
events { worker_connections 256; }
http {
    access_log off; client_max_body_size 0;
    client_body_temp_path $dir/1; proxy_temp_path $dir/2;
    fastcgi_temp_path $dir/3; uwsgi_temp_path $dir/4; scgi_temp_path $dir/5;
    server { listen 127.0.0.1:$1; root $dir; }
}
END
PATH=$PATH:/usr/sbin
nginx -e stderr -p "$dir" -c "$dir/nginx.conf" & nginx=$!
sleep 1
echo "nginx is listening"
wait
