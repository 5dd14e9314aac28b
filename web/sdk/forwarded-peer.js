import { DescribedPeer } from "./described-peer.js";
import { flowing } from "./flowing.js";

/**
 * @typedef {import("./messages.js").PeerInfo} PeerInfo
 * @typedef {import("./messages.js").Source} Source
 * @typedef {import("./messages.js").Publication} Publication
 * @typedef {import("./peer.js").Peer} Peer
 */

/**
 * Another participant whose media a server forwards: what a `Peer` shows, over the one connection with that server.
 */
export class ForwardedPeer extends DescribedPeer {
  /** The connection with it from before the room moved, until that is let go of. @type {Peer | null} */ former;
  #link;
  #isClosed = false;
  #stop;

  /**
   * @param {PeerInfo} info
   * @param {Peer} link the connection with the server
   * @param {Peer | null} [former]
   */
  constructor(info, link, former = null) {
    super(info);
    this.#link = link;
    this.former = former;
    this.#stop = link.on("change", () => this.emit("change", null));
  }

  /** That of the connection with the server. @returns {import("./peer.js").PeerState} */
  get state() {
    if (this.#isClosed) return "closed";
    return this.former && this.#link.state !== "connected" ? this.former.state : this.#link.state;
  }

  /** The connection with the server, which all participants share. */
  get connection() {
    return this.#link.connection;
  }

  /** What arrives from this participant as `source`, or `null`. @param {Source} source */
  media(source) {
    const publication = this.publications.find((one) => one.source === source);
    return publication ? flowing(this.#link.incoming(publication), this.former, publication) : null;
  }

  /** What arrives of a publication by way of the server. @param {Publication} publication */
  incoming(publication) {
    return this.#link.incoming(publication);
  }

  /** The sender of a source to the server, for its statistics. @param {Source} source */
  sender(source) {
    return this.#link.sender(source);
  }

  /** Tries again at once, for a person who asks for it. */
  retry() {
    this.#link.retry();
  }

  close() {
    this.#isClosed = true;
    this.#stop();
    this.emit("change", null);
  }
}
