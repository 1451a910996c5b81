#!/usr/bin/env bash
# Builds and tests weir in every way the project knows.
#
#   test.sh [PHASE ...]   all phases by default, else those named, in the order below
#
# Phases: check (the scripts of ci/check/ on a release build), models (stress/model/run.sh), fuzz (a
# minute for each target; beside the models, since both have one thread most of the time), debug, asan, ubsan (build and ctest with that preset), coverage
# (ci/coverage.sh), tsan, release-clang (as debug), release (the same, with the application tests).
# Installs what is missing first. Every phase is run, whatever the others gave; the exit status is
# 0 if all passed. The output ends with a table of the phases and, last, with what ctest said at the
# end of its last run.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
phases=(check models fuzz debug asan ubsan coverage tsan release-clang release)
work_dir=$(mktemp -d)
trap 'rm -rf "$work_dir"' EXIT
table=()
failed=0
fuzz_job= # its process while it runs beside another phase

# build PRESET: quiet unless it fails.
build() {
  local log=$work_dir/build.log
  if cmake --preset "$1" >"$log" 2>&1 && cmake --build --preset "$1" -j "$(nproc)" >>"$log" 2>&1
  then
    return 0
  fi
  cat "$log"
  return 1
}

# run_tests PRESET: the application tests are slow and take no sanitizer, so one preset has them.
# Time limits are far above what a test takes: they end what hangs, on a busy machine too.
run_tests() {
  local args=(--preset "$1" --no-tests=error -j "$(nproc)")
  [ "$1" = release ] || args+=(-LE apps)
  ctest "${args[@]}" 2>&1 | tee "$work_dir/ctest.log"
}

start_fuzz() {
  stress/run.sh fuzz --seconds 120 >"$work_dir/fuzz.log" 2>&1 &
  fuzz_job=$!
}

end_fuzz() {
  local result=0
  [ -n "$fuzz_job" ] || start_fuzz
  wait "$fuzz_job" || result=$?
  cat "$work_dir/fuzz.log"
  return "$result"
}

run_phase() {
  case $1 in
    install) ci/install.sh ;;
    check) build release && ci/check.sh build/release ;;
    models)
      ! is_wanted fuzz || start_fuzz
      stress/model/run.sh
      ;;
    fuzz) end_fuzz ;;
    coverage) ci/coverage.sh ;;
    *) build "$1" && run_tests "$1" ;;
  esac
}

# phase NAME: runs it, with its name before and its seconds after.
phase() {
  local start=$SECONDS result=passed
  echo "== $1"
  run_phase "$1" || result=FAILED
  [ "$result" = passed ] || failed=1
  echo "== $1 $result in $((SECONDS - start)) s"
  table+=("$(printf '%-14s %-6s %5d s' "$1" "$result" $((SECONDS - start)))")
}

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit 0
fi
arguments=("$@")

# is_wanted PHASE: by the arguments.
is_wanted() {
  [ ${#arguments[@]} -eq 0 ] || [[ " ${arguments[*]} " == *" $1 "* ]]
}

for wanted; do
  if [[ " ${phases[*]} " != *" $wanted "* ]]; then
    echo "ci/test.sh: no phase $wanted; there are: ${phases[*]}" >&2
    exit 2
  fi
done

phase install
for name in "${phases[@]}"; do
  if is_wanted "$name"; then
    phase "$name"
  fi
done

printf '== all phases, %d s\n' "$SECONDS"
printf '%s\n' "${table[@]}"
if [ -f "$work_dir/ctest.log" ]; then
  sed -n '/^[0-9]*% tests passed/,$p' "$work_dir/ctest.log"
fi
exit "$failed"
