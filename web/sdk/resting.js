/** @typedef {import("./messages.js").Layers} Layers */

/**
 * The qualities that a server is sent, one change after another: those that somebody has a use for, of those that the
 * picture has.
 */
export class Resting {
  /** @type {Promise<void>} */
  #last = Promise.resolve();
  /** What the server said last. @type {WeakMap<RTCRtpSender, Layers>} */
  #said = new WeakMap();
  /** What the picture has, the lowest first. @type {WeakMap<RTCRtpSender, RTCRtpEncodingParameters[]>} */
  #qualities = new WeakMap();

  /**
   * Rests what nobody has a use for.
   *
   * @param {import("./local-media.js").LocalMedia} local
   * @param {(source: import("./messages.js").Source) => RTCRtpSender | null} senderOf
   * @param {Layers} layers
   */
  apply(local, senderOf, layers) {
    const source = local.sources().find((source) => local.get(source)?.publication.stream === layers.stream);
    const sender = source && senderOf(source);
    if (!sender) return;
    this.#said.set(sender, layers);
    this.#change(sender);
  }

  /**
   * Another picture is sent on a line that was made for one of any size.
   *
   * @param {RTCRtpSender} sender
   * @param {RTCRtpEncodingParameters[]} qualities that such a picture has, the lowest first
   */
  follow(sender, qualities) {
    this.#qualities.set(sender, qualities);
    this.#change(sender);
  }

  /** @param {RTCRtpSender} sender */
  #change(sender) {
    const change = async () => {
      const parameters = sender.getParameters();
      if (suit(parameters.encodings ?? [], this.#qualities.get(sender), this.#said.get(sender))) await sender.setParameters(parameters);
    };
    // What cannot be changed costs bandwidth or sharpness, not the call.
    this.#last = this.#last.then(change).catch((error) => console.warn("qualities not changed", error));
  }
}

/**
 * Makes the encodings of a line those of a picture. How many a line has stays as it is (W3C WebRTC §5.2, `setParameters`).
 * Of a picture that has fewer qualities the first encodings are used, since engines leave out the last; of one that has
 * more, the larger ones are sent.
 *
 * @param {RTCRtpEncodingParameters[]} encodings
 * @param {RTCRtpEncodingParameters[]} [qualities] default as they are
 * @param {Layers} [said] default all of them
 * @returns {boolean} whether something has changed
 */
export function suit(encodings, qualities, said) {
  const before = JSON.stringify(encodings);
  const skipped = Math.max(0, (qualities?.length ?? 0) - encodings.length);
  for (const [index, encoding] of encodings.entries()) {
    const quality = qualities?.[index + skipped];
    const isOfUse = !said || (encoding.rid === undefined ? said.active : said.rids.includes(encoding.rid));
    encoding.active = isOfUse && (!qualities || quality !== undefined);
    if (quality?.maxBitrate !== undefined) encoding.maxBitrate = quality.maxBitrate;
    if (quality?.scaleResolutionDownBy !== undefined) encoding.scaleResolutionDownBy = quality.scaleResolutionDownBy;
  }
  return JSON.stringify(encodings) !== before;
}
