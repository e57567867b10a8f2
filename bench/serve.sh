# Sourced by the rows that measure over sockets: a PostgreSQL with pglessor on it, and the server of empty calls.
# shellcheck shell=bash disable=SC2154,SC2034,SC2120 # BUILD is script/bench's, and what serve sets the rows'

# serve [FLAGS OF PGLESSOR...] starts them and sets PGLESSOR, FLOOR (addresses), SERVER, FLOOR_SERVER (their process
# ids) and DSN (of the same PostgreSQL). They end with the shell that calls.
serve() {
  SERVED=$(mktemp -d -t pglessor-bench.XXXXXX)
  chmod 755 "$SERVED" # PostgreSQL's own user looks in
  exec {still_here}> >(exec "$BUILD/bench/rpc_floor/rpc_floor_server" --listen="unix:$SERVED/floor" --api=cq >/dev/null)
  FLOOR_SERVER=$!
  "$BUILD/server/pglessor" --embedded="$SERVED/pg" --listen="unix:$SERVED/pglessor" --http= --log-level=warning \
    --drain-timeout=0s "$@" >"$SERVED/ready" 2>"$SERVED/log" &
  SERVER=$!
  trap stop_serving EXIT
  local deadline=$((SECONDS + 60))
  until grep -q '^pglessor ready' "$SERVED/ready" && [[ -S $SERVED/floor ]]; do
    if ! kill -0 "$SERVER" 2>/dev/null || [[ $SECONDS -ge $deadline ]]; then
      cat "$SERVED/log" >&2
      return 1
    fi
    sleep 0.1
  done
  PGLESSOR=unix:$SERVED/pglessor FLOOR=unix:$SERVED/floor
  DSN="host=$(dirname "$(find "$SERVED/pg" -name '.s.PGSQL.*' -type s | head -n 1)") user=app dbname=app"
}

stop_serving() {
  kill ${BOUNCER:+"$BOUNCER"} "$SERVER" || true
  wait "$SERVER" || true
  exec {still_here}>&-
  rm -rf "$SERVED"
}

# place CORE OF-CALLERS puts both servers on one core, and the callers that start later on another.
place() {
  local server
  for server in "$SERVER" "$FLOOR_SERVER"; do taskset -a -c -p "$1" "$server" >/dev/null; done
  CALLERS_CORE=$2
}

# load_server LOAD NAME SERVER ADDRESS WHAT CALLERS KEY... prints what rpc_load says of each key.
load_server() {
  local load=$1 name=$2 said key
  said=$(taskset -c "$CALLERS_CORE" "$BUILD/bench/rpc_load/rpc_load" --target="$4" --pid="$3" --what="$5" --in_flight="$6")
  shift 6
  for key in "$@"; do
    [[ $said =~ $key=([0-9.]+) ]]
    printf '%s: %s\t%s\t%s\n' "$load" "$key" "$name" "${BASH_REMATCH[1]}"
  done
}

# serve_pgbouncer puts a PgBouncer, whose pool is as large as ours, before the same PostgreSQL and sets PGBOUNCER (a
# DSN). False where it, or pgbench, is not installed.
serve_pgbouncer() {
  command -v pgbouncer pgbench >/dev/null || return 1
  local folder=$SERVED/pgbouncer user
  user=$(stat -c %U "$(find "$SERVED/pg" -name '.s.PGSQL.*' -type s | head -n 1)") # it refuses to run as root
  mkdir "$folder"
  printf '"app" ""\n' >"$folder/users"
  cat >"$folder/ini" <<EOT
[databases]
app = ${DSN/user=app/}
[pgbouncer]
listen_addr =
unix_socket_dir = $folder
auth_type = trust
auth_file = $folder/users
pool_mode = session
default_pool_size = 20
logfile = $folder/log
log_connections = 0
log_disconnections = 0
EOT
  chown -R "$user" "$folder"
  setpriv --reuid="$user" --clear-groups pgbouncer --quiet "$folder/ini" 2>"$folder/errors" &
  BOUNCER=$!
  PGBOUNCER="host=$folder port=6432 user=app dbname=app"
  until [[ -S $folder/.s.PGSQL.6432 ]]; do
    kill -0 "$BOUNCER" || return 1
    sleep 0.1
  done
}

# rows LOAD NAME... prints the figures of the first line of numbers that comes, a name for each; "-" skips one.
rows() {
  awk -v load="$1" -v names="$(shift && printf '%s\n' "$@")" '
    BEGIN { count = split(names, name, "\n") }
    /^ *[0-9.]+ +(us|ms|[0-9])/ && !done {
      gsub(/ (us|ms)/, "")
      for (i = 1; i <= count; ++i) if (name[i] != "-") printf "%s\t%s\t%s\n", load, name[i], $i
      done = 1
    }'
}
