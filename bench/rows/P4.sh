# shellcheck shell=bash disable=SC2034,SC2119
TITLE='A short statement, SELECT 1, in us'
NOTE='Targets: once (P4) at most 1.25 times an empty call and the statement by libpq directly, and with eight callers at
most a third of the time that pgbench -C takes through PgBouncer (three times its statements a second); a statement
in a session (P5) at most 1.2 times an empty ping-pong on a stream and the statement directly.'
BASE='pglessor, once'
TARGETS=(pglessor rpc_floor_server rpc_floor_client statement_bench rpc_load)

measure() (
  # shellcheck source=bench/serve.sh
  source bench/serve.sh
  serve
  one() { # LOAD
    taskset -c "$CALLERS_CORE" "$BUILD/bench/rpc_floor/rpc_floor_client" --target="$FLOOR" --mode=stream |
      sed -n "s/.*p50_us=\([0-9.]*\).*/$1\tempty ping-pong on a stream\t\1/p"
    taskset -c "$CALLERS_CORE" "$BUILD/bench/statement/statement_bench" --floor="$FLOOR" --pglessor="$PGLESSOR" \
      --dsn="$DSN" --rounds=1 |
      rows "$1" 'empty call' 'libpq directly' 'pglessor, Execute on a lease' 'pglessor, once' \
        'pglessor, in a session' 'pglessor, a lease of its own in a session'
  }
  place 0 0
  one 'one, all on one core'
  place 0 1
  one 'one, a core each'
  place 0,1 0,1 # nobody is held where PgBouncer and pgbench are not
  load_server 'eight callers' 'empty call' "$FLOOR_SERVER" "$FLOOR" empty 8 us_a_turn
  load_server 'eight callers' 'pglessor, once' "$SERVER" "$PGLESSOR" once 8 us_a_turn
  if serve_pgbouncer; then
    pgbench --no-vacuum --connect --client=8 --time=2 --file=<(echo 'SELECT 1;') "$PGBOUNCER" 2>/dev/null |
      awk '/^tps/ { printf "eight callers: us_a_turn\tpgbench -C through PgBouncer\t%.2f\n", 1e6 / $3 }'
  else
    printf '!! without PgBouncer: it needs apt-get install pgbouncer postgresql-contrib\n' >&2
  fi
)
