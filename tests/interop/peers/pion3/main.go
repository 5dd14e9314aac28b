// Pion v3, from Debian's packages, as one peer process. The protocol is written down in process.mjs.
//
// Built in GOPATH mode against /usr/share/gocode, where import paths have no /v3.
// It has no codecs: it sends the built-in clip and counts the RTP packets and whole VP8 frames that arrive.
package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc"
	"github.com/pion/webrtc/pkg/media"
	"github.com/pion/webrtc/pkg/media/ivfreader"
)

//go:embed clip.ivf
var clip []byte

// The same as in w3c.mjs.
const (
	videoFramesMin  = 20
	audioPacketsMin = 50
	messageLenMax   = 16384
)

const (
	holdTime      = 10 * time.Second
	videoInterval = 66 * time.Millisecond
	audioInterval = 20 * time.Millisecond
	// Without a key frame in this time after the start, ask for one; a decoder downstream would do the same.
	pliInterval = time.Second
)

// A 20 ms Opus frame of silence (RFC 6716 §3.1: CELT, full band, mono, one frame).
var opusSilence = []byte{0xf8, 0xff, 0xfe}

type description struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

type candidate struct {
	Address  string `json:"address"`
	Port     uint16 `json:"port"`
	Type     string `json:"type"`
	Protocol string `json:"protocol"`
}

type pair struct {
	Local  candidate `json:"local"`
	Remote candidate `json:"remote"`
}

type counts struct {
	Codec     string `json:"codec"`
	Packets   int    `json:"packets"`
	Frames    int    `json:"frames,omitempty"`
	KeyFrames int    `json:"key_frames,omitempty"`
}

type result struct {
	OK     bool     `json:"ok"`
	Err    *string  `json:"err"`
	OpenMs *float64 `json:"open_ms"`
	N      int      `json:"n"`
	P50Ms  *float64 `json:"p50_ms"`
	DTLS   *string  `json:"dtls"`
	SRTP   *string  `json:"srtp"`
	Pair   *pair    `json:"pair"`
	Audio  *counts  `json:"audio,omitempty"`
	Video  *counts  `json:"video,omitempty"`
}

// As ours has them on its command line.
type iceServers []webrtc.ICEServer

func (s *iceServers) String() string { return fmt.Sprint(len(*s)) }

func (s *iceServers) Set(text string) error {
	server := webrtc.ICEServer{URLs: []string{text}}
	scheme, rest, _ := strings.Cut(text, ":")
	if user, host, found := strings.Cut(rest, "@"); found {
		name, password, _ := strings.Cut(user, ":")
		server = webrtc.ICEServer{URLs: []string{scheme + ":" + host}, Username: name, Credential: password}
	}
	*s = append(*s, server)
	return nil
}

type peer struct {
	servers []webrtc.ICEServer
	role    string
	pings   int
	media   bool
	pc      *webrtc.PeerConnection
	// One word when the test is over: nil, or why it failed. Later words are dropped.
	over        chan error
	remoteSetAt time.Time

	mutex      sync.Mutex
	openMs     *float64
	echoed     int
	sent       []byte
	sentIsText bool
	sentAt     time.Time
	roundTrips []float64
	received   map[string]*counts
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "call" {
		answerQuestions()
		return
	}
	if len(os.Args) < 2 || (os.Args[1] != "offer" && os.Args[1] != "answer") {
		fmt.Fprintln(os.Stderr, "usage: pion3 offer|answer [--media] [--pings N] [--timeout SECONDS]")
		os.Exit(2)
	}
	flags := flag.NewFlagSet("pion3", flag.ExitOnError)
	withMedia := flags.Bool("media", false, "audio and video both ways")
	pings := flags.Int("pings", 200, "messages")
	timeout := flags.Float64("timeout", 40, "seconds")
	video := flags.String("video", "vp8", "vp8 only")
	servers := iceServers{}
	flags.Var(&servers, "ice-server", "stun:HOST or turn:USER:PASSWORD@HOST; may be repeated")
	_ = flags.Parse(os.Args[2:])

	p := &peer{role: os.Args[1], servers: servers, pings: *pings, media: *withMedia, over: make(chan error, 1), received: map[string]*counts{"audio": {}, "video": {}}}
	lines := bufio.NewReader(os.Stdin)
	err := error(nil)
	if *video != "vp8" {
		err = fmt.Errorf("pion3: the clip is VP8, not %s", *video)
	}
	if err == nil {
		err = p.connect(lines)
	}
	if err == nil {
		err = p.wait(time.Duration(*timeout * float64(time.Second)))
	}
	out := p.result(err)
	text, _ := json.Marshal(out)
	fmt.Printf("RESULT %s\n", text)
	if !out.OK {
		os.Exit(1)
	}
	// Stay for the other side until stdin ends.
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(holdTime):
	}
	closed := make(chan struct{})
	go func() {
		_ = p.pc.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(3 * time.Second):
	}
}

