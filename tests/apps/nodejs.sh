#!/bin/bash
# nodejs: Buffers, strings, zlib on the thread pool and worker threads; the same digests with and
# without weir.
. "$(dirname "$0")/lib.sh"

node=$(command -v node || command -v nodejs) || fail "nodejs is not installed (see packages.txt)"
check_bindings "$node" --version
for mode in plain weir; do
  run_seen $mode '*node*nodejs.js*' "$node" "$load/nodejs.js" maps
  check_maps_file $mode "$scratch/$mode/maps"
done
compare "digests"
