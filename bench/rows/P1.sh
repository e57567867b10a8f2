# shellcheck shell=bash disable=SC2034,SC2119
TITLE='Acquire + Release over gRPC, in us'
NOTE='Targets, of two calls to a server that does nothing: at most 1.15 times the p50 of one at a time; with 64 in flight
1.25 times the server'\''s processor time and 1.18 times the time between two that end (0.85 times the throughput).'
BASE=pglessor
TARGETS=(pglessor rpc_floor_server rpc_load)

measure() (
  # shellcheck source=bench/serve.sh
  source bench/serve.sh
  serve
  compare() { # LOAD IN-FLIGHT KEY...
    local load=$1 callers=$2
    shift 2
    load_server "$load" 'two empty calls' "$FLOOR_SERVER" "$FLOOR" empty-pair "$callers" "$@"
    load_server "$load" pglessor "$SERVER" "$PGLESSOR" lease "$callers" "$@"
  }
  place 0 0
  compare 'one, all on one core' 1 p50_us
  place 0 1
  compare 'one, a core each' 1 p50_us
  compare '64 in flight, a core each' 64 us_a_turn processor_us
)
