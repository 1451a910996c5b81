#!/bin/bash
# python3: eight threads make, exchange and drop objects, every one of them from malloc
# (PYTHONMALLOC=malloc); the same digests with and without weir.
. "$(dirname "$0")/lib.sh"

# Debian's own interpreter, not a shim of the same name earlier on PATH.
python=/usr/bin/python3
need $python
export PYTHONMALLOC=malloc PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
check_bindings $python --version
for mode in plain weir; do
  run_seen $mode '*python3*' $python "$load/python3.py" maps
  check_maps_file $mode "$scratch/$mode/maps"
done
compare "digests"
