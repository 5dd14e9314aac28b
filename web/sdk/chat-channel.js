import { Emitter } from "./emitter.js";

/** Messages that wait for the channel to open; older ones are kept, later ones are refused. */
const WAITING_MAX = 100;

/**
 * The reliable, ordered data channel `chat` between two participants. The side that makes the first offer creates it;
 * when the other side never does, it is made with the first message that needs it.
 *
 * @extends {Emitter<{message: string, open: null}>}
 */
export class ChatChannel extends Emitter {
  label = "chat";
  #connection;
  /** @type {RTCDataChannel | null} */
  #channel = null;
  /** @type {string[]} */
  #waiting = [];

  /** @param {RTCPeerConnection} connection */
  constructor(connection) {
    super();
    this.#connection = connection;
  }

  get isOpen() {
    return this.#channel?.readyState === "open";
  }

  /** Whether there was a channel and it is gone. */
  get isLost() {
    return this.#channel?.readyState === "closed";
  }

  /** Goes on over a new connection; what waits is sent there. @param {RTCPeerConnection} connection */
  move(connection) {
    this.#connection = connection;
    if (this.#channel) this.#channel.onmessage = this.#channel.onopen = null;
    this.#channel = null;
  }

  create() {
    this.adopt(this.#connection.createDataChannel(this.label));
  }

  /** @param {RTCDataChannel} channel made by either side */
  adopt(channel) {
    channel.onmessage = ({ data }) => typeof data === "string" && this.emit("message", data);
    channel.onopen = () => this.#opened(channel);
    // Both sides may have made one; what arrives on either is heard, and the first is spoken on.
    if (this.#channel && this.#channel.readyState !== "closed" && this.#channel.readyState !== "closing") return;
    this.#channel = channel;
    if (channel.readyState === "open") this.#opened(channel);
  }

  /**
   * @param {string} text
   * @returns {boolean} whether it was sent or waits to be
   */
  send(text) {
    if (this.#channel?.readyState === "open") {
      this.#channel.send(text);
      return true;
    }
    if (this.#connection.connectionState === "closed" || this.#waiting.length >= WAITING_MAX) return false;
    this.#waiting.push(text);
    const gone = !this.#channel || this.#channel.readyState === "closed" || this.#channel.readyState === "closing";
    if (gone && this.#connection.connectionState === "connected") this.create();
    return true;
  }

  /** @param {RTCDataChannel} channel */
  #opened(channel) {
    if (channel === this.#channel) for (const text of this.#waiting.splice(0)) channel.send(text);
    this.emit("open", null);
  }
}
