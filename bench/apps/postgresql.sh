#!/usr/bin/env bash
# PostgreSQL under pgbench: its own short transactions, then queries that sort, hash and build JSON.
# The balances must agree afterwards. Memory is the private memory of all its processes.
. "$(dirname "$0")/lib.sh"
. "$shared/cluster.sh"

own_home "$preload"
preload=$library
export PGUSER=bench
mode=server
clients=8
transactions=$((seconds * 130))
queries=$((seconds * 2))

# press <name> <transactions of a client> <argument>...: one pgbench.
press() {
  local name=$1 count=$2 all out=$scratch/client/$1
  all=$((clients * count))
  pgbench -n -c $clients -j 2 -t "$count" --random-seed=42 "${@:3}" >"$out" \
    2>"$scratch/client/err" || fail "pgbench failed: $(last_line "$scratch/client/err")"
  grep -q "actually processed: $all/$all" "$out" && grep -q 'failed transactions: 0 ' "$out" ||
    fail "pgbench did not finish every transaction of $name"
  metric "$name" "$(awk '/^tps = / { print $3 }' "$out")" ops/s
}

start_cluster $mode
check_server "$server"
run client pgbench -q -i -s 5
watch_family "$server"
press transactions "$transactions"
press queries "$queries" -f "$load/postgresql.sql"
memory_of_family "$server"

sums=$(sql -c 'SELECT (SELECT sum(abalance) FROM pgbench_accounts),
  (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history),
  (SELECT count(*) FROM pgbench_history)')
IFS='|' read -r accounts branches history count <<<"$sums"
[ "$accounts $branches $count" = "$history $history $((clients * transactions))" ] ||
  fail "balances disagree: accounts|branches|history|count $sums"
stop "$server"
! grep -E -q 'PANIC|terminated by signal' "$scratch/server/server.log" ||
  fail "a server process died"
