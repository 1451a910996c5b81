#!/usr/bin/env bash
# redis-server under redis-benchmark: pipelined SET of three sizes over random keys, GET and LPUSH;
# then every value must have its size.
#
# Debian's redis links jemalloc; with --preload libc.so.6 it runs on glibc's malloc.
. "$(dirname "$0")/lib.sh"

need redis-server redis-cli redis-benchmark
keys=100000
sizes=(60 700 190)
count=$((seconds * 80000))

cli() { redis-cli -h 127.0.0.1 -p "$port" "$@"; }

# press <test> <argument>...: one redis-benchmark; its requests per second are in $rps.
press() {
  local line
  redis-benchmark -h 127.0.0.1 -p "$port" -t "$1" -n "$count" -P 16 -c 32 -r "$keys" --csv \
    "${@:2}" >"$scratch/client/out" 2>"$scratch/client/err" ||
    fail "redis-benchmark failed: $(last_line "$scratch/client/err")"
  line=$(grep -i "^\"$1" "$scratch/client/out") || fail "redis-benchmark said nothing of $1"
  rps=$(cut -d '"' -f 4 <<<"$line")
}

port=$(free_port)
start server TERM redis-server --port "$port" --bind 127.0.0.1 --dir "$scratch/server" --save '' \
  --appendonly no --daemonize no
server=$pid
wait_port "$port" server
check_server "$server"

times=()
for size in "${sizes[@]}"; do
  press set -d "$size"
  times+=("$rps")
done
# The harmonic mean: as many operations at each rate.
metric set "$(printf '%s\n' "${times[@]}" | awk '{ sum += 1 / $1 } END { print NR / sum }')" ops/s
press get
metric get "$rps" ops/s
press lpush -d "${sizes[0]}"
metric lpush "$rps" ops/s
memory_of "$server"

[ "$(cli LLEN mylist)" -eq "$count" ] || fail "the list has not $count entries"
wrong=$(cli EVAL "
  local wrong, sizes = 0, {[$((sizes[0]))]=1, [$((sizes[1]))]=1, [$((sizes[2]))]=1}
  local keys = redis.call('KEYS', 'key:*')
  for _, key in ipairs(keys) do
    if not sizes[redis.call('STRLEN', key)] then wrong = wrong + 1 end
  end
  for _, entry in ipairs(redis.call('LRANGE', 'mylist', 0, -1)) do
    if #entry ~= ${sizes[0]} then wrong = wrong + 1 end
  end
  if #keys == 0 then wrong = 'no keys' end
  return wrong" 0)
[ "$wrong" = 0 ] || fail "values of a wrong size: $wrong"
stop "$server"
