/**
 * Frames that servers forward and cannot read (W3C webrtc-encoded-transform §3): SFrame as a transform of senders and
 * receivers, and as streams. What packetisers look at for key frames stays in the clear, authenticated: of VP8 the
 * first 10 bytes of a key frame and 3 of another, of VP9 the first byte, as in the library and the web client.
 */

import { types } from 'node:util';
import { Slots, boolean, dictionary, enumeration, handlerAttributes, inside, nullable, required, shape, string, unsignedLongLongEnforced } from './webidl.js';
import { frames, newFrame } from './encoded-frames.js';
import { queueTask } from './tasks.js';
import { deriveKeys, open, readHeader, seal, suites } from './sframe-cipher.js';

const toSuite = enumeration('SFrameCipherSuite', Object.keys(suites));
const suite = { cipherSuite: { as: toSuite, need: true } };
const toOptions = dictionary('SFrameTransformOptions', suite);
const toEncryptorOptions = dictionary('RTCRtpSFrameEncryptorOptions', {
  ...suite, type: { as: enumeration('SFrameType', ['per-frame', 'per-packet']), or: 'per-frame' },
});

function toKeyId(value) {
  if (typeof value !== 'bigint') return BigInt(unsignedLongLongEnforced(value));
  if (value < 0n || value >= 1n << 64n) throw new RangeError('Not a 64 bits integer');
  return value;
}

function toKey(value) {
  if (!types.isCryptoKey(value)) throw new TypeError('not a CryptoKey');
  return value;
}

/** Keys that a decryptor holds. */
const KEYS_MAX = 64;

/** Counters below the highest that are remembered: a frame that came before is not taken again (RFC 9605 §9.3). */
const WINDOW = 1024n;

async function keysOf(own, key, keyId) {
  try {
    return await deriveKeys(own.suite, keyId, key);
  } catch (error) {
    throw new DOMException(`the key cannot be used: ${error.message}`, 'InvalidModificationError');
  }
}

/** What stays in the clear of a frame of that type; `null` where nobody knows. */
function clearLength(mimeType, data) {
  const codec = mimeType?.toUpperCase() ?? '';
  if (codec.startsWith('AUDIO/')) return 0;
  if (codec === 'VIDEO/VP9') return Math.min(1, data.length);
  if (codec !== 'VIDEO/VP8') return null;
  return Math.min((data[0] & 1) === 0 ? 10 : 3, data.length);
}

/** Side by side: what is in the clear, and what is or will be hidden. */
function split(mimeType, data) {
  const length = mimeType === null ? 0 : clearLength(mimeType, data);
  return length === null ? null : [data.subarray(0, length), data.subarray(length)];
}

class Encryption {
  keys = null;
  // It goes on whatever key is set: none encrypts two frames with one counter.
  counter = 0n;

  constructor(name) {
    this.suite = suites[name];
  }

  async setKey(key, keyId) {
    this.keys = await keysOf(this, key, keyId);
  }

  /** A frame encrypted, or `null` where it must not go on. */
  run(mimeType, data) {
    const parts = split(mimeType, data);
    if (this.keys === null || parts === null) return null;
    const [clear, rest] = parts;
    const hidden = seal(this.keys, this.counter, clear, rest);
    this.counter += 1n;
    return Buffer.concat([clear, hidden]);
  }
}

class Decryption {
  all = new Map();

  constructor(name, refuse) {
    this.suite = suites[name];
    this.refuse = refuse;
  }

  async addKey(key, keyId) {
    const keys = await keysOf(this, key, keyId);
    if (!this.all.has(keyId) && this.all.size >= KEYS_MAX) throw new DOMException(`no more than ${KEYS_MAX} keys`, 'InvalidModificationError');
    this.all.set(keyId, { keys, highest: -1n, seen: new Set() });
  }

  /** A frame decrypted, or `null`, and the reason is told. */
  run(mimeType, data, frame) {
    const [clear, rest] = split(mimeType, data) ?? [data, data.subarray(data.length)];
    const header = readHeader(rest);
    if (header === null) return this.#refused('syntax', null, frame);
    const known = this.all.get(header.keyId);
    if (known === undefined) return this.#refused('keyID', header.keyId, frame);
    const { counter } = header;
    const isNew = counter > known.highest || (known.highest - counter < WINDOW && !known.seen.has(counter));
    const text = isNew ? open(known.keys, header, clear, rest) : null;
    if (text === null) return this.#refused('authentication', header.keyId, frame);
    known.seen.add(counter);
    if (counter > known.highest) known.highest = counter;
    if (known.seen.size > 2 * Number(WINDOW)) known.seen = new Set([...known.seen].filter((each) => known.highest - each < WINDOW));
    return Buffer.concat([clear, text]);
  }

  #refused(errorType, keyID, frame) {
    this.refuse({ errorType, keyID, frame: frame() });
    return null;
  }
}

const toFrame = (value) => {
  if (!frames.has(value)) throw new TypeError('not an encoded frame');
  return value;
};
const toErrorInit = dictionary('SFrameTransformErrorEventInit', {
  bubbles: { as: boolean, or: false },
  cancelable: { as: boolean, or: false },
  errorType: { as: enumeration('SFrameTransformErrorEventType', ['authentication', 'keyID', 'syntax']), need: true },
  frame: { as: toFrame, need: true },
  keyID: { as: nullable(toKeyId), or: null },
});
const events = new Slots('SFrameTransformErrorEvent');

