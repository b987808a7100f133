// What Go's proxy and server do where chapter 408 compares them with Java.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

func main() {
	log.SetOutput(io.Discard)
	reverseProxy()
	failures()
	hijack()
	tunnel("Close", func(conn *net.TCPConn) { conn.Close() })
	tunnel("CloseWrite", func(conn *net.TCPConn) { conn.CloseWrite() })
	heads()
}

// Which fields does the origin get, and which fields does the client get?
func reverseProxy() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Host %s, X-Secret %q, X-Forwarded-For %q, Via %q",
			r.Host, r.Header.Get("X-Secret"), r.Header.Get("X-Forwarded-For"), r.Header.Get("Via"))
	}))
	defer origin.Close()
	answer := ask(proxy(origin.URL, nil), "GET / HTTP/1.1\r\nHost: zoo.test\r\nConnection: close, X-Secret\r\n"+
		"X-Secret: 1\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n")
	fmt.Println("ReverseProxy, request   ", last(answer))
	fmt.Println("ReverseProxy, response   Via:", strings.Contains(answer, "\r\nVia:"))
}

// An origin that nobody listens on, and one that does not answer.
func failures() {
	gone := httptest.NewServer(nil)
	gone.Close()
	fmt.Println("connection refused      ", status(ask(proxy(gone.URL, nil), get)))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer silent.Close()
	transport := &http.Transport{ResponseHeaderTimeout: 100 * time.Millisecond}
	fmt.Println("ResponseHeaderTimeout   ", status(ask(proxy("http://"+silent.Addr().String(), transport), get)),
		"after 100 ms; the default is", http.DefaultTransport.(*http.Transport).ResponseHeaderTimeout)
}

// The bytes that came with the CONNECT head are in the reader that Hijack returns.
func hijack() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := w.(http.Hijacker).Hijack()
		check(err)
		defer conn.Close()
		early := make([]byte, 5)
		_, err = io.ReadFull(buffered, early)
		check(err)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n\r\n%s %s %s", r.Method, r.Host, early)
	}))
	defer server.Close()
	answer := ask(server.Listener.Addr().String(), "CONNECT zoo.test:443 HTTP/1.1\r\nHost: zoo.test:443\r\n\r\nearly")
	fmt.Println("Hijack                  ", last(answer))
}

// Two io.Copy, and what follows each of them; the client half-closes before the target answers.
func tunnel(name string, end func(*net.TCPConn)) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer target.Close()
	go func() {
		conn, err := target.Accept()
		check(err)
		question, _ := io.ReadAll(conn)
		time.Sleep(50 * time.Millisecond)
		fmt.Fprintf(conn, "%d bytes", len(question))
		conn.Close()
	}()
	entry, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer entry.Close()
	go func() {
		from, err := entry.Accept()
		check(err)
		to, err := net.Dial("tcp", target.Addr().String())
		check(err)
		go func() {
			io.Copy(to, from)
			end(to.(*net.TCPConn))
		}()
		io.Copy(from, to)
		from.Close()
	}()
	client, err := net.Dial("tcp", entry.Addr().String())
	check(err)
	client.Write([]byte("question"))
	client.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(client)
	fmt.Printf("io.Copy, then %-10s  the client reads %q\n", name, answer)
}

func heads() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "body %q, %v", body, err)
	}))
	defer server.Close()
	for _, row := range [][2]string{
		{"length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
		{"two lengths, 5 and 6", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"},
		{"Content-Length: +5", "Content-Length: +5\r\n\r\nhello"},
		{"a folded line", "X: a\r\n b\r\n\r\n"},
		{"a bare LF as line end", "X: a\nY: b\r\n\r\n"},
		{"a chunk line that ends in a bare LF", "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"},
	} {
		answer := ask(server.Listener.Addr().String(), "POST / HTTP/1.1\r\nHost: zoo.test\r\nConnection: close\r\n"+row[1])
		fmt.Printf("%-36s%s\n", row[0], strings.TrimPrefix(status(answer)+" "+last(answer), "400 "))
	}
}

const get = "GET / HTTP/1.1\r\nHost: zoo.test\r\nConnection: close\r\n\r\n"

func proxy(origin string, transport http.RoundTripper) string {
	to, err := url.Parse(origin)
	check(err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = transport
	return httptest.NewServer(proxy).Listener.Addr().String()
}

func ask(address, request string) string {
	conn, err := net.Dial("tcp", address)
	check(err)
	defer conn.Close()
	_, err = conn.Write([]byte(request))
	check(err)
	answer, err := io.ReadAll(bufio.NewReader(conn))
	check(err)
	return string(answer)
}

// What follows the last line end: the body, if it is one line.
func last(answer string) string {
	return answer[strings.LastIndex(answer, "\r\n")+2:]
}

func status(answer string) string {
	return answer[9:12]
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
