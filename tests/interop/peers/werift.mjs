// werift: WebRTC in TypeScript alone. It has no codecs, so media is the clip that pion3 sends too, put into RTP here.
import { readFile } from 'node:fs/promises';
import { Peer } from './w3c.mjs';
import { load, main } from './process.mjs';

const IVF_HEADER_LEN = 32;
const IVF_FRAME_HEADER_LEN = 12;
const VIDEO_INTERVAL_MS = 66;
const VIDEO_TICKS = 90 * VIDEO_INTERVAL_MS;
const AUDIO_INTERVAL_MS = 20;
const AUDIO_TICKS = 48 * AUDIO_INTERVAL_MS;
/** A 20 ms Opus frame of silence, which every decoder takes (RFC 6716 §3.1: CELT, full band, mono, one frame). */
const OPUS_SILENCE = Buffer.from([0xf8, 0xff, 0xfe]);
const RTP_PAYLOAD_MAX = 1100;

async function clipFrames() {
  const clip = await readFile(new URL('./pion3/clip.ivf', import.meta.url));
  const frames = [];
  for (let at = IVF_HEADER_LEN; at < clip.length;) {
    const len = clip.readUInt32LE(at);
    at += IVF_FRAME_HEADER_LEN;
    frames.push(clip.subarray(at, at + len));
    at += len;
  }
  return frames;
}

main(async (options) => {
  const werift = load('werift');
  const { MediaStreamTrack, RTCPeerConnection, RtpHeader, RtpPacket, Vp8RtpPayload, useOPUS, useVP8 } = werift;
  const frames = await clipFrames();
  const timers = [];
  const seen = { audio: { packets: 0 }, video: { packets: 0, frames: 0, key_frames: 0 } };

  const sender = (track) => {
    let sequenceNumber = Math.floor(Math.random() * 0x8000);
    let timestamp = Math.floor(Math.random() * 0x80000000);
    return (payload, marker, ticks) => {
      const header = new RtpHeader({ payloadType: 96, sequenceNumber, timestamp, marker, ssrc: 1, version: 2, extension: false, padding: false });
      track.writeRtp(new RtpPacket(header, payload));
      sequenceNumber = (sequenceNumber + 1) & 0xffff;
      timestamp = (timestamp + ticks) >>> 0;
    };
  };

  return new Peer({
    // Its gathering takes 5 s to be complete, but host candidates are there at once.
    gatheringMs: 300,
    connection: () => new RTCPeerConnection({ iceServers: options.iceServers, codecs: { audio: [useOPUS()], video: [useVP8()] } }),
    addMedia(pc) {
      const audio = new MediaStreamTrack({ kind: 'audio' });
      const video = new MediaStreamTrack({ kind: 'video' });
      pc.addTrack(audio);
      pc.addTrack(video);
      const sendAudio = sender(audio);
      timers.push(setInterval(() => sendAudio(OPUS_SILENCE, false, AUDIO_TICKS), AUDIO_INTERVAL_MS));
      const sendVideo = sender(video);
      let number = 0;
      timers.push(setInterval(() => {
        const frame = frames[number++ % frames.length];
        for (let at = 0; at < frame.length; at += RTP_PAYLOAD_MAX) {
          const last = at + RTP_PAYLOAD_MAX >= frame.length;
          // RFC 7741 §4.2: one byte of payload descriptor; the S bit marks the start of partition 0.
          const payload = Buffer.concat([Buffer.from([at === 0 ? 0x10 : 0]), frame.subarray(at, at + RTP_PAYLOAD_MAX)]);
          sendVideo(payload, last, last ? VIDEO_TICKS : 0);
        }
      }, VIDEO_INTERVAL_MS));
    },
    watch(pc) {
      pc.onTrack.subscribe((track) => track.onReceiveRtp.subscribe((packet) => {
        const counts = seen[track.kind];
        counts.packets += 1;
        if (track.kind !== 'video') return;
        if (packet.header.marker) counts.frames += 1;
        if (Vp8RtpPayload.deSerialize(packet.payload).isKeyframe) counts.key_frames += 1;
      }));
    },
    media: () => seen,
    transport(pc) {
      const dtls = pc.dtlsTransports[0];
      const pair = pc.iceTransports[0]?.connection.nominated;
      const candidate = (from) => from && { address: from.host, port: from.port, type: from.type, protocol: from.transport };
      const profiles = { 1: 'SRTP_AES128_CM_HMAC_SHA1_80', 7: 'SRTP_AEAD_AES_128_GCM', 8: 'SRTP_AEAD_AES_256_GCM' };
      const profile = dtls?.dtls?.srtp?.srtpProfile;
      return {
        dtls: dtls?.state === 'connected' ? '1.2' : null,
        srtp: profiles[profile] ?? profile ?? null,
        pair: pair ? { local: candidate(pair.localCandidate), remote: candidate(pair.remoteCandidate) } : null,
      };
    },
    stop: () => timers.forEach(clearInterval),
  }, options);
});
