# shellcheck shell=bash disable=SC2034,SC2119
TITLE='One short statement of one caller, SELECT 1: p50 in us'
NOTE='Targets: once (P4) at most 1.25 times an empty call and the statement by libpq directly; a statement in a session
(P5) at most 1.2 times an empty ping-pong on a stream and the statement directly.'
BASE='pglessor, once'
TARGETS=(pglessor rpc_floor_server rpc_floor_client statement_bench)

measure() (
  # shellcheck source=bench/serve.sh
  source bench/serve.sh
  serve
  "$BUILD/bench/rpc_floor/rpc_floor_client" --target="$FLOOR" --mode=stream |
    sed -n 's/.*p50_us=\([0-9.]*\).*/SELECT 1\tempty ping-pong on a stream\t\1/p'
  "$BUILD/bench/statement/statement_bench" --floor="$FLOOR" --pglessor="$PGLESSOR" --dsn="$DSN" --rounds=1 |
    rows 'SELECT 1' 'empty call' 'libpq directly' 'pglessor, Execute on a lease' 'pglessor, once' \
      'pglessor, in a session' 'pglessor, a lease of its own in a session'
)
