# shellcheck shell=bash disable=SC2034,SC2119
TITLE='A million rows of one integer and a short text: us'
NOTE='Target: at least half as many rows a second as libpq, which here keeps them all in memory.'
BASE='pglessor, Execute on a lease'
TARGETS=(pglessor rpc_floor_server statement_bench)

measure() (
  # shellcheck source=bench/serve.sh
  source bench/serve.sh
  serve
  "$BUILD/bench/statement/statement_bench" --floor="$FLOOR" --pglessor="$PGLESSOR" --dsn="$DSN" --rounds=1 --times=1 \
    --sql="SELECT n, 'row ' || n FROM generate_series(1, 1000000) n" |
    rows '1,000,000 rows' - 'libpq directly' 'pglessor, Execute on a lease' - 'pglessor, in a session'
)
