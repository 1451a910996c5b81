#!/usr/bin/env bash
# Runs a command with weir as its malloc, after building the library if need be.
#
#   run.sh COMMAND [ARGUMENT ...]   as given, here; the exit status is the command's
#   run.sh                          the example server under load on loopback, for about 5 s
#
# Every process that weir serves prints a line starting "weir: " on stderr when it exits.
# The library is built in build/run, so that build/release stays as it is. Missing compilers are
# installed first (ci/install.sh --build).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/run
library=$build/src/libweir.so
load_seconds=5
status_not_executable=126 # as a shell has it
status_not_found=127

fail() {
  local status=$1
  shift
  echo "ci/run.sh: $*" >&2
  exit "$status"
}

# quietly COMMAND...: shows its output only if it fails.
quietly() {
  if ! "$@" >"$build/log" 2>&1; then
    cat "$build/log" >&2
    fail 1 "failed: $*"
  fi
}

# The lock keeps two runs at a time out of each other's build.
build_library() {
  mkdir -p "$build"
  exec 9>"$build/lock"
  flock 9
  cd "$root"
  quietly cmake --preset release -B "$build" -DWEIR_TESTS=OFF
  quietly cmake --build "$build" -j "$(nproc)" --target "$@"
  exec 9>&-
  [ -f "$library" ] || fail 1 "the build made no $library"
}

# Fails unless COMMAND is something that can be executed.
require_command() {
  local command=$1
  if [[ $command != */* ]]; then
    type -P -- "$command" >/dev/null || fail "$status_not_found" "no such command: $command"
  elif [ ! -e "$command" ]; then
    fail "$status_not_found" "no such command: $command"
  elif [ -d "$command" ] || [ ! -x "$command" ]; then
    fail "$status_not_executable" "cannot execute $command"
  fi
}

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit 0
fi
case $library in
  *[:\ ]*) fail 1 "LD_PRELOAD cannot name a path with a space or colon: $library" ;;
esac
if [ $# -gt 0 ]; then
  require_command "$1"
fi
"$root/ci/install.sh" --build >&2

if [ $# -eq 0 ]; then
  (build_library weir_shared weir_example_server weir_example_load)
  exec "$root/bench/server/drive.sh" "$build/bench" "$load_seconds" "$library"
fi
(build_library weir_shared)
exec env "LD_PRELOAD=$library${LD_PRELOAD:+:$LD_PRELOAD}" WEIR_SUMMARY=1 "$@"
