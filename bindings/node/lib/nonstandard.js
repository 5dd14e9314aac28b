/**
 * What no standard has: settings of the stack, tracks of our own, and encoded frames. There is no codec
 * in this package: what is sent was encoded by the application, what arrives it decodes.
 */

import { inside } from './webidl.js';
import { invalidState, native } from './errors.js';
import { MediaStream } from './media-stream.js';
import { MediaStreamTrack } from './media-stream-track.js';
import { setDefaults } from './peer-connection.js';
import { receivers } from './rtp-receiver.js';
import { senders } from './rtp-sender.js';

/**
 * Settings of connections that are made from here on: `loopbackCandidates`, `interfaces` (names), `ports`
 * (first and last), `maxMessageSize` (bytes), `receiveSimulcast`.
 */
export function configure(settings = {}) {
  setDefaults(settings);
}

/** A track of ours. It sends nothing until frames are written to the sender that has it. */
export function createTrack(kind, { label = '' } = {}) {
  if (kind !== 'audio' && kind !== 'video') throw new TypeError(`'${kind}' is no kind of track`);
  return new MediaStreamTrack(inside, { kind, label });
}

/**
 * `getUserMedia` as far as it can be without a device: tracks that send nothing until frames are
 * written to their senders.
 */
export async function getUserMedia(constraints = {}) {
  const kinds = ['audio', 'video'].filter((kind) => constraints?.[kind]);
  if (kinds.length === 0) throw new TypeError('neither audio nor video is asked for');
  return new MediaStream(kinds.map((kind) => createTrack(kind, { label: `application ${kind}` })));
}

/** Sends an encoded frame: `{ codec, timestamp, data, rid }`, the timestamp in ticks of the codec's clock. */
export function writeFrame(sender, { codec, timestamp, data, rid }) {
  const own = senders.of(sender);
  if (own.track === null || !own.track.enabled) throw invalidState('the sender has no enabled track');
  const bytes = Buffer.from(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
  native(() => own.connection.native.sendFrame(own.transceiver.id, codec, timestamp >>> 0, bytes, rid));
}

/** Hands encoded frames that arrive to `sink`: `{ codec, timestamp, keyFrame, rid, data }`. */
export function readFrames(receiver, sink) {
  const own = receivers.of(receiver);
  const { connection, transceiver } = own;
  const isNew = !connection.frameSinks.has(transceiver.id);
  connection.frameSinks.set(transceiver.id, (event) => {
    const { codec, timestamp, keyFrame, text, data } = event;
    sink({ codec, timestamp, keyFrame, rid: text ?? null, data: new Uint8Array(data) });
  });
  if (isNew) native(() => connection.native.readFrames(transceiver.id));
}

/** Asks the other side for a key frame. */
export function requestKeyFrame(receiver) {
  const own = receivers.of(receiver);
  native(() => own.connection.native.requestKeyFrame(own.transceiver.id));
}
