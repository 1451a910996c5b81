# Helpers of the application tests; sourced by each <program>.sh with the script's own arguments.
#
#   <program>.sh <libweir.so> <scratch directory>
#
# A test runs its program twice, in $scratch/plain without and in $scratch/weir with the library
# preloaded, and compares what both gave. A failure is one line on stderr and a non-zero exit;
# nothing is ever skipped. What the programs themselves print on stderr stays in the scratch
# directory.
. "$(dirname "${BASH_SOURCE[0]}")/shared/process.sh"

load=$(cd "$(dirname "${BASH_SOURCE[0]}")/load" && pwd)

[ $# -eq 2 ] || fail "usage: $0 <libweir.so> <scratch directory>"
[ -f "$1" ] || fail "no library $1"
weir=$(realpath "$1")
case $weir in *[:\ ]*) fail "LD_PRELOAD cannot name a path with a space or colon: $weir" ;; esac

# A directory that is not one of these tests' own is never emptied.
if [ -e "$2" ] && [ ! -e "$2/.weir-scratch" ] && [ -n "$(ls -A "$2")" ]; then
  fail "$2 is not empty and not a scratch directory of these tests"
fi
rm -rf -- "$2"
mkdir -p "$2/plain" "$2/weir"
scratch=$(realpath "$2")
touch "$scratch/.weir-scratch"
export HOME=$scratch
# What bash itself says, as of a child that crashed.
exec 2>"$scratch/shell.err"

# preloaded <plain|weir>: the arguments of env(1) that make the mode.
preloaded() {
  case $1 in
    weir) echo "LD_PRELOAD=$weir" ;;
    plain) echo "--unset=LD_PRELOAD" ;;
    *) fail "no mode $1" ;;
  esac
}

# ---- runs --------------------------------------------------------------------------------

# run_seen <mode> <pattern> <command>...: as run; with mode weir, a process of the command's tree
# whose command line matches the pattern must be seen alive with the library mapped.
run_seen() {
  local mode=$1 pattern=$2
  shift 2
  launch "$mode" "$@"
  local seen=no
  if [ "$mode" = plain ] || see_in_tree "$pid" "$pattern"; then seen=yes; fi
  finish "$mode" "$@"
  [ $seen = yes ] || fail "no process matching \"$pattern\" was seen with $weir mapped"
}

# ---- proofs that the library serves the program ------------------------------------------

mapped() { has_mapped "$1" "$weir"; }

# check_mapped <mode> <pid> <what>: the live process has the library in mode weir only.
check_mapped() {
  [ -r "/proc/$2/maps" ] || fail "$3 (pid $2) is not alive or not readable"
  if [ "$1" = weir ]; then
    mapped "$2" || fail "$3 (pid $2) has not loaded $weir"
  elif mapped "$2"; then
    fail "$3 (pid $2) has loaded $weir without LD_PRELOAD"
  fi
}

# see_in_tree <pid> <pattern>: whether such a process was seen before the command ended. Polls,
# since a new process maps its libraries a little after exec.
see_in_tree() {
  local process line
  while kill -0 "$1" 2>/dev/null; do
    for process in $(tree "$1"); do
      line=$(tr '\0' ' ' 2>/dev/null <"/proc/$process/cmdline" || true)
      # shellcheck disable=SC2053
      if [[ $line == $2 ]] && mapped "$process"; then return 0; fi
    done
    sleep 0.02
  done
  return 1
}

# check_maps_file <mode> <file>: the same for maps that the program printed of itself.
check_maps_file() {
  [ -s "$2" ] || fail "the program printed no maps ($1)"
  if [ "$1" = weir ]; then
    grep -q -F -- " $weir" "$2" || fail "the program's own maps lack $weir"
  elif grep -q -F -- " $weir" "$2"; then
    fail "the program's own maps name $weir without LD_PRELOAD"
  fi
}

# check_bindings <command>...: the dynamic linker binds every malloc-family name of the program
# and of all its libraries to the library under test, and there is at least one malloc and free.
# A program that is not position-independent and takes the address of free lends its own jump
# slot as that address to all; this counts if the slot itself is bound to the library under test.
# reallocarray and the operators new are left out: where a program brings its own (libbsd, cc1),
# they call these names.
check_bindings() {
  local file=$scratch/bindings name names='malloc calloc realloc free posix_memalign aligned_alloc
    memalign valloc pvalloc malloc_usable_size'
  names=$(echo $names | tr ' ' '|')
  env LD_PRELOAD="$weir" LD_BIND_NOW=1 LD_DEBUG=bindings "$@" 2>&1 >/dev/null </dev/null |
    sed -n -E "s/.*binding file (.*) \[0\] to (.*) \[0\]: normal symbol \`($names)'.*/\3 \1 \2/p" \
      >"$file" || fail "\"$*\" does not run to its end under weir"
  for name in malloc free; do
    grep -q "^$name .* $weir\$" "$file" || fail "\"$*\" does not bind $name to $weir"
  done
  awk -v weir="$weir" '
    $3 == weir { slot[$1, $2] = 1; next }
    { name[NR] = $1; from[NR] = $2; to[NR] = $3 }
    END {
      for (i in to)
        if (!((name[i], to[i]) in slot)) {
          print name[i] " of " from[i] " is bound to " to[i]
          exit
        }
    }' "$file" >"$file.past"
  [ ! -s "$file.past" ] || fail "a call goes past weir: $(cat "$file.past")"
}

# ---- comparison --------------------------------------------------------------------------

# compare <what> [file]: $scratch/plain/<file> and $scratch/weir/<file> (out) are the same and
# not empty.
compare() {
  local plain=$scratch/plain/${2:-out} under=$scratch/weir/${2:-out} line
  [ -s "$plain" ] || fail "$1: nothing to compare"
  cmp -s "$plain" "$under" && return
  line=$(diff -a "$plain" "$under" | sed -n '2,$p' | head -n 4 | cut -c 1-160 |
    tr '\n' ' ' | tr -cd '[:print:]' || true)
  fail "$1 differs without (<) and with (>) weir: $line"
}
