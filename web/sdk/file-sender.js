import { CHUNK_BYTES, WINDOW_BYTES, readFileMessage } from "./file-messages.js";
import { FileTransfer } from "./file-transfer.js";
import { randomId } from "./random-id.js";
import { Sha256 } from "./sha256.js";

/** Bytes left in the channel's buffer when it asks for more: enough to keep the link busy between two reads. */
const LOW_BYTES = 256 * 1024;
/** Bytes in the channel's buffer at most; Chromium ends a channel whose buffer passes 16 MiB. */
const HIGH_BYTES = 1024 * 1024;
/** Bytes read from the file in one go: few reads, and little in memory. */
const READ_BYTES = 1024 * 1024;

/** Sends one file to one participant; `state` and `received` tell how far it is. */
export class FileSender extends FileTransfer {
  #file;
  #maxMessage;
  #sent = 0;
  /** @type {(() => void) | null} */
  #wake = null;

  /**
   * @param {import("./file-transfer.js").FileChannel} channel made for this transfer
   * @param {string} peerId
   * @param {File} file
   * @param {number} maxMessageSize of the SCTP transport
   */
  constructor(channel, peerId, file, maxMessageSize) {
    super({ channel, peerId, name: file.name, size: file.size, mime: file.type, direction: "send" });
    this.#file = file;
    this.#maxMessage = Math.max(1, Math.min(CHUNK_BYTES, maxMessageSize || CHUNK_BYTES));
    const id = randomId();
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = LOW_BYTES;
    channel.onbufferedamountlow = () => this.#wake?.();
    channel.onopen = () => this.say({ type: "offer", id, name: this.name, size: this.size, mime: this.mime });
    channel.onmessage = ({ data }) => this.#heard(data);
    channel.onclose = () => this.#ended("failed", this.loss);
    if (channel.readyState === "open") channel.onopen(new Event("open"));
  }

  cancel(reason = "cancelled") {
    super.cancel(reason);
    this.#stop();
  }

  /** @param {unknown} data */
  #heard(data) {
    const message = typeof data === "string" ? readFileMessage(data) : null;
    switch (message?.type) {
      case "accept":
        if (this.state === "offered") this.#run().catch((error) => this.#broke(error));
        break;
      case "decline":
        this.#ended("declined", "");
        break;
      case "progress":
        if (message.received > this.#sent) return;
        this.progress(message.received);
        this.#wake?.();
        break;
      case "done":
        if (this.state === "checking") this.#ended("done", "");
        break;
      case "cancel":
        this.#ended("cancelled", message.reason);
        break;
      case "offer":
        // Our own words coming back: an echo, not someone who takes files.
        this.#ended("declined", "takes no files");
        break;
    }
  }

  async #run() {
    this.become("active");
    const hash = new Sha256();
    for (let at = 0; at < this.size && !this.isOver; at += READ_BYTES) {
      const bytes = new Uint8Array(await this.#file.slice(at, at + READ_BYTES).arrayBuffer());
      if (bytes.length !== Math.min(READ_BYTES, this.size - at)) throw new Error("the file changed while it was sent");
      hash.update(bytes);
      for (let from = 0; from < bytes.length && !this.isOver; from += this.#maxMessage) {
        await this.#room();
        if (this.isOver) return;
        const chunk = bytes.subarray(from, from + this.#maxMessage);
        this.channel.send(chunk);
        this.#sent += chunk.length;
      }
    }
    if (this.isOver) return;
    this.say({ type: "end", sha256: hash.hex() });
    this.become("checking");
  }

  /** Waits until neither the channel's buffer nor what the receiver has not stored is too much. */
  async #room() {
    while (
      !this.isOver &&
      (this.channel.bufferedAmount > HIGH_BYTES || this.#sent - this.received > WINDOW_BYTES - this.#maxMessage)
    ) {
      await new Promise((resolve) => (this.#wake = () => resolve(null)));
    }
  }

  /** @param {unknown} error */
  #broke(error) {
    const reason = error instanceof Error ? error.message : String(error);
    this.say({ type: "cancel", reason });
    this.#ended("failed", reason);
  }

  /**
   * @param {"done" | "declined" | "cancelled" | "failed"} state
   * @param {string} reason
   */
  #ended(state, reason) {
    this.finish(state, reason);
    this.#stop();
  }

  #stop() {
    this.#wake?.();
    // The one who made the channel closes it, once everything that was said has gone out.
    const { channel } = this;
    if (channel.bufferedAmount === 0) channel.close();
    else {
      channel.bufferedAmountLowThreshold = 0;
      channel.onbufferedamountlow = () => channel.close();
    }
  }
}
