// What Go allocates where this chapter says what Java does.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"
)

var kept string
var keptBytes []byte

func main() {
	head := []byte("GET /plaintext HTTP/1.1")
	routes := map[string]int{"/plaintext": 1, "/count": 2}
	fmt.Println("allocations for")
	show("  string(b) == \"GET\"", func() {
		if string(head[:3]) != "GET" {
			panic("?")
		}
	})
	show("  m[string(b)]", func() {
		if routes[string(head[4:14])] != 1 {
			panic("?")
		}
	})
	show("  a string that is kept", func() { kept = string(head) })
	pool := sync.Pool{New: func() any { b := make([]byte, 4096); return &b }}
	show("  a buffer of a sync.Pool", func() { b := pool.Get().(*[]byte); keptBytes = *b; pool.Put(b) })

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("Hello, world!"))
	}))
	before := runtime.NumGoroutine()
	conns := []net.Conn{}
	for i := 0; i < 10; i++ {
		conn, _ := net.Dial("tcp", server.Listener.Addr().String())
		for j := 0; j < 3; j++ {
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			io.ReadFull(conn, make([]byte, 129))
		}
		conns = append(conns, conn)
	}
	least := 1000
	for i := 0; i < 200; i++ { // others end in this time
		if now := runtime.NumGoroutine() - before; now < least {
			least = now
		}
		time.Sleep(time.Millisecond)
	}
	fmt.Println("goroutines that net/http has for 10 idle connections after 3 requests each:", least)
	for _, conn := range conns {
		conn.Close()
	}
}

func show(what string, code func()) {
	fmt.Printf("%-28s %.0f\n", what, testing.AllocsPerRun(1000, code))
}
