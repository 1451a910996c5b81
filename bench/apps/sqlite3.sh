#!/usr/bin/env bash
# sqlite3: rows made by SQL, indices, joins, aggregates, sorts and updates, in rows per second.
. "$(dirname "$0")/lib.sh"

need sqlite3
rows=$((seconds * 130000))
sed "s/i < 1000000/i < $rows/" "$tests_load/sqlite3.sql" >"$scratch/work.sql"
run_measured "$rows" sqlite3 -batch -bail store.db ".read $scratch/work.sql"
check_maps_of_run
expected=$(awk -v rows="$rows" 'BEGIN {
  for (i = 1; i <= rows; i++) sum += (i * 104729) % 100003
  printf "%d|%.0f", rows, sum }')
out=$scratch/client/out
grep -q "^$expected|" "$out" || fail "count and sum of the rows are not $expected"
[ "$(tail -n 1 "$out")" = ok ] || fail "the database is not consistent: $(last_line "$out")"
