// What http.Server.Shutdown does with a connection in each state.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	fmt.Printf("%-24s%-26s%s\n", "the connection", "Shutdown returns", "the client")
	try("new, nothing sent", "")
	try("idle after an answer", "GET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
	try("half a request sent", "GET /quick HTTP/1.1\r\nHo")
	try("a handler at work, 1 s", "GET /work HTTP/1.1\r\nHost: a\r\n\r\n")
	try("a stuck handler", "GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
}

func try(state, request string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	http.DefaultServeMux = http.NewServeMux()
	http.HandleFunc("/quick", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/work", func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
	http.HandleFunc("/stuck", func(http.ResponseWriter, *http.Request) { time.Sleep(time.Hour) })
	server := &http.Server{}
	go server.Serve(listener)
	conn, err := net.Dial("tcp", listener.Addr().String())
	check(err)
	fmt.Fprint(conn, request)
	if state == "idle after an answer" {
		conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		io.Copy(io.Discard, conn)
	}
	time.Sleep(200 * time.Millisecond)
	grace, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	start := time.Now()
	err = server.Shutdown(grace)
	answer := "nil"
	if errors.Is(err, context.DeadlineExceeded) {
		answer = "DeadlineExceeded"
	}
	took := time.Since(start).Seconds()
	fmt.Printf("%-24s%-26s%s\n", state, fmt.Sprintf("%s, %.1f s", answer, took), read(conn))
}

func read(conn net.Conn) string {
	conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if errors.Is(err, io.EOF) {
		return "reads the end of stream"
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		return "is still connected"
	}
	check(err)
	return "reads " + line[:len(line)-2]
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
