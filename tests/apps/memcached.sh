#!/bin/bash
# memcached with four threads under pipelined sets, gets, appends and deletes of four processes:
# every value read back is the one stored; the same counts with and without weir.
. "$(dirname "$0")/lib.sh"

python=/usr/bin/python3
need memcached $python
check_bindings memcached --version

user=()
[ "$(id -u)" -ne 0 ] || user=(-u nobody)
for mode in plain weir; do
  port=$(free_port)
  start $mode TERM memcached -l 127.0.0.1 -p "$port" -U 0 -t 4 -m 512 -I 2m -c 512 \
    ${user[@]+"${user[@]}"}
  wait_port "$port" $mode
  check_mapped $mode "$pid" memcached
  $python "$load/memcached.py" "$port" >"$scratch/$mode/out" 2>"$scratch/$mode/err" ||
    fail "wrong answers ($mode): $(last_line "$scratch/$mode/err")"
  check_mapped $mode "$pid" memcached
  stop "$pid"
done
compare "counts"