export class SFrameTransformErrorEvent extends Event {
  constructor(type, eventInitDict) {
    if (type === inside) {
      super('error');
      events.set(this, eventInitDict);
      return;
    }
    required(2, arguments.length, 'SFrameTransformErrorEvent');
    const own = toErrorInit(eventInitDict);
    super(string(type), { bubbles: own.bubbles, cancelable: own.cancelable });
    events.set(this, own);
  }
  get errorType() {
    return events.of(this).errorType;
  }
  get keyID() {
    return events.of(this).keyID;
  }
  get frame() {
    return events.of(this).frame;
  }
}
shape(SFrameTransformErrorEvent, 'SFrameTransformErrorEvent');

const tell = (target) => (reason) => queueTask(() => target.dispatchEvent(new SFrameTransformErrorEvent(inside, reason)));

export const encryptors = new Slots('RTCRtpSFrameEncryptor');
export const decryptors = new Slots('RTCRtpSFrameDecryptor');
const encryptorStreams = new Slots('SFrameEncryptorStream');
const decryptorStreams = new Slots('SFrameDecryptorStream');

export class RTCRtpSFrameEncryptor {
  constructor(options) {
    required(1, arguments.length, 'RTCRtpSFrameEncryptor');
    const { cipherSuite, type } = toEncryptorOptions(options);
    if (type === 'per-packet') throw new DOMException('whole frames are encrypted, not packets', 'NotSupportedError');
    encryptors.set(this, { work: new Encryption(cipherSuite), attached: null });
  }
  async setEncryptionKey(key, keyId) {
    const { work } = encryptors.of(this);
    required(2, arguments.length, 'setEncryptionKey');
    await work.setKey(toKey(key), toKeyId(keyId));
  }
}
shape(RTCRtpSFrameEncryptor, 'RTCRtpSFrameEncryptor');

export class RTCRtpSFrameDecryptor extends EventTarget {
  constructor(options) {
    super();
    required(1, arguments.length, 'RTCRtpSFrameDecryptor');
    decryptors.set(this, { work: new Decryption(toOptions(options).cipherSuite, tell(this)), attached: null });
  }
  async addDecryptionKey(key, keyId) {
    const { work } = decryptors.of(this);
    required(2, arguments.length, 'addDecryptionKey');
    await work.addKey(toKey(key), toKeyId(keyId));
  }
  async removeDecryptionKey(keyId) {
    const { work } = decryptors.of(this);
    required(1, arguments.length, 'removeDecryptionKey');
    work.all.delete(toKeyId(keyId));
  }
}
shape(RTCRtpSFrameDecryptor, 'RTCRtpSFrameDecryptor');
handlerAttributes(RTCRtpSFrameDecryptor, decryptors, ['error']);

/** Streams of frames and of buffers; what is neither, and what does not go on, is left out. */
function streamsOf(work) {
  return new TransformStream({
    transform(frame, controller) {
      const isEncoded = frames.has(frame);
      if (!isEncoded && !ArrayBuffer.isView(frame) && !types.isArrayBuffer(frame)) return;
      const { data, metadata } = isEncoded ? frames.of(frame) : { data: frame, metadata: null };
      const bytes = ArrayBuffer.isView(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data);
      const done = work.run(isEncoded ? metadata.mimeType : null, bytes, () => frame);
      if (done === null) return;
      const buffer = new Uint8Array(done).buffer;
      if (isEncoded) frames.of(frame).data = buffer;
      controller.enqueue(isEncoded ? frame : buffer);
    },
  });
}

export class SFrameEncryptorStream {
  constructor(options) {
    required(1, arguments.length, 'SFrameEncryptorStream');
    const work = new Encryption(toOptions(options).cipherSuite);
    encryptorStreams.set(this, { work, streams: streamsOf(work) });
  }
  get readable() {
    return encryptorStreams.of(this).streams.readable;
  }
  get writable() {
    return encryptorStreams.of(this).streams.writable;
  }
  async setEncryptionKey(key, keyId) {
    const { work } = encryptorStreams.of(this);
    required(2, arguments.length, 'setEncryptionKey');
    await work.setKey(toKey(key), toKeyId(keyId));
  }
}
shape(SFrameEncryptorStream, 'SFrameEncryptorStream');

export class SFrameDecryptorStream extends EventTarget {
  constructor(options) {
    super();
    required(1, arguments.length, 'SFrameDecryptorStream');
    const work = new Decryption(toOptions(options).cipherSuite, tell(this));
    decryptorStreams.set(this, { work, streams: streamsOf(work) });
  }
  get readable() {
    return decryptorStreams.of(this).streams.readable;
  }
  get writable() {
    return decryptorStreams.of(this).streams.writable;
  }
  async addDecryptionKey(key, keyId) {
    const { work } = decryptorStreams.of(this);
    required(2, arguments.length, 'addDecryptionKey');
    await work.addKey(toKey(key), toKeyId(keyId));
  }
  async removeDecryptionKey(keyId) {
    const { work } = decryptorStreams.of(this);
    required(1, arguments.length, 'removeDecryptionKey');
    work.all.delete(toKeyId(keyId));
  }
}
shape(SFrameDecryptorStream, 'SFrameDecryptorStream');
handlerAttributes(SFrameDecryptorStream, decryptorStreams, ['error']);

/** A frame of a sender or receiver: it goes on encrypted or decrypted, or not at all. */
export function pass(own, frame, context) {
  const done = own.work.run(frame.metadata.mimeType ?? '', Buffer.from(frame.data), () => newFrame({ ...frame, data: new Uint8Array(frame.data).buffer }, null));
  if (done !== null) own.attached?.forward(context, done);
}
