/**
 * What no standard has: settings of the stack, tracks of our own, and encoded frames. There is no codec
 * in this package: what is sent was encoded by the application, what arrives it decodes.
 */

import { inside } from './webidl.js';
import { invalidState, native } from './errors.js';
import { MediaStreamTrack } from './media-stream-track.js';
import { getUserMedia } from './media-devices.js';
import { setDefaults } from './peer-connection.js';
import { readFrames as letFramesCome, receivers } from './rtp-receiver.js';
import { sendFrame, senders } from './rtp-sender.js';

/**
 * Settings of connections that are made from here on: `loopbackCandidates`, `interfaces` (names), `ports`
 * (first and last), `maxMessageSize` (bytes), `receiveSimulcast`, `hideHostAddresses` (host candidates have
 * names in place of addresses, as in browsers), `dscp` (packets are marked by `networkPriority`).
 */
export function configure(settings = {}) {
  setDefaults(settings);
}

export { getUserMedia };
export { registerIdentityProvider } from './identity.js';

/** A track of ours. It sends nothing until frames are written to the sender that has it. */
export function createTrack(kind, { label = '' } = {}) {
  if (kind !== 'audio' && kind !== 'video') throw new TypeError(`'${kind}' is no kind of track`);
  return new MediaStreamTrack(inside, { kind, label });
}

/** Sends an encoded frame: `{ codec, timestamp, data, rid }`, the timestamp in ticks of the codec's clock. */
export function writeFrame(sender, { codec, timestamp, data, rid }) {
  const own = senders.of(sender);
  if (own.track === null || !own.track.enabled) throw invalidState('the sender has no enabled track');
  const bytes = Buffer.from(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
  // From here on the application feeds this sender, whatever its track would show.
  own.isWritten = true;
  own.codec = codec;
  sendFrame(own, { codec, timestamp: timestamp >>> 0, data: bytes, rid });
}

/** Hands encoded frames that arrive to `sink`: `{ codec, timestamp, keyFrame, rid, data }`. */
export function readFrames(receiver, sink) {
  const own = receivers.of(receiver);
  own.sink = ({ codec, timestamp, keyFrame, text, data }) => {
    sink({ codec, timestamp, keyFrame, rid: text ?? null, data: new Uint8Array(data) });
  };
  letFramesCome(own.transceiver);
}

/**
 * Calls `encoder` with `{ rid }` when the other side, or a transform, wants a key frame of what the application
 * writes to a sender; `rid` is null where all encodings are meant, or there is one alone.
 */
export function onKeyFrameWanted(sender, encoder) {
  if (encoder !== null && typeof encoder !== 'function') throw new TypeError('not a function');
  senders.of(sender).encoder = encoder;
}

/** Asks the other side for a key frame. */
export function requestKeyFrame(receiver) {
  const own = receivers.of(receiver);
  native(() => own.connection.native.requestKeyFrame(own.transceiver.id));
}
