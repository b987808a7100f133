// What Go's standard library does for lab 420: facts.go HOST:PORT
package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	server, _ := net.ResolveUDPAddr("udp4", os.Args[1])
	socket, _ := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	request := make([]byte, 20) // no type for STUN in the standard library
	binary.BigEndian.PutUint16(request, 1)
	binary.BigEndian.PutUint32(request[4:], 0x2112a442)
	rand.Read(request[8:])
	socket.WriteToUDP(request, server)
	response := make([]byte, 1500)
	n, from, _ := socket.ReadFromUDP(response)
	port := binary.BigEndian.Uint16(response[26:n]) ^ 0x2112
	fmt.Println("answer from the server:", from.String() == server.String(),
		"- mapped port is the local port:", int(port) == socket.LocalAddr().(*net.UDPAddr).Port)
	socket.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, _, err := socket.ReadFromUDP(response)
	fmt.Println("no second packet:", errors.Is(err, os.ErrDeadlineExceeded))
}
