# shellcheck shell=bash disable=SC2034
TITLE='10,000 leases expire in one tick, while others are renewed'
NOTE='Target: p99 of a renew in the storm at most 10,000 us.'
BASE='in the storm'
TARGETS=(expiry_storm)

measure() {
  ours expiry_storm/expiry_storm
}
