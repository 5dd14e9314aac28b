/** `RTCRtpTransceiver` (W3C webrtc-pc §5.4). */

import { Slots, illegal, inside, required, shape } from './webidl.js';
import { invalidState, native } from './errors.js';
import { register } from './events.js';
import { MediaStreamTrack, endTrack } from './media-stream-track.js';
import { RTCRtpReceiver, receivers } from './rtp-receiver.js';
import { RTCRtpSender, senders, toCapabilities } from './rtp-sender.js';
import { isDirection, toCodecs } from './rtp-parameters.js';

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
  setCodecPreferences(codecs) {
    const own = transceivers.of(this);
    required(1, arguments.length, 'setCodecPreferences');
    setCodecPreferences(own, toCodecs(codecs));
  }
}
shape(RTCRtpTransceiver, 'RTCRtpTransceiver');
register('RTCRtpTransceiver', RTCRtpTransceiver);

const repairs = ['rtx', 'red', 'ulpfec', 'flexfec-03', 'cn', 'telephone-event'];

function setCodecPreferences(own, codecs) {
  const known = toCapabilities(own.kind).codecs;
  const same = (a) => (b) => a.mimeType.toLowerCase() === b.mimeType.toLowerCase()
    && a.clockRate === b.clockRate
    && (a.channels ?? 1) === (b.channels ?? 1)
    && (a.sdpFmtpLine ?? '') === (b.sdpFmtpLine ?? '');
  const wanted = [];
  for (const codec of codecs) {
    if (!known.some(same(codec))) {
      throw new DOMException(`${codec.mimeType} is none of the capabilities`, 'InvalidModificationError');
    }
    if (!wanted.some(same(codec))) wanted.push(codec);
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
  own.isStopped = true;
  own.currentDirection = null;
}

/** A transceiver for the one that the stack calls `id`. */
export function newTransceiver(connection, { id, kind, direction, track = null, streams = [], trackId }) {
  const own = {
    connection, id, kind, direction, mid: null, currentDirection: null, isStopping: false, isStopped: false,
    fired: null, hasSent: false, remoteStreams: [],
  };
  own.sender = new RTCRtpSender(inside, { connection, transceiver: own, kind, track, streams });
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
