#!/usr/bin/env bash
# Checks the models exhaustively with spin, and that each mutant of them is caught.
#
#   run.sh [MODEL ...]   rcu, slab, slice, steal, park, lock; all by default
#
# A mutant is the model with one step wrong; one that the checker finds nothing in is a failure of
# the model. Needs spin and a C compiler.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work_dir=$(mktemp -d)
trap 'rm -rf "$work_dir"' EXIT
depth_max=1000000
failed=0

# What each mutant breaks.
declare -A mutants=(
  [slab.1]="wr_bin_unlist_try: looks and clears in two steps"
  [slab.2]="wr_slab_disown: drops OWNED without looking at the count in the same step"
  [slab.3]="wr_bin_list: reads the bin before it has won"
  [slab.4]="wr_bin_list: does not look at the count after the index bit"
  [slab.5]="wr_return: adds before it puts"
  [slab.6]="wr_slab_add: leaves a listed slab that is empty to others"
  [slab.7]="wr_slab_add: sets LISTED without comparing"
  [slab.8]="wr_slab_open: passes through a state without OWNED"
  [slice.1]="wr_summary_unmark: does not look at the leaf again"
  [slice.2]="wr_summary_unmark: does not look at the mid word again"
  [slice.4]="claim_part: looks and clears in two steps"
  [slice.5]="claim_run: keeps the first part of a run when the second is gone"
  [park.1]="wr_summary_unmark: does not look at the leaf again"
  [park.2]="wr_summary_unmark: does not look at the mid word again"
  [park.3]="wr_park_push: marks before it sets the bit"
  [park.4]="wr_park_adopt: looks and clears in two steps"
  [lock.1]="wr_lock_acquire: forgets other sleepers after its own sleep"
  [lock.2]="wr_lock_release: looks and clears in two steps"
  [steal.1]="wr_steal: no barrier between raising base and reading top"
  [steal.2]="take_from_bin: takes the place that a call in flight may touch"
  [steal.3]="wr_steal: no barrier before the look at busy"
  [steal.4]="enter: looks at the thief before it says that it is busy"
  [steal.5]="wr_fast_pop: the bin is empty at base alone, not below it"
  [steal.6]="take_from_bin: takes what was pushed above the raised base"
  [steal.7]="hold: keeps a cache that is busy"
  [steal.8]="enter: does not look at the thief"
  [steal.9]="wr_cache_refill: takes the bin for empty because the call has seen it so"
  [lock.3]="wr_lock_release: wakes nobody"
  [rcu.1]="wr_rcu_round_run: waits for readers before it collects"
  [rcu.2]="wr_rcu_gather_take: takes a batch that its owner holds"
  [rcu.3]="hold: believes its own note of the batch"
  [rcu.4]="pass_on: counts before it queues"
  [rcu.5]="wr_rcu_round_run: answers barriers asked for after it collected"
  [rcu.6]="collect: takes only what is old, for a barrier too"
  [rcu.7]="sleep_reclaimer: no second look before it sleeps for good"
  [rcu.8]="announce: looks at the reclaimer's sleep before it counts"
  [rcu.9]="wr_rcu_round_run: waits for no reader"
  [rcu.10]="take_aged: takes nothing"
  [rcu.11]="wr_rcu_reclaimer_barrier: does not ring"
  [rcu.12]="hand_over: does not look at the reclaimer's sleep"
)

# check MODEL MUTANT: prints spin's verdict; 0 if no error was found.
check() {
  local directory=$work_dir/$1.$2
  mkdir "$directory"
  cp "$here"/*.pml "$here"/*.inc "$directory"
  (cd "$directory" && spin -DMUTANT="$2" -a "$1.pml" >spin.log 2>&1 && [ -f pan.c ] &&
    cc -O2 -DSAFETY -DCOLLAPSE -DVECTORSZ=1024 -o pan pan.c 2>>spin.log) ||
    { cat "$directory/spin.log" >&2; echo "run.sh: $1 does not compile" >&2; exit 2; }
  (cd "$directory" && ./pan -m$depth_max -w22 >pan.log 2>&1 || true; rm -f pan pan.?)
  # A search that was cut short proves nothing.
  if grep -q 'max search depth too small\|out of memory\|Search not completed' "$directory/pan.log" &&
    ! grep -q 'errors: 1' "$directory/pan.log"; then
    echo "run.sh: $1: the search was not completed" >&2
    exit 2
  fi
  grep -q 'errors: 0' "$directory/pan.log"
}

states_of() {
  sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$work_dir/$1.0/pan.log"
}

# check_model MODEL: it and its mutants; says what was found, and fails unless all is as it must be.
check_model() {
  local model=$1 count=0 result=0 key
  if check "$model" 0; then
    echo "$model: no error in $(states_of "$model") states"
  else
    echo "$model: FAILED: $(grep -m1 '^pan:1' "$work_dir/$model.0/pan.log")"
    result=1
  fi
  for key in $(printf '%s\n' "${!mutants[@]}" | grep "^$model\." | sort); do
    count=$((count + 1))
    if check "$model" "${key#*.}"; then
      echo "$model: FAILED: mutant ${key#*.} was not caught (${mutants[$key]})"
      result=1
    fi
  done
  [ "$count" -gt 0 ] || { echo "run.sh: $model has no mutants" >&2; exit 2; }
  echo "$model: $count mutants caught"
  return "$result"
}

# The longest first: side by side, as many as there are processors.
[ $# -gt 0 ] || set -- rcu slab slice steal park lock
for model; do
  [ -f "$here/$model.pml" ] || { echo "run.sh: no model $model" >&2; exit 2; }
done
declare -A jobs=()
for model; do
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
    wait -n || true
  done
  check_model "$model" >"$work_dir/$model.out" 2>&1 &
  jobs[$model]=$!
done
for model; do
  wait "${jobs[$model]}" || failed=1
  cat "$work_dir/$model.out"
done
exit "$failed"
