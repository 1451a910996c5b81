#!/usr/bin/env bash
# python3 with every object from malloc (PYTHONMALLOC=malloc): eight threads make, exchange and drop
# objects, in batches of records per second.
. "$(dirname "$0")/lib.sh"

# Debian's own interpreter, not a shim of the same name earlier on PATH.
python=/usr/bin/python3
need $python
export PYTHONMALLOC=malloc PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
threads=8
rounds=$((seconds * 12))
run_measured $((threads * rounds)) $python "$tests_load/python3.py" maps "$rounds"
check_maps_of_run
[ "$(wc -l <"$scratch/client/out")" -eq $((threads + 1)) ] || fail "not a digest of each thread"
