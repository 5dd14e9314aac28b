import { Emitter } from "./emitter.js";
import { CHUNK_BYTES, FILE_LABEL } from "./file-messages.js";
import { FileReceiver } from "./file-receiver.js";
import { FileSender } from "./file-sender.js";
import { SEALED_CHANNEL_LEN, SEALED_PROTOCOL } from "./sealed-channel.js";

/**
 * The files of a room: sealed, where it has a seal.
 *
 * @extends {Emitter<{file: FileReceiver, unreadable: string}>}
 */
export class RoomFiles extends Emitter {
  /** @type {import("./room-seal.js").RoomSeal | null} */ seal = null;

  /** @param {File} file @param {import("./peer.js").Peer} peer */
  send(file, peer) {
    const most = Math.min(peer.connection.sctp?.maxMessageSize || CHUNK_BYTES, CHUNK_BYTES);
    if (!this.seal) return new FileSender(peer.openChannel(FILE_LABEL), peer.id, file, most);
    const channel = this.seal.channel(peer.openChannel(FILE_LABEL, { protocol: SEALED_PROTOCOL }), peer.id);
    return new FileSender(channel, peer.id, file, most - SEALED_CHANNEL_LEN);
  }

  /** Somebody opened a channel for a file. @param {RTCDataChannel} channel @param {string} from */
  offered(channel, from) {
    if ((channel.protocol === SEALED_PROTOCOL) !== (this.seal !== null)) {
      channel.close();
      return this.emit("unreadable", from);
    }
    const sealed = this.seal?.channel(channel, from) ?? null;
    if (sealed) sealed.onunreadable = () => this.emit("unreadable", from);
    FileReceiver.listen(sealed ?? channel, from, (file) => this.emit("file", file));
  }
}
