/**
 * Messages encrypted end to end: AES-256-GCM with keys that HKDF (RFC 5869, SHA-512) draws from a room's secret. Every
 * sender has a key of its own for each way, by a random key id, as tracks have theirs in SFrame.
 *
 * ```text
 * version (1) | key id (8) | counter (8, big-endian) | ciphertext | tag (16)
 * ```
 *
 * Bound to it, beside these first 17 bytes: the way, the room, who sends and, of what is for one alone, who receives.
 *
 * @module
 */

const VERSION = 1;
const KEY_ID_LEN = 8;
const HEADER_LEN = 1 + KEY_ID_LEN + 8;
const NONCE_LEN = 12;
const TAG_LEN = 16;
/** Bytes that a sealed message is longer. */
export const SEAL_LEN = HEADER_LEN + TAG_LEN;
/** Counters below the highest that are remembered. */
const WINDOW = 1024;

/** The ways that messages go. What is sealed for one does not open as another. */
export const WAYS = Object.freeze({ chat: 1, reliable: 2, lossy: 3, file: 4 });

/** @typedef {keyof typeof WAYS} Way */
/** @typedef {{way: Way, room: string, from: string, to?: string}} Envelope whom and what a message is bound to */

const encoder = new TextEncoder();

/** @param {BufferSource} secret @param {Uint8Array} keyId */
async function deriveKey(secret, keyId) {
  const base = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  /** @param {string} label @param {number} length */
  const draw = (label, length) => {
    const info = joined(encoder.encode(label), keyId);
    return crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-512", salt: new Uint8Array(), info }, base, 8 * length);
  };
  const [key, salt] = await Promise.all([draw("Twocan 1 message key ", 32), draw("Twocan 1 message salt ", NONCE_LEN)]);
  return { key: await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]), salt: new Uint8Array(salt) };
}

/** What a message is bound to: its header, and each name with its length before it. @param {Uint8Array} header @param {Envelope} envelope */
function bound(header, { way, room, from, to = "" }) {
  const parts = [header, Uint8Array.of(WAYS[way])];
  for (const name of [room, from, to]) {
    const text = encoder.encode(name);
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, text.length);
    parts.push(length, text);
  }
  return joined(...parts);
}

/** @param {Uint8Array} salt @param {Uint8Array} header */
function parameters(salt, header, /** @type {Envelope} */ envelope) {
  const iv = salt.slice();
  for (let at = 0; at < 8; at += 1) iv[NONCE_LEN - 8 + at] ^= header[HEADER_LEN - 8 + at];
  return { name: "AES-GCM", iv, additionalData: bound(header, envelope) };
}

/** Seals what one sender says on one way. */
export class MessageSealer {
  /** Names its key. */ keyId;
  #secret;
  #counter = 0;
  /** @type {ReturnType<typeof deriveKey> | null} */
  #key = null;

  /** @param {BufferSource} secret @param {Uint8Array} [keyId] chosen at random: no two sealers may have the same */
  constructor(secret, keyId = crypto.getRandomValues(new Uint8Array(KEY_ID_LEN))) {
    this.#secret = secret;
    this.keyId = keyId;
  }

  /**
   * @param {Uint8Array<ArrayBuffer>} plain
   * @param {Envelope} envelope
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async seal(plain, envelope) {
    const header = new Uint8Array(HEADER_LEN);
    header[0] = VERSION;
    header.set(this.keyId, 1);
    new DataView(header.buffer).setBigUint64(HEADER_LEN - 8, BigInt(this.#counter));
    this.#counter += 1;
    const { key, salt } = await (this.#key ??= deriveKey(this.#secret, this.keyId));
    const sealed = await crypto.subtle.encrypt(parameters(salt, header, envelope), key, plain);
    return joined(header, new Uint8Array(sealed));
  }
}

/**
 * Opens what one sender says on one way. The key of the first message that opens is the only one: what was sealed in
 * another session, though with the same secret, does not open any more.
 */
export class MessageOpener {
  #secret;
  #isWhole;
  /** @type {{id: string, derived: Awaited<ReturnType<typeof deriveKey>>} | null} */
  #key = null;
  #highest = -1;
  /** @type {Set<number>} */
  #seen = new Set();
  /** @type {Promise<unknown>} */
  #before = Promise.resolve();

  /** @param {BufferSource} secret @param {{isWhole?: boolean}} [options] `isWhole`: each has to be the one after that before */
  constructor(secret, { isWhole = false } = {}) {
    this.#secret = secret;
    this.#isWhole = isWhole;
  }

  /** Names the key of what opened; `null` before. */
  get keyId() {
    return this.#key?.id ?? null;
  }

  /**
   * @param {Uint8Array<ArrayBuffer>} sealed
   * @param {Envelope} envelope
   * @returns {Promise<Uint8Array<ArrayBuffer> | null>} in the order of the calls; `null` for what is not sealed with the
   *   secret for this envelope, was changed, or came before
   */
  open(sealed, envelope) {
    const opened = this.#before.then(() => this.#open(sealed, envelope));
    this.#before = opened;
    return opened;
  }

  /** @param {Uint8Array<ArrayBuffer>} sealed @param {Envelope} envelope @returns {Promise<Uint8Array<ArrayBuffer> | null>} */
  async #open(sealed, envelope) {
    if (sealed.length < SEAL_LEN || sealed[0] !== VERSION) return null;
    const header = sealed.slice(0, HEADER_LEN);
    const counter = Number(new DataView(header.buffer).getBigUint64(HEADER_LEN - 8));
    const keyId = header.slice(1, 1 + KEY_ID_LEN);
    const id = String(keyId);
    if (!this.#mayCome(counter) || (this.#key && this.#key.id !== id)) return null;
    const derived = this.#key?.derived ?? (await deriveKey(this.#secret, keyId));
    let plain;
    try {
      plain = await crypto.subtle.decrypt(parameters(derived.salt, header, envelope), derived.key, sealed.subarray(HEADER_LEN));
    } catch {
      return null;
    }
    this.#key ??= { id, derived };
    this.#came(counter);
    return new Uint8Array(plain);
  }

  /** @param {number} counter */
  #mayCome(counter) {
    if (this.#isWhole) return counter === this.#highest + 1;
    return Number.isSafeInteger(counter) && !this.#seen.has(counter) && counter + WINDOW > this.#highest;
  }

  /** @param {number} counter */
  #came(counter) {
    if (counter > this.#highest) this.#highest = counter;
    if (this.#isWhole) return;
    this.#seen.add(counter);
    if (this.#seen.size <= 2 * WINDOW) return;
    for (const one of this.#seen) if (one + WINDOW <= this.#highest) this.#seen.delete(one);
  }
}

/** @param {...Uint8Array} parts @returns {Uint8Array<ArrayBuffer>} */
function joined(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
