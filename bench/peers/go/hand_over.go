// P2a's peers in Go: acquire + release of puddle (pgxpool's pool) and of database/sql, on connections that do
// nothing. A pool of 20.
//
//	script/bench P2a     beside ours, as ratios
//	hand_over            once
//
// Prints nanoseconds a pair, as bench/in_process/hand_over.cc does: a caller is a goroutine here.
package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	connections = 20
	cellTime    = 300 * time.Millisecond
)

// Nanoseconds a pair. `hold` is what a caller does while it has a connection.
func measure(p pool, callers int, hold func()) float64 {
	var stop atomic.Bool
	var pairs atomic.Int64
	var group sync.WaitGroup
	start := time.Now()
	for i := 0; i < callers; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			own := int64(0)
			for ; !stop.Load(); own++ {
				release := p.acquire()
				hold()
				release()
			}
			pairs.Add(own)
		}()
	}
	time.Sleep(cellTime)
	stop.Store(true)
	group.Wait()
	return float64(time.Since(start)) / float64(pairs.Load())
}

func main() {
	for _, p := range pools(connections) {
		for _, callers := range []int{1, 2, 16, 64} {
			fmt.Printf("%d callers\t%s\t%.3f\n", callers, p.name(), measure(p, callers, func() {}))
			fmt.Printf("%d callers, yielding\t%s\t%.3f\n", callers, p.name(), measure(p, callers, runtime.Gosched))
		}
	}
}
