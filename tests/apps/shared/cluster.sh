# A PostgreSQL cluster for one script; sourced after process.sh and what it asks for.
for bin in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do PATH=$bin:$PATH; done
need postgres initdb pgbench psql setpriv

# own_home [library]: a directory $home for the clusters, removed at the end, and in it a copy
# $library of the library. The server refuses to run as root, and its own user may not enter every
# build directory.
own_home() {
  home=$(mktemp -d "${TMPDIR:-/tmp}/weir-postgresql.XXXXXX")
  temporary+=("$home")
  chmod 755 "$home"
  library=
  if [ -n "${1:-}" ]; then
    cp "$1" "$home/"
    library=$(realpath "$home/${1##*/}")
  fi
  server_user=()
  if [ "$(id -u)" -eq 0 ]; then
    id postgres >/dev/null 2>&1 ||
      fail "there is no user postgres (see tests/apps/packages.txt)"
    server_user=(setpriv --reuid postgres --regid postgres --init-groups)
    chown postgres "$home"
  fi
  export PGHOST=127.0.0.1 PGDATABASE=postgres PGCONNECT_TIMEOUT=20 HOME=$home
}

# sql <argument>...: psql, for what the query gives and nothing else.
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@" 2>"$scratch/$mode/psql.err"; }

# start_cluster <mode>: makes $home/<mode> for $PGUSER, and serves it; $server is the postmaster.
start_cluster() {
  local data=$home/$1
  run "$1" ${server_user[@]+"${server_user[@]}"} initdb -D "$data" -U "$PGUSER" -A trust \
    --no-sync --no-locale -E UTF8
  : >"$scratch/$1/out"
  PGPORT=$(free_port)
  export PGPORT
  cat >>"$data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $PGPORT
unix_socket_directories = ''
fsync = off
max_wal_size = 256MB
shared_buffers = 64MB
max_parallel_workers_per_gather = 2
END
  # SIGINT is the fast shutdown.
  start "$1" INT ${server_user[@]+"${server_user[@]}"} postgres -D "$data"
  wait_port "$PGPORT" "$1"
  until sql -c 'SELECT 1' >/dev/null; do
    kill -0 "$pid" 2>/dev/null || fail "the server ended early ($1)"
    sleep 0.1
  done
  server=$pid
}
