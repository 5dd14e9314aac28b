// The page's side of the browser peers: the W3C test with the fake camera and microphone.
import { Peer, mediaByStats, transportByStats } from './w3c.mjs';

/** Of the source of a one-way call: as large, as quick and at most at the rate of the highest clip of `ladder/`. */
const SCENE = { width: 640, height: 360, framesPerSecond: 30, bitsPerSecondMax: 3_000_000 };

/** A picture that takes as many bits as it is given: bars that move, under noise. */
function scene() {
  const canvas = Object.assign(document.createElement('canvas'), { width: SCENE.width, height: SCENE.height });
  const context = canvas.getContext('2d');
  const tile = Object.assign(document.createElement('canvas'), { width: SCENE.width * 2, height: SCENE.height * 2 });
  const noise = tile.getContext('2d').createImageData(tile.width, tile.height);
  // The same numbers on every run.
  let state = 1;
  for (let at = 0; at < noise.data.length; at += 4) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    noise.data.fill(state >>> 24, at, at + 3);
    noise.data[at + 3] = 60;
  }
  tile.getContext('2d').putImageData(noise, 0, 0);
  let frame = 0;
  setInterval(() => {
    frame += 1;
    for (let bar = 0; bar < 8; bar++) {
      context.fillStyle = `hsl(${bar * 45} 80% 50%)`;
      context.fillRect(((bar * 80 + frame * 3) % (SCENE.width + 80)) - 80, 0, 80, SCENE.height);
    }
    context.drawImage(tile, -((frame * 157) % SCENE.width), -((frame * 89) % SCENE.height));
  }, 1000 / SCENE.framesPerSecond);
  return canvas.captureStream(SCENE.framesPerSecond).getVideoTracks()[0];
}

/** Sound and the scene to the other side, nothing from there. */
async function addOneWay(pc, { role }) {
  if (role === 'answer') return;
  const [sound] = (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks();
  const picture = scene();
  const stream = new MediaStream([sound, picture]);
  pc.addTransceiver(sound, { direction: 'sendonly', streams: [stream] });
  pc.addTransceiver(picture, { direction: 'sendonly', streams: [stream], sendEncodings: [{ maxBitrate: SCENE.bitsPerSecondMax }] });
}

const stack = {
  connection: (options) => new RTCPeerConnection({ iceServers: options.iceServers }),
  async addMedia(pc, options) {
    if (options.oneWay) return addOneWay(pc, options);
    const simulcast = options.simulcast && options.role === 'offer';
    // Chromium makes three qualities of a large picture only.
    const [width, height] = simulcast ? [1280, 720] : [320, 180];
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: true,
      video: { width: { ideal: width }, height: { ideal: height } },
    });
    for (const track of stream.getTracks()) {
      if (simulcast && track.kind === 'video') {
        // Few bits and no fewer pixels: on a busy machine the browser sees little room, or cores too slow, and the largest never comes.
        const sendEncodings = [['q', 4, 60], ['h', 2, 120], ['f', 1, 250]].map(([rid, scaleResolutionDownBy, kbits]) => ({ rid, scaleResolutionDownBy, maxBitrate: kbits * 1000 }));
        const { sender } = pc.addTransceiver(track, { streams: [stream], sendEncodings });
        await sender.setParameters({ ...sender.getParameters(), degradationPreference: 'maintain-resolution' });
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
    if (options.video === 'vp8') return;
    for (const transceiver of pc.getTransceivers()) {
      if (transceiver.sender.track?.kind !== 'video') continue;
      const all = RTCRtpReceiver.getCapabilities('video').codecs;
      const name = `video/${options.video}`;
      const wanted = all.filter((codec) => [name, 'video/rtx'].includes(codec.mimeType.toLowerCase()));
      if (!wanted.some((codec) => codec.mimeType.toLowerCase() === name)) throw new Error(`this browser has no ${options.video}`);
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
