// The offering side of chapter 415's connection with pion: reads the answer from standard input.
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"os"

	"github.com/pion/webrtc"
)

func main() {
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	connection, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).
		NewPeerConnection(webrtc.Configuration{})
	check(err)
	_, err = connection.CreateDataChannel("chat", nil)
	check(err)
	offer, err := connection.CreateOffer(nil)
	check(err)
	check(connection.SetLocalDescription(offer))
	fmt.Println(base64.StdEncoding.EncodeToString([]byte(offer.SDP)))
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadString('\n')
	check(err)
	answer, err := base64.StdEncoding.DecodeString(line[:len(line)-1])
	check(err)
	check(connection.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}))
	input.ReadByte() // it connects, or tries to, until standard input ends
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
