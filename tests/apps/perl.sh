#!/bin/bash
# perl: hashes, growing strings, sorts, regular expressions, closures, interpreter threads and
# fork; the same output with and without weir.
. "$(dirname "$0")/lib.sh"

need perl
export PERL_HASH_SEED=0
check_bindings perl -e 1
for mode in plain weir; do
  run_seen $mode '*perl*' perl "$load/perl.pl" maps
  check_maps_file $mode "$scratch/$mode/maps"
done
compare "output"
