// Pion as one side of a call that is negotiated again and again: `pion3 call`. What is asked of it is written down in
// ../../talk.mjs.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc"
	"github.com/pion/webrtc/pkg/media"
)

// How long a message may take to come back.
const pingTime = 10 * time.Second

type question struct {
	ID    int    `json:"id"`
	What  string `json:"what"`
	Given given  `json:"given"`
}

type given struct {
	Text        string      `json:"text"`
	Name        string      `json:"name"`
	Kind        string      `json:"kind"`
	By          *string     `json:"by"`
	Mid         string      `json:"mid"`
	Description description `json:"description"`
}

type section struct {
	Kind     string  `json:"kind"`
	Mid      *string `json:"mid"`
	Rejected bool    `json:"rejected"`
}

type seen struct {
	Mid     *string `json:"mid"`
	Kind    string  `json:"kind"`
	Sends   *string `json:"sends"`
	Packets int     `json:"packets"`
	Frames  int     `json:"frames"`
	Size    *[2]int `json:"size"`
}

// What came in one track, by the receiver that it came to.
type arrival struct {
	packets, frames int
	size            *[2]int
}

type call struct {
	pc      *webrtc.PeerConnection
	channel *webrtc.DataChannel
	opened  chan struct{}
	back    chan string
	ended   chan struct{}
	frames  [][]byte

	mutex   sync.Mutex
	senders map[string]*webrtc.RTPSender
	arrived map[*webrtc.RTPTransceiver]*arrival
}

func answerQuestions() {
	frames, err := clipFrames()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	var own *call
	for lines.Scan() {
		asked := question{}
		answer := map[string]any{}
		err := json.Unmarshal(lines.Bytes(), &asked)
		var value any
		switch {
		case err != nil:
		case asked.What == "fresh":
			if own != nil {
				own.close()
			}
			own, err = newCall(frames)
		case own == nil:
			err = errors.New("there is no connection")
		default:
			value, err = own.ask(asked.What, asked.Given)
		}
		answer["id"] = asked.ID
		if err != nil {
			answer["error"] = err.Error()
		} else {
			answer["value"] = value
		}
		text, _ := json.Marshal(answer)
		fmt.Println(string(text))
	}
}

func newCall(frames [][]byte) (*call, error) {
	engine := webrtc.SettingEngine{}
	engine.SetIncludeLoopbackCandidate(true)
	codecs := &webrtc.MediaEngine{}
	if err := codecs.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine), webrtc.WithMediaEngine(codecs)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	c := &call{
		pc: pc, frames: frames, opened: make(chan struct{}), back: make(chan string, 16), ended: make(chan struct{}),
		senders: map[string]*webrtc.RTPSender{}, arrived: map[*webrtc.RTPTransceiver]*arrival{},
	}
	pc.OnTrack(c.count)
	pc.OnDataChannel(func(channel *webrtc.DataChannel) {
		channel.OnMessage(func(message webrtc.DataChannelMessage) { _ = channel.SendText(string(message.Data)) })
	})
	return c, nil
}

func (c *call) close() {
	close(c.ended)
	closed := make(chan struct{})
	go func() {
		_ = c.pc.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(3 * time.Second):
	}
}

func (c *call) ask(what string, with given) (any, error) {
	switch what {
	case "open":
		return nil, c.open()
	case "ping":
		return nil, c.ping(with.Text)
	case "add":
		return nil, c.add(with.Name, with.Kind)
	case "remove":
		return nil, c.pc.RemoveTrack(c.senders[with.Name])
	case "replace":
		return nil, c.replace(with.Name, with.By)
	case "offer":
		offer, err := c.pc.CreateOffer(nil)
		return c.local(offer, err)
	case "answer":
		if err := c.accept(with.Description); err != nil {
			return nil, err
		}
		answer, err := c.pc.CreateAnswer(nil)
		return c.local(answer, err)
	case "accept":
		return nil, c.accept(with.Description)
	case "look":
		return c.look(), nil
	}
	return nil, fmt.Errorf("Pion has nothing to %s with", what)
}

func (c *call) open() error {
	channel, err := c.pc.CreateDataChannel("call", nil)
	if err != nil {
		return err
	}
	c.channel = channel
	channel.OnOpen(func() { close(c.opened) })
	channel.OnMessage(func(message webrtc.DataChannelMessage) { c.back <- string(message.Data) })
	return nil
}

func (c *call) ping(text string) error {
	late := time.After(pingTime)
	select {
	case <-c.opened:
	case <-late:
		return errors.New("the channel did not open")
	}
	if err := c.channel.SendText(text); err != nil {
		return err
	}
	for {
		select {
		case got := <-c.back:
			if got == text {
				return nil
			}
		case <-late:
			return errors.New("the message did not come back")
		}
	}
}

