#!/bin/bash
# redis-server: redis-benchmark with BGSAVE in between (it forks), then a fixed set of keys of
# every type, lazy frees on a background thread, and a restart from the saved file; the same
# digest of the data with and without weir.
#
# Debian's redis links libjemalloc.so.2 by the plain malloc names, so a preloaded library comes
# first. It still asks jemalloc for its statistics (mallctl); what those count tells whether
# jemalloc or the library under test serves the server.
. "$(dirname "$0")/lib.sh"

need redis-server redis-cli redis-benchmark perl
check_bindings redis-server --version

port=0
cli() { redis-cli -h 127.0.0.1 -p "$port" "$@"; }
field() { cli INFO "$1" | tr -d '\r' | sed -n "s/^$2://p"; }

serve() {
  port=$(free_port)
  start "$1" TERM redis-server --port "$port" --bind 127.0.0.1 --dir "$scratch/$1" --save '' \
    --appendonly no --daemonize no --io-threads 2 --lazyfree-lazy-user-del yes \
    --enable-debug-command local
  wait_port "$port" "$1"
  # It answers before it has read its file.
  while [ "$(cli PING 2>&1)" != PONG ]; do sleep 0.05; done
  check_mapped "$1" "$pid" redis-server
}

for mode in plain weir; do
  dir=$scratch/$mode
  serve $mode
  redis-benchmark -h 127.0.0.1 -p "$port" -t set,get,lpush,lrange_100 -n 100000 -P 16 -c 50 -q \
    >"$dir/benchmark" 2>&1 9>&- &
  benchmark=$!
  started+=("$benchmark:TERM")
  # As many saves as the benchmark lasts: each child writes a copy of the moving data.
  saves=0
  while kill -0 $benchmark 2>/dev/null; do
    if cli BGSAVE | grep -q started; then saves=$((saves + 1)); fi
    sleep 0.3
  done
  wait $benchmark || fail "redis-benchmark failed ($mode): $(last_line "$dir/benchmark")"
  forget $benchmark
  [ $saves -gt 0 ] || fail "no BGSAVE began during the benchmark ($mode)"
  ! grep -q -i error "$dir/benchmark" || fail "redis-benchmark saw errors ($mode)"

  perl "$load/redis.pl" >"$dir/commands"
  cli --pipe <"$dir/commands" >"$dir/pipe" 2>&1 ||
    fail "loading keys failed ($mode): $(last_line "$dir/pipe")"
  rm "$dir/commands"
  {
    tail -n 1 "$dir/pipe"
    cli DBSIZE
    cli LLEN mylist
    cli LRANGE zlist:7 0 -1
    cli ZRANGE rank:3 0 20 WITHSCORES
    cli SORT set:5 ALPHA LIMIT 0 20
    cli DEBUG DIGEST
  } >"$dir/out"

  # jemalloc's own count of bytes in use: all of the data, or none of it.
  used=$(field memory used_memory)
  jemalloc=$(field memory allocator_allocated)
  if [ $mode = plain ]; then
    [ "$jemalloc" -ge $((used / 2)) ] || fail "jemalloc serves $jemalloc of $used bytes without weir"
  elif [ "${weir##*/}" != libjemalloc.so.2 ]; then
    [ "$jemalloc" -lt $((used / 20)) ] || fail "jemalloc still serves $jemalloc of $used bytes"
  fi

  while [ "$(field persistence rdb_bgsave_in_progress)" = 1 ]; do sleep 0.1; done
  cli BGSAVE >/dev/null
  while [ "$(field persistence rdb_bgsave_in_progress)" = 1 ]; do sleep 0.1; done
  [ "$(field persistence rdb_last_bgsave_status)" = ok ] || fail "BGSAVE failed ($mode)"
  cli FLUSHALL ASYNC >/dev/null
  stop "$pid"
  serve $mode
  cli DEBUG DIGEST >"$dir/reloaded"
  stop "$pid"
  tail -n 1 "$dir/out" | cmp -s - "$dir/reloaded" ||
    fail "data loaded from the file differ from the data saved ($mode)"
  rm -f "$dir/dump.rdb"
done
compare "data or its digest"
