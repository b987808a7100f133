// What Go's http.Client does where chapter 416 compares it with Java's clients.
// go run timeouts.go URL: the server behind URL stalls in the middle of its answer.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func get(name string, client *http.Client) {
	done := make(chan string, 1)
	go func() {
		response, err := client.Get(os.Args[1])
		if err != nil {
			done <- "Get: " + err.Error()
			return
		}
		defer response.Body.Close()
		n, err := io.Copy(io.Discard, response.Body)
		done <- fmt.Sprintf("%s, %d bytes, then %v", response.Status, n, err)
	}()
	select {
	case outcome := <-done:
		fmt.Printf("%-23s%s\n", name, outcome)
	case <-time.After(2 * time.Second):
		fmt.Printf("%-23sstill waiting after 2 s\n", name)
	}
}

func main() {
	get("Timeout", &http.Client{Timeout: time.Second})
	get("ResponseHeaderTimeout", &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: time.Second}})
	get("no timeout", &http.Client{})
}
