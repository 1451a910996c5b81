#!/usr/bin/env bash
# memcached with four threads: pipelined sets of sizes that change, gets whose every byte is
# compared, and connections that come and go.
. "$(dirname "$0")/lib.sh"

python=/usr/bin/python3
need memcached $python
user=()
[ "$(id -u)" -ne 0 ] || user=(-u nobody)
port=$(free_port)
start server TERM memcached -l 127.0.0.1 -p "$port" -U 0 -t 4 -m 256 -c 256 ${user[@]+"${user[@]}"}
wait_port "$port" server
check_server "$pid"
$python "$load/memcached.py" "$port" "$seconds" 2>"$scratch/client/err" ||
  fail "$(last_line "$scratch/client/err")"
memory_of "$pid"
stop "$pid"
