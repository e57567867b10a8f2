# shellcheck shell=bash disable=SC2034,SC2119
TITLE='A Reset of 20 to 10 under load, and growth from 10 to 20 under 50 callers: ms'
NOTE='Targets: a Reset (P8) at most 25 ms, growth (P9) at most 60 ms, of which 30 are the holds. Beside them what
PostgreSQL itself takes at that moment, by libpq with nobody else there.'
BASE='pglessor, Reset'
TARGETS=(pglessor rpc_floor_server pool_size)

measure() (
  # shellcheck source=bench/serve.sh
  source bench/serve.sh
  serve --min-connections=10 --max-connections=20
  "$BUILD/bench/pool_size/pool_size" --pglessor="$PGLESSOR" --postgres="$DSN" --rounds=1 |
    rows '20 connections' 'pglessor, growth under 50 callers' - 'pglessor, Reset' - 'libpq, opening 10' \
      'libpq, opening 10 while 20 close'
)
