// What Go does where this lab's Java does: the claims of chapter 402.
package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

func main() {
	nobody := unused()
	c, err := net.Dial("udp", nobody)
	fmt.Printf("net.Dial              error %v, nobody listens\n", err)
	for i := 1; i <= 4; i++ {
		n, err := c.Write([]byte("page.views:1|c"))
		fmt.Printf("Write %d               %d bytes, refused: %v\n", i, n,
			errors.Is(err, syscall.ECONNREFUSED))
	}

	l, _ := net.ListenPacket("udp", "127.0.0.1:0")
	to, _ := net.ResolveUDPAddr("udp", nobody)
	refused := 0
	for i := 0; i < 6; i++ {
		if _, err := l.WriteTo([]byte("x"), to); err != nil {
			refused++
		}
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Printf("ListenPacket, WriteTo 6 writes, %d refused\n", refused)

	agent, _ := net.ListenPacket("udp", "127.0.0.1:0")
	d, _ := net.Dial("udp", agent.LocalAddr().String())
	fmt.Fprintf(d, "a:%d|c\n%s", 1, "b:7|g")
	buffer := make([]byte, 1500)
	n, _, _ := agent.ReadFrom(buffer)
	fmt.Printf("Fprintf               one datagram: %q\n", buffer[:n])

	_, err = net.Dial("udp", "metrics.invalid:8125")
	var dns *net.DNSError
	fmt.Printf("net.Dial, no address  a net.DNSError: %v\n", errors.As(err, &dns))

	n, err = d.Write(nil)
	agent.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	got, _, readErr := agent.ReadFrom(buffer)
	fmt.Printf("Write(nil)            %d bytes, error %v; the agent got %d bytes, error %v\n",
		n, err, got, readErr)

	for _, v := range []float64{0.5, 1e10, 0.0001} {
		fmt.Printf("FormatFloat 'f', -1   %s\n", strconv.FormatFloat(v, 'f', -1, 64))
	}
}

// An address at which nobody listens any more.
func unused() string {
	l, _ := net.ListenPacket("udp", "127.0.0.1:0")
	defer l.Close()
	return l.LocalAddr().String()
}
