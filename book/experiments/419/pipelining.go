// Go's client opens connections; Go's server takes pipelined requests.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	var opened int32
	var together sync.WaitGroup
	together.Add(4)
	var mutex sync.Mutex
	events := []string{}
	note := func(event string) {
		mutex.Lock()
		defer mutex.Unlock()
		events = append(events, event)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/four" {
				together.Done()
				together.Wait()
				return
			}
			note("start " + r.URL.Path)
			if r.URL.Path == "/slow" {
				time.Sleep(100 * time.Millisecond)
			}
			note("end " + r.URL.Path)
			io.WriteString(w, r.URL.Path)
		}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			atomic.AddInt32(&opened, 1)
		}
	}
	server.Start()
	defer server.Close()

	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			response, err := http.Get(server.URL + "/four")
			if err != nil {
				panic(err)
			}
			response.Body.Close()
		}()
	}
	all.Wait()
	fmt.Println("client: 4 requests at once,", atomic.LoadInt32(&opened),
		"connections")

	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	for _, path := range []string{"/slow", "/a", "/b"} {
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
	}
	reader := bufio.NewReader(conn)
	fmt.Print("server: responses")
	for i := 0; i < 3; i++ {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(response.Body)
		fmt.Print(" ", string(body))
	}
	fmt.Println()
	mutex.Lock()
	fmt.Println("server:", events)
}
