// What Go's net/http does by itself: facts.go URL CERTIFICATE
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"time"
)

func main() {
	pem, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	show("Go's client, the lab's server, TLS", client, os.Args[1])

	running := make(chan bool)
	release := make(chan bool)
	ended := make(chan error)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/reset":
			running <- true
			<-r.Context().Done()
			ended <- r.Context().Err()
		case "/slow":
			running <- true
			<-release
		}
	})
	plain := httptest.NewServer(handler)
	show("Go's client and server, clear text", http.DefaultClient, plain.URL)
	trust := httptest.NewUnstartedServer(handler) // has a certificate, and a client for it
	trust.EnableHTTP2 = true
	trust.StartTLS()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: trust.TLS.Certificates}}
	go server.ServeTLS(listener, "", "")
	url := "https://" + listener.Addr().String()
	show("Go's client and server, TLS", trust.Client(), url)

	ctx, cancel := context.WithCancel(context.Background())
	request, _ := http.NewRequestWithContext(ctx, "GET", url+"/reset", nil)
	go trust.Client().Do(request)
	<-running
	cancel()
	fmt.Printf("%-35s %v\n", "the handler of a stream, reset", <-ended)

	go show("a request during Shutdown", trust.Client(), url+"/slow")
	<-running
	done := make(chan error)
	go func() { done <- server.Shutdown(context.Background()) }()
	select {
	case err := <-done:
		fmt.Println("Shutdown did not wait", err)
	case <-time.After(300 * time.Millisecond):
		close(release)
	}
	fmt.Printf("%-35s %v\n", "Shutdown, when it returns", <-done)
}

func show(who string, client *http.Client, url string) {
	response, err := client.Get(url)
	if err != nil {
		fmt.Println(who, err)
		return
	}
	fmt.Printf("%-35s %s %d\n", who, response.Proto, response.StatusCode)
}
