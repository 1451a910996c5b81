#!/usr/bin/env bash
# Says which lines and branches of src/ the unit, API and stress tests reach, taken together.
#
#   coverage.sh [--html]   --html also writes build/coverage/html/index.html
#
# Builds preset coverage, runs its tests but those of applications and of the benchmarks (gcov's own
# memory would come from the broken malloc that some of these load), and merges what weir_plain,
# weir_shared and weir_static counted. Prints lines and branches by file and in all, and the lines
# that were not reached; docs/coverage.md says why those are not. Fails when a test does, and below
# 95 % of lines or 85 % of branches.
# weir_rcu_plain is counted with them. weir_steps is left out: its hook at each atomic step is a call, by which gcov numbers the branches
# of a line otherwise.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=build/coverage
lines_min=95
branches_min=85
html=no

fail() {
  echo "ci/coverage.sh: $*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    --html) html=yes ;;
    *) echo "ci/coverage.sh: what is $1? (--help)" >&2; exit 2 ;;
  esac
  shift
done

command -v gcovr >/dev/null || fail "needs gcovr (ci/install.sh)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if ! { cmake --preset coverage && cmake --build --preset coverage -j "$(nproc)"; } >"$log" 2>&1
then
  cat "$log" >&2
  fail "preset coverage does not build"
fi
find "$build" -name '*.gcda' -delete
tests=passed
# Nor what runs on weir_steps alone.
ctest --preset coverage -j 2 --no-tests=error -LE 'apps|bench' \
  -E '_delays$|^stress_(progress|between|forked)$' || tests=failed

objects=()
for library in plain shared static rcu_plain; do
  directory=$build/src
  [ "$library" != rcu_plain ] || directory+=/rcu
  objects+=("$directory/CMakeFiles/weir_$library.dir")
  [ -n "$(find "${objects[-1]}" -name '*.gcda' -print -quit)" ] || fail "nothing ran weir_$library"
done
counts=$build/coverage.json
# A process that ends while a thread of weir's counts leaves counts a step apart, from which gcov
# works out a branch taken -1 times: such a line is left out, not the report.
gcovr --gcov-ignore-parse-errors --filter src/ --json "$counts" "${objects[@]}" 2>"$log" ||
  { cat "$log" >&2; fail "gcovr failed"; }
if [ "$html" = yes ]; then
  mkdir -p "$build/html"
  gcovr --add-tracefile "$counts" --html-details "$build/html/index.html"
fi
gcovr --add-tracefile "$counts" --txt --branches
gcovr --add-tracefile "$counts" --txt --print-summary --fail-under-line "$lines_min" \
  --fail-under-branch "$branches_min" ||
  fail "below $lines_min % of lines or $branches_min % of branches"
[ "$tests" = passed ] || fail "tests failed"
