#!/usr/bin/env bash
# Runs the stress scenarios, as they are and with delayed atomic steps, and the proof of progress.
#
#   run.sh [--seconds N] [--preset NAME] [--threads N] [--seed N] [--delay N] [SCENARIO ...]
#   run.sh fuzz [--seconds N]    the libFuzzer targets, from the corpus in stress/fuzz/corpus/
#
# N seconds in all (60 by default), shared out evenly; preset tsan, asan, ubsan, debug or release (the
# default); 4 threads; one atomic step in 200 is delayed where steps are. Without SCENARIO all of
# them. Each run prints its command line with the seed, which --seed takes back.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=60
preset=release
delay=200
fuzz=no
targets=(weir_stress weir_stress_steps weir_stress_progress weir_stress_rcu weir_stress_rcu_steps)
options=()
scenarios=()

if [ "${1:-}" = fuzz ]; then
  fuzz=yes
  preset=fuzz
  targets=(weir_fuzz_api weir_fuzz_options)
  shift
fi

fail() {
  echo "stress/run.sh: $*" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    --seconds | --preset | --threads | --seed | --delay)
      [ $# -ge 2 ] || fail "$1 takes a value"
      case $1 in
        --seconds) seconds=$2 ;;
        --preset) preset=$2 ;;
        --delay) delay=$2 ;;
        *) options+=("$1" "$2") ;;
      esac
      shift 2
      ;;
    -*) fail "what is $1? (--help)" ;;
    *) scenarios+=("$1"); shift ;;
  esac
done

build=build/$preset
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$(nproc)" --target \
  "${targets[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  fail "preset $preset does not build"
fi
# fuzz: each target for its share of the time; finds stay in build/fuzz/found/.
if [ "$fuzz" = yes ]; then
  for target in api options; do
    found=build/fuzz/found/$target
    mkdir -p "$found"
    "$build/stress/fuzz/weir_fuzz_$target" -max_total_time=$((seconds / 2)) -max_len=1024 \
      -artifact_prefix="$found/" "$found" "stress/fuzz/corpus/$target" >"$log" 2>&1 ||
      { tail -n 60 "$log" >&2; echo "stress/run.sh: fuzzing $target failed" >&2; exit 1; }
    sed -n "s/^Done \(.*\) in.*/$target: \1/p" "$log"
  done
  exit 0
fi

export TSAN_OPTIONS="die_after_fork=0${TSAN_OPTIONS:+:$TSAN_OPTIONS}"

if [ "${#scenarios[@]}" -eq 0 ]; then
  mapfile -t scenarios < <({ "$build/stress/weir_stress" --help; "$build/stress/weir_stress_rcu" --help; } |
    sed -n 's/^  \([a-z]*\) .*/\1/p')
  [ "${#scenarios[@]}" -gt 0 ] || fail "no scenario"
fi
each=$(awk -v s="$seconds" -v n="${#scenarios[@]}" 'BEGIN { printf "%.2f", s / n / 2 }')

failed=()
for scenario in "${scenarios[@]}"; do
  program=$build/stress/weir_stress
  [ "$scenario" != deferred ] || program+=_rcu
  "$program" "$scenario" --seconds "$each" "${options[@]}" || failed+=("$scenario")
  "${program}_steps" "$scenario" --seconds "$each" --delay "$delay" \
    "${options[@]}" || failed+=("$scenario with delays")
done
"$build/stress/weir_stress_progress" || failed+=(progress)

if [ "${#failed[@]}" -gt 0 ]; then
  printf 'stress/run.sh: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "stress/run.sh: ${#scenarios[@]} scenarios passed under $preset"
