#!/bin/bash
# PostgreSQL: initdb, pgbench with a fixed seed and number of transactions, then queries with
# parallel workers, hashes, sorts, JSON and compiled expressions (JIT), all under weir; the same
# balances, rows and query results with and without it.
. "$(dirname "$0")/lib.sh"
. "$shared/cluster.sh"

check_bindings postgres --version

own_home "$weir"
weir=$library
export PGUSER=tester

clients=8
transactions=2000

# check_backends <least>: that many backends at least are alive, and all have the library mapped.
check_backends() {
  local backend count=0
  for backend in $(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
                             AND application_name = 'pgbench'"); do
    [ -e "/proc/$backend/maps" ] || continue
    check_mapped $mode "$backend" "a backend"
    count=$((count + 1))
  done
  [ $count -ge "$1" ] || fail "only $count backends alive during pgbench ($mode)"
}

for mode in plain weir; do
  how=$(preloaded $mode)
  start_cluster $mode
  check_mapped $mode "$server" postmaster

  run $mode pgbench -q -i -s 5
  : >"$scratch/$mode/out"
  env "$how" pgbench -n -c $clients -j 2 -t $transactions --random-seed=42 \
    >"$scratch/$mode/pgbench" 2>"$scratch/$mode/err" 9>&- &
  bench=$!
  started+=("$bench:TERM")
  sleep 1
  kill -0 $bench 2>/dev/null || fail "pgbench ended early ($mode): $(last_line "$scratch/$mode/err")"
  check_backends $clients
  wait $bench || fail "pgbench failed ($mode): $(last_line "$scratch/$mode/err")"
  forget $bench
  grep -q "actually processed: $((clients * transactions))/$((clients * transactions))" \
    "$scratch/$mode/pgbench" || fail "pgbench did not process every transaction ($mode)"
  grep -q 'failed transactions: 0 ' "$scratch/$mode/pgbench" ||
    fail "pgbench transactions failed ($mode)"

  sums=$(sql -c 'SELECT (SELECT sum(abalance) FROM pgbench_accounts),
    (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches),
    (SELECT sum(delta) FROM pgbench_history), (SELECT count(*) FROM pgbench_history)')
  IFS='|' read -r accounts tellers branches history count <<<"$sums"
  if [ "$accounts" != "$tellers" ] || [ "$accounts" != "$branches" ] ||
    [ "$accounts" != "$history" ] || [ "$count" != $((clients * transactions)) ]; then
    fail "balances disagree ($mode): accounts|tellers|branches|history|count $sums"
  fi
  echo "$sums" >>"$scratch/$mode/out"
  sql -f "$load/postgresql.sql" >>"$scratch/$mode/out" ||
    fail "a query failed ($mode): $(last_line "$scratch/$mode/psql.err")"
  sql -c "SELECT pg_read_file('/proc/self/maps')" >"$scratch/$mode/maps"
  check_maps_file $mode "$scratch/$mode/maps"
  stop "$server"
  if grep -E -q 'PANIC|terminated by signal' "$scratch/$mode/server.log"; then
    fail "a server process died ($mode):" \
      "$(grep -E -m1 'PANIC|terminated by' "$scratch/$mode/server.log")"
  fi
  rm -rf "${home:?}/$mode"
done
compare "balances, rows or query results"
