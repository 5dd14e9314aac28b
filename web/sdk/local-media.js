import { randomId } from "./random-id.js";

/**
 * @typedef {import("./messages.js").Source} Source
 * @typedef {import("./messages.js").Publication} Publication
 */

/** @typedef {{track: MediaStreamTrack | null, publication: Publication}} LocalTrack */

/** What this participant publishes: one track for each source, the same to every peer. */
export class LocalMedia {
  /** @type {Map<Source, LocalTrack>} */
  #tracks = new Map();
  /**
   * One MediaStream for each source, made once: its id is how others know which track is what, also before the camera
   * was ever on.
   *
   * @type {Map<Source, MediaStream>}
   */
  #streams = new Map();

  /** Those with a line in every offer, and whatever else is published now. @returns {Source[]} */
  sources() {
    return [...new Set(/** @type {Source[]} */ (["microphone", "camera", ...this.#tracks.keys()]))];
  }

  /** @param {Source} source */
  get(source) {
    return this.#tracks.get(source) ?? null;
  }

  /** @param {Source} source */
  stream(source) {
    let stream = this.#streams.get(source);
    if (!stream) {
      stream = new MediaStream();
      this.#streams.set(source, stream);
    }
    return stream;
  }

  /** @returns {Publication[]} */
  publications() {
    return [...this.#tracks.values()].map(({ publication }) => publication);
  }

  /**
   * @param {Source} source
   * @param {"audio" | "video"} kind
   * @param {MediaStreamTrack | null} track
   * @param {boolean} muted
   * @returns {{publication: Publication, isNew: boolean}}
   */
  set(source, kind, track, muted) {
    const old = this.#tracks.get(source);
    const publication = {
      id: old?.publication.id ?? randomId(),
      kind,
      source,
      // As it stands in descriptions, in braces by Firefox too: a server knows the track by that.
      stream: this.stream(source).id,
      muted,
    };
    this.#tracks.set(source, { track, publication });
    return { publication, isNew: !old };
  }

  /** @param {Source} source */
  delete(source) {
    const old = this.#tracks.get(source);
    this.#tracks.delete(source);
    return old ?? null;
  }
}
