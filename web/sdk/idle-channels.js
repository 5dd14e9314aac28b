/** A connection on which no data channel is left is kept for this long. */
const IDLE_MS = 30_000;

/** The data channels of a connection, and whether it is needed for them. */
export class IdleChannels {
  /** @type {Set<RTCDataChannel>} */
  #open = new Set();
  /** @type {number | undefined} */
  #timer;
  #idle;

  /** @param {() => void} idle there was none for a while */
  constructor(idle) {
    this.#idle = idle;
  }

  get areNone() {
    return this.#open.size === 0;
  }

  /** @param {RTCDataChannel} channel */
  add(channel) {
    this.#open.add(channel);
    this.stop();
    channel.addEventListener("close", () => {
      this.#open.delete(channel);
      this.start();
    });
    return channel;
  }

  /** Their connection is let go of here, of which a browser tells its channels nothing (W3C WebRTC §4.4.2, `close`). */
  lose() {
    for (const channel of [...this.#open]) channel.dispatchEvent(new Event("close"));
  }

  /** Waits for one, and for the last to end. */
  start() {
    this.stop();
    if (this.areNone) this.#timer = setTimeout(() => this.#idle(), IDLE_MS);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}
