#!/bin/bash
# nginx with two workers under wrk: small and large files and one compressed on the fly, then a
# reload; no error under load, and the same bytes with and without weir.
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need nginx wrk curl perl
check_bindings nginx -v

mkdir "$scratch/files"
perl "$load/nginx.pl" 1024 >"$scratch/files/small"
perl "$load/nginx.pl" 102400 >"$scratch/files/large"
perl "$load/nginx.pl" 60000 >"$scratch/files/text.txt"

check_workers() {
  local workers worker
  workers=$(pgrep -P "$pid") || fail "no worker process ($1)"
  [ "$(wc -w <<<"$workers")" -eq 2 ] || fail "not two worker processes ($1)"
  for worker in $workers; do check_mapped "$1" "$worker" "nginx worker"; done
}

fetch() {
  local path
  : >"$scratch/$1/out"
  for path in small large packed/text.txt proxied/large; do
    curl -sS -f --max-time 20 -H 'Accept-Encoding: gzip' "http://127.0.0.1:$port/$path" \
      -o "$scratch/$1/body.out" 2>"$scratch/$1/curl.err" ||
      fail "$path is not served ($1): $(last_line "$scratch/$1/curl.err")"
    case $path in
      packed/*) gzip -dc "$scratch/$1/body.out" | cmp -s - "$scratch/files/${path#*/}" ;;
      *) cmp -s "$scratch/$1/body.out" "$scratch/files/${path#*/}" ;;
    esac || fail "$path is served with other content ($1)"
    echo "$path $(sha256sum <"$scratch/$1/body.out")" >>"$scratch/$1/out"
  done
}

# press <path> <seconds>: wrk's Lua hook prints every count of failures.
press() {
  wrk -t2 -c64 -d"$2s" -s "$load/nginx.lua" -H 'Accept-Encoding: gzip' \
    "http://127.0.0.1:$port/$1" >"$scratch/$mode/wrk" 2>&1 ||
    fail "wrk failed on $1: $(last_line "$scratch/$mode/wrk")"
  grep -q '^failures 0$' "$scratch/$mode/wrk" ||
    fail "requests for $1 failed under load: $(grep '^fail' "$scratch/$mode/wrk" || echo 'no count')"
  grep -q '^requests [1-9]' "$scratch/$mode/wrk" || fail "wrk made no request for $1"
}

for mode in plain weir; do
  port=$(free_port)
  configure_nginx $mode "$scratch/files"
  start $mode QUIT nginx -e "$scratch/$mode/error.log" -p "$scratch/$mode" \
    -c "$scratch/$mode/nginx.conf"
  wait_port "$port" $mode
  check_mapped $mode "$pid" "nginx master"
  check_workers $mode
  fetch $mode
  if [ $mode = weir ]; then
    press small 5
    press large 4
    press packed/text.txt 4
    press proxied/small 3
    check_workers $mode
    fetch $mode
    old=$(pgrep -P "$pid" | sort)
    kill -HUP "$pid"
    for ((i = 0; i < 200; i++)); do
      now=$(pgrep -P "$pid" | sort)
      if [ "$(wc -w <<<"$now")" -eq 2 ] && [ -z "$(comm -12 <(echo "$old") <(echo "$now"))" ]; then
        break
      fi
      sleep 0.05
    done
    [ $i -lt 200 ] || fail "no new workers within 10 s of a reload"
    check_workers $mode
    press small 1
  fi
  fetch $mode
  stop "$pid"
  if grep -E -q '\[(alert|crit|emerg)\]|exited on signal' "$scratch/$mode/error.log"; then
    fail "nginx complained ($mode):" \
      "$(grep -E -m1 '\[(alert|crit|emerg)\]|exited on' "$scratch/$mode/error.log")"
  fi
done
compare "a response body"
