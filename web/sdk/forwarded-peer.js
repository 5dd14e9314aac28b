import { Emitter } from "./emitter.js";

/**
 * @typedef {import("./messages.js").PeerInfo} PeerInfo
 * @typedef {import("./messages.js").Publication} Publication
 * @typedef {import("./messages.js").Source} Source
 * @typedef {import("./peer.js").Peer} Peer
 */

/**
 * Another participant whose media a server forwards: what a `Peer` shows, over the one connection with that server.
 *
 * - `change`: something that a tile shows (state, tracks, name).
 *
 * @extends {Emitter<{change: null}>}
 */
export class ForwardedPeer extends Emitter {
  /** @type {string} */ id;
  /** @type {string} */ name;
  /** @type {Record<string, unknown>} */ metadata;
  /** @type {Publication[]} */ publications;
  #link;
  #isClosed = false;
  #stop;

  /**
   * @param {PeerInfo} info
   * @param {Peer} link the connection with the server
   */
  constructor(info, link) {
    super();
    this.id = info.id;
    this.name = info.name ?? "";
    this.metadata = info.metadata ?? {};
    this.publications = info.tracks;
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

  /** @param {import("./messages.js").MetadataChange} change */
  describe({ name, metadata }) {
    this.name = name ?? this.name;
    this.metadata = metadata ?? this.metadata;
    this.emit("change", null);
  }

  /** @param {import("./messages.js").TrackChange} change */
  publication({ action, track }) {
    const others = this.publications.filter((one) => one.id !== track.id);
    this.publications = action === "unpublish" ? others : [...others, track];
    this.emit("change", null);
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
