import { Emitter } from "./emitter.js";

/**
 * @typedef {import("./messages.js").PeerInfo} PeerInfo
 * @typedef {import("./messages.js").Publication} Publication
 */

/**
 * What another participant says of itself, however its media comes.
 *
 * - `change`: something that a tile shows (state, tracks, name);
 * - the others: what comes over data channels, where there are some.
 *
 * @extends {Emitter<{change: null, message: string, file: RTCDataChannel, channel: RTCDataChannel}>}
 */
export class DescribedPeer extends Emitter {
  /** @type {string} */ id;
  /** @type {string} */ name;
  /** @type {Record<string, unknown>} */ metadata;
  /** @type {Publication[]} */ publications;
  /** What it speaks. @type {PeerInfo["protocol"]} */ protocol;

  /** @param {PeerInfo} info */
  constructor(info) {
    super();
    this.id = info.id;
    this.name = info.name ?? "";
    this.metadata = info.metadata ?? {};
    this.publications = info.tracks;
    this.protocol = info.protocol;
  }

  /** As it would be announced now. @returns {PeerInfo} */
  get info() {
    return { id: this.id, name: this.name, metadata: this.metadata, tracks: this.publications, protocol: this.protocol };
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
}
