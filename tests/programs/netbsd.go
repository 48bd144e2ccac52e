// What Go's run-time asks of a kernel, by sub-command.  Built for linux and for netbsd, the two print the same.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// 200 goroutines over 8 threads: sums, sleeps, a channel all of them share.
func goroutines() {
	runtime.GOMAXPROCS(8)
	var group sync.WaitGroup
	sums := make([][32]byte, 200)
	done := make(chan int, 4)
	for i := range sums {
		group.Add(1)
		go func() {
			defer group.Done()
			data := bytes.Repeat([]byte{byte(i)}, 20000)
			for round := range 10 {
				sums[i] = sha256.Sum256(data)
				data[round] = sums[i][0]
				if round%5 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			done <- i
		}()
	}
	total := 0
	for range sums {
		total += <-done
	}
	group.Wait()
	all := sha256.New()
	for _, sum := range sums {
		all.Write(sum[:])
	}
	fmt.Printf("%d %x\n", total, all.Sum(nil))
}

// A pipeline of children: this program, a Linux one, this program again.
func pipeline() {
	self, err := os.Executable()
	check(err)
	produce, tr, count := exec.Command(self, "produce"), exec.Command("/bin/sh", "-c", "tr a-z A-Z"), exec.Command(self, "count")
	tr.Stdin, err = produce.StdoutPipe()
	check(err)
	count.Stdin, err = tr.StdoutPipe()
	check(err)
	var out bytes.Buffer
	count.Stdout = &out
	for _, command := range []*exec.Cmd{count, tr, produce} {
		check(command.Start())
	}
	for _, command := range []*exec.Cmd{produce, tr, count} {
		check(command.Wait())
	}
	fmt.Print(out.String())
	script := fmt.Sprintf("%s produce | head -2; %s die; echo $?", self, self)
	said, err := exec.Command("/bin/sh", "-c", script).CombinedOutput()
	fmt.Printf("%q %v\n", said, err)
	_, err = exec.Command("/no/such/program").Output()
	fmt.Println(err)
	var group sync.WaitGroup
	results := make([]string, 12)
	for i := range results {
		group.Add(1)
		go func() {
			defer group.Done()
			said, err := exec.Command(self, "exit", fmt.Sprint(i)).Output()
			results[i] = fmt.Sprintf("%s%v", said, err)
		}()
	}
	group.Wait()
	fmt.Println(strings.Join(results, ", "))
}

func signals() {
	caught := make(chan os.Signal, 1)
	for _, number := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGCHLD, syscall.SIGWINCH, syscall.SIGIO} {
		signal.Notify(caught, number)
		check(syscall.Kill(os.Getpid(), number))
		fmt.Println(<-caught == number)
		signal.Reset(number)
	}
	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		var nothing *int
		*nothing = 1
	}()
	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		zero := len(os.Args) - len(os.Args)
		fmt.Println(1 / zero)
	}()
	self, err := os.Executable()
	check(err)
	waiting := exec.Command(self, "wait")
	said, err := waiting.StdoutPipe()
	check(err)
	check(waiting.Start())
	line, _ := bufio.NewReader(said).ReadString('\n')
	check(waiting.Process.Signal(syscall.SIGTERM))
	err = waiting.Wait()
	status := waiting.ProcessState.Sys().(syscall.WaitStatus)
	fmt.Println(strings.TrimSpace(line), err, status.Signaled(), status.Signal())
}

func files() {
	directory, err := os.MkdirTemp("", "files")
	check(err)
	defer os.RemoveAll(directory)
	name := filepath.Join(directory, "one")
	check(os.WriteFile(name, []byte("first\nsecond\n"), 0o640))
	file, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND, 0)
	check(err)
	_, err = file.WriteString("third\n")
	check(err)
	_, err = file.Seek(6, io.SeekStart)
	check(err)
	rest, err := io.ReadAll(file)
	check(err)
	fmt.Printf("%q\n", rest)
	check(file.Truncate(5))
	about, err := file.Stat()
	check(err)
	fmt.Println(about.Size(), about.Mode(), about.IsDir())
	check(os.Rename(name, filepath.Join(directory, "two")))
	check(os.Symlink("two", filepath.Join(directory, "link")))
	check(os.Mkdir(filepath.Join(directory, "sub"), 0o755))
	entries, err := os.ReadDir(directory)
	check(err)
	for _, entry := range entries {
		fmt.Println(entry.Name(), entry.Type())
	}
	check(os.Chdir(directory))
	here, err := os.Getwd()
	check(err)
	fmt.Println(here == directory)
	_, err = os.Stat("none")
	fmt.Println(os.IsNotExist(err), os.IsExist(os.Mkdir("sub", 0o755)))
}

// Signals from all sides while goroutines compute: none is taken for another, no goroutine is lost.
func storm() {
	runtime.GOMAXPROCS(4)
	caught := make(chan os.Signal, 4000)
	signal.Notify(caught, syscall.SIGUSR1, syscall.SIGUSR2)
	var group sync.WaitGroup
	for range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 200 {
				check(syscall.Kill(os.Getpid(), syscall.SIGUSR1))
				check(syscall.Kill(os.Getpid(), syscall.SIGUSR2))
			}
		}()
	}
	total := 0
	for number := range 200 {
		group.Add(1)
		go func() {
			defer group.Done()
			runtime.Gosched()
			_ = sha256.Sum256(bytes.Repeat([]byte{byte(number)}, 1000))
		}()
		total += number
	}
	group.Wait()
	seen := map[os.Signal]bool{<-caught: true}
	for !seen[syscall.SIGUSR1] || !seen[syscall.SIGUSR2] {
		seen[<-caught] = true
	}
	for len(caught) > 0 {
		seen[<-caught] = true
	}
	fmt.Println(total, len(seen))
}

