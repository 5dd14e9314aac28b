import { StatsReader } from "../sdk/stats.js";
import { formatRate } from "./format.js";
import { number, t } from "./words.js";

/**
 * @typedef {import("../sdk/stats.js").CallStats} CallStats
 * @typedef {import("../sdk/stats.js").TrackStats} TrackStats
 * @typedef {import("../sdk/room.js").Participant} Peer
 * @typedef {import("./arrange.js").Role} Role
 * @typedef {[string, string][]} Rows
 */

/** Between two readings. */
const READ_MS = 1_000;
/** Of a connection. @type {Record<string, string>} */
const STATES = {
  waiting: t("waiting"),
  connecting: t("connecting"),
  connected: t("connected"),
  unstable: t("unstable"),
  failed: t("failed"),
  closed: t("closed"),
};

/** Reads every connection once a second, while someone looks. */
export class StatisticsFeed {
  #room;
  /** @type {number | undefined} */
  #timer;
  /** @type {WeakMap<Peer, StatsReader>} */
  #readers = new WeakMap();

  /** @param {import("../sdk/room.js").Room} room */
  constructor(room) {
    this.#room = room;
  }

  get isOn() {
    return this.#timer !== undefined;
  }

  /** @param {(rowsOf: (id: string, role: Role, peer: Peer | null) => Rows) => void} show */
  start(show) {
    this.stop();
    const read = async () => {
      /** @type {Map<string, CallStats>} */
      const stats = new Map();
      for (const peer of this.#room.peers.values()) {
        const reader = this.#readers.get(peer) ?? new StatsReader();
        this.#readers.set(peer, reader);
        if (peer.state !== "closed") stats.set(peer.id, await reader.read(peer.connection));
      }
      if (this.isOn) show((_, role, peer) => (peer ? rowsOfPeer(peer, role, stats.get(peer.id)) : rowsOfSelf([...stats.values()])));
    };
    this.#timer = setInterval(read, READ_MS);
    read();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/**
 * @param {Peer} peer
 * @param {Role} role
 * @param {CallStats | undefined} stats
 * @returns {Rows}
 */
function rowsOfPeer(peer, role, stats) {
  if (!stats) return [[t("State"), STATES[peer.state] ?? peer.state]];
  const { transport, tracks } = stats;
  const incoming = tracks.filter(({ direction }) => direction === "in");
  const find = (/** @type {import("../sdk/messages.js").Source} */ source, /** @type {string} */ kind) => {
    const mid = peer.media(source)?.mid;
    return incoming.find((track) => (track.mid ? track.mid === mid : track.kind === kind && mid));
  };
  const video = find(role === "screen" ? "screen" : "camera", "video");
  const audio = role === "screen" ? undefined : find("microphone", "audio");
  /** @type {Rows} */
  const rows = [];
  if (video && video.packets > 0) rows.push([t("Video"), describeVideo(video)]);
  if (audio && audio.packets > 0) rows.push([t("Audio"), describeAudio(audio)]);
  if (role === "screen") return rows;
  rows.push([t("Round trip"), transport.rttMs === null ? "–" : `${Math.round(transport.rttMs)} ms`]);
  const path = transport.local ? `${transport.local} → ${transport.remote}, ${transport.protocol}` : (STATES[peer.state] ?? peer.state);
  rows.push([t("Path"), [path, transport.dtls].filter(Boolean).join(", ")]);
  return rows;
}

/**
 * @param {CallStats[]} all
 * @returns {Rows}
 */
function rowsOfSelf(all) {
  const out = all.flatMap(({ tracks }) => tracks).filter(({ direction, packets }) => direction === "out" && packets > 0);
  const largest = out.filter(({ kind }) => kind === "video").sort((a, b) => b.width - a.width)[0];
  const total = out.reduce((sum, { bitrate }) => sum + bitrate, 0);
  /** @type {Rows} */
  const rows = [[t("Sending"), t("{rate} to {count}", { rate: formatRate(total), count: all.length })]];
  if (largest) rows.push([t("Video"), describeVideo(largest)]);
  return rows;
}

/** @param {TrackStats} track */
export function describeVideo({ width, height, fps, codec, bitrate, loss }) {
  const size = width ? `${width}×${height}` : "";
  return [size, t("{count} fps", { count: Math.round(fps) }), codec, formatRate(bitrate), share(loss)].filter(Boolean).join(" · ");
}

/** @param {TrackStats} track */
export function describeAudio({ codec, bitrate, loss, jitterMs }) {
  const jitter = jitterMs === null ? "" : t("{count} ms jitter", { count: Math.round(jitterMs) });
  return [codec, formatRate(bitrate), jitter, share(loss)].filter(Boolean).join(" · ");
}

/** @param {number | null} loss */
function share(loss) {
  return loss === null ? "" : t("{percent} % lost", { percent: number(loss * 100, 1) });
}
