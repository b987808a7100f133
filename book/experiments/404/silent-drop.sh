#!/bin/sh
# In a network of its own: unshare -n sh book/experiments/404/silent-drop.sh
set -e
ip link set lo up
exec ./jbang --quiet book/experiments/404/SilentDrop.java
