/** @typedef {import("./file-transfer.js").FileChannel} FileChannel */

/** Between two attempts. */
const PAUSE_MS = 1_000;
/** A channel that has not opened after this long gives way to another: its connection may be one that never comes up. */
const OPEN_WITHIN_MS = 15_000;

/** Looks for a channel to somebody who is away, until there is one that is open. */
export class ChannelSearch {
  #open;
  #found;
  /** @type {FileChannel | null} */
  #channel = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {() => FileChannel | null} open opens one; `null`, or an error, where there is no way now
   * @param {(channel: FileChannel) => void} found takes one that is open
   */
  constructor(open, found) {
    this.#open = open;
    this.#found = found;
  }

  /** Begins after a moment, as what has just ended may end more. */
  start() {
    this.stop();
    this.#timer = setTimeout(() => this.#try(), PAUSE_MS);
  }

  stop() {
    clearTimeout(this.#timer);
    const channel = this.#channel;
    this.#channel = null;
    if (!channel) return;
    channel.onopen = channel.onclose = null;
    channel.close();
  }

  #try() {
    const channel = this.#attempt();
    if (!channel) return this.start();
    this.#channel = channel;
    this.#timer = setTimeout(() => this.start(), OPEN_WITHIN_MS);
    channel.onclose = () => this.start();
    channel.onopen = () => {
      clearTimeout(this.#timer);
      this.#channel = null;
      channel.onopen = channel.onclose = null;
      this.#found(channel);
    };
    if (channel.readyState === "open") channel.onopen(null);
  }

  #attempt() {
    try {
      return this.#open();
    } catch (error) {
      // A connection that is just being let go of opens none.
      console.debug("no channel for a file", error);
      return null;
    }
  }
}
