#!/usr/bin/env bash
# Runs every workload on a malloc with faults; each must find each of them by its own checks.
#
#   broken.sh LIBRARY SHORT_FORMS
#
# LIBRARY is libweir_bench_broken.so, SHORT_FORMS a file with a command line per workload. A workload
# passes if it succeeds without a fault, and ends with status 1 and one line of its own with each.
set -euo pipefail

library=${1:?usage: broken.sh LIBRARY SHORT_FORMS}
short_forms=${2:?usage: broken.sh LIBRARY SHORT_FORMS}
modes=(none twice flip)
count=0
status=0

# complain MODE WHAT: the workload did not do as it must.
complain() {
  echo "broken.sh: $(basename "$program") with fault $1: $2" >&2
  status=1
}

while read -r program arguments; do
  [ -n "$program" ] || continue
  count=$((count + 1))
  for mode in "${modes[@]}"; do
    result=0
    # Unquoted: the arguments are words.
    message=$(LD_PRELOAD=$library BROKEN_MALLOC=$mode "$program" $arguments 2>&1 >/dev/null) ||
      result=$?
    if [ "$mode" = none ]; then
      [ "$result" -eq 0 ] || complain "$mode" "status $result, $message"
    elif [ "$result" -ne 1 ]; then
      complain "$mode" "status $result, not 1"
    elif [[ $message != "$(basename "$program"): "* ]] || [[ $message == *$'\n'* ]]; then
      complain "$mode" "not one line of its own: $message"
    else
      echo "$mode: $message"
    fi
  done
done <"$short_forms"

if [ "$count" -eq 0 ]; then
  echo "broken.sh: no workloads in $short_forms" >&2
  exit 1
fi
exit "$status"
