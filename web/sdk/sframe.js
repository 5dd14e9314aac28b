// Encrypted frames (SFrame, RFC 9605) with AES_256_GCM_SHA512_128, as the native library makes them.
import { Av1Envelope, openAv1Envelope } from "./av1-envelope.js";

/** AES_256_GCM_SHA512_128 in the registry of RFC 9605. */
const SUITE = 5;
const NONCE_LEN = 12;
const TAG_LEN = 16;
/** This much stays in the clear, where browsers and servers look for key frames: of VP8, and of VP9. */
const CLEAR_OF_KEY_FRAME = 10;
const CLEAR_OF_OTHER_FRAME = 3;
const CLEAR_OF_VP9 = 1;
/** Counters below the highest that are remembered. */
const WINDOW = 1024;
/** Keys of others that are remembered; the one used least recently makes way. */
const KEYS_MAX = 64;

/** @typedef {{key: CryptoKey, salt: Uint8Array}} FrameKey */
/** @typedef {"audio" | "VP8" | "VP9" | "AV1"} FrameCodec sound of any codec, or pictures of one of these */

/** The codecs of pictures that can be encrypted. */
export const ENCRYPTED_VIDEO_CODECS = Object.freeze(["VP8", "VP9", "AV1"]);

/**
 * The key of one key id (RFC 9605 §4.4.2).
 *
 * @param {BufferSource} secret
 * @param {bigint} keyId
 * @returns {Promise<FrameKey>}
 */
export async function deriveKey(secret, keyId) {
  const base = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  /** @param {string} label @param {number} length */
  const draw = (label, length) => {
    const text = new TextEncoder().encode(label);
    const info = new Uint8Array(text.length + 10);
    info.set(text);
    const numbers = new DataView(info.buffer, text.length);
    numbers.setBigUint64(0, keyId);
    numbers.setUint16(8, SUITE);
    return crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-512", salt: new Uint8Array(), info }, base, 8 * length);
  };
  const [key, salt] = await Promise.all([draw("SFrame 1.0 Secret key ", 32), draw("SFrame 1.0 Secret salt ", NONCE_LEN)]);
  return { key: await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]), salt: new Uint8Array(salt) };
}

/** The header (RFC 9605 §4.3). @param {bigint} keyId @param {bigint} counter */
export function writeHeader(keyId, counter) {
  const [id, count] = [keyId, counter].map((value) => {
    const bytes = [];
    if (value > 7n) for (let rest = value; rest > 0n; rest >>= 8n) bytes.unshift(Number(rest & 0xffn));
    return { bits: value > 7n ? 8 | (bytes.length - 1) : Number(value), bytes };
  });
  return new Uint8Array([(id.bits << 4) | count.bits, ...id.bytes, ...count.bytes]);
}

/**
 * @param {Uint8Array} frame
 * @returns {{keyId: bigint, counter: bigint, length: number} | null} `null` where it has no header
 */
export function readHeader(frame) {
  if (frame.length === 0) return null;
  let at = 1;
  const values = [frame[0] >> 4, frame[0] & 15].map((bits) => {
    if (bits < 8) return BigInt(bits);
    const bytes = frame.subarray(at, (at += (bits & 7) + 1));
    const value = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    return value > 7n && bytes[0] !== 0 ? value : null; // one form only for each number
  });
  const [keyId, counter] = values;
  return at > frame.length || keyId === null || counter === null ? null : { keyId, counter, length: at };
}

/**
 * The codec of a key frame, encrypted or not, by what stays in the clear of each: the start code of VP8 (RFC 6386 §9.1), the
 * marker of VP9, else the OBUs of AV1.
 *
 * @param {Uint8Array} frame
 */
export function codecOfKeyFrame(frame) {
  if ((frame[0] & 1) === 0 && frame[3] === 0x9d && frame[4] === 0x01 && frame[5] === 0x2a) return "VP8";
  return frame[0] >> 6 === 2 ? "VP9" : "AV1";
}

/** How much of a frame stays in the clear at its beginning. @param {FrameCodec} codec @param {Uint8Array} frame */
function clearLength(codec, frame) {
  if (codec === "audio") return 0;
  if (codec === "VP9") return CLEAR_OF_VP9;
  return (frame[0] & 1) === 0 ? CLEAR_OF_KEY_FRAME : CLEAR_OF_OTHER_FRAME;
}

