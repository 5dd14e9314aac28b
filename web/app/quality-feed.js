import { rate } from "../sdk/qualities.js";
import { StatsReader } from "../sdk/stats.js";
import { number, t } from "./words.js";

/**
 * @typedef {import("../sdk/room.js").Participant} Peer
 * @typedef {import("../sdk/stats.js").CallStats} CallStats
 * @typedef {import("../sdk/qualities.js").Quality} Quality
 * @typedef {{id: string, stats: CallStats}[]} Reading of each other participant's connection
 */

/** Between two readings: long enough for losses to mean something. */
const READ_MS = 3_000;
/** From here on a call is as good as it gets for people. */
const GOOD = 0.8;
/** Below this they begin to give up. */
const FAIR = 0.55;
/** A difference that is not chance. */
const APART = 0.1;

/** One to three bars. @param {Quality | null} quality */
export function barsOf(quality) {
  if (!quality || quality.score >= GOOD) return 3;
  return quality.score >= FAIR ? 2 : 1;
}

/** @param {Quality | null} quality */
export function ratingOf(quality) {
  return [t("Weak connection"), t("Fair connection"), t("Good connection")][barsOf(quality) - 1];
}

/** In words, such as `loses 8 % of packets`; empty for a good one. @param {Quality | null} quality */
export function troubleOf(quality) {
  if (!quality || barsOf(quality) === 3) return "";
  const slow = (quality.rttMs ?? 0) / 1000;
  // Of the two, what costs more.
  const isLate = rate(0, quality.rttMs).score < rate(quality.loss, 0).score;
  return isLate ? t("answers after {seconds} s", { seconds: number(slow, 1) }) : t("loses {percent} % of packets", { percent: Math.max(1, Math.round(quality.loss * 100)) });
}

/**
 * How well everyone is connected. A server that forwards measures the connection of each and tells it. Without one, who
 * has a bad connection is found by comparing: what is bad towards everybody is one's own.
 */
export class QualityFeed {
  #room;
  /** @type {number | undefined} */
  #timer;
  /** In a forwarded room all share one connection. @type {WeakMap<RTCPeerConnection, StatsReader>} */
  #readers = new WeakMap();
  #last = "";
  /** @type {(() => void) | undefined} */
  #off;

  /** @param {import("../sdk/room.js").Room} room */
  constructor(room) {
    this.#room = room;
  }

  /**
   * @param {(qualities: Map<string, Quality>) => void} changed of those whose connection is not good, by the id of the tile
   * @param {(reading: Reading) => void} [read] of what was measured
   */
  start(changed, read) {
    const show = (/** @type {Map<string, Quality>} */ qualities) => {
      const now = [...qualities].map(([id, quality]) => `${id} ${troubleOf(quality)}`).sort().join();
      if (this.#timer === undefined || now === this.#last) return;
      this.#last = now;
      changed(qualities);
    };
    this.#timer = setInterval(async () => {
      const reading = await this.#read();
      read?.(reading);
      show(this.#room.link ? this.#told() : compare(reading, this.#room));
    }, READ_MS);
    this.#off = this.#room.on("quality", () => this.#room.link && show(this.#told()));
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#off?.();
  }

  /** As the server says. */
  #told() {
    const { id, quality, peers } = this.#room;
    const all = /** @type {[string, Quality | null][]} */ ([["self", quality.of(id)], ...[...peers.keys()].map((peer) => [peer, quality.of(peer)])]);
    return new Map(/** @type {[string, Quality][]} */ (all.filter(([, own]) => barsOf(own) < 3)));
  }

  /** @returns {Promise<Reading>} */
  async #read() {
    /** @type {Map<RTCPeerConnection, CallStats>} */
    const read = new Map();
    /** @type {Reading} */
    const reading = [];
    for (const peer of this.#room.peers.values()) {
      const { connection } = peer;
      if (peer.state !== "connected") continue;
      const reader = this.#readers.get(connection) ?? new StatsReader();
      this.#readers.set(connection, reader);
      const stats = read.get(connection) ?? (await reader.read(connection));
      read.set(connection, stats);
      reading.push({ id: peer.id, stats });
    }
    return reading;
  }
}

/**
 * Whose connection is not good, in a mesh.
 *
 * @param {Reading} reading
 * @param {Pick<import("../sdk/room.js").Room, "peers">} room
 * @returns {Map<string, Quality>} by the id of the tile
 */
export function compare(reading, room) {
  const pairs = reading.map(({ id, stats }) => {
    const peer = room.peers.get(id);
    const mids = [peer?.media("microphone")?.mid, peer?.media("camera")?.mid];
    const lost = (/** @type {"in" | "out"} */ direction) =>
      Math.max(0, ...stats.tracks.filter((track) => track.direction === direction && track.bitrate > 0 && (direction === "out" || !track.mid || mids.includes(track.mid))).map(({ loss }) => loss ?? 0));
    return { id, in: lost("in"), out: lost("out"), rttMs: stats.transport.rttMs };
  });
  /** @type {Map<string, Quality>} */
  const found = new Map();
  const put = (/** @type {string} */ id, /** @type {Quality} */ quality) => barsOf(quality) < 3 && found.set(id, quality);
  if (pairs.length === 1) {
    // What comes is lost by the one, what goes by the other, as far as anybody can tell; late is as late for both.
    const [pair] = pairs;
    put(pair.id, rate(pair.in, pair.rttMs));
    put("self", rate(pair.out, 0));
    return found;
  }
  const rated = pairs.map((pair) => ({ id: pair.id, quality: rate(Math.max(pair.in, pair.out), pair.rttMs) }));
  // Nobody is reached better than one's own connection allows.
  const best = rated.map(({ quality }) => quality).sort((a, b) => b.score - a.score)[0];
  if (best) put("self", best);
  for (const { id, quality } of rated) if (quality.score < best.score - APART) put(id, quality);
  return found;
}
