import { MessageOpener, MessageSealer } from "./sealed-message.js";
import { SealedChannel } from "./sealed-channel.js";

/** @typedef {import("./sealed-message.js").Way} Way */

/** Senders that are remembered, each way of each counted; who was heard least recently makes way. */
const SENDERS_MAX = 1_000;

/** Seals what one participant of a room says, and opens what the others say. */
export class RoomSeal {
  /** The id of this participant. */ self = "";
  #secret;
  #room;
  /** @type {Map<Way, MessageSealer>} */
  #sealers = new Map();
  /** Those of whom something opened; who was heard last comes last. @type {Map<string, MessageOpener>} */
  #openers = new Map();
  /** Those of whom nothing has opened yet. @type {Map<string, MessageOpener>} */
  #untried = new Map();

  /** @param {Uint8Array<ArrayBuffer>} secret @param {string} room its name, as it stands in the link */
  constructor(secret, room) {
    this.#secret = secret;
    this.#room = room;
  }

  /** This participant has an id, or another one: with that go other keys. @param {string} id */
  begin(id) {
    if (id === this.self) return;
    this.self = id;
    this.#sealers.clear();
  }

  /** One with the same secret that has heard nobody yet: what it opens may have come before. */
  anew() {
    return new RoomSeal(this.#secret, this.#room);
  }

  /**
   * @param {Way} way
   * @param {Uint8Array<ArrayBuffer>} plain
   * @param {string} [to] the id of who alone may open it
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async seal(way, plain, to) {
    const from = this.self;
    const sealer = this.#sealers.get(way) ?? new MessageSealer(this.#secret);
    this.#sealers.set(way, sealer);
    const sealed = await sealer.seal(plain, { way, room: this.#room, from, to });
    return from === this.self ? sealed : this.seal(way, plain, to);
  }

  /**
   * @param {Way} way
   * @param {string} from the id of who is said to have sent it
   * @param {Uint8Array<ArrayBuffer>} sealed
   * @param {boolean} [isDirect] whether it is for this participant alone
   * @returns {Promise<Uint8Array<ArrayBuffer> | null>} in the order of the calls for each sender; `null` for what does not open
   */
  async open(way, from, sealed, isDirect = false) {
    // What comes back was not said by another.
    if (from === this.self) return null;
    const name = `${way} ${from}`;
    const opener = this.#openers.get(name) ?? this.#untried.get(name) ?? new MessageOpener(this.#secret);
    // A server can make up as many ids as it likes: they push out nobody who was heard.
    if (!this.#openers.has(name)) keep(this.#untried, name, opener);
    const plain = await opener.open(sealed, { way, room: this.#room, from, to: isDirect ? this.self : "" });
    if (plain) {
      this.#untried.delete(name);
      keep(this.#openers, name, opener);
    }
    return plain;
  }

  /** A channel with one participant, on which everything is sealed. @param {RTCDataChannel} channel @param {string} other */
  channel(channel, other) {
    return new SealedChannel(channel, { secret: this.#secret, room: this.#room, self: this.self, other });
  }
}

/** As what was kept last; what was kept first makes way. @param {Map<string, MessageOpener>} map @param {string} name @param {MessageOpener} opener */
function keep(map, name, opener) {
  map.delete(name);
  map.set(name, opener);
  if (map.size > SENDERS_MAX) map.delete(/** @type {string} */ (map.keys().next().value));
}
