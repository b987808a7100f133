// What Go does where chapter 401 compares it with Java.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	if len(os.Args) > 1 {
		run(os.Args[1])
		return
	}
	backlog()
	wake()
	deadlines()
	halfClose()
	recovered()
	child("panic")
	child("nil")
	serve()
}

// The fourth field of ss -ltn is the backlog of a listening socket.
func backlog() {
	listener := listen()
	defer listener.Close()
	out, err := exec.Command("ss", "-Hltn", "src", listener.Addr().String()).Output()
	check(err)
	limit, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	check(err)
	fmt.Printf("net.Listen            backlog %s, somaxconn %s\n", strings.Fields(string(out))[2], strings.TrimSpace(string(limit)))
}

func wake() {
	conn, other := pair()
	defer other.Close()
	go func() {
		time.Sleep(100 * time.Millisecond)
		conn.Close()
	}()
	_, err := conn.Read(make([]byte, 1))
	fmt.Println("Close during Read     use of closed connection:", errors.Is(err, net.ErrClosed))
}

// The peer sends a byte each 50 ms, and does not read.
func deadlines() {
	conn, other := pair()
	defer conn.Close()
	go func() {
		for {
			if _, err := other.Write([]byte{1}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	conn.SetReadDeadline(time.Now().Add(220 * time.Millisecond))
	reads := 0
	for {
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			fmt.Printf("SetReadDeadline       %d reads, then timeout: %v\n", reads, errors.Is(err, os.ErrDeadlineExceeded))
			break
		}
		reads++
	}
	conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	_, err := conn.Write(make([]byte, 64<<20))
	fmt.Println("SetWriteDeadline      timeout:", errors.Is(err, os.ErrDeadlineExceeded))
}

func halfClose() {
	conn, other := pair()
	conn.(*net.TCPConn).CloseWrite()
	_, err := other.Read(make([]byte, 1))
	fmt.Fprint(other, "answer")
	other.Close()
	answer, _ := io.ReadAll(conn)
	fmt.Printf("CloseWrite            the peer reads EOF: %v, and its %s arrives\n", err == io.EOF, answer)
}

func recovered() {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	_, err := http.Get(server.URL)
	fmt.Println("panic in net/http     the process goes on, its client got an error:", err != nil)
}

func child(what string) {
	err := exec.Command(os.Args[0], what).Run()
	fmt.Printf("%-22sthe process ended: %v\n", map[string]string{"panic": "panic in a goroutine", "nil": "Accept, error ignored"}[what], err)
}

func run(what string) {
	listener := listen()
	if what == "nil" {
		listener.Close()
		conn, _ := listener.Accept()
		go conn.Read(make([]byte, 1))
	} else {
		go panic("a bug in a handler")
	}
	time.Sleep(5 * time.Second)
}

// Accept fails as it does when no file descriptor is free.
type failing struct {
	net.Listener
	calls int
}

type temporary struct{ error }

func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }

func (f *failing) Accept() (net.Conn, error) {
	f.calls++
	if f.calls > 10 {
		return nil, errors.New("the listener is broken")
	}
	return nil, temporary{errors.New("too many open files")}
}

func serve() {
	err := http.Serve(&failing{Listener: listen()}, nil)
	fmt.Println("http.Serve            an error that is not temporary ends it:", err)
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	return listener
}

func pair() (net.Conn, net.Conn) {
	listener := listen()
	defer listener.Close()
	other, err := net.Dial("tcp", listener.Addr().String())
	check(err)
	conn, err := listener.Accept()
	check(err)
	return conn, other
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
