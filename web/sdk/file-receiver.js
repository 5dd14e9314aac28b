import { REPORT_BYTES, WINDOW_BYTES, readFileMessage } from "./file-messages.js";
import { FileTransfer } from "./file-transfer.js";
import { Sha256 } from "./sha256.js";

/** @typedef {import("./file-sink.js").FileSink} FileSink */

/** A file that another participant offers. `accept` with a sink, or `decline`. */
export class FileReceiver extends FileTransfer {
  /** @type {FileSink | null} */
  #sink = null;
  /** All writes so far. @type {Promise<void>} */
  #writing = Promise.resolve();
  #hash = new Sha256();
  #arrived = 0;
  #stored = 0;
  #reported = 0;

  /**
   * Waits for the offer on a channel that a peer opened.
   *
   * @param {import("./file-transfer.js").FileChannel} channel
   * @param {string} peerId
   * @param {(receiver: FileReceiver) => void} offered
   */
  static listen(channel, peerId, offered) {
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => {
      const message = typeof data === "string" ? readFileMessage(data) : null;
      if (message?.type !== "offer") return channel.close();
      offered(new FileReceiver(channel, peerId, message));
    };
  }

  /**
   * @param {import("./file-transfer.js").FileChannel} channel
   * @param {string} peerId
   * @param {import("./file-messages.js").FileOffer} offer
   */
  constructor(channel, peerId, offer) {
    super({ channel, peerId, name: offer.name, size: offer.size, mime: offer.mime, direction: "receive" });
    channel.onmessage = ({ data }) => this.#heard(data);
    channel.onclose = () => this.#fail(this.loss);
  }

  /**
   * Takes the file.
   *
   * @param {FileSink} sink
   */
  accept(sink) {
    if (this.state !== "offered") return;
    this.#sink = sink;
    this.become("active");
    this.say({ type: "accept" });
  }

  decline() {
    if (this.state !== "offered") return;
    this.say({ type: "decline" });
    this.finish("declined");
  }

  cancel(reason = "cancelled") {
    super.cancel(reason);
    this.#discard();
  }

  /** Where it was stored, once it is `done`; `null` when the person chose the place. @returns {Promise<File | null>} */
  async file() {
    return (await this.#sink?.file()) ?? null;
  }

  /** Forgets what was stored in the browser's private file system. */
  async forget() {
    await this.#sink?.discard();
  }

  /** @param {unknown} data */
  #heard(data) {
    if (this.isOver) return;
    if (data instanceof ArrayBuffer) {
      this.#chunk(new Uint8Array(data));
      return;
    }
    const message = readFileMessage(data);
    if (message?.type === "end") {
      this.become("checking");
      this.#writing = this.#writing.then(() => this.#check(message.sha256));
    } else if (message?.type === "cancel") {
      this.finish("cancelled", message.reason);
      this.#discard();
    }
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  #chunk(bytes) {
    this.#arrived += bytes.length;
    if (this.state !== "active" || this.#arrived > this.size || this.#arrived - this.#stored > WINDOW_BYTES) {
      this.say({ type: "cancel", reason: "more than was agreed" });
      this.#fail("the sender sent more than it had offered");
      return;
    }
    this.#hash.update(bytes);
    const { length } = bytes; // the sink takes the buffer away
    // Not one after another: waiting for each would leave the disk idle between two pieces. The window bounds them.
    const write = /** @type {FileSink} */ (this.#sink).write(bytes).then(() => this.#wrote(length));
    this.#writing = Promise.all([this.#writing, write]).then(
      () => {},
      (error) => this.#broke(error),
    );
  }

  /** @param {number} length */
  #wrote(length) {
    if (this.isOver) return;
    this.#stored += length;
    this.progress(this.#stored);
    if (this.#stored - this.#reported >= REPORT_BYTES || this.#stored === this.size) {
      this.#reported = this.#stored;
      this.say({ type: "progress", received: this.#stored });
    }
  }

  /** @param {string} sha256 */
  async #check(sha256) {
    if (this.isOver || !this.#sink) return;
    if (this.#stored !== this.size || this.#hash.hex() !== sha256) {
      this.say({ type: "cancel", reason: "what arrived is not what was sent" });
      this.#fail("what arrived is not what was sent");
      return;
    }
    try {
      await this.#sink.close();
    } catch (error) {
      this.#broke(error);
      return;
    }
    this.say({ type: "done" });
    this.finish("done");
  }

  /** @param {unknown} error */
  #broke(error) {
    if (this.isOver) return;
    this.say({ type: "cancel", reason: "could not be stored" });
    const full = error instanceof DOMException && error.name === "QuotaExceededError";
    this.#fail(full ? "there is not enough space on this device" : "could not be stored on this device");
  }

  /** @param {string} reason */
  #fail(reason) {
    if (this.isOver) return;
    this.finish("failed", reason);
    this.#discard();
  }

  #discard() {
    this.#sink?.discard().catch(() => {}); // best effort: stale files are swept when the page starts
  }
}
