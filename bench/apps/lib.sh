# Helpers of the application benchmarks; sourced by each <program>.sh with the script's own
# arguments.
#
#   <program>.sh [--preload LIBRARY] [--seconds N] [--bin DIRECTORY]
#
#   --preload  malloc of the program under load, and of nothing else; default: the program's own
#   --seconds  about how long the load lasts, 1 to 3600, default 5; it fixes the work, not the time
#   --bin      directory of the benchmark programs, default build/release/bench
#
# A script prints metric lines. Mode "server" is the program under load, mode "client" what loads
# it; each has a directory of that name in $scratch, which is removed at the end.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/tests/apps/shared/process.sh"
load=$(cd "$(dirname "${BASH_SOURCE[0]}")/load" && pwd)
tests_load=$root/tests/apps/load

preload=
seconds=5
bin=$root/build/release/bench
usage_error() {
  trap - ERR
  echo "$program: $*" >&9
  exit 2
}
while [ $# -gt 0 ]; do
  case $1 in
    --help)
      sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
      sed -n '4,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --preload | --seconds | --bin)
      [ $# -ge 2 ] || usage_error "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    *) usage_error "unknown argument $1" ;;
  esac
done
[[ $seconds =~ ^[1-9][0-9]{0,3}$ ]] ||
  usage_error "--seconds is a whole number from 1, not $seconds"
if [ -n "$preload" ]; then
  [ -f "$preload" ] || usage_error "no library $preload"
  preload=$(realpath "$preload")
fi

[ -d "$bin" ] || usage_error "no directory $bin"
bin=$(realpath "$bin")

scratch=$(mktemp -d "${TMPDIR:-/tmp}/weir-bench.XXXXXX")
temporary+=("$scratch")
mkdir "$scratch/server" "$scratch/client"
export HOME=$scratch
# What bash itself says, as of a sampler that was stopped.
exec 2>"$scratch/shell.err"

preloaded() {
  if [ "$1" = server ] && [ -n "$preload" ]; then
    echo "LD_PRELOAD=$preload"
  else
    echo "--unset=LD_PRELOAD"
  fi
}

# metric <name> <value> <unit>: a result. Names are prefixed with the program's.
metric() { printf 'metric %s/%s %s %s\n' "$program" "$1" "$2" "$3"; }

# rate <count> <seconds>: the quotient, for ops/s.
rate() { awk -v count="$1" -v seconds="$2" 'BEGIN { printf "%.1f\n", count / seconds }'; }

# now: seconds since some moment.
now() { date +%s.%N; }

# since <moment>
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.6f\n", to - from }'; }

# check_server <pid>: it is alive, with the library if one was given.
check_server() {
  [ -r "/proc/$1/maps" ] || fail "the server (pid $1) is not alive"
  [ -z "$preload" ] || has_mapped "$1" "$preload" || fail "process $1 has not loaded $preload"
}

# ---- memory ------------------------------------------------------------------------------

# status_bytes <pid> <field>: of /proc/<pid>/status.
status_bytes() {
  awk -v field="$2:" '$1 == field { print $2 * 1024; found = 1 } END { exit !found }' \
    "/proc/$1/status"
}

# memory_of <pid>: peak and present RSS of one process.
memory_of() {
  local peak final
  peak=$(status_bytes "$1" VmHWM)
  final=$(status_bytes "$1" VmRSS)
  metric rss_peak "$peak" bytes
  metric rss_final "$final" bytes
}

# family_bytes <pid>: private anonymous memory of a process and its children together. Not their
# RSS: what they share would count once for each.
family_bytes() {
  local children=() child files=()
  read -r -a children <"/proc/$1/task/$1/children" || true
  for child in "$1" ${children[@]+"${children[@]}"}; do files+=("/proc/$child/status"); done
  # A child may end before it is read.
  { cat "${files[@]}" 2>/dev/null || true; } |
    awk '$1 == "RssAnon:" { sum += $2 } END { printf "%.0f\n", sum * 1024 }'
}

# watch_family <pid>: samples it twice a second from here to memory_of_family.
watch_family() {
  (
    trap - ERR EXIT
    while [ -d "/proc/$1" ]; do
      family_bytes "$1"
      sleep 0.5
    done
  ) >"$scratch/family" 2>/dev/null 9>&- &
  watcher=$!
  started+=("$watcher:KILL")
}

# memory_of_family <pid>: the largest sample, and what there is now.
memory_of_family() {
  stop "$watcher" quiet
  local last
  last=$(family_bytes "$1")
  metric rss_peak "$({ cat "$scratch/family"; echo "$last"; } | sort -n | tail -n 1)" bytes
  metric rss_final "$last" bytes
}

# ---- programs that run to their end ------------------------------------------------------

# run_measured <work> <command>...: as run, in mode server; prints the work per second and the peak.
run_measured() {
  local work=$1 report=$scratch/report
  shift
  [ -x "$bin/weir_bench_measure" ] || fail "no $bin/weir_bench_measure: build it or give --bin"
  run client "$bin/weir_bench_measure" --report "$report" --timeout $((60 + 20 * seconds)) \
    ${preload:+--preload "$preload"} env -C "$scratch/server" "$@"
  ! grep -q 'cannot be preloaded' "$scratch/client/err" || fail "$(last_line "$scratch/client/err")"
  local how code wall peak
  how=$(reported how) code=$(reported code) wall=$(reported wall) peak=$(reported peak_rss)
  [ "$how $code" = "exit 0" ] ||
    fail "\"$*\" ended with $how $code: $(last_line "$scratch/client/err")"
  metric work "$(rate "$work" "$wall")" ops/s
  metric rss_peak "$peak" bytes
}

reported() { awk -v name="$1" '$1 == name { print $2 }' "$scratch/report"; }

# check_maps_of_run: the maps that the program printed of itself have the library.
check_maps_of_run() {
  [ -s "$scratch/server/maps" ] || fail "the program printed no maps"
  [ -z "$preload" ] || grep -q -F -- " $preload" "$scratch/server/maps" ||
    fail "the program's own maps lack $preload"
}
