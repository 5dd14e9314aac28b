import { FULL_BYTES } from "./data-channels.js";
import { DataError, LOSSY_MAX, PAYLOAD_MAX, readData, writeData } from "./data-messages.js";
import { Emitter } from "./emitter.js";
import { Peer } from "./peer.js";
import { SEAL_LEN } from "./sealed-message.js";

/**
 * @typedef {import("./links.js").Links} Links
 * @typedef {import("./links.js").Participant} Participant
 * @typedef {import("./messages.js").Topology} Topology
 * @typedef {import("./data-channels.js").DataChannels} DataChannels
 * @typedef {import("./data-messages.js").DataMessage} DataMessage
 */

/** Whom something is for: everyone, or those with these ids. @typedef {"all" | Iterable<string>} DataReceivers */
/** @typedef {{from: string, peer: Participant | null, data: string | Uint8Array<ArrayBuffer>, topic: string, lossy: boolean}} RoomMessage */
/** @typedef {{data: string | ArrayBuffer | ArrayBufferView, names: string[] | null, topic: string}} Waiting */

/** Messages that wait while a room moves, at most. */
const WAITING_MAX = 1_000;
/** The topic of what is sealed; its own is inside. */
const SEALED_TOPIC = "twocan.sealed";

/**
 * What participants say to each other over data channels: directly in a mesh, by way of a server that forwards. While the
 * room moves from one to the other, reliable messages wait until those before them have arrived, so that they keep their
 * order.
 *
 * In a room with a seal everything is sealed, and what is not, or does not open, is `unreadable`.
 *
 * @extends {Emitter<{data: RoomMessage, "data-gap": {missed: number}, unreadable: string}>}
 */
export class RoomData extends Emitter {
  /** @type {import("./room-seal.js").RoomSeal | null} */ seal = null;
  #links;
  #peers;
  /** Whether messages go by the server. */
  #isForwarded = false;
  /** Runs while what was said before the room moved is on its way. @type {Promise<void> | null} */
  #turning = null;
  /** @type {Waiting[]} */
  #waiting = [];
  #waitingBytes = 0;
  /** Bytes that are being sealed, and opened. */
  #sealingBytes = 0;
  #openingBytes = 0;
  /** @type {Promise<void>} */
  #sealed = Promise.resolve();
  /** @type {Promise<void>} */
  #opened = Promise.resolve();

  /** @param {Links} links @param {Map<string, Participant>} peers */
  constructor(links, peers) {
    super();
    this.#links = links;
    this.#peers = peers;
  }

  /** The room begins. @param {Topology} topology */
  begin(topology) {
    this.#isForwarded = topology === "sfu";
    this.#turning = null;
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  /** Hands on what comes by a connection. @param {Peer} link @param {boolean} isServer */
  tend({ id, data }, isServer) {
    data.on("message", ({ names, topic, data, lossy }) => {
      // Where a server forwards, it decides who is heard; connections for files alone are not for this.
      const direct = this.#peers.get(id);
      if (!isServer && !(direct instanceof Peer) && !direct?.former) return;
      const from = isServer ? names[0] : id;
      if (from !== undefined) this.#hear({ from, data, topic, lossy });
    });
    if (isServer) data.on("gap", (missed) => this.emit("data-gap", { missed }));
  }

  /**
   * @param {string | ArrayBuffer | ArrayBufferView} data
   * @param {{to?: DataReceivers, topic?: string, lossy?: boolean}} options
   */
  async send(data, { to = "all", topic = "", lossy = false }) {
    const names = to === "all" ? null : [...new Set(to)];
    if (names?.length === 0) return;
    // Whoever is told first what is wrong with it can mend it.
    const { length } = writeData(data, { names: names ?? [], topic, lossy });
    if (!this.seal) return this.#send({ data, names, topic }, lossy, length);
    const plain = writeData(data, { topic });
    const [long, most] = lossy ? [plain.length + SEAL_LEN + SEALED_TOPIC.length, LOSSY_MAX] : [plain.length + SEAL_LEN, PAYLOAD_MAX];
    if (long > most) throw new DataError("too_large", `${long} bytes sealed, ${most} at most`);
    if (this.#sealingBytes + long > FULL_BYTES) throw new DataError("queue_full");
    this.#sealingBytes += long;
    const sealing = this.seal.seal(lossy ? "lossy" : "reliable", plain);
    // In the order of the calls; who waits for room does not hold up the next.
    /** @type {Promise<{sent: Promise<void>}>} */
    const going = this.#sealed.then(async () => {
      const sealed = await sealing;
      this.#sealingBytes -= long;
      return { sent: this.#send({ data: sealed, names, topic: SEALED_TOPIC }, lossy, long) };
    });
    this.#sealed = going.then(
      () => {},
      () => {},
    );
    await (await going).sent;
  }

