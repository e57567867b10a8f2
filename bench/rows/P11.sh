# shellcheck shell=bash disable=SC2034
TITLE='The ordered map: ns an operation'
NOTE='Target: ahead of both at 2 threads and more. The Go pool has its map in a slice: an ordered copy takes 151 ns,
14 us, 3.8 ms of 10, 1,000, 100,000 entries; erase-first + insert 240 ns, 17 us, 2.8 ms; find 14 to 27 ns.'
BASE=pglessor
TARGETS=(ordered_map_bench)

measure() {
  ours ordered_map/ordered_map_bench
}
