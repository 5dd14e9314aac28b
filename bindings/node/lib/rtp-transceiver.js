/** `RTCRtpTransceiver` (W3C webrtc-pc §5.4). */

import { Slots, illegal, inside, required, shape } from './webidl.js';
import { invalidState, native } from './errors.js';
import { register } from './events.js';
import { MediaStreamTrack, endTrack } from './media-stream-track.js';
import { RTCRtpReceiver, receivers } from './rtp-receiver.js';
import { RTCRtpSender, extensions, repairs, senders, toCapabilities } from './rtp-sender.js';
import { end } from './transforms.js';
import { isDirection, sameCodec, toCodecs, toExtensions } from './rtp-parameters.js';

export const transceivers = new Slots('RTCRtpTransceiver');

export class RTCRtpTransceiver {
  constructor() {
    illegal(arguments[0]);
    transceivers.set(this, arguments[1]);
  }
  get mid() {
    return transceivers.of(this).mid;
  }
  get sender() {
    return transceivers.of(this).sender;
  }
  get receiver() {
    return transceivers.of(this).receiver;
  }
  get direction() {
    const own = transceivers.of(this);
    return own.isStopping ? 'stopped' : own.direction;
  }
  set direction(value) {
    const own = transceivers.of(this);
    let direction;
    try {
      direction = isDirection(value);
    } catch {
      return;
    }
    if (own.isStopping || own.connection.isClosed) throw invalidState('the transceiver is stopped');
    if (direction === own.direction) return;
    if (direction === 'stopped') throw new TypeError('use stop()');
    native(() => own.connection.native.setDirection(own.id, direction));
    own.direction = direction;
    own.connection.updateNegotiationNeeded();
  }
  get currentDirection() {
    const own = transceivers.of(this);
    return own.isStopped ? 'stopped' : own.currentDirection;
  }
  stop() {
    const own = transceivers.of(this);
    if (own.connection.isClosed) throw invalidState('the connection is closed');
    if (own.isStopping) return;
    stopSending(own);
    native(() => own.connection.native.stopTransceiver(own.id));
    own.connection.updateNegotiationNeeded();
  }
  getHeaderExtensionsToNegotiate() {
    const own = transceivers.of(this);
    return extensions(own.kind).map(({ uri, direction }) => ({ uri, direction: own.extensions.get(uri) ?? direction }));
  }
  setHeaderExtensionsToNegotiate(given) {
    const own = transceivers.of(this);
    required(1, arguments.length, 'setHeaderExtensionsToNegotiate');
    setHeaderExtensions(own, toExtensions(given));
  }
  getNegotiatedHeaderExtensions() {
    const own = transceivers.of(this);
    return toCapabilities(own.kind).headerExtensions.map(({ uri }) => ({ uri, direction: negotiated(own, uri) }));
  }
  setCodecPreferences(codecs) {
    const own = transceivers.of(this);
    required(1, arguments.length, 'setCodecPreferences');
    setCodecPreferences(own, toCodecs(codecs));
  }
}
shape(RTCRtpTransceiver, 'RTCRtpTransceiver');
register('RTCRtpTransceiver', RTCRtpTransceiver);

/** Extensions that sections of a bundle cannot do without (RFC 8843 §9.1). */
const mandatory = new Set(['urn:ietf:params:rtp-hdrext:sdes:mid']);

/** webrtc-extensions, "RTP Header Extension Control". */
function setHeaderExtensions(own, given) {
  if (own.isStopping || own.connection.isClosed) throw invalidState('the transceiver is stopped');
  const known = extensions(own.kind);
  const modified = (reason) => new DOMException(reason, 'InvalidModificationError');
  if (given.length !== known.length) throw modified('the number of extensions is another than was got');
  given.forEach(({ uri, direction }, index) => {
    if (uri === '') throw new TypeError('an extension without a URI');
    if (uri !== known[index].uri) throw modified(`${uri} is not the extension that was got in its place`);
    if (mandatory.has(uri) && direction !== 'sendrecv') throw modified(`${uri} is needed`);
  });
  const stated = given.filter(({ direction }, index) => direction !== known[index].direction);
  native(() => own.connection.native.setHeaderExtensions(own.id, stated));
  own.extensions = new Map(stated.map(({ uri, direction }) => [uri, direction]));
}

