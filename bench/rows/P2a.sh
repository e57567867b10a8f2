# shellcheck shell=bash disable=SC2034
TITLE='Acquire + release in the process, the slot alone: ns a pair, a pool of 20'
NOTE='Target: at most each peer but HikariCP, which barges, at 1, 2, 16 and 64 callers; at most HikariCP at 1.
The Go pool that pglessor re-implements is not at hand: 2,140 to 2,300 ns at 1, 2,200 to 2,400 at 2, 3,000 at
16, where the limit took 14 to 16 ns at 1. "Threads": each caller is one that sleeps while it waits.'
BASE=pglessor
TARGETS=(hand_over)

measure() {
  ours in_process/hand_over
  go_peer hand_over
  java_peer HandOver
}
