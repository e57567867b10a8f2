// P3's peers in Go: 64 goroutines on 10 connections of puddle and of database/sql, each holds for 1 ms, for two
// seconds.
//
//	script/bench P3      beside ours, as ratios
//	fairness             once
//
// Prints what bench/fairness/fairness.cc does.
package main

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const (
	connections = 10
	callers     = 64
	holdTime    = time.Millisecond
	runTime     = 2 * time.Second
)

// How long each caller waited each time, in microseconds.
func measure(p pool) [callers][]float64 {
	var waits [callers][]float64
	var stop atomic.Bool
	var group sync.WaitGroup
	for i := range waits {
		group.Add(1)
		go func(own *[]float64) {
			defer group.Done()
			for !stop.Load() {
				start := time.Now()
				release := p.acquire()
				*own = append(*own, float64(time.Since(start))/1000)
				time.Sleep(holdTime)
				release()
			}
		}(&waits[i])
	}
	time.Sleep(runTime)
	stop.Store(true)
	group.Wait()
	return waits
}

func main() {
	for _, p := range pools(connections) {
		waits := measure(p)
		all := []float64{}
		least, most := len(waits[0]), 0
		for _, own := range waits {
			all = append(all, own...)
			if len(own) < least {
				least = len(own)
			}
			if len(own) > most {
				most = len(own)
			}
		}
		if least == 0 {
			least = 1
		}
		sort.Float64s(all)
		fmt.Printf("wait p50, us\t%s\t%.3f\n", p.name(), all[(len(all)-1)*50/100])
		fmt.Printf("wait p99, us\t%s\t%.3f\n", p.name(), all[(len(all)-1)*99/100])
		fmt.Printf("most / least served\t%s\t%.3f\n", p.name(), float64(most)/float64(least))
	}
}
