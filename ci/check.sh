#!/usr/bin/env bash
# Runs every check of ci/check/ on a release build, and says which failed.
#
#   check.sh [BUILD_DIR]   build/release by default; it must be built
#
# A check is an executable in ci/check/, run from the root of the repository with the build
# directory as its only argument. All are run, whatever the others find. No check is a failure too.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build/release}
count=0
failed=()
for check in ci/check/*; do
  if [ -f "$check" ] && [ -x "$check" ]; then
    count=$((count + 1))
    "$check" "$build" || failed+=("$(basename "$check")")
  fi
done
if [ "$count" -eq 0 ]; then
  echo "ci/check.sh: found no check to run" >&2
  exit 1
fi
if [ "${#failed[@]}" -gt 0 ]; then
  echo "ci/check.sh: ${#failed[@]} of $count checks failed: ${failed[*]}" >&2
  exit 1
fi
echo "ci/check.sh: $count checks passed"
