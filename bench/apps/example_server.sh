#!/usr/bin/env bash
# The example server under its own load, which compares every value it reads.
. "$(dirname "$0")/lib.sh"

for name in weir_example_server weir_example_load; do
  [ -x "$bin/$name" ] || fail "no $bin/$name: build it or give --bin"
done
port=$(free_port)
start server TERM "$bin/weir_example_server" --port "$port" --threads 4
server=$pid
wait_port "$port" server
check_server "$server"
run client "$bin/weir_example_load" --port "$port" --clients 16 --seconds "$seconds"
operations=$(sed -n 's/^weir_example_load: \([0-9]*\) operations.s$/\1/p' "$scratch/client/out")
[ -n "$operations" ] || fail "the load gave no rate"
metric operations "$operations" ops/s
memory_of "$server"
stop "$server"
