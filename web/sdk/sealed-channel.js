import { MessageOpener, MessageSealer } from "./sealed-message.js";

/** Protocol of the data channels on which everything is sealed. */
export const SEALED_PROTOCOL = "twocan.sealed.1";
/** Bytes that a message is longer at most: seal, flags, and the key that it answers. */
export const SEALED_CHANNEL_LEN = 33 + 1 + 8;
/** Bytes that wait to be opened at most; more than a sender that keeps to its window sends. */
const WAITING_MAX = 16 * 1024 * 1024;

/** Why a channel has ended on which nothing came, as far as is known. */
export const CLOSED_UNREAD = "closed unread: the other side may have no key, or another one";

const TEXT = 1;
const ANSWERS = 2;

/**
 * A data channel with one participant, reliable and ordered, on which everything is sealed: each message is the one after
 * that before, or the channel ends. A sealed message says, behind a byte of flags, which key of the other side it answers, once
 * there was one: bytes that answer nothing, as they would on a channel that somebody plays back, are not taken.
 *
 * It is used as an `RTCDataChannel` is.
 */
export class SealedChannel {
  /** @type {((event: {data: string | ArrayBuffer}) => void) | null} */ onmessage = null;
  /** @type {((event: Event) => void) | null} */ onopen = null;
  /** @type {((event: Event) => void) | null} */ onclose = null;
  /** @type {((event: Event) => void) | null} */ onbufferedamountlow = null;
  /** Something did not open. @type {(() => void) | null} */ onunreadable = null;
  /** Why it was closed, where that is known. */ reason = "";
  binaryType = "arraybuffer";
  #channel;
  #sealer;
  #opener;
  #out;
  #in;
  #low = 0;
  #wasHigh = false;
  #isClosing = false;
  /** Bytes that are being sealed. */
  #sealing = 0;
  /** Bytes that are being opened. */
  #opening = 0;
  /** @type {Promise<void>} */
  #sent = Promise.resolve();
  /** @type {Promise<void>} */
  #heard = Promise.resolve();

  /**
   * @param {RTCDataChannel} channel
   * @param {{secret: Uint8Array<ArrayBuffer>, room: string, self: string, other: string}} options `self`, `other`: ids
   */
  constructor(channel, { secret, room, self, other }) {
    this.#channel = channel;
    this.#sealer = new MessageSealer(secret);
    this.#opener = new MessageOpener(secret, { isWhole: true });
    this.#out = { way: /** @type {const} */ ("file"), room, from: self, to: other };
    this.#in = { way: /** @type {const} */ ("file"), room, from: other, to: self };
    channel.binaryType = "arraybuffer";
    channel.onopen = (event) => this.onopen?.(event);
    channel.onmessage = ({ data }) => this.#hear(data);
    channel.onbufferedamountlow = () => this.#drained();
    channel.onclose = (event) => {
      this.#heard = this.#heard.then(() => {
        if (this.#opener.keyId === null) this.reason ||= CLOSED_UNREAD;
        this.onclose?.(event);
      });
    };
  }

  /** @returns {RTCDataChannelState} */
  get readyState() {
    const { readyState } = this.#channel;
    return this.#isClosing && readyState !== "closed" ? "closing" : readyState;
  }

  get bufferedAmount() {
    return this.#sealing + this.#channel.bufferedAmount;
  }

  get bufferedAmountLowThreshold() {
    return this.#low;
  }

  set bufferedAmountLowThreshold(bytes) {
    this.#low = this.#channel.bufferedAmountLowThreshold = bytes;
    this.#wasHigh ||= this.bufferedAmount > bytes;
  }

  /** @param {string | Uint8Array} data */
  send(data) {
    const isText = typeof data === "string";
    const payload = isText ? new TextEncoder().encode(data) : data;
    const other = this.#opener.keyId?.split(",").map(Number) ?? [];
    const plain = new Uint8Array(1 + other.length + payload.length);
    plain[0] = (isText ? TEXT : 0) | (other.length > 0 ? ANSWERS : 0);
    plain.set(other, 1);
    plain.set(payload, 1 + other.length);
    this.#sealing += plain.length;
    this.#wasHigh ||= this.bufferedAmount > this.#low;
    const sealed = this.#sealer.seal(plain, this.#out);
    this.#sent = this.#sent
      .then(async () => {
        const bytes = await sealed;
        this.#sealing -= plain.length;
        if (this.#channel.readyState === "open") this.#channel.send(bytes);
        this.#drained();
      })
      // The other side would miss it: nothing after it can be read.
      .catch(() => this.#break("what was said could not be sent"));
  }

  /** Closes it when everything that was sent has gone out. */
  close() {
    this.#isClosing = true;
    this.#sent = this.#sent.then(() => this.#channel.close());
  }

  #drained() {
    if (!this.#wasHigh || this.bufferedAmount > this.#low) return;
    this.#wasHigh = false;
    this.onbufferedamountlow?.(new Event("bufferedamountlow"));
  }

  /** @param {unknown} data */
  #hear(data) {
    if (this.reason) return;
    if (!(data instanceof ArrayBuffer) || this.#opening + data.byteLength > WAITING_MAX) return this.#break();
    this.#opening += data.byteLength;
    const opened = this.#opener.open(new Uint8Array(data), this.#in);
    this.#heard = this.#heard.then(async () => {
      const plain = await opened;
      this.#opening -= data.byteLength;
      if (this.reason) return;
      const message = plain && this.#read(plain);
      if (!message) return this.#break();
      try {
        this.onmessage?.({ data: message.data });
      } catch (error) {
        // As that of a channel that is not sealed: what comes next is read all the same.
        console.warn("a message was not taken", error);
      }
    });
  }

  /** @param {Uint8Array<ArrayBuffer>} plain @returns {{data: string | ArrayBuffer} | null} */
  #read(plain) {
    const [flags] = plain;
    const own = this.#sealer.keyId;
    const isAnswer = (flags & ANSWERS) !== 0;
    if (plain.length === 0 || (isAnswer && !own.every((byte, at) => plain[1 + at] === byte))) return null;
    const payload = plain.slice(isAnswer ? 1 + own.length : 1);
    if (flags & TEXT) return { data: new TextDecoder().decode(payload) };
    return isAnswer ? { data: payload.buffer } : null;
  }

  /** @param {string} [reason] default that something did not open */
  #break(reason) {
    if (this.reason) return;
    this.reason = reason ?? "what came could not be read";
    if (!reason) this.onunreadable?.();
    this.close();
  }
}