// A track of the clip, or of silence, that ends with the call. Another one of pictures has the same clip: Pion scales nothing.
func (c *call) track(kind string) (webrtc.TrackLocal, error) {
	mime, interval := webrtc.MimeTypeOpus, audioInterval
	if kind == "video" {
		mime, interval = webrtc.MimeTypeVP8, videoInterval
	}
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, kind, "pion3")
	if err != nil {
		return nil, err
	}
	go func() {
		ticks := time.NewTicker(interval)
		defer ticks.Stop()
		for number := 0; ; number++ {
			select {
			case <-c.ended:
				return
			case <-ticks.C:
			}
			data := opusSilence
			if kind == "video" {
				data = c.frames[number%len(c.frames)]
			}
			_ = track.WriteSample(media.Sample{Data: data, Duration: interval})
		}
	}()
	return track, nil
}

func (c *call) add(name, kind string) error {
	track, err := c.track(kind)
	if err != nil {
		return err
	}
	sender, err := c.pc.AddTrack(track)
	if err != nil {
		return err
	}
	c.senders[name] = sender
	// RTCP must be read for the interceptors to see it.
	go func() {
		for {
			if _, _, err := sender.ReadRTCP(); err != nil {
				return
			}
		}
	}()
	return nil
}

func (c *call) replace(name string, by *string) error {
	sender := c.senders[name]
	if by == nil {
		return sender.ReplaceTrack(nil)
	}
	kind := strings.SplitN(name, " ", 2)[0]
	track, err := c.track(kind)
	if err != nil {
		return err
	}
	return sender.ReplaceTrack(track)
}

func (c *call) local(made webrtc.SessionDescription, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(made); err != nil {
		return nil, err
	}
	<-gathered
	full := c.pc.LocalDescription()
	return description{full.Type.String(), full.SDP}, nil
}

func (c *call) accept(remote description) error {
	return c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.NewSDPType(remote.Type), SDP: remote.SDP})
}

// Counts what comes in a track: packets, ends of pictures, and how large key frames say that they are.
func (c *call) count(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	var own *webrtc.RTPTransceiver
	for _, each := range c.pc.GetTransceivers() {
		if each.Receiver() == receiver {
			own = each
		}
	}
	c.mutex.Lock()
	found := c.arrived[own]
	if found == nil {
		found = &arrival{}
		c.arrived[own] = found
	}
	c.mutex.Unlock()
	isVideo := track.Kind() == webrtc.RTPCodecTypeVideo
	if isVideo {
		go func() {
			for {
				request := &rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}
				if c.pc.WriteRTCP([]rtcp.Packet{request}) != nil {
					return
				}
				select {
				case <-c.ended:
					return
				case <-time.After(pliInterval):
				}
			}
		}()
	}
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		c.mutex.Lock()
		found.packets++
		if isVideo && packet.Marker {
			found.frames++
		}
		if size := vp8Size(packet.Payload); isVideo && size != nil {
			found.size = size
		}
		c.mutex.Unlock()
	}
}

// How large the picture is that a payload begins, where that is a key frame (RFC 6386 §9.1).
func vp8Size(payload []byte) *[2]int {
	start, key := vp8Start(payload)
	if !start || !key {
		return nil
	}
	at := strings.Index(string(payload), "\x9d\x01\x2a")
	if at < 0 || len(payload) < at+7 {
		return nil
	}
	side := func(at int) int { return (int(payload[at]) | int(payload[at+1])<<8) & 0x3fff }
	return &[2]int{side(at + 3), side(at + 5)}
}

var (
	midLine   = regexp.MustCompile(`(?m)^a=mid:(\S+)`)
	mediaLine = regexp.MustCompile(`(?m)^m=(\w+) (\d+) `)
)

func sectionsOf(from *webrtc.SessionDescription) []section {
	found := []section{}
	if from == nil {
		return found
	}
	starts := mediaLine.FindAllStringSubmatchIndex(from.SDP, -1)
	for index, at := range starts {
		end := len(from.SDP)
		if index+1 < len(starts) {
			end = starts[index+1][0]
		}
		text := from.SDP[at[0]:end]
		own := section{Kind: from.SDP[at[2]:at[3]], Rejected: from.SDP[at[4]:at[5]] == "0" && !strings.Contains(text, "a=bundle-only")}
		if mid := midLine.FindStringSubmatch(text); mid != nil {
			own.Mid = &mid[1]
		}
		found = append(found, own)
	}
	return found
}

func (c *call) look() any {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	all := []seen{}
	for _, transceiver := range c.pc.GetTransceivers() {
		own := seen{Kind: transceiver.Kind().String()}
		if mid := transceiver.Mid(); mid != "" {
			own.Mid = &mid
		}
		for name, sender := range c.senders {
			if sender != nil && transceiver.Sender() == sender {
				text := name
				own.Sends = &text
			}
		}
		if found := c.arrived[transceiver]; found != nil {
			own.Packets, own.Frames, own.Size = found.packets, found.frames, found.size
		}
		all = append(all, own)
	}
	return map[string]any{
		"signaling": c.pc.SignalingState().String(), "connection": c.pc.ConnectionState().String(), "transceivers": all,
		"local": sectionsOf(c.pc.CurrentLocalDescription()), "remote": sectionsOf(c.pc.CurrentRemoteDescription()),
	}
}
