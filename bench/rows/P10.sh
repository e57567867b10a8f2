# shellcheck shell=bash disable=SC2034
TITLE='A release while others wait, and the memory of one that waits'
NOTE='Target: with 100,000 at most 1.3 times with 10; at most 4,096 bytes a waiter.'
BASE='with 100000'
TARGETS=(waiters)

measure() {
  ours waiters/waiters
}
