// What Go's net/http does by itself: facts.go URL CERTIFICATE
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
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

	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})
	plain := httptest.NewServer(handler)
	show("Go's client and server, clear text", http.DefaultClient, plain.URL)
	secure := httptest.NewUnstartedServer(handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	show("Go's client and server, TLS", secure.Client(), secure.URL)
}

func show(who string, client *http.Client, url string) {
	response, err := client.Get(url)
	if err != nil {
		fmt.Println(who, err)
		return
	}
	fmt.Printf("%-35s %s %d\n", who, response.Proto, response.StatusCode)
}
