# shellcheck shell=bash disable=SC2034,SC2119
TITLE='Acquire + Release over gRPC, one at a time: p50 in us'
NOTE='Target: at most 1.15 times two calls to a server that does nothing.'
BASE=pglessor
TARGETS=(pglessor rpc_floor_server lease_pair)

measure() (
  # shellcheck source=bench/serve.sh
  source bench/serve.sh
  serve
  "$BUILD/bench/lease_pair/lease_pair" --floor="$FLOOR" --pglessor="$PGLESSOR" --rounds=1 |
    rows 'as the kernel places them' 'two empty calls' pglessor
)
