/** `RTCRtpSender` (W3C webrtc-pc §5.2). */

import {
  Slots, enumeration, illegal, inside, interfaceOf, nullable, required, shape,
} from './webidl.js';
import { capabilities } from './native.js';
import { exception, invalidState, native } from './errors.js';
import { register } from './events.js';
import { queueTask } from './tasks.js';
import { MediaStream } from './media-stream.js';
import { MediaStreamTrack } from './media-stream-track.js';
import { RTCDTMFSender } from './dtmf-sender.js';
import { feed, wantKeyFrame } from './synthetic-media.js';
import { createEncodedStreams } from './encoded-streams.js';
import { askForKeyFrame, attach, offer, toSenderTransform } from './transforms.js';
import { SentCounts } from './media-counts.js';
import { checkCodecs, checkEncodings, keptOf, linearLevel, present, sameCodec, toSendParameters, toSetOptions } from './rtp-parameters.js';

export const senders = new Slots('RTCRtpSender');
const isTrack = nullable(interfaceOf(MediaStreamTrack, 'MediaStreamTrack'));
const isStream = interfaceOf(MediaStream, 'MediaStream');

export class RTCRtpSender {
  constructor() {
    illegal(arguments[0]);
    const { connection, transceiver, kind, track, streams, codecs, kept } = arguments[1];
    const own = senders.set(this, {
      connection, transceiver, kind, track, streams, transport: null, returned: null, dtmf: null,
      // What parameters say that only this package looks after: the codec of each encoding by its place.
      codecs, kept, degradation: undefined,
      fed: null, isWritten: false, codec: null, fedSeconds: 0, transform: null, encoded: null, ssrcs: new Map(), newest: null, isWatched: false, encoder: null, counts: new Map(),
    });
    if (kind === 'audio') own.dtmf = new RTCDTMFSender(inside, tonesOf(own));
  }
  get track() {
    return senders.of(this).track;
  }
  get transport() {
    return senders.of(this).transport;
  }
  get dtmf() {
    return senders.of(this).dtmf;
  }
  static getCapabilities(kind) {
    required(1, arguments.length, 'getCapabilities');
    return toCapabilities(kind);
  }
  getParameters() {
    return getParameters(senders.of(this));
  }
  async setParameters(parameters) {
    const own = senders.of(this);
    required(1, arguments.length, 'setParameters');
    await setParameters(own, toSendParameters(parameters), toSetOptions(arguments[1]));
  }
  async replaceTrack(withTrack) {
    const own = senders.of(this);
    required(1, arguments.length, 'replaceTrack');
    const track = isTrack(withTrack);
    if (track !== null && track.kind !== own.kind) throw new TypeError(`the sender sends ${own.kind}`);
    return own.connection.chain(() => replaceTrack(own, track));
  }
  get transform() {
    return senders.of(this).transform;
  }
  set transform(value) {
    const own = senders.of(this);
    const transform = toSenderTransform(value);
    if (own.encoded !== null && transform !== null) throw invalidState('the frames go through streams already');
    attach(own.transform, transform, ownerOf(own));
    own.transform = transform;
  }
  createEncodedStreams() {
    const own = senders.of(this);
    return createEncodedStreams(own, ownerOf(own));
  }
  setStreams(...streams) {
    const own = senders.of(this);
    const given = streams.map(isStream);
    if (own.connection.isClosed) throw invalidState('the connection is closed');
    if (own.transceiver.isStopping) throw invalidState('the transceiver is stopped');
    own.streams = [...new Set(given.map((stream) => stream.id))];
    native(() => own.connection.native.setStreams(own.transceiver.id, own.streams));
    own.connection.updateNegotiationNeeded();
  }
  async getStats() {
    const own = senders.of(this);
    return own.connection.statsOf({ transceiver: own.transceiver, outbound: true });
  }
}
shape(RTCRtpSender, 'RTCRtpSender');
register('RTCRtpSender', RTCRtpSender);

/** `RTCRtpCapabilities`; null for a kind that nobody knows. */
export function toCapabilities(kind) {
  const text = String(kind);
  if (text !== 'audio' && text !== 'video') return null;
  const own = capabilities(text);
  return {
    codecs: own.codecs.map(present),
    headerExtensions: own.headerExtensions.map(({ uri }) => ({ uri })),
  };
}

/** The extensions of packets that are known, with the direction in which they are negotiated where nobody says otherwise. */
export function extensions(kind) {
  return capabilities(kind).headerExtensions.map(({ uri, direction }) => ({ uri, direction }));
}

/** Sends a frame that is encoded, through the transform where there is one. Without one errors are thrown. */
export function sendFrame(own, frame) {
  own.newest = { timestamp: frame.timestamp, at: performance.now() };
  if (own.encoded !== null) own.encoded.offer(describeFrame(own, frame), frame);
  else if (own.transform === null) forward(own, frame);
  else offer(own.transform, describeFrame(own, frame), frame);
}

