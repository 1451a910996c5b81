#!/usr/bin/env bash
# nginx with two workers under wrk: a small file, one compressed on the fly and one through a proxy;
# no request may fail, and the bytes are compared. Memory is the private memory of all processes.
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need nginx wrk curl perl gzip
mkdir "$scratch/files"
perl "$tests_load/nginx.pl" 1024 >"$scratch/files/small"
perl "$tests_load/nginx.pl" 102400 >"$scratch/files/large"
perl "$tests_load/nginx.pl" 60000 >"$scratch/files/text.txt"

# press <name> <path>: a third of the time; wrk's Lua hook prints the counts.
press() {
  local out=$scratch/client/$1 from wall third
  third=$(((seconds + 2) / 3))
  from=$(now)
  wrk -t2 -c32 -d"${third}s" -s "$tests_load/nginx.lua" -H 'Accept-Encoding: gzip' \
    "http://127.0.0.1:$port/$2" >"$out" 2>&1 || fail "wrk failed on $2: $(last_line "$out")"
  wall=$(since "$from")
  grep -q '^failures 0$' "$out" || fail "requests for $2 failed: $(last_line "$out")"
  metric "$1" "$(rate "$(awk '$1 == "requests" { print $2 }' "$out")" "$wall")" ops/s
}

# check <path> <file>: what is served there is the file.
check() {
  curl -sS -f --max-time 20 --compressed "http://127.0.0.1:$port/$1" 2>"$scratch/client/err" |
    cmp -s - "$scratch/files/$2" || fail "$1 is served with other content"
}

port=$(free_port)
configure_nginx server "$scratch/files"
start server QUIT nginx -e "$scratch/server/error.log" -p "$scratch/server" \
  -c "$scratch/server/nginx.conf"
server=$pid
wait_port "$port" server
check_server "$server"
watch_family "$server"
press small small
press packed packed/text.txt
press proxied proxied/large
memory_of_family "$server"
check packed/text.txt text.txt
check proxied/large large
stop "$server"
! grep -E -q '\[(alert|crit|emerg)\]|exited on signal' "$scratch/server/error.log" ||
  fail "nginx complained: $(last_line "$scratch/server/error.log")"
