#!/bin/bash
# PostgreSQL: initdb, pgbench with a fixed seed and number of transactions, then queries with
# parallel workers, hashes, sorts, JSON and compiled expressions (JIT), all under weir; the same
# balances, rows and query results with and without it.
. "$(dirname "$0")/lib.sh"

for bin in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do PATH=$bin:$PATH; done
need postgres initdb pgbench psql setpriv
check_bindings postgres --version

# The server refuses to run as root, and its own user may not enter every build directory. So the
# cluster and a copy of the library live in a directory of their own.
home=$(mktemp -d "${TMPDIR:-/tmp}/weir-postgresql.XXXXXX")
trap 'stop_all; rm -rf "$home"' EXIT
chmod 755 "$home"
cp "$weir" "$home/"
weir=$(realpath "$home/${weir##*/}")
server_user=()
if [ "$(id -u)" -eq 0 ]; then
  id postgres >/dev/null 2>&1 || fail "there is no user postgres (see packages.txt)"
  server_user=(setpriv --reuid postgres --regid postgres --init-groups)
  chown postgres "$home"
fi
export PGHOST=127.0.0.1 PGUSER=tester PGDATABASE=postgres PGCONNECT_TIMEOUT=20
export HOME=$home

clients=8
transactions=2000

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@" 2>"$scratch/$mode/psql.err"; }

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
  data=$home/$mode
  how=$(preloaded $mode)
  run $mode ${server_user[@]+"${server_user[@]}"} initdb -D "$data" -U "$PGUSER" -A trust \
    --no-sync --no-locale -E UTF8
  : >"$scratch/$mode/out"
  port=$(free_port)
  export PGPORT=$port
  cat >>"$data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
fsync = off
max_wal_size = 256MB
shared_buffers = 64MB
max_parallel_workers_per_gather = 2
END
  # SIGINT is the fast shutdown.
  start $mode INT ${server_user[@]+"${server_user[@]}"} postgres -D "$data"
  wait_port "$port" $mode
  until sql -c 'SELECT 1' >/dev/null; do
    kill -0 "$pid" 2>/dev/null || fail "the server ended early ($mode)"
    sleep 0.1
  done
  server=$pid
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
  rm -rf "$data"
done
compare "balances, rows or query results"