/** Lets requests for key frames come, once the sender has something to send. */
export function watchKeyFrames(own) {
  if (own.isWatched || own.kind !== 'video') return;
  own.isWatched = true;
  native(() => own.connection.native.watchKeyFrames(own.transceiver.id));
}

/** The other side wants a key frame: a transform is asked first (webrtc-encoded-transform §4.5). */
export function onKeyFrameWanted(own, rid) {
  if (own.transform === null) generateKeyFrame(own, rid);
  else askForKeyFrame(own.transform, rid);
}

/** Lets whatever encodes make a key frame: what is synthetic here, or the application. */
function generateKeyFrame(own, rid) {
  if (own.isWritten) own.encoder?.({ rid: rid ?? null });
  else wantKeyFrame(own, rid);
}

function forward(own, frame) {
  const { codec, timestamp, data, rid, audioLevel } = frame;
  native(() => own.connection.native.sendFrame(own.transceiver.id, codec, timestamp, data, rid, audioLevel));
  if (!own.counts.has(rid)) own.counts.set(rid, new SentCounts());
  own.counts.get(rid).note(own.kind, frame);
}

/** What a transform is told of a frame (webrtc-encoded-transform §5.2). */
function describeFrame(own, { codec, timestamp, data, rid, size, isKey, place, audioLevel }) {
  const { codecs } = own.connection.native.parameters(own.transceiver.id);
  const used = codecs.find(({ mimeType }) => mimeType.toLowerCase() === `${own.kind}/${codec}`.toLowerCase());
  const metadata = {
    synchronizationSource: sourceOf(own, rid), payloadType: used?.payloadType, contributingSources: [], rtpTimestamp: timestamp,
    mimeType: used?.mimeType, ...(own.kind === 'video' ? { ...size, ...place } : { audioLevel: linearLevel(audioLevel) }),
  };
  const type = own.kind === 'video' && (isKey ?? isKeyPicture(codec, data)) ? 'key' : 'delta';
  return { kind: own.kind, type, rid, data, metadata: present(metadata) };
}

/** Whether a picture of the application begins anew; what only a parser of its codec would find is taken to be so. */
function isKeyPicture(codec, data) {
  return codec.toUpperCase() !== 'VP8' || data.length === 0 || (data[0] & 1) === 0;
}

function sourceOf(own, rid) {
  if (!own.ssrcs.has(rid)) {
    const { outbound } = JSON.parse(own.connection.native.stats());
    const stream = outbound.find((each) => each.mid === own.transceiver.mid && (rid === undefined || each.rid === rid));
    if (stream !== undefined) own.ssrcs.set(rid, stream.ssrc);
  }
  return own.ssrcs.get(rid);
}

/** How frames of a sender go on after a transform. */
function ownerOf(own) {
  return {
    side: 'sender',
    kind: own.kind,
    rids: () => own.connection.native.parameters(own.transceiver.id).encodings.map(({ rid }) => rid).filter(Boolean),
    generateKeyFrame: (rid) => generateKeyFrame(own, rid),
    forward(frame, data) {
      try {
        forward(own, { ...frame, data: Buffer.from(data) });
      } catch {
        // The sender has stopped in the meantime.
      }
    },
  };
}

/** How the tones of a sender go out. */
function tonesOf(own) {
  const { connection, transceiver } = own;
  const rate = () => connection.native.codecs(transceiver.id).find(({ mimeType }) => /telephone-event$/i.test(mimeType))?.clockRate;
  return {
    canInsert: () => canInsert(own),
    clockRate: () => rate() ?? 8000,
    // Tones stand in the stream of the sound, and in its time (RFC 4733 §2.1).
    timestamp(at, clockRate) {
      const { timestamp, at: before } = own.newest ?? { timestamp: 0, at: 0 };
      return (timestamp + Math.round(((at - before) * clockRate) / 1000)) % 2 ** 32;
    },
    send(timestamp, isFirst, payload) {
      try {
        connection.native.sendPacket(transceiver.id, 'telephone-event', timestamp, isFirst, payload);
      } catch {
        // The stream cannot be sent at the moment: the tone is not heard, as sound would not be.
      }
    },
  };
}

function canInsert(own) {
  const { transceiver, connection } = own;
  if (connection.isClosed || transceiver.isStopping) return false;
  if (!['sendrecv', 'sendonly'].includes(transceiver.currentDirection) || own.track === null) return false;
  const codecs = native(() => connection.native.codecs(transceiver.id));
  return codecs.some((codec) => codec.mimeType.toLowerCase() === 'audio/telephone-event');
}

/** Formats that no media is in. */
export const repairs = ['rtx', 'red', 'ulpfec', 'flexfec-03', 'cn', 'telephone-event'];
const isMedia = ({ mimeType }) => !repairs.includes(mimeType.slice(mimeType.indexOf('/') + 1).toLowerCase());

/** The codecs that an encoding can choose: those agreed on, before that all. */
function choosable(own, agreed) {
  return (agreed.length > 0 ? agreed : toCapabilities(own.kind).codecs).filter(isMedia);
}

