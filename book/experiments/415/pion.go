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
	channel, err := connection.CreateDataChannel("chat", nil)
	check(err)
	got := make(chan webrtc.DataChannelMessage, 1)
	opened := make(chan bool)
	closed := make(chan bool)
	channel.OnOpen(func() { close(opened) })
	channel.OnMessage(func(message webrtc.DataChannelMessage) { got <- message })
	channel.OnClose(func() { close(closed) })

	offer, err := connection.CreateOffer(nil)
	check(err)
	check(connection.SetLocalDescription(offer))
	fmt.Println(base64.StdEncoding.EncodeToString([]byte(offer.SDP)))
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	check(err)
	answer, err := base64.StdEncoding.DecodeString(line[:len(line)-1])
	check(err)
	check(connection.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}))

	<-opened
	check(channel.SendText("hello from Go"))
	fmt.Println("Go got", string((<-got).Data))
	check(channel.Send(make([]byte, 60_000)))
	fmt.Println("Go got", len((<-got).Data), "bytes")
	check(connection.Close())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
