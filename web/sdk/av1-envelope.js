// Temporal units of AV1 whose content is hidden, in a form that travels, as the native library makes them: copies of the
// sequence headers before the first frame, then one frame OBU, whose body is a byte that says what kind of frame it is, and what
// is hidden.

const SEQUENCE_HEADER = 1;
const FRAME_HEADER = 3;
const FRAME = 6;
const HAS_EXTENSION = 0x04;
const HAS_SIZE = 0x02;
/** Of the first byte of a frame header: whether it is shown, and its type. */
const VISIBLE = 0xf0;
/** The same of a temporal unit without a frame. */
const NO_FRAME = 0x20;

/** @typedef {{type: number, extension: number | null, whole: Uint8Array<ArrayBuffer>, body: Uint8Array<ArrayBuffer>}} Obu */

/**
 * The OBUs of a temporal unit; `null` where it is malformed.
 *
 * @param {Uint8Array<ArrayBuffer>} unit
 * @returns {Obu[] | null}
 */
export function readObus(unit) {
  const found = [];
  for (let at = 0; at < unit.length; ) {
    const start = at;
    const header = unit[at++];
    if (header & 0x80) return null;
    const extension = header & HAS_EXTENSION ? unit[at++] : null;
    let end = unit.length;
    if (header & HAS_SIZE) {
      let size = 0;
      for (let shift = 0; ; shift += 7) {
        if (at >= unit.length || shift > 28) return null;
        const byte = unit[at++];
        size += (byte & 0x7f) * 2 ** shift;
        if (!(byte & 0x80)) break;
      }
      end = at + size;
    }
    if (extension === undefined || end > unit.length) return null;
    found.push({ type: (header >> 3) & 15, extension, whole: unit.subarray(start, end), body: unit.subarray(at, end) });
    at = end;
  }
  return found;
}

/** What stays visible of a temporal unit, and the envelope around what is hidden. */
export class Av1Envelope {
  #sequenceHeaders;
  #extension;
  /** The byte in front of what is hidden. */
  visible = NO_FRAME;

  /**
   * @param {Uint8Array<ArrayBuffer>} unit
   * @throws {RangeError} where it is no temporal unit
   */
  constructor(unit) {
    const obus = readObus(unit);
    if (!obus || obus.length === 0) throw new RangeError("a malformed temporal unit of AV1");
    const at = obus.findIndex(({ type }) => type === FRAME || type === FRAME_HEADER);
    const frame = obus[at];
    // A sequence header alone begins nothing.
    this.#sequenceHeaders = obus.slice(0, Math.max(at, 0)).filter(({ type }) => type === SEQUENCE_HEADER);
    this.#extension = frame?.extension ?? null;
    if (frame && frame.body.length > 0) this.visible = frame.body[0] & VISIBLE;
  }

  /** @param {Uint8Array} hidden @returns {Uint8Array<ArrayBuffer>} */
  around(hidden) {
    const bytes = [];
    for (const { whole, body, extension } of this.#sequenceHeaders) {
      bytes.push(whole[0] | HAS_SIZE, ...(extension === null ? [] : [extension]), ...leb128(body.length), ...body);
    }
    const own = (FRAME << 3) | HAS_SIZE | (this.#extension === null ? 0 : HAS_EXTENSION);
    bytes.push(own, ...(this.#extension === null ? [] : [this.#extension]), ...leb128(hidden.length + 1), this.visible);
    const all = new Uint8Array(bytes.length + hidden.length);
    all.set(bytes);
    all.set(hidden, bytes.length);
    return all;
  }
}

/**
 * What an envelope holds: the byte in front, and what is hidden; `null` for what is no envelope.
 *
 * @param {Uint8Array<ArrayBuffer>} unit
 * @returns {{clear: Uint8Array<ArrayBuffer>, hidden: Uint8Array<ArrayBuffer>} | null}
 */
export function openAv1Envelope(unit) {
  const last = readObus(unit)?.at(-1);
  if (!last || (last.type !== FRAME && last.type !== FRAME_HEADER) || last.body.length === 0) return null;
  return { clear: last.body.subarray(0, 1), hidden: last.body.subarray(1) };
}

/** @param {number} value */
function leb128(value) {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 0x80)) bytes.push((value & 0x7f) | 0x80);
  return [...bytes, value];
}
