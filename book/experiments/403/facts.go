// What Go's net package does where this chapter says so.
package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

func main() {
	_, err := net.Listen("udp", "127.0.0.1:0")
	fmt.Println("net.Listen(\"udp\") fails       ", err != nil)

	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	_, hasDeadline := listener.(interface{ SetDeadline(time.Time) error })
	fmt.Printf("SetDeadline, %T %v\n", listener, hasDeadline)
	address := listener.Addr().String()
	listener.Close()

	_, err = net.Dial("tcp", address)
	fmt.Println("Dial, refused: ECONNREFUSED   ", errors.Is(err, syscall.ECONNREFUSED))

	_, err = (&net.Dialer{Timeout: time.Nanosecond}).Dial("tcp", address)
	var timeout net.Error
	fmt.Println("Dial, timeout: Timeout()      ", errors.As(err, &timeout) && timeout.Timeout())

	tries := 0
	for begun := time.Now(); time.Since(begun) < 3*time.Second; tries++ {
		if connection, err := net.Dial("tcp", "127.0.0.1:40000"); err == nil {
			fmt.Println("connected to itself")
			connection.Close()
		}
	}
	fmt.Println("10,000 dials of port 40000 and more, none connected to itself", tries > 10000)
}
