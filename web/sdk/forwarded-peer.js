import { DescribedPeer } from "./described-peer.js";

/**
 * @typedef {import("./messages.js").PeerInfo} PeerInfo
 * @typedef {import("./messages.js").Source} Source
 * @typedef {import("./peer.js").Peer} Peer
 */

/**
 * Another participant whose media a server forwards: what a `Peer` shows, over the one connection with that server,
 * and no data channels.
 */
export class ForwardedPeer extends DescribedPeer {
  #link;
  #isClosed = false;
  #stop;

  /**
   * @param {PeerInfo} info
   * @param {Peer} link the connection with the server
   */
  constructor(info, link) {
    super(info);
    this.#link = link;
    this.#stop = link.on("change", () => this.emit("change", null));
  }

  /** That of the connection with the server. @returns {import("./peer.js").PeerState} */
  get state() {
    return this.#isClosed ? "closed" : this.#link.state;
  }

  /** The connection with the server, which all participants share. */
  get connection() {
    return this.#link.connection;
  }

  /** What arrives from this participant as `source`, or `null`. @param {Source} source */
  media(source) {
    const publication = this.publications.find((one) => one.source === source);
    return publication ? this.#link.incoming(publication) : null;
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
