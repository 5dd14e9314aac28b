/**
 * @typedef {object} TrackStats
 * @property {"in" | "out"} direction
 * @property {"audio" | "video"} kind
 * @property {string} mid
 * @property {string} rid of a quality that is sent beside others, else empty
 * @property {string} codec such as `VP8`, empty until known
 * @property {number} bitrate bit/s of payload since the last reading
 * @property {number} packets
 * @property {number} frames decoded or encoded
 * @property {number} fps
 * @property {number} width
 * @property {number} height
 * @property {number | null} loss share of packets lost since the last reading, 0 to 1; from the receiver's reports when sending
 * @property {number | null} jitterMs
 * @property {number | null} level loudness, 0 to 1
 * @property {number | null} delayMs from arrival until it is played, on average since the last reading
 * @property {string} limited why a picture is sent smaller than it is: `cpu`, `bandwidth`, `other`, or empty
 */

/**
 * @typedef {object} TransportStats
 * @property {number | null} rttMs
 * @property {number | null} availableOutgoing bit/s
 * @property {string} local kind of this side's candidate: `host`, `srflx`, `prflx`, `relay`
 * @property {string} remote
 * @property {string} protocol `udp` or `tcp`
 * @property {string} dtls such as `DTLS 1.3`, empty until known
 * @property {string} srtp
 */

/** @typedef {{transport: TransportStats, tracks: TrackStats[]}} CallStats */

/** @type {Record<string, string>} Version numbers on the wire (RFC 6347, RFC 9147). */
const DTLS_NAMES = { FEFF: "DTLS 1.0", FEFD: "DTLS 1.2", FEFC: "DTLS 1.3" };

/** Turns one connection's getStats into what a person reads; rates come from two readings. */
export class StatsReader {
  /** @type {Map<string, {at: number, bytes: number, packets: number, lost: number, waited: number, emitted: number, decoding: number, decoded: number}>} */
  #before = new Map();

  /**
   * @param {RTCPeerConnection} connection
   * @returns {Promise<CallStats>}
   */
  async read(connection) {
    return this.summarise(await connection.getStats());
  }

  /**
   * @param {Iterable<[string, any]>} report
   * @returns {CallStats}
   */
  summarise(report) {
    const stats = new Map(report);
    const all = [...stats.values()];
    const tracks = all
      .filter(({ type }) => type === "inbound-rtp" || type === "outbound-rtp")
      .filter(({ active }) => active !== false)
      .map((rtp) => this.#track(rtp, stats, all));
    return { transport: transportOf(stats, all), tracks };
  }

  /**
   * @param {any} rtp
   * @param {Map<string, any>} stats
   * @param {any[]} all
   * @returns {TrackStats}
   */
  #track(rtp, stats, all) {
    const isIn = rtp.type === "inbound-rtp";
    const bytes = (isIn ? rtp.bytesReceived : rtp.bytesSent) ?? 0;
    const packets = (isIn ? rtp.packetsReceived : rtp.packetsSent) ?? 0;
    const remote = isIn ? null : (stats.get(rtp.remoteId) ?? all.find((one) => one.localId === rtp.id));
    const lost = Math.max(0, (isIn ? rtp.packetsLost : remote?.packetsLost) ?? 0);
    const playout = {
      waited: rtp.jitterBufferDelay ?? 0,
      emitted: rtp.jitterBufferEmittedCount ?? 0,
      decoding: rtp.totalDecodeTime ?? 0,
      decoded: rtp.framesDecoded ?? 0,
    };
    const now = { at: rtp.timestamp, bytes, packets, lost, ...playout };
    const before = this.#before.get(rtp.id) ?? now;
    this.#before.set(rtp.id, now);

    const seconds = (now.at - before.at) / 1000;
    const expected = packets - before.packets + (isIn ? lost - before.lost : 0);
    return {
      direction: isIn ? "in" : "out",
      kind: rtp.kind,
      mid: rtp.mid ?? "",
      rid: rtp.rid ?? "",
      codec: String(stats.get(rtp.codecId)?.mimeType ?? "").split("/").pop() ?? "",
      bitrate: seconds > 0 ? Math.max(0, ((bytes - before.bytes) * 8) / seconds) : 0,
      packets,
      frames: (isIn ? rtp.framesDecoded : rtp.framesEncoded) ?? 0,
      fps: rtp.framesPerSecond ?? 0,
      width: rtp.frameWidth ?? 0,
      height: rtp.frameHeight ?? 0,
      loss: !isIn && !remote ? null : expected > 0 ? Math.min(1, Math.max(0, lost - before.lost) / expected) : 0,
      jitterMs: typeof rtp.jitter === "number" ? rtp.jitter * 1000 : null,
      level: rtp.audioLevel ?? null,
      delayMs: now.emitted > before.emitted ? 1000 * (mean(now.waited - before.waited, now.emitted - before.emitted) + mean(now.decoding - before.decoding, now.decoded - before.decoded)) : null,
      limited: (rtp.qualityLimitationReason ?? "none").replace("none", ""),
    };
  }
}

/** @param {number} sum @param {number} count */
function mean(sum, count) {
  return count > 0 ? sum / count : 0;
}

/**
 * @param {Map<string, any>} stats
 * @param {any[]} all
 * @returns {TransportStats}
 */
function transportOf(stats, all) {
  const transport = all.find(({ type }) => type === "transport");
  const pair =
    stats.get(transport?.selectedCandidatePairId) ??
    all.find(({ type, selected, nominated, state }) => type === "candidate-pair" && (selected || (nominated && state === "succeeded")));
  const local = stats.get(pair?.localCandidateId);
  const remote = stats.get(pair?.remoteCandidateId);
  const version = String(transport?.tlsVersion ?? "").toUpperCase();
  return {
    rttMs: typeof pair?.currentRoundTripTime === "number" ? pair.currentRoundTripTime * 1000 : null,
    availableOutgoing: pair?.availableOutgoingBitrate ?? null,
    local: local?.candidateType ?? "",
    remote: remote?.candidateType ?? "",
    protocol: local?.protocol ?? "",
    dtls: DTLS_NAMES[version] ?? version,
    srtp: transport?.srtpCipher ?? "",
  };
}
