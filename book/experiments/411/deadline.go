// What a deadline does in Go: go run book/experiments/411/deadline.go
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func pair() (net.Conn, net.Conn) {
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	defer listener.Close()
	client, _ := net.Dial("tcp", listener.Addr().String())
	peer, _ := listener.Accept()
	return client, peer
}

func drip(peer net.Conn) {
	for {
		time.Sleep(100 * time.Millisecond)
		if _, err := peer.Write([]byte(".")); err != nil {
			return
		}
	}
}

func show(what string, start time.Time, err error) {
	fmt.Printf("%-42s %d00 ms, timeout: %v\n", what,
		time.Since(start)/(100*time.Millisecond),
		errors.Is(err, os.ErrDeadlineExceeded))
}

func main() {
	conn, peer := pair()
	go drip(peer)
	start := time.Now()
	conn.SetDeadline(start.Add(550 * time.Millisecond))
	_, err := io.ReadAll(conn)
	show("a byte every 100 ms, deadline 550 ms", start, err)

	start = time.Now()
	_, err = conn.Read(make([]byte, 9))
	show("the next Read", start, err)

	conn.SetDeadline(time.Time{})
	n, err := conn.Read(make([]byte, 1))
	fmt.Println("after SetDeadline(time.Time{}):", n, err)

	start = time.Now()
	time.AfterFunc(250*time.Millisecond, func() {
		conn.SetReadDeadline(time.Now())
	})
	_, err = io.ReadAll(conn)
	show("moved to now after 250 ms", start, err)

	conn.SetWriteDeadline(time.Now().Add(250 * time.Millisecond))
	n, err = conn.Write(make([]byte, 64<<20))
	fmt.Println("Write to a peer that never reads: a part",
		n > 0 && n < 64<<20, "timeout", errors.Is(err, os.ErrDeadlineExceeded))
	conn.SetWriteDeadline(time.Time{})
	go io.Copy(io.Discard, peer)
	n, err = conn.Write([]byte("more"))
	fmt.Println("the next Write, without a deadline:", n, err)

	slowHead("http.Server without timeouts", &http.Server{})
	slowHead("ReadHeaderTimeout 250 ms",
		&http.Server{ReadHeaderTimeout: 250 * time.Millisecond})
}

// A byte of the head every 100 ms, for 2 s at most.
func slowHead(what string, server *http.Server) {
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	go server.Serve(listener)
	defer server.Close()
	conn, _ := net.Dial("tcp", listener.Addr().String())
	conn.Write([]byte("GET / HTTP/1.1\r\nX: "))
	go drip(conn)
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		fmt.Printf("%-42s open after 2 s\n", what)
	} else {
		fmt.Printf("%-42s closed, %d bytes came\n", what, len(got))
	}
}
