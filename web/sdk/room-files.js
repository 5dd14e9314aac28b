import { Emitter } from "./emitter.js";
import { CHUNK_BYTES, FILE_LABEL, readFileMessage } from "./file-messages.js";
import { FileReceiver } from "./file-receiver.js";
import { FileSender } from "./file-sender.js";
import { SEALED_CHANNEL_LEN, SEALED_PROTOCOL } from "./sealed-channel.js";

/**
 * @typedef {import("./file-transfer.js").FileChannel} FileChannel
 * @typedef {import("./file-messages.js").FileMessage} FileMessage
 * @typedef {import("./peer.js").Peer} Peer
 */

/** Transfers whose end is remembered, for a sender that did not hear of it. */
const ENDED_MAX = 1_000;

/**
 * The files of a room: sealed, where it has a seal. Those that are cut go on over another channel, by the id of the
 * transfer, which only both sides know: participants may come back under other ids.
 *
 * @extends {Emitter<{file: FileReceiver, unreadable: string}>}
 */
export class RoomFiles extends Emitter {
  /** @type {import("./room-seal.js").RoomSeal | null} */ seal = null;
  #reach;
  /** Those that are not over, by the id of the transfer. @type {Map<string, FileSender>} */
  #sending = new Map();
  /** @type {Map<string, FileReceiver>} */
  #receiving = new Map();
  /** What is said of those that are over, the newest last. @type {Map<string, FileMessage>} */
  #ended = new Map();

  /** @param {(id: string) => Peer | null} reach the connection for data with somebody; `null` for who is not there */
  constructor(reach) {
    super();
    this.#reach = reach;
  }

  /** @param {File} file @param {Peer} peer */
  send(file, peer) {
    const most = Math.min(peer.connection.sctp?.maxMessageSize || CHUNK_BYTES, CHUNK_BYTES);
    const sender = new FileSender(this.#open(peer), peer.id, file, this.seal ? most - SEALED_CHANNEL_LEN : most, (id) => this.#reopen(id));
    this.#sending.set(sender.id, sender);
    sender.on("change", () => sender.isOver && this.#sending.delete(sender.id));
    return sender;
  }

  /** Somebody opened a channel for a file. @param {RTCDataChannel} channel @param {string} from */
  offered(channel, from) {
    if ((channel.protocol === SEALED_PROTOCOL) !== (this.seal !== null)) {
      channel.close();
      return this.emit("unreadable", from);
    }
    const sealed = this.seal?.channel(channel, from) ?? null;
    if (sealed) sealed.onunreadable = () => this.emit("unreadable", from);
    const opened = /** @type {FileChannel} */ (sealed ?? channel);
    opened.binaryType = "arraybuffer";
    opened.onmessage = ({ data }) => this.#begun(opened, from, typeof data === "string" ? readFileMessage(data) : null);
  }

  /** This participant has joined anew: those who send to it do not know its id. */
  joinedAnew() {
    for (const receiver of this.#receiving.values()) receiver.ask((id) => this.#reopen(id));
  }

  /** Somebody has left. @param {string} id @param {boolean} mayComeBack under another id */
  left(id, mayComeBack) {
    if (mayComeBack) return;
    for (const one of this.#all()) if (one.peerId === id) one.end("the other side has left");
  }

  /** The room is over for this participant. */
  close() {
    for (const one of this.#all()) one.end("connection lost");
  }

  #all() {
    return [...this.#sending.values(), ...this.#receiving.values()];
  }

  /** @param {Peer} peer @returns {FileChannel} */
  #open(peer) {
    if (!this.seal) return peer.openChannel(FILE_LABEL);
    return this.seal.channel(peer.openChannel(FILE_LABEL, { protocol: SEALED_PROTOCOL }), peer.id);
  }

  /** @param {string} id */
  #reopen(id) {
    const peer = this.#reach(id);
    return peer && this.#open(peer);
  }

  /** The first word on a channel. @param {FileChannel} channel @param {string} from @param {FileMessage | null} message */
  #begun(channel, from, message) {
    switch (message?.type) {
      case "offer":
        return this.#offer(channel, from, message);
      case "ask": {
        const sender = this.#sending.get(message.id);
        if (sender) return sender.take(channel, from);
        channel.send(JSON.stringify({ type: "cancel", reason: "the other side does not know it any more" }));
        return channel.close();
      }
      case "cancel":
        return this.#receiving.get(message.id ?? "")?.cancelled(message.reason);
      default:
        channel.close();
    }
  }

  /** @param {FileChannel} channel @param {string} from @param {import("./file-messages.js").FileOffer} offer */
  #offer(channel, from, offer) {
    const known = this.#receiving.get(offer.id);
    if (known) return void known.resume(channel, from, offer);
    const end = this.#ended.get(offer.id);
    if (end) return channel.send(JSON.stringify(end));
    const receiver = new FileReceiver(channel, from, offer);
    this.#receiving.set(offer.id, receiver);
    receiver.on("change", () => receiver.isOver && this.#end(offer.id, receiver));
    this.emit("file", receiver);
  }

  /** @param {string} id @param {FileReceiver} receiver */
  #end(id, receiver) {
    if (!this.#receiving.delete(id)) return;
    this.#ended.set(id, receiver.ending);
    if (this.#ended.size > ENDED_MAX) this.#ended.delete(/** @type {string} */ (this.#ended.keys().next().value));
  }
}
