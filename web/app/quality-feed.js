import { StatsReader } from "../sdk/stats.js";

/** @typedef {import("../sdk/room.js").Participant} Peer */

/** Between two readings: long enough for losses to mean something. */
const READ_MS = 3_000;
/** More loss than this is heard and seen. */
const LOSS_MAX = 0.05;
/** People begin to interrupt each other. */
const ROUND_TRIP_MAX_MS = 500;

/** Whose connection is weak: of others what arrives from them, of oneself what the others report. */
export class QualityFeed {
  #room;
  /** @type {number | undefined} */
  #timer;
  /** In a forwarded room all share one connection. @type {WeakMap<RTCPeerConnection, StatsReader>} */
  #readers = new WeakMap();
  #last = "";

  /** @param {import("../sdk/room.js").Room} room */
  constructor(room) {
    this.#room = room;
  }

  /** @param {(weak: Set<string>) => void} changed ids of tiles */
  start(changed) {
    this.#timer = setInterval(() => this.#read(changed), READ_MS);
  }

  stop() {
    clearInterval(this.#timer);
  }

  /** @param {(weak: Set<string>) => void} changed */
  async #read(changed) {
    /** @type {Map<RTCPeerConnection, import("../sdk/stats.js").CallStats>} */
    const read = new Map();
    const weak = new Set();
    for (const peer of this.#room.peers.values()) {
      const { connection } = peer;
      if (peer.state !== "connected") continue;
      const reader = this.#readers.get(connection) ?? new StatsReader();
      this.#readers.set(connection, reader);
      const stats = read.get(connection) ?? (await reader.read(connection));
      read.set(connection, stats);
      const mids = [peer.media("microphone")?.mid, peer.media("camera")?.mid];
      const isLate = (stats.transport.rttMs ?? 0) > ROUND_TRIP_MAX_MS;
      const loses = (/** @type {"in" | "out"} */ direction) =>
        stats.tracks.some((track) => track.direction === direction && track.bitrate > 0 && (track.loss ?? 0) > LOSS_MAX && (direction === "out" || !track.mid || mids.includes(track.mid)));
      // Late answers of a server are one's own way to it, not that of each other participant.
      if (loses("in") || (isLate && this.#room.link === null)) weak.add(peer.id);
      if (loses("out") || (isLate && this.#room.link !== null)) weak.add("self");
    }
    const now = [...weak].sort().join();
    if (this.#timer === undefined || now === this.#last) return;
    this.#last = now;
    changed(weak);
  }
}
