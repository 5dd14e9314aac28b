import { ChannelSearch } from "./channel-search.js";
import { CHUNK_BYTES, RESUME_WITHIN_MS, WINDOW_BYTES, readFileMessage } from "./file-messages.js";
import { FileTransfer } from "./file-transfer.js";
import { randomId } from "./random-id.js";
import { CLOSED_UNREAD } from "./sealed-channel.js";
import { Sha256 } from "./sha256.js";

/** @typedef {import("./file-transfer.js").FileChannel} FileChannel */

/** Bytes left in the channel's buffer when it asks for more: enough to keep the link busy between two reads. */
const LOW_BYTES = 256 * 1024;
/** Bytes in the channel's buffer at most; Chromium ends a channel whose buffer passes 16 MiB. */
const HIGH_BYTES = 1024 * 1024;
/** Bytes read from the file in one go: few reads, and little in memory. */
const READ_BYTES = 1024 * 1024;

/**
 * Sends one file to one participant; `state` and `received` tell how far it is. Where the channel is lost it is
 * `interrupted`, and goes on over another one from what the receiver has.
 */
export class FileSender extends FileTransfer {
  /** What names the transfer to both sides, and to nobody else. */
  id = randomId();
  #file;
  #maxMessage;
  #sent = 0;
  /** Hashes of the beginning of the file, from where the receiver may be on. */
  #marks = [{ at: 0, hash: new Sha256() }];
  /** Times that sending began; an earlier one ends. */
  #runs = 0;
  /** Whether anything was said to the receiver. */
  #hasSpoken = false;
  /** Whether the receiver goes on after a cut. */
  #resumes = false;
  /** Why it was cancelled, where the receiver could not be reached and is still to be told. @type {string | null} */
  #unsaid = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #tellsUntil;
  /** @type {(() => void) | null} */
  #wake = null;
  /** @type {ChannelSearch | null} */
  #search;

  /**
   * @param {FileChannel} channel made for this transfer
   * @param {string} peerId
   * @param {File} file
   * @param {number} maxMessageSize of the SCTP transport
   * @param {((peerId: string) => FileChannel | null) | null} [reopen] opens another channel to the same participant;
   *   `null`, or an error, where there is no way now
   */
  constructor(channel, peerId, file, maxMessageSize, reopen = null) {
    super({ channel, peerId, name: file.name, size: file.size, mime: file.type, direction: "send" });
    this.#file = file;
    this.#maxMessage = Math.max(1, Math.min(CHUNK_BYTES, maxMessageSize || CHUNK_BYTES));
    this.#search = reopen && new ChannelSearch(() => reopen(this.peerId), (found) => this.#use(found));
    this.#use(channel);
  }

  cancel(reason = "cancelled") {
    if (this.isOver) return;
    const isCut = this.state === "interrupted" && this.channel.readyState !== "open";
    super.cancel(reason);
    if (!isCut) return this.#stop();
    this.#unsaid = reason;
    this.#tellsUntil = setTimeout(() => this.#stop(), RESUME_WITHIN_MS);
  }

  end(reason = "") {
    super.end(reason);
    this.#stop();
  }

  /** The receiver, who may have another id now, asks for the rest. @param {FileChannel} channel @param {string} peerId */
  take(channel, peerId) {
    this.peerId = peerId;
    this.#pause();
    this.#use(channel);
  }

