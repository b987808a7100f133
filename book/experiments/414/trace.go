// What net/http/httptrace reports of a call that opens a connection, of one
// that reuses it, and of one that is redirected.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
)

func main() {
	server := httptest.NewTLSServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/moved" {
				http.Redirect(w, r, "/", http.StatusFound)
				return
			}
			io.WriteString(w, "chess")
		}))
	client := server.Client()
	for _, path := range []string{"/", "/", "/moved"} {
		fmt.Println("GET", path)
		trace := &httptrace.ClientTrace{
			GetConn:              func(string) { fmt.Println("  GetConn") },
			DNSStart:             func(httptrace.DNSStartInfo) { fmt.Println("  DNSStart") },
			ConnectStart:         func(string, string) { fmt.Println("  ConnectStart") },
			ConnectDone:          func(string, string, error) { fmt.Println("  ConnectDone") },
			TLSHandshakeStart:    func() { fmt.Println("  TLSHandshakeStart") },
			TLSHandshakeDone:     func(tls.ConnectionState, error) { fmt.Println("  TLSHandshakeDone") },
			GotConn:              func(info httptrace.GotConnInfo) { fmt.Println("  GotConn reused:", info.Reused) },
			WroteRequest:         func(httptrace.WroteRequestInfo) { fmt.Println("  WroteRequest") },
			GotFirstResponseByte: func() { fmt.Println("  GotFirstResponseByte") },
		}
		request, _ := http.NewRequest("GET", server.URL+path, nil)
		request = request.WithContext(
			httptrace.WithClientTrace(request.Context(), trace))
		response, err := client.Do(request)
		if err != nil {
			panic(err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}