/** @param {Uint8Array} salt @param {bigint} counter */
function nonceOf(salt, counter) {
  const nonce = salt.slice();
  for (let at = NONCE_LEN - 1, rest = counter; rest > 0n; at -= 1, rest >>= 8n) nonce[at] ^= Number(rest & 0xffn);
  return nonce;
}

/** @param {...Uint8Array} parts */
function joined(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Encrypts one track, with a key id of its own. */
export class FrameEncrypter {
  #secret;
  #keyId;
  #counter = 0n;
  /** @type {Promise<FrameKey> | null} */
  #key = null;

  /** @param {BufferSource} secret @param {bigint} [keyId] chosen at random: no two tracks of all participants may have the same */
  constructor(secret, keyId = randomKeyId()) {
    this.#secret = secret;
    this.#keyId = keyId;
  }

  /**
   * @param {FrameCodec} codec
   * @param {Uint8Array<ArrayBuffer>} frame
   * @returns {Promise<Uint8Array>}
   */
  async encrypt(codec, frame) {
    if (codec === "AV1") {
      const envelope = new Av1Envelope(frame);
      return envelope.around(await this.#seal(new Uint8Array([envelope.visible]), frame));
    }
    const length = clearLength(codec, frame);
    if (frame.length < length) throw new RangeError(`a frame of ${codec} shorter than its header`);
    const clear = frame.subarray(0, length);
    return joined(clear, await this.#seal(clear, frame.subarray(length)));
  }

  /** @param {Uint8Array} clear @param {Uint8Array<ArrayBuffer>} text */
  async #seal(clear, text) {
    const counter = this.#counter;
    this.#counter += 1n;
    const { key, salt } = await (this.#key ??= deriveKey(this.#secret, this.#keyId));
    const header = writeHeader(this.#keyId, counter);
    const parameters = { name: "AES-GCM", iv: nonceOf(salt, counter), additionalData: joined(header, clear) };
    const encrypted = await crypto.subtle.encrypt(parameters, key, text);
    return joined(header, new Uint8Array(encrypted));
  }
}

/** Decrypts one track of someone else. */
export class FrameDecrypter {
  #secret;
  /** The keys used last come last. @type {Map<bigint, {key: FrameKey, highest: bigint, seen: Set<bigint>}>} */
  #keys = new Map();

  /** @param {BufferSource} secret */
  constructor(secret) {
    this.#secret = secret;
  }

  /**
   * One frame at a time, in the order they came.
   *
   * @param {FrameCodec} codec
   * @param {Uint8Array<ArrayBuffer>} frame
   * @returns {Promise<Uint8Array | null>} `null` for what is not encrypted with the secret, was changed, or came before
   */
  async decrypt(codec, frame) {
    if (codec === "AV1") {
      const envelope = openAv1Envelope(frame);
      return envelope && this.#open(envelope.clear, envelope.hidden);
    }
    const length = frame.length > 0 ? clearLength(codec, frame) : 0;
    const clear = frame.subarray(0, length);
    const plain = await this.#open(clear, frame.subarray(length));
    return plain && joined(clear, plain);
  }

  /** @param {Uint8Array} clear @param {Uint8Array<ArrayBuffer>} text */
  async #open(clear, text) {
    const header = readHeader(text);
    if (!header || text.length < header.length + TAG_LEN) return null;
    const { keyId, counter } = header;
    const known = this.#keys.get(keyId) ?? { key: await deriveKey(this.#secret, keyId), highest: -1n, seen: new Set() };
    if (known.seen.has(counter) || counter + BigInt(WINDOW) <= known.highest) return null;
    const additionalData = joined(text.subarray(0, header.length), clear);
    const parameters = { name: "AES-GCM", iv: nonceOf(known.key.salt, counter), additionalData };
    let plain;
    try {
      plain = await crypto.subtle.decrypt(parameters, known.key.key, text.subarray(header.length));
    } catch {
      return null;
    }
    known.seen.add(counter);
    if (counter > known.highest) known.highest = counter;
    if (known.seen.size > 2 * WINDOW) {
      for (const one of known.seen) if (one + BigInt(WINDOW) <= known.highest) known.seen.delete(one);
    }
    this.#keys.delete(keyId);
    this.#keys.set(keyId, known);
    if (this.#keys.size > KEYS_MAX) this.#keys.delete(/** @type {bigint} */ (this.#keys.keys().next().value));
    return new Uint8Array(plain);
  }
}

/** 48 bits: two are hardly ever the same, and the header stays short. */
function randomKeyId() {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}
