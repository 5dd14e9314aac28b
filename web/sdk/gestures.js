import { Emitter } from "./emitter.js";

/**
 * @typedef {import("./room.js").Participant} Participant
 * @typedef {import("./messages.js").Emoji} Emoji
 */

/** The reactions that there are, in the order in which they are offered. @type {readonly Emoji[]} */
export const REACTIONS = ["👍", "❤️", "👏", "🎉", "😂", "😮", "😢", "🤔", "👎"];

/**
 * Raised hands, in the order in which the server heard of them, and reactions.
 *
 * - `hand`: a hand was raised or lowered, here where `peer` is `null`. Who comes or leaves with one up is told of as `peer-joined` and `peer-left`;
 * - `reaction`: someone reacts, here where `peer` is `null`.
 *
 * @extends {Emitter<{hand: {peer: Participant | null, raised: boolean}, reaction: {peer: Participant | null, emoji: Emoji}}>}
 */
export class Gestures extends Emitter {
  /** Of those whose hand is up, by id: who has the lowest was first. @type {Map<string, number>} */
  #numbers = new Map();
  /** This participant's id. */
  #own = "";
  #room;
  #ask;

  /**
   * @param {import("./room.js").Room} room
   * @param {(event: string, data: any) => Promise<any> | undefined} ask has the server do something
   */
  constructor(room, ask) {
    super();
    this.#room = room;
    this.#ask = ask;
    room.on("peer-left", ({ id }) => this.#numbers.delete(id));
  }

  /** Whether this participant can raise its hand and react. */
  get isPossible() {
    return !this.#room.order.isBase && this.#room.order.mayTalk;
  }

  /** Ids of those whose hand is up, who was first before the others. */
  get queue() {
    return [...this.#numbers].sort(([, a], [, b]) => a - b).map(([id]) => id);
  }

  /** Whether this participant's hand is up. */
  get isRaised() {
    return this.#numbers.has(this.#own);
  }

  /** Which in the queue somebody is, from 1; 0 for who has no hand up. @param {string} [id] default this participant's */
  placeOf(id = this.#own) {
    return this.#numbers.has(id) ? this.queue.indexOf(id) + 1 : 0;
  }

  /**
   * Raises this participant's hand, or lowers it.
   *
   * @param {boolean} raised
   * @returns {Promise<void>} rejects with `RequestError`
   */
  async raise(raised) {
    if (!this.#room.order.isBase) await this.#ask("hand", { raised });
  }

  /**
   * Shows the others an emoji for some seconds.
   *
   * @param {Emoji} emoji one of `REACTIONS`
   * @returns {Promise<void>} rejects with `RequestError`, where it is more than two a second, or four at once
   */
  async react(emoji) {
    if (this.#room.order.isBase) return;
    await this.#ask("reaction", { emoji });
    this.emit("reaction", { peer: null, emoji });
  }

  /** A session begins. @param {string} id this participant's */
  begin(id) {
    const wasRaised = this.isRaised;
    this.#numbers.clear();
    this.#own = id;
    // The place in the session before is gone; that this participant asks to speak is not.
    if (wasRaised) this.raise(true).catch(() => {});
  }

  /** Somebody is there. @param {import("./messages.js").PeerInfo} info */
  met({ id, hand }) {
    if (typeof hand === "number") this.#numbers.set(id, hand);
  }

  /**
   * What the server tells of.
   *
   * @param {import("./messages.js").ServerFrame} frame
   */
  told({ event, data, from }) {
    if (event === "hand") this.#hand(data);
    const peer = this.#room.peers.get(from ?? "");
    const emoji = REACTIONS.find((one) => one === data?.emoji);
    if (event === "reaction" && peer && emoji) this.emit("reaction", { peer, emoji });
  }

  /** @param {import("./messages.js").Hand | null} data */
  #hand(data) {
    const { peer_id: id = "", number } = data ?? {};
    const peer = this.#room.peers.get(id) ?? null;
    if (!peer && id !== this.#own) return;
    const raised = typeof number === "number";
    if (raised) this.#numbers.set(id, number);
    else this.#numbers.delete(id);
    this.emit("hand", { peer, raised });
  }
}
