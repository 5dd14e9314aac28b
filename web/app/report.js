import { h } from "./dom.js";

/**
 * @typedef {import("../sdk/room.js").Room} Room
 * @typedef {import("./quality-feed.js").Reading} Reading
 */

/** Readings are three seconds apart: these are the last ten minutes. */
const READINGS_MAX = 200;
const EVENTS_MAX = 500;
/** Until a browser has taken what it saves. */
const FETCHED_MS = 60_000;

/** What tells who or where somebody is, or lets others into the room. */
const SECRET = /^(address|ip|port|relatedAddress|relatedPort|url|foundation|usernameFragment|iceLocalUsernameFragment|label|trackIdentifier|.*[cC]ertificateId)$/;

/** Keeps what happened in a call, for whoever is asked why it was bad. Nothing of it leaves the browser by itself. */
export class CallRecorder {
  #room;
  /** @type {{at: string, what: string, of?: string, detail?: unknown}[]} */
  #events = [];
  /** @type {{at: string, connections: object[]}[]} */
  #readings = [];
  /** @type {(() => void)[]} */
  #offs;
  /** Names in the report, in the order in which they came. @type {Map<string, string>} */
  #names = new Map();

  /** @param {Room} room */
  constructor(room) {
    this.#room = room;
    this.#offs = [
      room.on("state", (state) => this.#note("state", undefined, state)),
      room.on("topology", (topology) => this.#note("topology", undefined, topology)),
      room.on("peer-joined", ({ id }) => this.#note("joined", id)),
      room.on("peer-left", ({ id }) => this.#note("left", id)),
      room.on("peer-change", ({ id, state }) => this.#changed(id, state)),
      room.on("quality", ({ peer }) => this.#note("quality", peer?.id ?? room.id, room.quality.of(peer?.id ?? room.id))),
      room.on("notice", ({ kind, ending }) => this.#note(kind, undefined, ending)),
    ];
  }

  stop() {
    this.#offs.forEach((off) => off());
  }

  /** @param {Reading} reading */
  read(reading) {
    const connections = reading.map(({ id, stats }) => ({ of: this.#name(id), ...stats }));
    push(this.#readings, { at: now(), connections }, READINGS_MAX);
  }

  /** Saves it as a file of this person. */
  async save() {
    const text = JSON.stringify(await this.report(), null, 1);
    const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    h("a", { href, download: `twocan-report-${now().replace(/[:.]/g, "-")}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(href), FETCHED_MS);
  }

  /** Without names, words, addresses and keys. */
  async report() {
    const { topology, state, isEncrypted, peers, link } = this.#room;
    const connections = new Map([...peers.values()].map((peer) => [peer.connection, this.#name(peer.id)]));
    if (link) connections.set(link.connection, "server");
    return {
      about: "A call of Twocan. No names, words, addresses and keys are in it.",
      made_at: now(),
      browser: navigator.userAgent,
      cores: navigator.hardwareConcurrency,
      screen: `${screen.width}x${screen.height}@${devicePixelRatio}`,
      room: { topology, state, encrypted: isEncrypted, others: peers.size },
      events: this.#events,
      readings: this.#readings,
      connections: await Promise.all([...connections].map(async ([connection, of]) => ({ of, state: connection.connectionState, stats: await withoutSecrets(connection) }))),
    };
  }

  /** @param {string} id @param {string} state */
  #changed(id, state) {
    const of = this.#name(id);
    const before = this.#events.filter((event) => event.of === of && event.what === "connection").at(-1);
    if (before?.detail !== state) this.#note("connection", id, state);
  }

  /** @param {string} what @param {string} [id] @param {unknown} [detail] */
  #note(what, id, detail) {
    push(this.#events, { at: now(), what, ...(id === undefined ? {} : { of: this.#name(id) }), ...(detail === undefined ? {} : { detail }) }, EVENTS_MAX);
  }

  /** @param {string} id */
  #name(id) {
    if (id === this.#room.id) return "self";
    const known = this.#names.get(id) ?? `participant ${this.#names.size + 1}`;
    this.#names.set(id, known);
    return known;
  }
}

/** @param {RTCPeerConnection} connection */
async function withoutSecrets(connection) {
  const stats = await connection.getStats();
  const told = [...stats.values()].filter(({ type }) => type !== "certificate"); // their ids are fingerprints
  return told.map((one) => Object.fromEntries(Object.entries(one).filter(([key]) => !SECRET.test(key))));
}

/** @template T @param {T[]} list @param {T} item @param {number} max */
function push(list, item, max) {
  list.push(item);
  if (list.length > max) list.shift();
}

function now() {
  return new Date().toISOString();
}
