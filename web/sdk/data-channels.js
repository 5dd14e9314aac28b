import { DATA_LABEL, LOSSY, RELIABLE, readData, writeFence } from "./data-messages.js";
import { Emitter } from "./emitter.js";

/** Bytes that wait on the channel of what may be lost; what is sent while so much does is dropped. */
const LOSSY_WAITING_MAX = 64 * 1024;
/** Bytes in a buffer at which whoever sends and waits goes on. */
const LOW_BYTES = 256 * 1024;
/** Bytes in a buffer from which on whoever sends is to wait. */
const HIGH_BYTES = 1024 * 1024;
/** Bytes in a buffer at most; Chromium ends a channel whose buffer passes 16 MiB. */
export const FULL_BYTES = 8 * 1024 * 1024;
/** What was sent is waited for no longer than this. */
const PATIENCE_MS = 5_000;

/** @typedef {import("./data-messages.js").DataMessage} DataMessage */

/**
 * The two data channels by which this side sends to a participant or to a server, and all by which they send here. They
 * are opened with the first message, or by `open`.
 *
 * @extends {Emitter<{message: DataMessage & {lossy: boolean}, gap: number}>}
 */
export class DataChannels extends Emitter {
  #connection;
  #made;
  /** @type {RTCDataChannel | null} */
  #reliable = null;
  /** @type {RTCDataChannel | null} */
  #lossy = null;
  /** What waits for the channel to open. @type {Uint8Array<ArrayBuffer>[]} */
  #waiting = [];
  #waitingBytes = 0;
  #fences = 0;
  /** Those who wait for their fence to come back. @type {Map<number, () => void>} */
  #fenced = new Map();
  /** Those who wait for anything. @type {Set<() => void>} */
  #waiters = new Set();

  /**
   * @param {RTCPeerConnection} connection
   * @param {(channel: RTCDataChannel) => void} made is told of each channel, of either side
   */
  constructor(connection, made) {
    super();
    this.#connection = connection;
    this.#made = made;
  }

  /** Whether there was a channel and it is gone. */
  get isLost() {
    return this.#reliable?.readyState === "closed";
  }

  /** Bytes of reliable messages that wait. */
  get waitingBytes() {
    return this.#waitingBytes + (this.#reliable?.bufferedAmount ?? 0);
  }

  /** Whether no more may wait. */
  get isFull() {
    return this.waitingBytes >= FULL_BYTES;
  }

  /** Goes on over a new connection; what waits is sent there. @param {RTCPeerConnection} connection */
  move(connection) {
    this.#connection = connection;
    this.#reliable = this.#lossy = null;
    this.close();
    if (this.#waiting.length > 0) this.open();
  }

  /** The connection is over: nobody waits any longer. */
  close() {
    for (const done of [...this.#waiters]) done();
  }

  open() {
    if (!isUsable(this.#reliable)) this.#reliable = this.#make(RELIABLE, {});
    if (!isUsable(this.#lossy)) this.#lossy = this.#make(LOSSY, { ordered: false, maxRetransmits: 0 });
  }

  /** @param {RTCDataChannel} channel made by the other side */
  adopt(channel) {
    this.#listen(channel);
    this.#made(channel);
  }

  /** Sends something that arrives, or waits until that is possible. @param {Uint8Array<ArrayBuffer>} bytes */
  send(bytes) {
    if (this.#connection.connectionState === "closed") return;
    this.open();
    if (this.#reliable?.readyState === "open") return this.#reliable.send(bytes);
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
  }

  /** Sends something that may be lost, and is where there is no room. @param {Uint8Array<ArrayBuffer>} bytes */
  sendLossy(bytes) {
    if (this.#connection.connectionState === "closed") return;
    this.open();
    const channel = this.#lossy;
    if (channel?.readyState === "open" && channel.bufferedAmount + bytes.length <= LOSSY_WAITING_MAX) channel.send(bytes);
  }

  /** Whether what may be lost goes at once. */
  get canSendLossy() {
    return this.#lossy?.readyState === "open";
  }

  /** Settles once there is room for more, or there will be none. @returns {Promise<void>} */
  async room() {
    const channel = this.#reliable;
    if (!channel || this.waitingBytes < HIGH_BYTES) return;
    channel.bufferedAmountLowThreshold = LOW_BYTES;
    await this.#until((done) => {
      for (const name of ["bufferedamountlow", "close"]) channel.addEventListener(name, done, { once: true });
    });
  }

  /** Settles when a server has passed on what it was sent so far, or it takes too long. @returns {Promise<void>} */
  async fence() {
    if (this.#connection.connectionState === "closed" || !this.#reliable) return;
    const number = ++this.#fences;
    this.send(writeFence(number));
    await this.#until((done) => this.#fenced.set(number, done), PATIENCE_MS);
    this.#fenced.delete(number);
  }

  /** Closes the channels of this side. @returns {Promise<void>} settles when everything has arrived, or it takes too long */
  async finish() {
    const channel = this.#reliable;
    this.#lossy?.close();
    this.#reliable = this.#lossy = null;
    if (!channel || channel.readyState === "closed") return;
    // What waits goes with it: such a channel is closed when it has opened and sent that.
    if (channel.readyState === "connecting" && this.#waiting.length > 0) await this.#until((done) => channel.addEventListener("open", done, { once: true }), PATIENCE_MS);
    await this.#until((done) => {
      channel.addEventListener("close", done, { once: true });
      channel.close();
    }, PATIENCE_MS);
  }

  /** @param {string} protocol @param {RTCDataChannelInit} init */
  #make(protocol, init) {
    const channel = this.#connection.createDataChannel(DATA_LABEL, { ...init, protocol });
    this.#listen(channel);
    this.#made(channel);
    return channel;
  }

  /** @param {RTCDataChannel} channel */
  #listen(channel) {
    channel.binaryType = "arraybuffer";
    const lossy = channel.protocol === LOSSY;
    channel.onmessage = ({ data }) => this.#heard(readData(data), lossy);
    if (lossy) return;
    channel.addEventListener("open", () => {
      this.#waitingBytes = 0;
      for (const bytes of this.#waiting.splice(0)) channel.send(bytes);
    });
  }

  /** @param {import("./data-messages.js").RoomDatum | null} datum @param {boolean} lossy */
  #heard(datum, lossy) {
    if (datum?.kind === "message") this.emit("message", { ...datum, lossy });
    else if (datum?.kind === "gap") this.emit("gap", datum.missed);
    else if (datum?.kind === "fence") this.#fenced.get(datum.number)?.();
  }

  /** @param {(done: () => void) => void} start @param {number} [patience] milliseconds @returns {Promise<void>} */
  #until(start, patience) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = patience === undefined ? undefined : setTimeout(done, patience);
      this.#waiters.add(done);
      start(done);
    });
  }
}

/** @param {RTCDataChannel | null} channel */
function isUsable(channel) {
  return channel !== null && (channel.readyState === "connecting" || channel.readyState === "open");
}
