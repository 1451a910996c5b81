#!/usr/bin/env bash
# Runs a stress program with a planted defect, which has to be caught.
#
#   planted.sh PROGRAM SCENARIO
#
# Passes if it ends with a failure and says why: by its own check, or in a sanitizer's report.
set -euo pipefail

program=${1:?usage: planted.sh PROGRAM SCENARIO}
scenario=${2:?usage: planted.sh PROGRAM SCENARIO}
result=0
said=$("$program" "$scenario" --seconds 60 2>&1) || result=$?
printf '%s\n' "$said"
if [ "$result" -eq 0 ]; then
  echo "planted.sh: $(basename "$program") found nothing" >&2
  exit 1
fi
if ! grep -qE "^weir_stress: $scenario: CHECK\(.*\) failed at |ThreadSanitizer: data race" <<<"$said"; then
  echo "planted.sh: $(basename "$program") ended with $result and did not say why" >&2
  exit 1
fi
