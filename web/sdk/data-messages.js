/** Label of both channels. */
export const DATA_LABEL = "data";
/** Protocol of the channel on which everything arrives in its order. */
export const RELIABLE = "twocan.data.reliable";
/** Protocol of the channel on which what is lost stays lost. */
export const LOSSY = "twocan.data.lossy";

/** Whether a channel that the other side made is one of these. @param {RTCDataChannel} channel */
export const isDataChannel = ({ label, protocol }) => label === DATA_LABEL && (protocol === RELIABLE || protocol === LOSSY);

/** Bytes of a payload at most. */
export const PAYLOAD_MAX = 65_536;
/** Bytes of topic and payload at most, of a message that may be lost: it fits one packet. */
export const LOSSY_MAX = 1_100;
/** Bytes of a name, or of a topic, at most. */
const TEXT_MAX = 255;
/** Names of a message at most. */
const NAMES_MAX = 255;

const MESSAGE = 1;
const GAP = 2;
const FENCE = 3;

/** @typedef {{kind: "message", names: string[], topic: string, data: string | Uint8Array<ArrayBuffer>}} DataMessage */
/** @typedef {DataMessage | {kind: "gap", missed: number} | {kind: "fence", number: number}} RoomDatum */
/** @typedef {"not_permitted" | "not_joined" | "too_large" | "topic_too_long" | "too_many_receivers" | "queue_full"} DataReason */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Why something was not sent. `reason` is for programs, `message` for logs. */
export class DataError extends Error {
  /**
   * @param {DataReason} reason
   * @param {string} [details]
   */
  constructor(reason, details) {
    super(details ? `${reason}: ${details}` : reason);
    this.name = "DataError";
    this.reason = reason;
  }
}

/**
 * Writes a message.
 *
 * @param {string | ArrayBuffer | ArrayBufferView} data
 * @param {{names?: string[], topic?: string, lossy?: boolean}} [options] `names`: whom it is for, everybody where there is none
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {DataError} where it is longer than it may be
 */
export function writeData(data, { names = [], topic = "", lossy = false } = {}) {
  const isText = typeof data === "string";
  const payload = isText ? encoder.encode(data) : bytesOf(data);
  const [about, ...receivers] = [topic, ...names].map((text) => encoder.encode(text));
  if (about.length > TEXT_MAX) throw new DataError("topic_too_long", `${about.length} bytes, ${TEXT_MAX} at most`);
  if (receivers.length > NAMES_MAX) throw new DataError("too_many_receivers", `${receivers.length}, ${NAMES_MAX} at most`);
  const [length, most] = lossy ? [about.length + payload.length, LOSSY_MAX] : [payload.length, PAYLOAD_MAX];
  if (length > most) throw new DataError("too_large", `${length} bytes, ${most} at most`);
  const pieces = [Uint8Array.of(MESSAGE, isText ? 1 : 0, receivers.length)];
  for (const text of [...receivers, about]) pieces.push(Uint8Array.of(text.length), text);
  return joined([...pieces, payload]);
}

/** @param {number} number @returns {Uint8Array<ArrayBuffer>} */
export function writeFence(number) {
  const bytes = new Uint8Array(5);
  bytes[0] = FENCE;
  new DataView(bytes.buffer).setUint32(1, number);
  return bytes;
}

/**
 * Reads what came over one of the channels.
 *
 * @param {unknown} received
 * @returns {RoomDatum | null} `null` for what is none of these
 */
export function readData(received) {
  if (!(received instanceof ArrayBuffer)) return null;
  const bytes = new Uint8Array(received);
  const [kind, flags, count] = bytes;
  if (kind === GAP || kind === FENCE) {
    if (bytes.length < 5) return null;
    const number = new DataView(received).getUint32(1);
    return kind === GAP ? { kind: "gap", missed: number } : { kind: "fence", number };
  }
  if (kind !== MESSAGE || count === undefined) return null;
  let at = 3;
  const texts = [];
  for (let index = 0; index <= count; index += 1) {
    const end = at + 1 + (bytes[at] ?? Infinity);
    if (end > bytes.length) return null;
    texts.push(decoder.decode(bytes.subarray(at + 1, end)));
    at = end;
  }
  const payload = bytes.slice(at);
  if (payload.length > PAYLOAD_MAX) return null;
  const topic = texts.pop() ?? "";
  return { kind: "message", names: texts, topic, data: flags & 1 ? decoder.decode(payload) : payload };
}

/** @param {ArrayBuffer | ArrayBufferView} data */
function bytesOf(data) {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
}

/** @param {Uint8Array[]} pieces */
function joined(pieces) {
  const bytes = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
