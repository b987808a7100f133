// How many connections does Go's http.Transport open for 60 requests at once?
package main

import (
	"context"
	"errors"
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
	count("HTTP/1.1, default", false, 60, func(*http.Transport) {})
	count("HTTP/1.1, MaxConnsPerHost 6", false, 6,
		func(t *http.Transport) { t.MaxConnsPerHost = 6 })
	count("HTTP/2, after one request", true, 60, func(*http.Transport) {})
}

// together: how many requests the server lets come in before it answers any.
func count(what string, http2 bool, together int, set func(*http.Transport)) {
	var opened int32
	var mutex sync.Mutex
	here, gate := 0, make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/warm" {
				return
			}
			mutex.Lock()
			here++
			mine := gate
			if here == together {
				here, gate = 0, make(chan struct{})
				close(mine)
			}
			mutex.Unlock()
			<-mine
		}))
	server.EnableHTTP2 = http2
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			atomic.AddInt32(&opened, 1)
		}
	}
	if http2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	defer server.Close()
	client := server.Client()
	set(client.Transport.(*http.Transport))
	get := func(path string) {
		response, err := client.Get(server.URL + path)
		if err != nil {
			panic(err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	get("/warm")
	var all sync.WaitGroup
	for i := 0; i < 60; i++ {
		all.Add(1)
		go func() { defer all.Done(); get("/") }()
	}
	all.Wait()
	fmt.Printf("%-28s %2d opened\n", what, atomic.LoadInt32(&opened))
	if http2 {
		ctx, cancel := context.WithTimeout(context.Background(),
			50*time.Millisecond)
		defer cancel()
		late, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/", nil)
		_, err := client.Do(late)
		fmt.Println("cancelled:", errors.Is(err, context.DeadlineExceeded))
		get("/warm")
		fmt.Printf("%-28s %2d opened\n", "HTTP/2, after that",
			atomic.LoadInt32(&opened))
		close(gate)
	}
}
