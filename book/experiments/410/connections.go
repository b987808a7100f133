// How many connections do five requests of Go's net/http need, and what
// happens when the server closes a reused connection instead of responding?
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

func main() {
	var mutex sync.Mutex
	seen := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			mutex.Lock()
			seen[r.RemoteAddr] = true
			mutex.Unlock()
			size := 100
			if r.URL.Path == "/large" {
				size = 2_000_000
			}
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Write(make([]byte, size))
		}))
	count := func(what, path string, use func(io.ReadCloser)) {
		client := &http.Client{Transport: &http.Transport{}}
		mutex.Lock()
		seen = map[string]bool{}
		mutex.Unlock()
		for i := 0; i < 5; i++ {
			response, err := client.Get(server.URL + path)
			if err != nil {
				panic(err)
			}
			use(response.Body)
			time.Sleep(10 * time.Millisecond) // its goroutine puts it back
		}
		fmt.Printf("%-34s %d\n", what, len(seen))
	}
	fmt.Println("connections of 5 requests")
	count("read to the end, closed", "/", func(body io.ReadCloser) {
		io.ReadAll(body)
		body.Close()
	})
	count("read to the end, never closed", "/", func(body io.ReadCloser) {
		io.ReadAll(body)
	})
	early := func(body io.ReadCloser) {
		body.Read(make([]byte, 1))
		body.Close()
	}
	count("1 of 100 bytes, then Close", "/", early)
	count("1 of 2,000,000, then Close", "/large", early)
	count("neither", "/", func(body io.ReadCloser) {})
	fmt.Println()
	race("GET")
	race("POST")
	burst()
}

// The server responds to the first request of each connection only.
func race(method string) {
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	requests := make(chan string, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				in := bufio.NewReader(conn)
				for i := 0; i < 2; i++ {
					request, err := http.ReadRequest(in)
					if err != nil {
						break
					}
					io.ReadAll(request.Body)
					requests <- request.Method
					if i == 0 {
						io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+
							"Content-Length: 2\r\n\r\nok")
					}
				}
				conn.Close()
			}()
		}
	}()
	client := &http.Client{Transport: &http.Transport{}}
	url := "http://" + listener.Addr().String()
	send := func(method string) string {
		request, _ := http.NewRequest(method, url, strings.NewReader("x"))
		if method == "GET" {
			request, _ = http.NewRequest(method, url, nil)
		}
		response, err := client.Do(request)
		if err != nil {
			return err.Error()[strings.LastIndex(err.Error(), " ")+1:]
		}
		io.ReadAll(response.Body)
		return response.Status
	}
	send("GET")
	time.Sleep(10 * time.Millisecond)
	<-requests
	result := send(method)
	fmt.Printf("server closes without a response:  %d x %s, caller gets %s\n",
		len(requests), method, result)
	listener.Close()
}

// Ten requests at once, and then ten again.
func burst() {
	var mutex sync.Mutex
	opened := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(50 * time.Millisecond)
		}))
	server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			mutex.Lock()
			opened++
			mutex.Unlock()
		}
	}
	server.Start()
	client := &http.Client{Transport: &http.Transport{}}
	for round := 1; round <= 2; round++ {
		var group sync.WaitGroup
		for i := 0; i < 10; i++ {
			group.Add(1)
			go func() {
				defer group.Done()
				response, err := client.Get(server.URL)
				if err != nil {
					panic(err)
				}
				io.ReadAll(response.Body)
				response.Body.Close()
			}()
		}
		group.Wait()
		time.Sleep(20 * time.Millisecond)
		mutex.Lock()
		fmt.Printf("10 requests at once, round %d:      %d connections opened\n",
			round, opened)
		mutex.Unlock()
	}
}
