// The page's side of the browser peers: the W3C test with the fake camera and microphone.
import { Peer, mediaByStats, transportByStats } from './w3c.mjs';

const stack = {
  connection: () => new RTCPeerConnection({ iceServers: [] }),
  async addMedia(pc, options) {
    const simulcast = options.simulcast && options.role === 'offer';
    // Chromium makes three qualities of a large picture only.
    const [width, height] = simulcast ? [1280, 720] : [320, 180];
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: true,
      video: { width: { ideal: width }, height: { ideal: height } },
    });
    for (const track of stream.getTracks()) {
      if (simulcast && track.kind === 'video') {
        const sendEncodings = [['q', 4], ['h', 2], ['f', 1]].map(([rid, scaleResolutionDownBy]) => ({ rid, scaleResolutionDownBy }));
        pc.addTransceiver(track, { streams: [stream], sendEncodings });
      } else {
        pc.addTrack(track, stream);
      }
    }
    if (options.repair === 'red') {
      const transceiver = pc.getTransceivers().find((own) => own.sender.track?.kind === 'audio');
      const all = RTCRtpReceiver.getCapabilities('audio').codecs;
      const named = (name) => all.filter((codec) => codec.mimeType.toLowerCase() === `audio/${name}`);
      transceiver.setCodecPreferences([...named('red'), ...named('opus')]);
    }
    if (options.video !== 'h264') return;
    for (const transceiver of pc.getTransceivers()) {
      if (transceiver.sender.track?.kind !== 'video') continue;
      const all = RTCRtpReceiver.getCapabilities('video').codecs;
      const wanted = all.filter((codec) => ['video/h264', 'video/rtx'].includes(codec.mimeType.toLowerCase()));
      if (!wanted.some((codec) => codec.mimeType.toLowerCase() === 'video/h264')) throw new Error('this browser has no H264');
      transceiver.setCodecPreferences(wanted);
    }
  },
  watch(pc) {
    // Attached to an element, because a browser need not decode what nobody looks at.
    pc.ontrack = (event) => {
      const element = document.createElement(event.track.kind === 'video' ? 'video' : 'audio');
      element.autoplay = true;
      element.muted = true;
      element.playsInline = true;
      element.srcObject = new MediaStream([event.track]);
      document.body.append(element);
    };
  },
  media: mediaByStats,
  transport: transportByStats,
};

let peer;
window.interop = {
  make(options) { peer = new Peer(stack, options); },
  offer: () => peer.offer(),
  answer: (remote) => peer.answer(remote),
  accept: (remote) => peer.accept(remote),
  run: () => peer.run(),
};
