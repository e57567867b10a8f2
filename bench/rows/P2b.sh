# shellcheck shell=bash disable=SC2034
TITLE='Acquire + release of a lease in the process, with all that is on by default: ns a pair, a pool of 20'
NOTE='Target: at most 1,500 ns at 1 caller, and half of the Go pool, which took 2,140 to 2,300 ns where the limit took
14 to 16 ns: so at most 100 and 70 times the limit of the same run, on a machine as busy as this.'
BASE=pglessor
TARGETS=(lease_cycle)

measure() {
  ours in_process/lease_cycle
}
