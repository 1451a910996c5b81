#!/usr/bin/env bash
# Starts the example server, drives it with the load generator, stops it by its pid.
#
#   drive.sh BIN_DIR [SECONDS [PRELOAD]]
#
# BIN_DIR holds weir_example_server, or what SERVER names instead, and weir_example_load. PRELOAD is a malloc that the server (and
# only the server) runs with; it is asked for its summary. CLIENTS and THREADS come from the
# environment, 16 and 4 by default. Fails if the server does not start, the load finds a wrong value,
# or the server does not end cleanly.
set -euo pipefail

bin_dir=${1:?usage: drive.sh BIN_DIR [SECONDS [PRELOAD]]}
seconds=${2:-5}
preload=${3:-}
wait_tries=200 # of 0.1 s, for the start and again for the end

work_dir=$(mktemp -d)
server_pid=
cleanup() {
  if [ -n "$server_pid" ]; then
    kill -KILL "$server_pid" 2>/dev/null || true
  fi
  rm -rf "$work_dir"
}
trap cleanup EXIT

server=("$bin_dir/${SERVER:-weir_example_server}" --port 0 --threads "${THREADS:-4}")
if [ -n "$preload" ]; then
  server=(env "LD_PRELOAD=$preload" WEIR_SUMMARY=1 "${server[@]}")
fi
: >"$work_dir/server.out"
"${server[@]}" >>"$work_dir/server.out" &
server_pid=$!

port=
for ((try = 0; try < wait_tries; try++)); do
  if read -r port <"$work_dir/server.out" || ! kill -0 "$server_pid" 2>/dev/null; then
    break
  fi
  sleep 0.1
done
if [ -z "$port" ]; then
  echo "drive.sh: the server did not start" >&2
  exit 1
fi
# The dynamic linker goes on without a library that it cannot preload.
if [ -n "$preload" ] && ! grep -qF -- "$(realpath "$preload")" "/proc/$server_pid/maps"; then
  echo "drive.sh: the server runs without $preload" >&2
  exit 1
fi

status=0
"$bin_dir/weir_example_load" --port "$port" --clients "${CLIENTS:-16}" --seconds "$seconds" ||
  status=$?

if ! kill -TERM "$server_pid" 2>/dev/null; then
  echo "drive.sh: the server had ended before it was stopped" >&2
  status=1
fi
for ((try = 0; try < wait_tries; try++)); do
  kill -0 "$server_pid" 2>/dev/null || break
  sleep 0.1
done
if kill -KILL "$server_pid" 2>/dev/null; then
  echo "drive.sh: the server did not end when told to" >&2
fi
server_status=0
wait "$server_pid" || server_status=$?
server_pid=
tail -n +2 "$work_dir/server.out"
if [ "$server_status" -ne 0 ]; then
  echo "drive.sh: the server ended with status $server_status" >&2
  status=1
fi
[ "$status" -eq 0 ]
