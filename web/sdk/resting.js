/** Rests what nobody has a use for, one word of the server after another. */
export class Resting {
  /** @type {Promise<void>} */
  #last = Promise.resolve();

  /**
   * @param {import("./local-media.js").LocalMedia} local
   * @param {(source: import("./messages.js").Source) => RTCRtpSender | null} senderOf
   * @param {import("./messages.js").Layers} layers
   */
  apply(local, senderOf, { stream, active, rids }) {
    const source = local.sources().find((source) => local.get(source)?.publication.stream === stream);
    const sender = source && senderOf(source);
    if (!sender) return;
    const apply = async () => {
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) encoding.active = encoding.rid === undefined ? active : rids.includes(encoding.rid);
      await sender.setParameters(parameters);
    };
    // What cannot be rested costs bandwidth, not the call.
    this.#last = this.#last.then(apply).catch((error) => console.warn("qualities not rested", error));
  }
}
