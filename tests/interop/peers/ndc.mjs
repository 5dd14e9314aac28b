// node-datachannel: libdatachannel with usrsctp and libjuice, by its W3C polyfill. Of media its polyfill has nothing: tracks
// take and give finished RTP packets, so that it sends back what arrives, from a source of its own, and counts it.
import { Peer } from './w3c.mjs';
import { load, main } from './process.mjs';

/** Sources and payload types of what it offers. */
const SOURCES = { video: { ssrc: 0x6e646301, payloadType: 96 }, audio: { ssrc: 0x6e646302, payloadType: 111 } };

/** RTCP where RTP is expected (RFC 5761 §4). */
const isRtcp = (packet) => packet[1] >= 192 && packet[1] <= 223;

main(async (options) => {
  const { RTCPeerConnection } = load('node-datachannel/polyfill');
  const { Audio, PeerConnection, Video } = load('node-datachannel');
  const native = new PeerConnection('interop', { iceServers: options.iceServers.map(({ urls }) => urls) });
  const found = { audio: { packets: 0 }, video: { packets: 0, frames: 0 } };
  const tracks = [];
  const echo = (track) => {
    const kind = track.type();
    const { ssrc } = SOURCES[kind];
    // Whoever lets go of a track ends it.
    tracks.push(track);
    let media = null;
    track.onMessage((packet) => {
      if (packet.length < 12 || isRtcp(packet)) return;
      // Retransmissions and probes are of another payload type and source, with numbers of their own.
      media ??= packet[1] & 0x7f;
      if ((packet[1] & 0x7f) !== media) return;
      found[kind].packets += 1;
      // The end of a picture.
      if (kind === 'video' && packet[1] & 0x80) found.video.frames += 1;
      const back = Buffer.from(packet);
      back.writeUInt32BE(ssrc, 8);
      if (track.isOpen()) track.sendMessageBinary(back);
    });
  };
  native.onTrack(echo);
  // The answerer has the tracks of the offer. An offer is made with the first channel, so that they are there before it.
  if (options.media && options.role === 'offer') {
    const video = new Video('video', 'SendRecv');
    video.addVP8Codec(SOURCES.video.payloadType);
    video.addSSRC(SOURCES.video.ssrc, 'ndc', 'ndc', 'picture');
    const audio = new Audio('audio', 'SendRecv');
    audio.addOpusCodec(SOURCES.audio.payloadType);
    audio.addSSRC(SOURCES.audio.ssrc, 'ndc', 'ndc', 'sound');
    for (const media of [audio, video]) echo(native.addTrack(media));
  }
  return new Peer({
    connection: () => new RTCPeerConnection({ iceServers: options.iceServers, peerConnection: native }),
    addMedia() {},
    media: () => ({ audio: { ...found.audio }, video: { ...found.video } }),
    transport: (pc) => {
      const pair = pc.sctp?.transport?.iceTransport?.getSelectedCandidatePair?.();
      const candidate = (from) => from && { address: from.address, port: from.port, type: from.type, protocol: from.protocol };
      return { dtls: null, srtp: null, pair: pair ? { local: candidate(pair.local), remote: candidate(pair.remote) } : null };
    },
  }, options);
});
