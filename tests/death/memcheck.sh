#!/usr/bin/env bash
# Under valgrind's memcheck blocks of the weir_ names are announced: it finds what it finds of malloc's.
#
#   memcheck.sh PROGRAM     a program of cases, see death.h
set -euo pipefail

program=${1:?usage: memcheck.sh PROGRAM}
work_dir=$(mktemp -d)
trap 'rm -rf "$work_dir"' EXIT
# With symbols alone: valgrind 3.19 ends at clang's DWARF 5.
objcopy --strip-debug "$program" "$work_dir/program"
program=$work_dir/program
command -v valgrind >/dev/null || { echo "memcheck.sh: no valgrind (ci/install.sh)" >&2; exit 1; }

# expect CASE PATTERN...: memcheck says each of them, in this order.
expect() {
  local case=$1 said
  shift
  said=$(env -i PATH="$PATH" valgrind --num-callers=20 "$program" "$case" 2>&1) || true
  while [ $# -gt 0 ]; do
    grep -qE "$1" <<<"$said" || {
      echo "memcheck.sh: $case: memcheck did not say \"$1\"" >&2
      echo "$said" >&2
      exit 1
    }
    shift
  done
}

expect overrun_by_one "Invalid write of size 1" "0 bytes after a block of size 24 alloc'd" \
  "by 0x[0-9A-F]+: overrun_by_one"
expect underrun_by_one "Invalid write of size 1" "1 bytes before a block of size 24 alloc'd"
expect write_after_free "Invalid write of size 1" "0 bytes inside a block of size 24 free'd"
expect write_after_free_large "Invalid write" "inside a block of size 1,048,576 free'd"
expect double_free "double free: 0x[0-9a-f]+, block of 24 bytes"
expect fits "ERROR SUMMARY: 0 errors"