  /** @param {Waiting} message @param {boolean} lossy @param {number} length */
  async #send({ data, names, topic }, lossy, length) {
    if (lossy) return this.#sendLossy({ data, names, topic });
    if (this.#turning) {
      if (this.#waiting.length >= WAITING_MAX || this.#waitingBytes + length > FULL_BYTES) throw new DataError("queue_full");
      this.#waitingBytes += length;
      // The caller may go on to use what it sent.
      this.#waiting.push({ data: typeof data === "string" ? data : copied(data), names, topic });
      return this.#turning;
    }
    const ways = this.#ways(names);
    if (ways.some(({ channels }) => channels.isFull)) throw new DataError("queue_full");
    this.#go(ways, data, topic);
    await Promise.all(ways.map(({ channels }) => channels.room()));
  }

  /** The room has another shape. @param {Topology} topology */
  move(topology) {
    if (topology !== "sfu" || this.#isForwarded) return;
    this.#isForwarded = true;
    const directs = [...this.#peers.values()].map((peer) => (peer instanceof Peer ? peer : peer.former));
    this.#turn(Promise.all(directs.map((peer) => peer instanceof Peer && peer.data.finish())));
  }

  /** The connections of a shape are up. @param {Topology} topology @returns {Promise<void>} settles when messages go by them */
  async settle(topology) {
    if (topology === "mesh" && this.#isForwarded) {
      this.#turn(this.#links.server?.data.fence());
      this.#isForwarded = false;
    }
    await this.#turning;
  }

  /** Those of the other shape are let go of. @param {Topology} topology */
  letGo(topology) {
    this.#isForwarded = topology === "sfu";
  }

  /** @param {Omit<RoomMessage, "peer">} message */
  #hear({ from, data, topic, lossy }) {
    const { seal } = this;
    const isSealed = topic === SEALED_TOPIC && data instanceof Uint8Array;
    if (!seal && !isSealed) return this.#emit({ from, data, topic, lossy });
    if (!seal || !isSealed) return this.emit("unreadable", from);
    if (this.#openingBytes + data.length > FULL_BYTES) return lossy ? undefined : this.emit("data-gap", { missed: 1 });
    this.#openingBytes += data.length;
    const opening = seal.open(lossy ? "lossy" : "reliable", from, data);
    this.#opened = this.#opened.then(async () => {
      const plain = await opening;
      this.#openingBytes -= data.length;
      const message = plain && readData(plain.buffer);
      if (message?.kind === "message") this.#emit({ from, data: message.data, topic: message.topic, lossy });
      else this.emit("unreadable", from);
    });
  }

  /** @param {Omit<RoomMessage, "peer">} message */
  #emit(message) {
    this.emit("data", { ...message, peer: this.#peers.get(message.from) ?? null });
  }

  /** Waits for what is on its way, then sends what was said meanwhile. @param {Promise<unknown> | undefined} arrived */
  #turn(arrived) {
    const before = this.#turning;
    const turning = Promise.all([before, arrived]).then(() => {
      if (this.#turning !== turning) return;
      this.#turning = null;
      this.#waitingBytes = 0;
      for (const { data, names, topic } of this.#waiting.splice(0)) this.#go(this.#ways(names), data, topic);
    });
    this.#turning = turning;
  }

  /** @param {Waiting} message */
  #sendLossy({ data, names, topic }) {
    for (const { channels, names: named } of this.#ways(names, true)) channels.sendLossy(writeData(data, { names: named, topic, lossy: true }));
  }

  /** @param {{channels: DataChannels, names: string[]}[]} ways @param {Waiting["data"]} data @param {string} topic */
  #go(ways, data, topic) {
    for (const { channels, names } of ways) channels.send(writeData(data, { names, topic }));
  }

  /**
   * The channels that lead to those who are named, and the names that each is to be told. What may be lost goes by those
   * that are open.
   *
   * @param {string[] | null} names
   * @param {boolean} [lossy]
   */
  #ways(names, lossy = false) {
    const meant = [...this.#peers.values()].filter(({ id }) => names === null || names.includes(id));
    const { server } = this.#links;
    /** @type {{channels: DataChannels, names: string[]}[]} */
    const ways = [];
    /** @type {string[]} */
    const forwarded = [];
    for (const peer of meant) {
      const former = peer.former instanceof Peer ? peer.former : null;
      if (lossy && former?.data.canSendLossy && !server?.data.canSendLossy) ways.push({ channels: former.data, names: [] });
      // Who came while the room leaves the server is not there.
      else if (this.#isForwarded && server && (!(peer instanceof Peer) || peer.former)) forwarded.push(peer.id);
      else if (peer instanceof Peer) ways.push({ channels: peer.data, names: [] });
    }
    // To all is to those as well of whom nothing is known here, such as who is hidden.
    const toAll = names === null && ways.length === 0;
    if (server && this.#isForwarded && (forwarded.length > 0 || toAll)) ways.push({ channels: server.data, names: toAll ? [] : forwarded });
    return ways;
  }
}

/** @param {ArrayBuffer | ArrayBufferView} data */
function copied(data) {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice() : data.slice(0);
}
