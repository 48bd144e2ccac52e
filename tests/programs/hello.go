// What a Go program asks of its kernel: threads, futexes, timers, signals, pipes and a child.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sort"
	"sync"
	"syscall"
	"time"
)

func main() {
	fmt.Println("hello from", runtime.GOOS, runtime.GOARCH, os.Args[1:])

	var group sync.WaitGroup
	results := make(chan int, 64)
	for n := 0; n < 64; n++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			sum := 0
			for i := 0; i < 100000; i++ {
				sum += i % (n + 1)
			}
			results <- sum
		}(n)
	}
	group.Wait()
	close(results)
	var all []int
	for sum := range results {
		all = append(all, sum)
	}
	sort.Ints(all)
	fmt.Println(len(all), all[0], all[63])

	select {
	case <-time.After(20 * time.Millisecond):
		fmt.Println("timer")
	}

	hit := make(chan os.Signal, 1)
	signal.Notify(hit, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println(<-hit)

	out, err := exec.Command("sh", "-c", "echo child; exit 5").Output()
	fmt.Printf("%q %v\n", out, err)

	runtime.GC()
	names, err := os.ReadDir("tree")
	fmt.Println(len(names), err)
	_, err = os.Open("none")
	fmt.Println(err)
	os.Exit(9)
}
