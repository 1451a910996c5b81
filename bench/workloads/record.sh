#!/usr/bin/env bash
# Records programs and replays what came of it: threads that free each other's blocks, and a shell
# that forks. Replayed, every block must have been brought and given up as in the program.
#
#   record.sh BIN_DIR RECORDER [MALLOC]
#
# BIN_DIR holds the workloads, RECORDER is libweir_record.so, MALLOC a malloc to record over too.
set -euo pipefail

bin_dir=${1:?usage: record.sh BIN_DIR RECORDER [MALLOC]}
recorder=${2:?usage: record.sh BIN_DIR RECORDER [MALLOC]}
work_dir=$(mktemp -d)
trap 'rm -rf "$work_dir"' EXIT

fail() {
  echo "record.sh: $*" >&2
  exit 1
}

# record NAME PRELOAD COMMAND...
record() {
  local name=$1 preload=$2
  shift 2
  env "LD_PRELOAD=$preload" "WEIR_RECORD=$work_dir/$name" "$@" >/dev/null ||
    fail "$name: failed while recorded"
}

# replay TRACE: prints how many events were played; fails if the replay or its rewritten form does.
replay() {
  local first second
  first=$("$bin_dir/weir_bench_replay" --trace "$1" --repeats 2) || fail "$1: not replayed"
  "$bin_dir/weir_bench_replay" --trace "$1" --rewrite "$1.short" || fail "$1: not rewritten"
  second=$("$bin_dir/weir_bench_replay" --trace "$1.short" --repeats 1 --threads 1) ||
    fail "$1: not replayed once rewritten"
  first=$(awk '$2 == "events" {print $1}' <<<"$first")
  [ "$first" = "$(awk '$2 == "events" {print $1}' <<<"$second")" ] ||
    fail "$1: another count of events once rewritten"
  echo "$first"
}

# expect NAME FILES EVENTS_MIN: so many files, the largest with at least so many events.
expect() {
  local name=$1 files most=0 events
  files=("$work_dir/$name".*)
  [ "${#files[@]}" -ge "$2" ] || fail "$name: ${#files[@]} files, $2 expected"
  for file in "${files[@]}"; do
    events=$(replay "$file") || exit 1
    echo "$name: $events events"
    [ "$events" -le "$most" ] || most=$events
  done
  [ "$most" -ge "$3" ] || fail "$name: $most events, at least $3 expected"
}

preloads=("$recorder")
if [ -n "${3:-}" ]; then
  preloads+=("$recorder $3")
fi
for i in "${!preloads[@]}"; do
  record "threads$i" "${preloads[$i]}" "$bin_dir/weir_bench_prodcons" --operations 24000 --set 2000
  # 48,000 blocks, each allocated and freed.
  expect "threads$i" 1 96000
  record "growth$i" "${preloads[$i]}" "$bin_dir/weir_bench_append" --operations 20000
  expect "growth$i" 1 20000
  # Each subshell is a fork that goes on allocating.
  record "forks$i" "${preloads[$i]}" bash -c 'for i in 1 2 3; do (x=$(echo $i); : "$x"); done; :'
  expect "forks$i" 1 10
done
