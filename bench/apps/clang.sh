#!/usr/bin/env bash
# clang compiling a generated C file, in functions per second; the program that it makes prints what
# the same file gives when compiled without optimisation and without the malloc under test.
. "$(dirname "$0")/lib.sh"

need clang perl
functions=$((seconds * 350))
perl "$tests_load/large_c.pl" "$functions" >"$scratch/large.c"
run_measured "$functions" clang -O1 -c "$scratch/large.c" -o large.o
cd "$scratch"
clang server/large.o -o measured
clang -O0 -w large.c -o plain
[ -n "$(./plain)" ] && [ "$(./plain)" = "$(./measured)" ] ||
  fail "the compiled program prints $(./measured), not $(./plain)"
