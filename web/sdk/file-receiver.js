import { ChannelSearch } from "./channel-search.js";
import { REPORT_BYTES, WINDOW_BYTES, readFileMessage } from "./file-messages.js";
import { FileTransfer } from "./file-transfer.js";
import { Sha256 } from "./sha256.js";

/** @typedef {import("./file-sink.js").FileSink} FileSink */
/** @typedef {import("./file-messages.js").FileOffer} FileOffer */
/** @typedef {import("./file-transfer.js").FileChannel} FileChannel */

/**
 * A file that another participant offers. `accept` with a sink, or `decline`. Where the channel is lost it is
 * `interrupted`, and goes on when the sender is there again.
 */
export class FileReceiver extends FileTransfer {
  /** @type {FileSink | null} */
  #sink = null;
  /** All writes so far. @type {Promise<void>} */
  #writing = Promise.resolve();
  #hash = new Sha256();
  #arrived = 0;
  #stored = 0;
  #reported = 0;
  #offer;
  /** @type {ChannelSearch | null} */
  #search = null;

  /**
   * @param {FileChannel} channel
   * @param {string} peerId
   * @param {FileOffer} offer
   */
  constructor(channel, peerId, offer) {
    super({ channel, peerId, name: offer.name, size: offer.size, mime: offer.mime, direction: "receive" });
    this.#offer = offer;
    this.#use(channel);
    if (offer.resumes) this.say({ type: "resumes" });
  }

  /**
   * Takes the file.
   *
   * @param {FileSink} sink
   */
  accept(sink) {
    if (this.isOver || this.#sink) return;
    this.#sink = sink;
    // It was chosen while the sender was away, who is told when it is back.
    if (this.state !== "offered") return;
    this.become("active");
    this.say({ type: "accept" });
  }

  /**
   * The sender is there again, and offers the same file.
   *
   * @param {FileChannel} channel
   * @param {string} peerId of the sender, who may have another id now
   * @param {FileOffer} offer
   */
  async resume(channel, peerId, offer) {
    if (this.isOver) return channel.send(JSON.stringify(this.ending));
    const { name, size, modified } = this.#offer;
    if (offer.name !== name || offer.size !== size || offer.modified !== modified) {
      channel.send(JSON.stringify({ type: "cancel", reason: "the file changed while it was sent" }));
      return this.end("the file changed while it was sent");
    }
    this.peerId = peerId;
    this.#use(channel);
    // All of it is here, and what comes of it is said when it is known.
    if (this.state === "checking") return;
    if (!this.#sink) {
      this.say({ type: "resumes" });
      return this.resumed("offered");
    }
    this.interrupt();
    await this.#writing;
    if (this.isOver || this.channel !== channel || channel.readyState !== "open") return;
    this.resumed("active");
    this.say({ type: "accept", received: this.#stored, sha256: this.#hash.clone().hex() });
  }

  /**
   * This side has another id, which the sender does not know: it is asked for the rest.
   *
   * @param {(peerId: string) => FileChannel | null} open opens a channel to the sender; `null`, or an error, where there
   *   is no way now
   */
  ask(open) {
    if (this.isOver) return;
    // What is still on its way over the former channel comes again.
    this.channel.onmessage = this.channel.onclose = null;
    if (this.state !== "checking") this.interrupt();
    this.#search?.stop();
    this.#search = new ChannelSearch(
      () => open(this.peerId),
      (channel) => {
        channel.binaryType = "arraybuffer";
        channel.onmessage = ({ data }) => {
          const message = typeof data === "string" ? readFileMessage(data) : null;
          if (message?.type === "offer" && message.id === this.#offer.id) this.resume(channel, this.peerId, message);
          else if (message?.type === "cancel") this.#heard(data);
        };
        channel.onclose = () => !this.isOver && this.#search?.start();
        channel.send(JSON.stringify({ type: "ask", id: this.#offer.id }));
      },
    );
    this.#search.start();
  }

  decline() {
    if (this.state !== "offered") return;
    this.say({ type: "decline" });
    this.finish("declined");
  }

  cancel(reason = "cancelled") {
    if (this.isOver) return;
    super.cancel(reason);
    this.#discard();
  }

  end(reason = "") {
    if (this.isOver) return;
    super.end(reason);
    this.#discard();
  }

  /** The sender says that it is over. @param {string} reason */
  cancelled(reason) {
    if (this.isOver) return;
    this.finish("cancelled", reason);
    this.#discard();
  }

  /** What the sender is told that asks for it once it is over. @returns {import("./file-messages.js").FileMessage} */
  get ending() {
    if (this.state === "done") return { type: "done" };
    return this.state === "declined" ? { type: "decline" } : { type: "cancel", reason: this.reason };
  }

  /** @protected @param {"done" | "declined" | "cancelled" | "failed"} state @param {string} [reason] */
  finish(state, reason) {
    super.finish(state, reason);
    this.#search?.stop();
    this.#search = null;
  }

  /** Where it was stored, once it is `done`; `null` when the person chose the place. @returns {Promise<File | null>} */
  async file() {
    return (await this.#sink?.file()) ?? null;
  }

  /** Forgets what was stored in the browser's private file system. */
  async forget() {
    await this.#sink?.discard();
  }

  /** @param {FileChannel} channel */
  #use(channel) {
    this.changeTo(channel);
    // The one that was looked for, or one that the sender made before it was found.
    this.#search?.stop();
    this.#search = null;
    channel.onmessage = ({ data }) => this.#heard(data);
    channel.onclose = () => this.#lost();
  }

  /** The channel is gone, and nobody said why. */
  #lost() {
    if (this.isOver || this.state === "checking") return;
    if (this.#offer.resumes && !this.channel.reason) this.interrupt();
    else this.end(this.loss);
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
      if (this.state === "checking") return;
      if (this.state !== "active") return this.#refuse();
      this.become("checking");
      this.#writing = this.#writing.then(() => this.#check(message.sha256));
    } else if (message?.type === "cancel") {
      this.cancelled(message.reason);
    }
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  #chunk(bytes) {
    this.#arrived += bytes.length;
    if (this.state !== "active" || this.#arrived > this.size || this.#arrived - this.#stored > WINDOW_BYTES) return this.#refuse();
    this.#hash.update(bytes);
    const { length } = bytes; // the sink takes the buffer away
    // Not one after another: waiting for each would leave the disk idle between two pieces. The window bounds them.
    const write = /** @type {FileSink} */ (this.#sink).write(bytes).then(() => this.#wrote(length));
    this.#writing = Promise.all([this.#writing, write]).then(
      () => {},
      (error) => this.#broke(error),
    );
  }

  #refuse() {
    this.say({ type: "cancel", reason: "more than was agreed" });
    this.end("the sender sent more than it had offered");
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
      this.end("what arrived is not what was sent");
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
    this.end(full ? "there is not enough space on this device" : "could not be stored on this device");
  }

  #discard() {
    this.#sink?.discard().catch(() => {}); // best effort: stale files are swept when the page starts
  }
}