/** `sendEncodings` name codecs of the capabilities only (§5.1). */
export function initialCodecs(kind, encodings) {
  const unknown = (reason) => new DOMException(reason, 'OperationError');
  return checkCodecs(encodings, toCapabilities(kind).codecs.filter(isMedia), unknown);
}

/** A negotiation that leaves a chosen codec out takes the choice back (§4.4.1.5). */
export function settleCodecs(own) {
  if (own.codecs.every((codec) => codec === undefined)) return;
  const agreed = own.connection.native.parameters(own.transceiver.id).codecs.map(present);
  if (agreed.length === 0) return;
  own.codecs = own.codecs.map((codec) => (codec !== undefined && agreed.some(sameCodec(codec)) ? codec : undefined));
}

async function replaceTrack(own, track) {
  if (own.transceiver.isStopping) throw invalidState('the transceiver is stopped');
  await new Promise((resolve) => queueTask(resolve));
  if (own.connection.isClosed) return new Promise(() => {});
  own.track = track;
  feed(own.connection);
  native(() => own.connection.native.setHasTrack(own.transceiver.id, track !== null));
  return undefined;
}

function emptyParameters() {
  return { transactionId: '', encodings: [], headerExtensions: [], rtcp: { cname: '', reducedSize: false }, codecs: [] };
}

function getParameters(own) {
  if (own.returned !== null) return structuredClone(own.returned);
  let parameters = emptyParameters();
  try {
    const got = own.connection.native.parameters(own.transceiver.id);
    parameters = {
      transactionId: got.transactionId,
      encodings: got.encodings.map((encoding, index) => {
        const { priority, networkPriority = 'low', ...rest } = present(encoding);
        const codec = own.codecs[index];
        return { ...rest, ...(codec === undefined ? {} : { codec: { ...codec } }), priority, networkPriority: 'low', ...keptAt(own, index) };
      }),
      headerExtensions: got.headerExtensions.map(({ uri, id }) => ({ uri, id, encrypted: false })),
      rtcp: { cname: got.cname, reducedSize: got.reducedSize },
      codecs: got.codecs.map(present),
    };
    if (own.degradation !== undefined) parameters.degradationPreference = own.degradation;
  } catch {
    // A stopped transceiver has no parameters left.
  }
  own.returned = parameters;
  // The transaction lasts until the task is over (§5.2, `getParameters`).
  queueTask(() => {
    own.returned = null;
  });
  return structuredClone(parameters);
}

/** Packets of sound alone have a length that could adapt. */
function keptAt(own, index) {
  const { networkPriority = 'low', adaptivePtime = false } = own.kept[index] ?? {};
  return own.kind === 'audio' ? { networkPriority, adaptivePtime } : { networkPriority };
}

async function setParameters(own, parameters, { encodingOptions }) {
  if (own.transceiver.isStopping) throw invalidState('the transceiver is stopped');
  const last = own.returned;
  if (last === null) throw invalidState('getParameters was not called in this task');
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const modified = (what) => new DOMException(`${what} cannot be changed`, 'InvalidModificationError');
  if (parameters.transactionId !== last.transactionId) throw modified('transactionId');
  if (parameters.encodings.length !== last.encodings.length) throw modified('the number of encodings');
  if (encodingOptions.length > 0 && encodingOptions.length !== last.encodings.length) throw modified('the number of encodings, by encodingOptions,');
  const rids = (list) => list.map((encoding) => encoding.rid ?? null);
  if (!same(rids(parameters.encodings), rids(last.encodings))) throw modified('rid');
  const sorted = (list) => list.map((item) => Object.entries(item).sort());
  if (!same(sorted(parameters.codecs), sorted(last.codecs))) throw modified('codecs');
  if (!same(sorted(parameters.headerExtensions), sorted(last.headerExtensions))) throw modified('headerExtensions');
  if (!same(Object.entries(parameters.rtcp).sort(), Object.entries(last.rtcp).sort())) throw modified('rtcp');
  const encodings = checkEncodings(own.kind, parameters.encodings);
  const codecs = checkCodecs(parameters.encodings, choosable(own, last.codecs), (reason) => modified(reason));
  own.returned = null;
  await new Promise((resolve) => queueTask(resolve));
  try {
    const now = own.connection.native.parameters(own.transceiver.id);
    const stated = encodings.map((encoding, index) => ({ ...encoding, rid: now.encodings[index]?.rid }));
    own.connection.native.setParameters(own.transceiver.id, now.transactionId, stated.map(present));
    own.codecs = codecs;
    own.kept = keptOf(parameters.encodings);
    own.degradation = parameters.degradationPreference;
    encodingOptions.forEach(({ keyFrame }, index) => {
      if (keyFrame && own.kind === 'video') generateKeyFrame(own, parameters.encodings[index].rid);
    });
  } catch (error) {
    throw exception(error);
  }
}