// What the poller serves: local sockets, deadlines.
func sockets() {
	directory, err := os.MkdirTemp("", "sockets")
	check(err)
	defer os.RemoveAll(directory)
	path := filepath.Join(directory, "s")
	listener, err := net.Listen("unix", path)
	check(err)
	go func() {
		for {
			peer, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(peer, peer); peer.Close() }()
		}
	}()
	var group sync.WaitGroup
	sums := make([]int, 20)
	for i := range sums {
		group.Add(1)
		go func() {
			defer group.Done()
			peer, err := net.Dial("unix", path)
			check(err)
			go func() { peer.Write(bytes.Repeat([]byte{1}, 100000+i)); peer.(*net.UnixConn).CloseWrite() }()
			data, err := io.ReadAll(peer)
			check(err)
			sums[i] = len(data)
		}()
	}
	group.Wait()
	fmt.Println(sums)
	peer, err := net.Dial("unix", path)
	check(err)
	check(peer.SetReadDeadline(time.Now().Add(30 * time.Millisecond)))
	_, err = peer.Read(make([]byte, 1))
	fmt.Println(os.IsTimeout(err))
	check(listener.Close())
	_, err = net.Dial("unix", path)
	fmt.Println(err != nil)
}

// TCP and UDP over the loopback; nothing leads further.
func network() {
	_, err := net.Dial("tcp", "127.0.0.1:1")
	fmt.Println(err)
	_, err = net.DialTimeout("tcp", "192.0.2.1:9", time.Second)
	fmt.Println(err != nil)
	for _, where := range []string{"127.0.0.1:0", "[::1]:0"} {
		listener, err := net.Listen("tcp", where)
		check(err)
		go func() {
			peer, err := listener.Accept()
			check(err)
			io.Copy(peer, peer)
			peer.Close()
		}()
		peer, err := net.Dial("tcp", listener.Addr().String())
		check(err)
		fmt.Println(peer.RemoteAddr().String() == listener.Addr().String())
		go func() { peer.Write(bytes.Repeat([]byte{7}, 300000)); peer.(*net.TCPConn).CloseWrite() }()
		data, err := io.ReadAll(peer)
		check(err)
		fmt.Println(len(data), listener.Close())
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(err)
	sender, err := net.Dial("udp", packets.LocalAddr().String())
	check(err)
	sender.Write([]byte("datagram"))
	data := make([]byte, 20)
	n, from, err := packets.ReadFrom(data)
	fmt.Println(string(data[:n]), from.String() == sender.LocalAddr().String(), err)
}

// Timers, a deep stack, pages shared with a file, a holey file, who runs this.
func sundry() {
	start, ticker := time.Now(), time.NewTicker(5*time.Millisecond)
	for range 10 {
		<-ticker.C
	}
	fmt.Println(time.Since(start) >= 45*time.Millisecond, time.NewTimer(time.Hour).Stop())
	var deep func(int) int
	deep = func(n int) int {
		var room [64]int
		if n > 0 {
			room[n%64] = deep(n - 1)
		}
		return room[n%64] + 1
	}
	fmt.Println(deep(50000))
	file, err := os.CreateTemp("", "sundry")
	check(err)
	defer os.Remove(file.Name())
	check(file.Truncate(8192))
	pages, err := syscall.Mmap(int(file.Fd()), 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	check(err)
	copy(pages[4096:], "through the pages")
	text := make([]byte, 17)
	_, err = file.ReadAt(text, 4096)
	fmt.Println(string(text), err, syscall.Munmap(pages))
	_, err = file.WriteAt([]byte("far"), 5<<30)
	check(err)
	about, err := file.Stat()
	fmt.Println(about.Size(), err)
	me, err := user.Current()
	check(err)
	fmt.Println(me.Uid == fmt.Sprint(os.Getuid()))
}

func main() {
	what := "goroutines"
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	switch what {
	case "goroutines":
		goroutines()
	case "pipeline":
		pipeline()
	case "signals":
		signals()
	case "files":
		files()
	case "storm":
		storm()
	case "sockets":
		sockets()
	case "network":
		network()
	case "sundry":
		sundry()
	case "nil":
		var nothing *int
		defer fmt.Println("deferred")
		*nothing = 1
	case "deadlock":
		<-make(chan int)
	case "overflow":
		debug.SetMaxStack(1 << 20)
		var deep func(int) int
		deep = func(n int) int { return deep(n+1) + 1 }
		deep(0)
	case "abort":
		check(syscall.Kill(os.Getpid(), syscall.SIGABRT))
		select {}
	case "produce":
		for i := range 1000 {
			fmt.Println("line", i)
		}
	case "count":
		lines, last := 0, ""
		for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); lines++ {
			last = scanner.Text()
		}
		fmt.Println(lines, last)
	case "exit":
		os.Exit(len(os.Args[2]) + 3)
	case "die":
		check(syscall.Kill(os.Getpid(), syscall.SIGKILL))
		select {}
	case "wait":
		fmt.Println("waiting")
		time.Sleep(time.Minute)
	}
}
