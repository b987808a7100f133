// What Go's net/http does with a hijacked connection.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

// hijacked serves one request, whose handler hijacks and then does something.
func hijacked(then func(net.Conn, *bufio.ReadWriter)) (*http.Server, net.Conn) {
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	ready := make(chan bool, 1)
	server := &http.Server{ReadTimeout: 300 * time.Millisecond, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			connection, buffer, _ := w.(http.Hijacker).Hijack()
			ready <- true
			then(connection, buffer)
		})}
	go server.Serve(listener)
	client, _ := net.Dial("tcp", listener.Addr().String())
	fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\nEARLYDATA")
	<-ready
	return server, client
}

// open says whether the client's next read finds an open connection.
func open(client net.Conn) string {
	client.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, err := client.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "open"
	}
	return "closed"
}

func main() {
	early := make(chan int, 1)
	hijacked(func(c net.Conn, b *bufio.ReadWriter) {
		b.Reader.Peek(1)
		early <- b.Reader.Buffered()
	})
	fmt.Println("bytes in the returned buffer         ", <-early)

	read := make(chan error, 1)
	_, client := hijacked(func(c net.Conn, b *bufio.ReadWriter) {
		_, err := io.ReadFull(b, make([]byte, 10))
		read <- err
	})
	time.Sleep(time.Second)
	client.Write([]byte("x"))
	fmt.Println("a read 1 s later, ReadTimeout 300 ms ", <-read)

	_, client = hijacked(func(c net.Conn, b *bufio.ReadWriter) { panic("broken") })
	fmt.Println("after a panic in the handler         ", open(client))

	server, client := hijacked(func(c net.Conn, b *bufio.ReadWriter) { time.Sleep(time.Hour) })
	begun := time.Now()
	err := server.Shutdown(context.Background())
	fmt.Println("Shutdown returned at once            ", err == nil && time.Since(begun) < time.Second)
	fmt.Println("after Shutdown                       ", open(client))
	server, client = hijacked(func(c net.Conn, b *bufio.ReadWriter) { time.Sleep(time.Hour) })
	server.Close()
	fmt.Println("after Close of the server            ", open(client))
}
