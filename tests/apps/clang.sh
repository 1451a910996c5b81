#!/bin/bash
# clang: compiles a large generated C file; the same object file with and without weir, which
# serves every process of it.
. "$(dirname "$0")/lib.sh"

need clang perl
check_bindings clang --version
perl "$load/large_c.pl" 3200 >"$scratch/large.c"
for mode in plain weir; do
  cp "$scratch/large.c" "$scratch/$mode/"
  run_seen $mode '*clang*' clang -O1 -c large.c -o large.o
  run $mode clang -O1 large.o -o large
  run $mode ./large
done
compare "object file" large.o
compare "output of the compiled program"
