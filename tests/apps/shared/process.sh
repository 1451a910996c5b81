# What scripts share that run real programs under a malloc: the application tests (lib.sh) and the
# benchmarks (bench/apps/lib.sh). Sourced by these, which afterwards
#   - set $scratch, a directory with one subdirectory for each mode that they use, and
#   - define preloaded <mode>, which prints the arguments of env(1) that make the mode.
#
# A failure is one line on stderr and a non-zero exit. Whatever the script started is stopped by
# its own pid when the script ends, however it ends.
set -Eeuo pipefail
export LC_ALL=C TZ=UTC
unset LD_PRELOAD
umask 022

program=$(basename "$0" .sh)
shared=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# fail <text>: the one line that says what differed. Descriptor 9 is the stderr of the script.
exec 9>&2
fail() {
  trap - ERR
  echo "$program: $*" >&9
  exit 1
}
trap 'fail "line $LINENO: \"$BASH_COMMAND\" failed"' ERR

# need <program>...: each is installed (tests/apps/packages.txt); a missing one is a failure.
need() {
  local name
  for name; do
    command -v "$name" >/dev/null || fail "$name is not installed (see tests/apps/packages.txt)"
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

# Directories that go when the script ends.
temporary=()
trap 'stop_all; rm -rf ${temporary[@]+"${temporary[@]}"}' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

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

# tree <pid>: the process and its descendants.
tree() {
  local child
  echo "$1"
  for child in $(pgrep -P "$1" || true); do tree "$child"; done
}

# has_mapped <pid> <library>: whether the live process has loaded the library.
has_mapped() {
  grep -q -F -- " $2" "/proc/$1/maps" 2>/dev/null
}

# configure_nginx <mode> <files>: $scratch/<mode>/nginx.conf for a server of <files> on $port.
configure_nginx() {
  sed -e "s|@USER@|$(id -un)|" -e "s|@DIRECTORY@|$scratch/$1|" -e "s|@FILES@|$2|" \
    -e "s|@PORT@|$port|" "$shared/nginx.conf.in" >"$scratch/$1/nginx.conf"
}
