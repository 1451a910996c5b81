#!/bin/bash
# gcc: compiles a large generated C file; the same object file with and without weir, which
# serves the driver, cc1 and the assembler.
. "$(dirname "$0")/lib.sh"

need gcc perl
check_bindings "$(gcc -print-prog-name=cc1)" --version
perl "$load/large_c.pl" 3200 >"$scratch/large.c"
for mode in plain weir; do
  cp "$scratch/large.c" "$scratch/$mode/"
  run_seen $mode '*/cc1 *' gcc -O1 -c large.c -o large.o
  run $mode gcc -O1 large.o -o large
  run $mode ./large
done
compare "object file" large.o
compare "output of the compiled program"
