/** The encryption of frames by SFrame (RFC 9605). */

import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';

/** The suites of the registry (§4.5, §8.1; those with 256-bit counter mode of draft-barnes-sframe-iana-256). */
export const suites = {
  AES_128_CTR_HMAC_SHA256_80: { id: 1, hash: 'SHA-256', key: 16, auth: 32, tag: 10 },
  AES_128_CTR_HMAC_SHA256_64: { id: 2, hash: 'SHA-256', key: 16, auth: 32, tag: 8 },
  AES_128_CTR_HMAC_SHA256_32: { id: 3, hash: 'SHA-256', key: 16, auth: 32, tag: 4 },
  AES_128_GCM_SHA256_128: { id: 4, hash: 'SHA-256', key: 16, auth: 0, tag: 16 },
  AES_256_GCM_SHA512_128: { id: 5, hash: 'SHA-512', key: 32, auth: 0, tag: 16 },
  AES_256_CTR_HMAC_SHA512_80: { id: 6, hash: 'SHA-512', key: 32, auth: 64, tag: 10 },
  AES_256_CTR_HMAC_SHA512_64: { id: 7, hash: 'SHA-512', key: 32, auth: 64, tag: 8 },
  AES_256_CTR_HMAC_SHA512_32: { id: 8, hash: 'SHA-512', key: 32, auth: 64, tag: 4 },
};

const NONCE_LEN = 12;

function u64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** The keys of one key id (§4.4.2), drawn from a `CryptoKey` for HKDF. */
export async function deriveKeys(suite, keyId, base) {
  const number = Buffer.alloc(2);
  number.writeUInt16BE(suite.id);
  const draw = async (label, length) => {
    const info = Buffer.concat([Buffer.from(`SFrame 1.0 Secret ${label} `), u64(keyId), number]);
    return Buffer.from(await crypto.subtle.deriveBits({ name: 'HKDF', hash: suite.hash, salt: new Uint8Array(), info }, base, length * 8));
  };
  const [keys, salt] = await Promise.all([draw('key', suite.key + suite.auth), draw('salt', NONCE_LEN)]);
  return { suite, keyId, key: keys.subarray(0, suite.key), auth: keys.subarray(suite.key), salt };
}

/** A number of the header in its shortest form (§4.3): the four bits, and the bytes that follow. */
function field(value) {
  if (value < 8n) return [Number(value), Buffer.alloc(0)];
  const bytes = u64(value);
  const start = bytes.findIndex((byte) => byte !== 0);
  return [8 | (7 - start), bytes.subarray(start)];
}

function header(keyId, counter) {
  const [[first, id], [second, count]] = [field(keyId), field(counter)];
  return Buffer.concat([Buffer.of((first << 4) | second), id, count]);
}

/** The header at the start of a frame, or `null` where there is none. */
export function readHeader(frame) {
  if (frame.length === 0) return null;
  let length = 1;
  const read = (bits) => {
    if ((bits & 8) === 0) return BigInt(bits);
    const count = (bits & 7) + 1;
    const bytes = frame.subarray(length, length + count);
    length += count;
    const value = bytes.reduce((all, byte) => (all << 8n) | BigInt(byte), 0n);
    // One form only for each header: what is authenticated is what was read.
    return bytes.length < count || bytes[0] === 0 || value < 8n ? null : value;
  };
  const keyId = read(frame[0] >> 4);
  const counter = read(frame[0] & 15);
  return keyId === null || counter === null ? null : { keyId, counter, length };
}

/** The salt, with the counter over its last bytes (§4.4.3). */
function nonceOf({ salt }, counter) {
  const nonce = Buffer.from(salt);
  u64(counter).forEach((byte, index) => { nonce[NONCE_LEN - 8 + index] ^= byte; });
  return nonce;
}

const bits = ({ suite }) => suite.key * 8;

/** Counter mode, and the tag over lengths, nonce, what goes along and the text (§4.5.1). */
const counted = (keys, nonce, text, make) => make(`aes-${bits(keys)}-ctr`, keys.key, Buffer.concat([nonce, Buffer.alloc(4)])).update(text);

function sign({ suite, auth }, nonce, aad, text) {
  const mac = createHmac(suite.hash.replace('-', '').toLowerCase(), auth);
  for (const part of [u64(aad.length), u64(text.length), u64(suite.tag), nonce, aad, text]) mac.update(part);
  return mac.digest().subarray(0, suite.tag);
}

/** An encrypted frame; `metadata` goes along in the clear. */
export function seal(keys, counter, metadata, text) {
  const start = header(keys.keyId, counter);
  const aad = Buffer.concat([start, metadata]);
  const nonce = nonceOf(keys, counter);
  if (keys.suite.auth > 0) {
    const hidden = counted(keys, nonce, text, createCipheriv);
    return Buffer.concat([start, hidden, sign(keys, nonce, aad, hidden)]);
  }
  const cipher = createCipheriv(`aes-${bits(keys)}-gcm`, keys.key, nonce).setAAD(aad);
  return Buffer.concat([start, cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

/** What an encrypted frame holds, or `null` when it is not authentic. */
export function open(keys, { counter, length }, metadata, frame) {
  const { suite } = keys;
  const end = frame.length - suite.tag;
  if (end < length) return null;
  const [start, hidden, tag] = [frame.subarray(0, length), frame.subarray(length, end), frame.subarray(end)];
  const aad = Buffer.concat([start, metadata]);
  const nonce = nonceOf(keys, counter);
  if (suite.auth > 0) {
    return timingSafeEqual(sign(keys, nonce, aad, hidden), tag) ? counted(keys, nonce, hidden, createDecipheriv) : null;
  }
  const cipher = createDecipheriv(`aes-${bits(keys)}-gcm`, keys.key, nonce, { authTagLength: suite.tag }).setAAD(aad).setAuthTag(tag);
  try {
    return Buffer.concat([cipher.update(hidden), cipher.final()]);
  } catch {
    return null;
  }
}
