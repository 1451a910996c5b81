#!/usr/bin/env bash
# Faults planted in copies of the example server, under load, in check mode: each must be reported,
# with the stacks of those who made it.
#
#   server.sh BIN_DIR LIBRARY
#
# BIN_DIR holds weir_example_load; the copies are built with gcc -g, and addr2line names what the
# stacks show.
set -euo pipefail

bin_dir=$(realpath "${1:?usage: server.sh BIN_DIR LIBRARY}")
library=$(realpath "${2:?usage: server.sh BIN_DIR LIBRARY}")
source_dir=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../bench/server")
work_dir=$(mktemp -d)
trap 'rm -rf "$work_dir"' EXIT
cp "$source_dir"/*.[ch] "$work_dir"
ln -s "$bin_dir/weir_example_load" "$work_dir"

fail() {
  echo "server.sh: $1" >&2
  cat "$work_dir/report" >&2
  exit 1
}

# plant NAME SED: the copy with its fault; the edit must change something.
plant() {
  sed "$2" "$source_dir/store.c" >"$work_dir/store.c"
  ! cmp -s "$source_dir/store.c" "$work_dir/store.c" || fail "$1: nothing was planted"
  (cd "$work_dir" && gcc -g -O1 -D_GNU_SOURCE -o planted server.c worker.c connection.c store.c \
    blob.c args.c -pthread)
}

# names HEADING: the functions in the stack of that heading, innermost first.
names() {
  sed -n "s/^weir:   $1 #[0-9]* .*(\(.*\)+\(0x[0-9a-f]*\))$/\1 \2/p" "$work_dir/report" |
    while read -r file offset; do
      case $file in *planted) addr2line -fie "$file" "$offset" | sed -n 'p;n' ;; esac
    done
}

# expect NAME LINE HEADING FUNCTION...: what the planted server says first, and who is in a stack.
expect() {
  local name=$1 line=$2
  shift 2
  if SERVER=planted WEIR_CHECK=3 WEIR_CHECK_QUARANTINE=256K CLIENTS=4 THREADS=2 \
    "$source_dir/drive.sh" "$work_dir" 20 "$library" >"$work_dir/out" 2>"$work_dir/report"; then
    fail "$name: not found"
  fi
  grep -qE "$line" <<<"$(grep -m 1 '^weir: ' "$work_dir/report")" || fail "$name: other first line"
  local seen
  while [ $# -gt 0 ]; do
    seen=$(names "$1")
    grep -qxE "$2" <<<"$seen" || fail "$name: $2 is not in the stack \"$1\""
    shift 2
  done
}

plant off-by-one 's/malloc(sizeof \*entry + key.bytes)/malloc(sizeof *entry + key.bytes - 1)/'
expect off-by-one '^weir: (free|realloc|quarantine)(\(\))?: overrun: 0x[0-9a-f]+, block of [0-9]+ bytes, 1 byte written at offset' \
  "allocated by" insert_locked "allocated by" "store_set|store_append" "called by" "store_del|store_free"

plant double-free 's/^    free(entry);$/    free(entry);\n    free(entry);/'
expect double-free '^weir: free\(\): double free: 0x[0-9a-f]+, block of [0-9]+ bytes, freed before$' \
  "called by" store_del "allocated by" insert_locked "freed by" store_del

plant use-after-free 's/^    free(entry);$/    free(entry);\n    entry->next = NULL;/'
expect use-after-free '^weir: quarantine: use after free: 0x[0-9a-f]+, block of [0-9]+ bytes, 8 bytes written at offset 0$' \
  "allocated by" insert_locked "freed by" store_del
