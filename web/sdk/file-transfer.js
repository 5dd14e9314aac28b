import { Emitter } from "./emitter.js";
import { RESUME_WITHIN_MS } from "./file-messages.js";

/** @typedef {import("./file-messages.js").TransferState} TransferState */
/**
 * What a transfer needs of its channel: an `RTCDataChannel`, or a `SealedChannel`.
 *
 * @typedef {object} FileChannel
 * @property {RTCDataChannelState} readyState
 * @property {string} binaryType
 * @property {number} bufferedAmount
 * @property {number} bufferedAmountLowThreshold
 * @property {string} [reason] why it was closed, where that is known
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {((event: any) => void) | null} onbufferedamountlow
 * @property {(data: any) => void} send
 * @property {() => void} close
 */

/** Bytes per second are averaged over this time. */
const RATE_WINDOW_MS = 3_000;

/**
 * One file on its way to or from one participant.
 *
 * @extends {Emitter<{change: null}>}
 */
export class FileTransfer extends Emitter {
  /** @type {TransferState} */ state = "offered";
  /** Bytes that the receiver has stored. */ received = 0;
  /** Why it ended, when it did not end well. */ reason = "";
  /** @type {{at: number, received: number}[]} */
  #history = [];
  /** When it fails, if nothing more has been stored until then, as `performance.now()`. */
  #endsAt = 0;
  /** Bytes that were stored when it was cut last. */
  #cutAt = -1;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {FileChannel} options.channel
   * @param {string} options.peerId
   * @param {string} options.name
   * @param {number} options.size
   * @param {string} options.mime
   * @param {"send" | "receive"} options.direction
   */
  constructor({ channel, peerId, name, size, mime, direction }) {
    super();
    this.channel = channel;
    this.peerId = peerId;
    this.name = name;
    this.size = size;
    this.mime = mime;
    this.direction = direction;
  }

  get isOver() {
    return ["done", "declined", "cancelled", "failed"].includes(this.state);
  }

  /** Bytes per second over the last seconds. */
  get rate() {
    const first = this.#history[0];
    const last = this.#history.at(-1);
    if (!first || !last || last.at === first.at) return 0;
    return ((last.received - first.received) * 1000) / (last.at - first.at);
  }

  /** Ends it from this side. */
  cancel(reason = "cancelled") {
    if (this.isOver) return;
    this.say({ type: "cancel", reason });
    this.finish("cancelled", reason);
  }

  /** Goes on over another channel. @protected @param {FileChannel} channel */
  changeTo(channel) {
    const former = this.channel;
    if (former === channel) return;
    former.onopen = former.onmessage = former.onclose = former.onbufferedamountlow = null;
    former.close();
    this.channel = channel;
  }

  /** The other side is gone for good. @param {string} reason */
  end(reason) {
    this.finish("failed", reason);
  }

  /** Waits for the other side, for no longer than is left since anything was stored. @protected */
  interrupt() {
    if (this.isOver) return;
    const now = performance.now();
    if (this.received > this.#cutAt) this.#endsAt = now + RESUME_WITHIN_MS;
    this.#cutAt = this.received;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end("the connection did not come back"), Math.max(0, this.#endsAt - now));
    this.become("interrupted");
  }

  /**
   * It goes on.
   *
   * @protected
   * @param {"offered" | "active"} state
   */
  resumed(state) {
    clearTimeout(this.#timer);
    // While a person decides nothing is stored.
    if (state === "offered") this.#cutAt = -1;
    this.#history = [];
    this.become(state);
  }

  /** Why the channel is gone. @protected */
  get loss() {
    return this.channel.reason || "connection lost";
  }

  /**
   * @protected
   * @param {import("./file-messages.js").FileMessage} message
   */
  say(message) {
    if (this.channel.readyState === "open") this.channel.send(JSON.stringify(message));
  }

  /**
   * @protected
   * @param {number} received
   */
  progress(received) {
    const at = performance.now();
    this.received = received;
    this.#history.push({ at, received });
    while (this.#history.length > 2 && at - this.#history[0].at > RATE_WINDOW_MS) this.#history.shift();
    this.emit("change", null);
  }

  /**
   * @protected
   * @param {TransferState} state
   */
  become(state) {
    if (this.isOver || this.state === state) return;
    this.state = state;
    this.emit("change", null);
  }

  /**
   * @protected
   * @param {"done" | "declined" | "cancelled" | "failed"} state
   * @param {string} [reason]
   */
  finish(state, reason = "") {
    if (this.isOver) return;
    clearTimeout(this.#timer);
    this.state = state;
    this.reason = reason;
    this.emit("change", null);
  }
}