  /** @param {FileChannel} channel */
  #use(channel) {
    this.changeTo(channel);
    this.#search?.stop();
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = LOW_BYTES;
    channel.onbufferedamountlow = () => this.#wake?.();
    channel.onopen = () => this.#begin();
    channel.onmessage = ({ data }) => this.#heard(data);
    channel.onclose = () => this.#lost();
    if (channel.readyState === "open") this.#begin();
  }

  #begin() {
    if (!this.isOver) {
      this.say({ type: "offer", id: this.id, name: this.name, size: this.size, mime: this.mime, modified: this.#file.lastModified, resumes: this.#search !== null });
      // A connection that never came up cut nothing.
      if (!this.#hasSpoken) this.resumed("offered");
      this.#hasSpoken = true;
      return;
    }
    if (this.#unsaid !== null) this.say({ type: "cancel", id: this.id, reason: this.#unsaid });
    this.#stop();
  }

  /** @param {unknown} data */
  #heard(data) {
    const message = typeof data === "string" ? readFileMessage(data) : null;
    switch (message?.type) {
      case "resumes":
        this.#resumes = true;
        if (this.state === "interrupted") this.resumed("offered");
        break;
      case "accept":
        if (this.state === "offered" || this.state === "interrupted") this.#accepted(message).catch((error) => this.#broke(error));
        break;
      case "decline":
        this.#ended("declined", "");
        break;
      case "progress":
        if (message.received > this.#sent) return;
        this.#stored(message.received);
        this.#wake?.();
        break;
      case "done":
        // Its word may have been lost with the channel.
        if (this.state === "checking" || (this.state === "interrupted" && this.#sent === this.size)) this.#ended("done", "");
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

  /** @param {import("./file-messages.js").FileAccept} accept */
  async #accepted({ received = 0, sha256 }) {
    const run = (this.#runs += 1);
    this.resumed("active");
    const hash = await this.#hashOf(received, sha256);
    if (this.isOver || run !== this.#runs) return;
    this.#sent = received;
    this.#stored(received);
    await this.#run(run, received, hash);
  }

  /**
   * Looks whether what the receiver has is the beginning of this file.
   *
   * @param {number} received bytes
   * @param {string} [sha256] of them
   */
  async #hashOf(received, sha256) {
    if (received === 0) return new Sha256();
    const mark = this.#marks.filter(({ at }) => at <= received).at(-1);
    if (!mark || received > this.#sent) throw new Error("what arrived is not what was sent");
    const hash = mark.hash.clone();
    hash.update(await this.#read(mark.at, received));
    if (hash.clone().hex() !== sha256) throw new Error("what arrived is not what was sent");
    return hash;
  }

  /** @param {number} run @param {number} from byte @param {Sha256} hash of what is before */
  async #run(run, from, hash) {
    const isOver = () => this.isOver || run !== this.#runs;
    this.#marks = [{ at: from, hash: hash.clone() }];
    for (let at = from; at < this.size; at += READ_BYTES) {
      const bytes = await this.#read(at, Math.min(at + READ_BYTES, this.size));
      if (isOver()) return;
      hash.update(bytes);
      for (let start = 0; start < bytes.length; start += this.#maxMessage) {
        await this.#room(isOver);
        if (isOver()) return;
        const chunk = bytes.subarray(start, start + this.#maxMessage);
        this.channel.send(chunk);
        this.#sent += chunk.length;
      }
      this.#marks.push({ at: at + bytes.length, hash: hash.clone() });
    }
    if (isOver()) return;
    this.become("checking");
    this.say({ type: "end", sha256: hash.hex() });
  }

  /** @param {number} from byte @param {number} to */
  async #read(from, to) {
    const bytes = new Uint8Array(await this.#file.slice(from, to).arrayBuffer());
    if (bytes.length !== to - from) throw new Error("the file changed while it was sent");
    return bytes;
  }

  /** The receiver has so much. @param {number} received */
  #stored(received) {
    this.progress(received);
    while (this.#marks.length > 1 && this.#marks[1].at <= received) this.#marks.shift();
  }

  /** Waits until neither the channel's buffer nor what the receiver has not stored is too much. @param {() => boolean} isOver */
  async #room(isOver) {
    while (!isOver() && (this.channel.bufferedAmount > HIGH_BYTES || this.#sent - this.received > WINDOW_BYTES - this.#maxMessage)) {
      await new Promise((resolve) => (this.#wake = () => resolve(null)));
    }
  }

  /** The channel is gone, and nobody said why. */
  #lost() {
    if (this.isOver) return this.#unsaid === null ? undefined : this.#search?.start();
    // Who resumes has read before.
    const isRefused = Boolean(this.channel.reason) && this.channel.reason !== CLOSED_UNREAD;
    if (!this.#search || (this.#hasSpoken && !this.#resumes) || isRefused) return this.#ended("failed", this.loss);
    this.#pause();
    this.#search.start();
  }

  /** Sends no more until the receiver says how much it has. */
  #pause() {
    this.#runs += 1;
    this.interrupt();
    this.#wake?.();
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
    this.#unsaid = null;
    clearTimeout(this.#tellsUntil);
    this.#search?.stop();
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