func (p *peer) connect(lines *bufio.Reader) error {
	engine := webrtc.SettingEngine{}
	engine.SetIncludeLoopbackCandidate(true)
	codecs := &webrtc.MediaEngine{}
	if err := codecs.RegisterDefaultCodecs(); err != nil {
		return err
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine), webrtc.WithMediaEngine(codecs)).NewPeerConnection(webrtc.Configuration{ICEServers: p.servers})
	if err != nil {
		return err
	}
	p.pc = pc
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateFailed {
			p.end(fmt.Errorf("connection failed (%s)", p.states()))
		}
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.count(track) })

	if p.role == "offer" {
		channel, err := pc.CreateDataChannel("echo", nil)
		if err != nil {
			return err
		}
		p.open(channel)
		if err := p.addMedia(); err != nil {
			return err
		}
		offer, err := pc.CreateOffer(nil)
		if err != nil {
			return err
		}
		if err := p.print(offer); err != nil {
			return err
		}
		return p.accept(lines)
	}
	pc.OnDataChannel(p.open)
	if err := p.accept(lines); err != nil {
		return err
	}
	if err := p.addMedia(); err != nil {
		return err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	return p.print(answer)
}

func (p *peer) accept(lines *bufio.Reader) error {
	line, err := lines.ReadBytes('\n')
	if err != nil && len(line) == 0 {
		return fmt.Errorf("stdin ended before a description came")
	}
	remote := description{}
	if err := json.Unmarshal(line, &remote); err != nil {
		return err
	}
	p.remoteSetAt = time.Now()
	return p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.NewSDPType(remote.Type), SDP: remote.SDP})
}

// Sets the local description, waits for all candidates and prints it.
func (p *peer) print(local webrtc.SessionDescription) error {
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(local); err != nil {
		return err
	}
	<-gathered
	full := p.pc.LocalDescription()
	line, err := json.Marshal(description{full.Type.String(), full.SDP})
	fmt.Println(string(line))
	return err
}

func (p *peer) addMedia() error {
	if !p.media {
		return nil
	}
	audio, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "pion3")
	if err != nil {
		return err
	}
	video, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "pion3")
	if err != nil {
		return err
	}
	frames, err := clipFrames()
	if err != nil {
		return err
	}
	for _, track := range []webrtc.TrackLocal{audio, video} {
		sender, err := p.pc.AddTrack(track)
		if err != nil {
			return err
		}
		// RTCP must be read for the interceptors (NACK) to see it.
		go func() {
			for {
				if _, _, err := sender.ReadRTCP(); err != nil {
					return
				}
			}
		}()
	}
	go func() {
		for range time.Tick(audioInterval) {
			_ = audio.WriteSample(media.Sample{Data: opusSilence, Duration: audioInterval})
		}
	}()
	go func() {
		number := 0
		for range time.Tick(videoInterval) {
			_ = video.WriteSample(media.Sample{Data: frames[number%len(frames)], Duration: videoInterval})
			number++
		}
	}()
	return nil
}

func clipFrames() ([][]byte, error) {
	reader, _, err := ivfreader.NewWith(bytes.NewReader(clip))
	if err != nil {
		return nil, err
	}
	frames := [][]byte{}
	for {
		frame, _, err := reader.ParseNextFrame()
		if err == io.EOF {
			return frames, nil
		}
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame)
	}
}

// Counts packets, and for VP8 the frames that are whole: from the start bit to the marker without a gap.
func (p *peer) count(track *webrtc.TrackRemote) {
	kind := track.Kind().String()
	if kind == "video" {
		go func() {
			for {
				request := &rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}
				if p.pc.WriteRTCP([]rtcp.Packet{request}) != nil {
					return
				}
				time.Sleep(pliInterval)
			}
		}()
	}
	whole, next := false, uint16(0)
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		p.mutex.Lock()
		seen := p.received[kind]
		seen.Packets++
		seen.Codec = track.Codec().MimeType
		if kind == "video" && seen.Codec == webrtc.MimeTypeVP8 {
			start, key := vp8Start(packet.Payload)
			whole = start || (whole && packet.SequenceNumber == next)
			if start && key {
				seen.KeyFrames++
			}
			if packet.Marker && whole && seen.KeyFrames > 0 {
				seen.Frames++
			}
			next = packet.SequenceNumber + 1
		}
		p.mutex.Unlock()
	}
}

// Whether a VP8 payload starts a frame, and whether that is a key frame (RFC 7741 §4.2, RFC 6386 §9.1).
func vp8Start(payload []byte) (start, key bool) {
	at := 1
	if len(payload) > 1 && payload[0]&0x80 != 0 {
		extension := payload[1]
		at = 2
		if extension&0x80 != 0 && len(payload) > 2 {
			if payload[2]&0x80 != 0 {
				at++
			}
			at++
		}
		if extension&0x40 != 0 {
			at++
		}
		if extension&0x30 != 0 {
			at++
		}
	}
	if len(payload) <= at {
		return false, false
	}
	start = payload[0]&0x10 != 0 && payload[0]&0x07 == 0
	return start, start && payload[at]&1 == 0
}

