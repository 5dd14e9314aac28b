/**
 * How well somebody is connected.
 *
 * @typedef {object} Quality
 * @property {number} score 0 to 1: what people think of a call like that, where 1 is the best there is
 * @property {number} loss share of packets that get lost, 0 to 1, on the worse way
 * @property {number | null} rttMs how long an answer takes
 */

/** How well everyone is connected, where a server that forwards measures it. */
export class Qualities {
  /** @type {Map<string, Quality>} */
  #known = new Map();

  /**
   * @param {any} data of `quality`
   * @param {(id: string) => boolean} isThere
   * @returns {string[]} of whom there is something new in it
   */
  told(data, isThere) {
    const all = Array.isArray(data?.participants) ? data.participants : [];
    const fresh = all.filter((/** @type {any} */ one) => typeof one?.peer_id === "string" && one.score >= 0 && one.score <= 1 && isThere(one.peer_id));
    for (const { peer_id: id, score, loss, rtt_ms: rtt } of fresh) this.#known.set(id, { score, loss: loss >= 0 && loss <= 1 ? loss : 0, rttMs: rtt >= 0 ? rtt : null });
    return fresh.map((/** @type {any} */ one) => one.peer_id);
  }

  /** `null` of whom nothing was said: nothing is known to be wrong. @param {string} id */
  of(id) {
    return this.#known.get(id) ?? null;
  }

  /** @param {string} id of somebody who has left */
  forget(id) {
    this.#known.delete(id);
  }

  clear() {
    this.#known.clear();
  }
}

/** The loss (in percent) at which half of what a codec can lose in quality is lost: `Bpl` of ITU-T G.107 §7.3. */
const ROBUSTNESS = 20;
/** Milliseconds in the jitter buffer and the devices of the ends. */
const ENDS_MS = 60;

/**
 * What people think of a call with so much lost and so late answers, by the E-model (ITU-T G.107), as servers have it.
 *
 * @param {number} loss 0 to 1
 * @param {number | null} rttMs
 * @returns {Quality}
 */
export function rate(loss, rttMs) {
  const score = (opinion(loss * 100, (rttMs ?? 0) / 2 + ENDS_MS) - 1) / (opinion(0, ENDS_MS) - 1);
  return { score: Math.min(1, Math.max(0, score)), loss, rttMs };
}

/** @param {number} lost percent @param {number} oneWay milliseconds */
function opinion(lost, oneWay) {
  const late = 0.024 * oneWay + 0.11 * Math.max(0, oneWay - 177.3);
  const lossy = (95 * lost) / (lost + ROBUSTNESS);
  const rating = Math.min(100, Math.max(0, 93.2 - late - lossy));
  return 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6;
}
