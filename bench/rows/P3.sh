# shellcheck shell=bash disable=SC2034
TITLE='64 threads on 10 connections, each holds 1 ms'
NOTE='Target: p99 at most 1.15 times the limit, which is strict FIFO; most / least served at most 1.05. Goroutines and
Java threads sleep for 1 ms each in their own way: their p50 is not to be compared, p99 and shares are.'
BASE=pglessor
TARGETS=(fairness)

measure() {
  ours fairness/fairness
  go_peer fairness
  java_peer Fairness
}
