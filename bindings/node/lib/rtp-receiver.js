/** `RTCRtpReceiver` (W3C webrtc-pc §5.3). */

import { Slots, double, illegal, required, shape } from './webidl.js';
import { invalidState, native } from './errors.js';
import { register } from './events.js';
import { setMuted } from './media-stream-track.js';
import { createEncodedStreams } from './encoded-streams.js';
import { HandedCounts, soundOf } from './media-counts.js';
import { linearLevel, present } from './rtp-parameters.js';
import { attach, offer, toReceiverTransform } from './transforms.js';
import { toCapabilities } from './rtp-sender.js';

export const receivers = new Slots('RTCRtpReceiver');

export class RTCRtpReceiver {
  constructor() {
    illegal(arguments[0]);
    receivers.set(this, {
      ...arguments[1], transport: null, streams: [], target: null,
      // What arrived: sources and contributors by number, and whether frames are handed over.
      sources: new Map(), contributors: new Map(), isRead: false, wanted: 0, readFor: 0, sink: null, transform: null, encoded: null, codec: null, pictures: {},
      sound: { totalSamplesReceived: 0, totalSamplesDuration: 0, concealedSamples: 0, concealmentEvents: 0 }, last: null,
      handed: new HandedCounts(),
    });
  }
  get track() {
    return receivers.of(this).track;
  }
  get transport() {
    return receivers.of(this).transport;
  }
  get jitterBufferTarget() {
    return receivers.of(this).target;
  }
  set jitterBufferTarget(value) {
    const own = receivers.of(this);
    if (value === null || value === undefined) {
      own.target = null;
      return;
    }
    const number = double(value);
    if (number < 0 || number > 4000) throw new RangeError('jitterBufferTarget is outside of 0 to 4000 ms');
    own.target = number;
  }
  static getCapabilities(kind) {
    required(1, arguments.length, 'getCapabilities');
    return toCapabilities(kind);
  }
  getParameters() {
    const own = receivers.of(this);
    const empty = { headerExtensions: [], rtcp: { reducedSize: false }, codecs: [] };
    try {
      const got = own.connection.native.parameters(own.transceiver.id);
      return {
        headerExtensions: got.headerExtensions.map(({ uri, id }) => ({ uri, id, encrypted: false })),
        rtcp: { reducedSize: got.reducedSize },
        codecs: got.codecs.map(present),
      };
    } catch {
      return empty;
    }
  }
  get transform() {
    return receivers.of(this).transform;
  }
  set transform(value) {
    const own = receivers.of(this);
    const transform = toReceiverTransform(value);
    if (own.encoded !== null && transform !== null) throw invalidState('the frames go through streams already');
    attach(own.transform, transform, ownerOf(own));
    own.transform = transform;
  }
  createEncodedStreams() {
    const own = receivers.of(this);
    return createEncodedStreams(own, ownerOf(own));
  }
  getContributingSources() {
    return recent(receivers.of(this).contributors);
  }
  getSynchronizationSources() {
    return recent(receivers.of(this).sources);
  }
  async getStats() {
    const own = receivers.of(this);
    return own.connection.statsOf({ transceiver: own.transceiver, inbound: true });
  }
}
shape(RTCRtpReceiver, 'RTCRtpReceiver');
register('RTCRtpReceiver', RTCRtpReceiver);

/** How long a source is remembered (§5.3.1). */
const SOURCE_MS = 10_000;

/** Sources that are remembered of one receiver. */
const SOURCES_MAX = 64;

/** What was heard in the last ten seconds, the newest first. */
function recent(sources) {
  const now = performance.timeOrigin + performance.now();
  for (const [source, { timestamp }] of sources) if (now - timestamp > SOURCE_MS) sources.delete(source);
  return [...sources.values()].sort((a, b) => b.timestamp - a.timestamp).map((source) => ({ ...source }));
}

/** Lets what the other side sends come, until it stops sending. */
export function readFrames(transceiver) {
  const own = receivers.of(transceiver.receiver);
  own.wanted += 1;
  if (!own.isRead) read(own);
}

function read(own) {
  own.isRead = true;
  own.readFor = own.wanted;
  native(() => own.connection.native.readFrames(own.transceiver.id));
}

function readAgain(own) {
  try {
    read(own);
  } catch {
    // The transceiver was stopped in the meantime.
    own.isRead = false;
  }
}

/** A frame arrived, or no more will. */
export function onFrame(transceiver, event) {
  const own = receivers.of(transceiver.receiver);
  if (event.kind === 'frames-end') {
    own.isRead = false;
    // The other side began again before its end was told.
    if (own.wanted !== own.readFor && !own.connection.isClosed) readAgain(own);
    return;
  }
  own.codec = event.codec;
  if (own.kind === 'audio') noteSound(own, event);
  else notePicture(own, event);
  noteSource(own, event);
  if (['sendrecv', 'recvonly'].includes(transceiver.remoteDirection)) setMuted(own.track, false);
  if (own.transform === null && own.encoded === null) {
    own.handed.hand(own.sink, event);
    return;
  }
  let described;
  try {
    described = describeFrame(own, event);
  } catch {
    // The transceiver was stopped after the frame had come.
    return;
  }
  if (own.encoded === null) offer(own.transform, described, event);
  else own.encoded.offer(described, event);
}

