# Sourced by the rows that measure over sockets: a PostgreSQL with pglessor on it, and the server of empty calls.
# shellcheck shell=bash disable=SC2154,SC2034,SC2120 # BUILD is script/bench's, and what serve sets the rows'

# serve [FLAGS OF PGLESSOR...] starts them and sets PGLESSOR, FLOOR (addresses) and DSN (of the same PostgreSQL).
# They end with the shell that calls.
serve() {
  SERVED=$(mktemp -d -t pglessor-bench.XXXXXX)
  chmod 755 "$SERVED" # PostgreSQL's own user looks in
  exec {still_here}> >(exec "$BUILD/bench/rpc_floor/rpc_floor_server" --listen="unix:$SERVED/floor" --api=cq)
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
  kill "$SERVER"
  wait "$SERVER" || true
  exec {still_here}>&-
  rm -rf "$SERVED"
}

# rows LOAD NAME... prints the figures of the first line of numbers that comes, a name for each; "-" skips one.
rows() {
  awk -v load="$1" -v names="$(shift && printf '%s\n' "$@")" '
    BEGIN { count = split(names, name, "\n") }
    /^ *[0-9]/ && !done {
      gsub(/ (us|ms)/, "")
      for (i = 1; i <= count; ++i) if (name[i] != "-") printf "%s\t%s\t%s\n", load, name[i], $i
      done = 1
    }'
}
