// What Go's net.Resolver does with the zone of lab 418: facts.go HOST:PORT
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

func main() {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context,
		network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, os.Args[1])
	}}
	ctx := context.Background()
	for _, name := range []string{"alias.lab.test.", "lab.test.", "nope.lab.test."} {
		addresses, err := resolver.LookupHost(ctx, name)
		fmt.Println("LookupHost", name, addresses, told(err))
	}
	servers, err := resolver.LookupMX(ctx, "lab.test.")
	for _, server := range servers {
		fmt.Println("LookupMX   lab.test.", server.Pref, server.Host, told(err))
	}
	addresses, err := resolver.LookupHost(ctx, "big.lab.test.")
	fmt.Println("LookupHost big.lab.test.", len(addresses), "addresses", told(err))
}

func told(err error) string {
	var failure *net.DNSError
	if errors.As(err, &failure) {
		return fmt.Sprintf("%q, IsNotFound %t", failure.Err, failure.IsNotFound)
	}
	return ""
}
