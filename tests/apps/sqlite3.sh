#!/bin/bash
# sqlite3: a million rows made by SQL, indices, joins, aggregates and sorts with worker threads;
# the same output with and without weir.
. "$(dirname "$0")/lib.sh"

need sqlite3
check_bindings sqlite3 --version
for mode in plain weir; do
  run_seen $mode '*sqlite3*' sqlite3 -batch -bail store.db ".read $load/sqlite3.sql"
  check_maps_file $mode "$scratch/$mode/maps"
  rm -f "$scratch/$mode/store.db"
done
compare "query output"
