// What Go's net/http does at a redirect, with a DialContext and with a SOCKS5 proxy.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
)

// A tripper sees every request of a Client and adds two secrets.
type tripper struct {
	count int
	adds  bool
}

func (t *tripper) RoundTrip(r *http.Request) (*http.Response, error) {
	t.count++
	if t.adds {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer invented")
		r.Header.Set("X-Api-Key", "invented")
	}
	return http.DefaultTransport.RoundTrip(r)
}

func main() {
	var got http.Header
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
	}))
	elsewhere := strings.Replace(stranger.URL, "127.0.0.1", "localhost", 1)
	ours := httptest.NewServer(http.RedirectHandler(elsewhere, http.StatusFound))
	show := func(what string) {
		fmt.Printf("%-32s Authorization %q, Cookie %q, X-Api-Key %q\n", what,
			got.Get("Authorization"), got.Get("Cookie"), got.Get("X-Api-Key"))
	}

	plain := &tripper{}
	request, _ := http.NewRequest("GET", ours.URL, nil)
	request.Header.Set("Authorization", "Bearer invented")
	request.Header.Set("Cookie", "invented")
	request.Header.Set("X-Api-Key", "invented")
	(&http.Client{Transport: plain}).Do(request)
	fmt.Println("RoundTrips of a call with a redirect:", plain.count)
	show("a redirect of the request carries")

	(&http.Client{Transport: &tripper{adds: true}}).Get(ours.URL)
	show("added by a RoundTripper")

	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.EnableHTTP2 = true
	secure.StartTLS()
	for _, force := range []bool{false, true} {
		transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext, ForceAttemptHTTP2: force,
			TLSClientConfig: secure.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
		transport.TLSClientConfig.NextProtos = nil
		response, err := (&http.Client{Transport: transport}).Get(secure.URL)
		if err != nil {
			panic(err)
		}
		fmt.Printf("DialContext, ForceAttemptHTTP2 %-5t %s\n", force, response.Proto)
	}

	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	asked := make(chan string, 1)
	go func() {
		proxy, _ := listener.Accept()
		io.ReadFull(proxy, make([]byte, 3))
		proxy.Write([]byte{5, 0})
		head := make([]byte, 5)
		io.ReadFull(proxy, head)
		name := make([]byte, head[4])
		io.ReadFull(proxy, name)
		asked <- fmt.Sprintf("kind %d, %s", head[3], name)
		proxy.Close()
	}()
	address, _ := url.Parse("socks5://" + listener.Addr().String())
	(&http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(address)}}).Get("http://api.lab.test/")
	fmt.Println("a socks5:// proxy is asked for:", <-asked)
}