/** In which direction the descriptions agree on an extension. */
function negotiated(own, uri) {
  const { currentLocal, currentRemote } = own.connection.descriptions;
  const stated = (description) => {
    const sections = (description?.sdp ?? '').split(/^(?=m=)/m).slice(1);
    const section = sections.find((text) => /^a=mid:(\S+)/m.exec(text)?.[1] === own.mid) ?? '';
    for (const [, direction, named] of section.matchAll(/^a=extmap:\d+(?:\/(\w+))? (\S+)/gm)) {
      if (named === uri) return direction ?? 'sendrecv';
    }
    return 'stopped';
  };
  const [local, remote] = [stated(currentLocal), stated(currentRemote)];
  if (own.mid === null || local === 'stopped' || remote === 'stopped') return 'stopped';
  const sends = local.startsWith('send') && (remote === 'sendrecv' || remote === 'recvonly');
  const receives = (local === 'sendrecv' || local === 'recvonly') && remote.startsWith('send');
  if (sends && receives) return 'sendrecv';
  return sends ? 'sendonly' : receives ? 'recvonly' : 'stopped';
}

function setCodecPreferences(own, codecs) {
  const known = toCapabilities(own.kind).codecs;
  const wanted = [];
  for (const codec of codecs) {
    if (!known.some(sameCodec(codec))) {
      throw new DOMException(`${codec.mimeType} is none of the capabilities`, 'InvalidModificationError');
    }
    if (!wanted.some(sameCodec(codec))) wanted.push(codec);
  }
  const name = (codec) => codec.mimeType.split('/')[1].toLowerCase();
  if (wanted.length > 0 && wanted.every((codec) => repairs.includes(name(codec)))) {
    throw new DOMException('no codec of media is left', 'InvalidModificationError');
  }
  native(() => own.connection.native.setCodecPreferences(own.id, wanted));
}

/** §5.4.1, "stop sending and receiving". */
export function stopSending(own) {
  if (own.isStopping) return;
  own.isStopping = true;
  own.direction = 'inactive';
  const receiver = receivers.of(own.receiver);
  own.connection.later(() => endTrack(receiver.track));
}

/** §5.4.1, "stop the RTCRtpTransceiver": a negotiation, or the end, put it to rest. */
export function stopped(own) {
  stopSending(own);
  end(senders.of(own.sender).transform);
  end(receivers.of(own.receiver).transform);
  senders.of(own.sender).encoded?.close();
  receivers.of(own.receiver).encoded?.close();
  own.isStopped = true;
  own.currentDirection = null;
}

/** A transceiver for the one that the stack calls `id`. */
export function newTransceiver(connection, { id, kind, direction, track = null, streams = [], trackId, codecs = [], kept = [] }) {
  const own = {
    connection, id, kind, direction, mid: null, currentDirection: null, isStopping: false, isStopped: false,
    extensions: new Map(), fired: null, remoteDirection: null, hasSent: false, remoteStreams: [],
  };
  own.sender = new RTCRtpSender(inside, { connection, transceiver: own, kind, track, streams, codecs, kept });
  const remote = new MediaStreamTrack(inside, { kind, label: `remote ${kind}`, muted: true, id: trackId });
  own.receiver = new RTCRtpReceiver(inside, { connection, transceiver: own, kind, track: remote });
  own.object = new RTCRtpTransceiver(inside, own);
  return own;
}

/** The transport of the section that the transceiver has; null without one. */
export function setTransport(own, transport) {
  senders.of(own.sender).transport = transport;
  receivers.of(own.receiver).transport = transport;
}