func (p *peer) open(channel *webrtc.DataChannel) {
	channel.OnOpen(func() {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		ms := math.Round(float64(time.Since(p.remoteSetAt).Microseconds())/100) / 10
		p.openMs = &ms
		if p.role == "offer" {
			p.next(channel)
		}
	})
	channel.OnMessage(func(received webrtc.DataChannelMessage) {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		p.receive(channel, received)
	})
	channel.OnClose(func() { p.end(fmt.Errorf("channel closed: %s", p.progress())) })
}

func (p *peer) next(channel *webrtc.DataChannel) {
	if p.echoed == p.pings {
		p.end(nil)
		return
	}
	p.sent, p.sentIsText = message(p.echoed)
	p.sentAt = time.Now()
	if err := send(channel, p.sent, p.sentIsText); err != nil {
		p.end(err)
	}
}

func (p *peer) receive(channel *webrtc.DataChannel, received webrtc.DataChannelMessage) {
	if p.role == "answer" {
		if err := send(channel, received.Data, received.IsString); err != nil {
			p.end(err)
			return
		}
		p.echoed++
		if p.echoed == p.pings {
			p.end(nil)
		}
		return
	}
	if received.IsString != p.sentIsText || !bytes.Equal(received.Data, p.sent) {
		p.end(fmt.Errorf("echo %d differs: sent %d bytes (text: %v), got %d bytes (text: %v)", p.echoed, len(p.sent), p.sentIsText, len(received.Data), received.IsString))
		return
	}
	p.roundTrips = append(p.roundTrips, float64(time.Since(p.sentAt).Microseconds())/1000)
	p.echoed++
	p.next(channel)
}

func send(channel *webrtc.DataChannel, data []byte, isText bool) error {
	if isText {
		return channel.SendText(string(data))
	}
	return channel.Send(data)
}

// The message number index: text and binary in turn, 1 byte to 16 KiB, the same on every run.
func message(index int) (data []byte, isText bool) {
	step := index / 2
	length := 1 + step*7919%messageLenMax
	if step == 0 {
		length = 1
	} else if step == 1 {
		length = messageLenMax
	}
	if index%2 == 0 {
		// Every fourth text has characters of two, three and four bytes in UTF-8.
		if step%4 == 2 {
			return []byte(strings.Repeat("é€😀", (length+8)/9)), true
		}
		return bytes.Repeat([]byte{byte(33 + index%90)}, length), true
	}
	data = make([]byte, length)
	for at := range data {
		data[at] = byte(at*31 + index)
	}
	return data, false
}

func (p *peer) end(err error) {
	select {
	case p.over <- err:
	default:
	}
}

func (p *peer) wait(timeout time.Duration) error {
	deadline := time.After(timeout)
	select {
	case err := <-p.over:
		if err != nil {
			return err
		}
	case <-deadline:
		return fmt.Errorf("timeout: %s", p.progress())
	}
	for p.media {
		p.mutex.Lock()
		enough := p.received["video"].Frames >= videoFramesMin && p.received["audio"].Packets >= audioPacketsMin
		p.mutex.Unlock()
		if enough {
			return nil
		}
		select {
		case err := <-p.over:
			if err != nil {
				return err
			}
		case <-deadline:
			return fmt.Errorf("timeout: %s", p.progress())
		case <-time.After(150 * time.Millisecond):
		}
	}
	return nil
}

func (p *peer) result(err error) result {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	out := result{OK: err == nil, OpenMs: p.openMs, N: p.echoed}
	if err != nil {
		text := err.Error()
		out.Err = &text
	}
	if len(p.roundTrips) > 0 {
		sort.Float64s(p.roundTrips)
		out.P50Ms = &p.roundTrips[len(p.roundTrips)/2]
	}
	if p.media {
		out.Audio, out.Video = p.received["audio"], p.received["video"]
	}
	if p.pc == nil {
		return out
	}
	transport := p.pc.SCTP().Transport()
	if transport.State() == webrtc.DTLSTransportStateConnected {
		// The only version that this Pion speaks.
		version := "1.2"
		out.DTLS = &version
	}
	if selected, err := transport.ICETransport().GetSelectedCandidatePair(); err == nil && selected != nil {
		out.Pair = &pair{describe(selected.Local), describe(selected.Remote)}
	}
	return out
}

func describe(from *webrtc.ICECandidate) candidate {
	return candidate{from.Address, from.Port, from.Typ.String(), from.Protocol.String()}
}

func (p *peer) states() string {
	return fmt.Sprintf("ice %s, connection %s, signaling %s", p.pc.ICEConnectionState(), p.pc.ConnectionState(), p.pc.SignalingState())
}

func (p *peer) progress() string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return fmt.Sprintf("%d of %d messages, video %+v, audio %+v, %s", p.echoed, p.pings, *p.received["video"], *p.received["audio"], p.states())
}
