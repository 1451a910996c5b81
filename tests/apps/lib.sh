# Helpers of the application tests; sourced by each <program>.sh with the script's own arguments.
#
#   <program>.sh <libweir.so> <scratch directory>
#
# A test runs its program twice, in $scratch/plain without and in $scratch/weir with the library
# preloaded, and compares what both gave. A failure is one line on stderr and a non-zero exit;
# nothing is ever skipped. What the programs themselves print on stderr stays in the scratch
# directory. Whatever the script started is stopped by its own pid when the script ends, however
# it ends.
set -Eeuo pipefail
export LC_ALL=C TZ=UTC
unset LD_PRELOAD
umask 022

program=$(basename "$0" .sh)
load=$(cd "$(dirname "${BASH_SOURCE[0]}")/load" && pwd)

# fail <text>: the one line that says what differed. Descriptor 9 is the stderr of the test.
exec 9>&2
fail() {
  trap - ERR
  echo "$program: $*" >&9
  exit 1
}
trap 'fail "line $LINENO: \"$BASH_COMMAND\" failed"' ERR

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

# need <program>...: each is installed (packages.txt); a missing one is a failure.
need() {
  local name
  for name; do
    command -v "$name" >/dev/null || fail "$name is not installed (see packages.txt)"
  done
}

# ---- processes ---------------------------------------------------------------------------

# Every process started and not yet ended, as pid:signal.
started=()

# forget <pid>: it has ended. Sets $signal to the signal that would have ended it.
forget() {
  local entry rest=()
  for entry in ${started[@]+"${started[@]}"}; do
    if [ "${entry%:*}" = "$1" ]; then signal=${entry#*:}; else rest+=("$entry"); fi
  done
  started=(${rest[@]+"${rest[@]}"})
}

# stop <pid> [quiet]: ends a server by the signal given to start and waits for it. A server must
# go within 20 s and, unless quiet, with status 0.
stop() {
  local pid=$1 signal=TERM i status=0
  forget "$pid"
  kill -s "$signal" "$pid" 2>/dev/null || true
  for ((i = 0; i < 400; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  if kill -0 "$pid" 2>/dev/null; then
    # start made the process the leader of its own group, so this reaches its children only.
    kill -s KILL -- "-$pid" "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    [ "${2:-}" = quiet ] || fail "process $pid did not end on SIG$signal"
  fi
  wait "$pid" 2>/dev/null || status=$?
  [ "${2:-}" = quiet ] || [ $status -eq 0 ] || fail "process $pid ended with status $status"
}

stop_all() {
  local entry
  trap - ERR
  for entry in ${started[@]+"${started[@]}"}; do stop "${entry%:*}" quiet; done
}
trap stop_all EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# preloaded <plain|weir>: the arguments of env(1) that make the mode.
preloaded() {
  case $1 in
    weir) echo "LD_PRELOAD=$weir" ;;
    plain) echo "--unset=LD_PRELOAD" ;;
    *) fail "no mode $1" ;;
  esac
}

# start <mode> <signal> <command>...: a background process in $scratch/<mode> that <signal> ends
# cleanly; output goes to server.log there, the pid to $pid.
start() {
  local mode=$1 signal=$2 how
  shift 2
  how=$(preloaded "$mode")
  (
    cd "$scratch/$mode"
    exec setsid env "$how" "$@"
  ) </dev/null >>"$scratch/$mode/server.log" 2>&1 9>&- &
  pid=$!
  started+=("$pid:$signal")
}

# last_line <file>: for messages.
last_line() {
  [ -s "$1" ] || { echo "nothing on stderr"; return; }
  tail -n 1 "$1"
}

# free_port: a port of 127.0.0.1 nobody listens on, below the ephemeral range.
free_port() {
  local port
  while :; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
}

# wait_port <port> <mode>: until the server $pid answers on the port, 30 s at most.
wait_port() {
  local i
  for ((i = 0; i < 600; i++)); do
    kill -0 "$pid" 2>/dev/null ||
      fail "server ended early ($2): $(last_line "$scratch/$2/server.log")"
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
    sleep 0.05
  done
  fail "server does not answer on port $1 ($2)"
}

# ---- runs --------------------------------------------------------------------------------

# run <mode> <command>...: in $scratch/<mode>; stdout is appended to out, stderr to err there.
run() {
  local mode=$1
  shift
  launch "$mode" "$@"
  finish "$mode" "$@"
}

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

# launch <mode> <command>...: the first half of run, pid in $pid; finish is the second.
launch() {
  local mode=$1 how
  shift
  how=$(preloaded "$mode")
  (
    cd "$scratch/$mode"
    exec setsid env "$how" "$@"
  ) </dev/null >>"$scratch/$mode/out" 2>>"$scratch/$mode/err" 9>&- &
  pid=$!
  started+=("$pid:KILL")
}

finish() {
  local mode=$1 status=0 signal
  shift
  wait "$pid" || status=$?
  forget "$pid"
  [ $status -eq 0 ] ||
    fail "\"$*\" ended with status $status ($mode): $(last_line "$scratch/$mode/err")"
}

# ---- proofs that the library serves the program ------------------------------------------

mapped() {
  grep -q -F -- " $weir" "/proc/$1/maps" 2>/dev/null
}

# check_mapped <mode> <pid> <what>: the live process has the library in mode weir only.
check_mapped() {
  [ -r "/proc/$2/maps" ] || fail "$3 (pid $2) is not alive or not readable"
  if [ "$1" = weir ]; then
    mapped "$2" || fail "$3 (pid $2) has not loaded $weir"
  elif mapped "$2"; then
    fail "$3 (pid $2) has loaded $weir without LD_PRELOAD"
  fi
}

# tree <pid>: the process and its descendants.
tree() {
  local child
  echo "$1"
  for child in $(pgrep -P "$1" || true); do tree "$child"; done
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