/** What a transform is told of a frame (webrtc-encoded-transform §5.2). */
function describeFrame(own, { codec, timestamp, keyFrame, text, data, ssrc, contributing, capturedAt, audioLevel, sequenceNumber, waited = 0 }) {
  const { codecs } = own.connection.native.parameters(own.transceiver.id);
  const used = codecs.find(({ mimeType }) => mimeType.toLowerCase() === `${own.kind}/${codec}`.toLowerCase());
  const { frameWidth: width, frameHeight: height } = own.pictures;
  const metadata = {
    synchronizationSource: ssrc, payloadType: used?.payloadType, contributingSources: contributing ?? [], rtpTimestamp: timestamp,
    mimeType: used?.mimeType, receiveTime: performance.now() - waited, captureTime: capturedAt,
    ...(own.kind === 'video' ? { width, height } : { audioLevel: linearLevel(audioLevel), sequenceNumber }),
  };
  return { kind: own.kind, type: own.kind === 'video' && keyFrame ? 'key' : 'delta', rid: text ?? undefined, data, metadata: present(metadata) };
}

/** How frames of a receiver go on after a transform. */
function ownerOf(own) {
  return {
    side: 'receiver',
    kind: own.kind,
    requestKeyFrame() {
      try {
        own.connection.native.requestKeyFrame(own.transceiver.id);
      } catch {
        // The receiver has stopped in the meantime.
      }
    },
    forward: (event, data) => own.handed.hand(own.sink, { ...event, data: Buffer.from(data) }),
  };
}

function noteSource(own, { ssrc, contributing, contributingLevels, timestamp: rtpTimestamp, audioLevel, capturedAt, waited = 0 }) {
  if (ssrc === undefined || ssrc === null) return;
  const timestamp = performance.timeOrigin + performance.now() - waited;
  const captured = capturedAt === undefined || capturedAt === null ? {} : { captureTimestamp: capturedAt };
  remember(own.sources, { timestamp, source: ssrc, rtpTimestamp, ...loudness(audioLevel), ...captured });
  // How loud each of them is (RFC 6465); the level of the frame is that of the mix.
  for (const [index, source] of (contributing ?? []).entries()) {
    remember(own.contributors, { timestamp, source, rtpTimestamp, ...loudness(contributingLevels?.[index]), ...captured });
  }
}

/** `audioLevel` of a source, where its loudness in -dBov is known. */
function loudness(level) {
  const audioLevel = linearLevel(level);
  return audioLevel === undefined ? {} : { audioLevel };
}

function remember(sources, entry) {
  sources.delete(entry.source);
  sources.set(entry.source, entry);
  if (sources.size > SOURCES_MAX) sources.delete(sources.keys().next().value);
}

/** Sound is counted by its timestamps: what was lost in between counts as well, as in a jitter buffer. */
function noteSound(own, { codec, data, timestamp, clockRate, audioLevel }) {
  const ticks = own.last === null ? 0 : (timestamp - own.last.timestamp) >>> 0;
  const before = own.last?.duration;
  own.last = { timestamp, duration: soundOf(codec, data) };
  if (ticks >= 2 ** 31) return;
  // What is not there between two packets is silence, unless the application conceals it.
  const missing = before === undefined ? 0 : ticks - (before * (clockRate ?? 48000)) / 1000;
  if (missing > 0) {
    own.sound.concealedSamples += missing;
    own.sound.concealmentEvents += 1;
  }
  const seconds = ticks / (clockRate ?? 48000);
  const stated = audioLevel !== undefined && audioLevel !== null;
  own.sound.totalSamplesReceived += ticks;
  own.sound.totalSamplesDuration += seconds;
  if (!stated) return;
  // The sender's word (RFC 6464) in the place of what a decoder would find.
  const level = audioLevel < 127 ? 10 ** (-audioLevel / 20) : 0;
  own.sound.audioLevel = level;
  own.sound.totalAudioEnergy = (own.sound.totalAudioEnergy ?? 0) + level * level * seconds;
}

/** Of VP8 the size of the picture is in the clear (RFC 6386 §9.1). */
function notePicture(own, { codec, keyFrame, data }) {
  own.handed.notePicture({ codec, data });
  if (codec.toUpperCase() !== 'VP8' || !keyFrame || data.length < 10) return;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  own.pictures = { frameWidth: view.getUint16(6, true) & 0x3fff, frameHeight: view.getUint16(8, true) & 0x3fff };
}
