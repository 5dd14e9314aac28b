import { SoundLevel } from "./sound-level.js";

/** Between two looks. */
const LOOK_MS = 150;
/** Louder than this counts as speaking (linear, as RTP audio levels and getStats report it). */
const SPEAKING = 0.02;
/** The ring stays on through the pauses between words. */
const HOLD_MS = 500;

/**
 * Who speaks now. Remote levels come from the RTP packets, which costs nothing; where those carry none, from getStats.
 */
export class SpeakingFeed {
  #room;
  #devices;
  /** @type {SoundLevel | null} */
  #own = null;
  /** @type {number | undefined} */
  #timer;
  /** @type {Map<string, number>} */
  #heardAt = new Map();
  /** @type {Set<string>} */
  #speaking = new Set();

  /**
   * @param {import("../sdk/room.js").Room} room
   * @param {import("./local-devices.js").LocalDevices} devices
   */
  constructor(room, devices) {
    this.#room = room;
    this.#devices = devices;
  }

  /** @param {(id: string, speaking: boolean) => void} changed */
  start(changed) {
    this.#own = new SoundLevel();
    this.#timer = setInterval(() => this.#look(changed), LOOK_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#own?.close();
    this.#own = null;
  }

  /** @param {(id: string, speaking: boolean) => void} changed */
  async #look(changed) {
    this.#own?.listen(this.#devices.tracks.microphone);
    this.#heard("self", this.#own?.read() ?? 0);
    for (const peer of this.#room.peers.values()) {
      const microphone = peer.media("microphone");
      this.#heard(peer.id, microphone && !microphone.muted ? await levelOf(microphone.receiver) : 0);
    }
    const now = performance.now();
    for (const [id, at] of this.#heardAt) {
      const speaking = now - at < HOLD_MS;
      if (speaking === this.#speaking.has(id)) continue;
      if (speaking) this.#speaking.add(id);
      else this.#speaking.delete(id);
      changed(id, speaking);
    }
  }

  /**
   * @param {string} id
   * @param {number} level
   */
  #heard(id, level) {
    if (level > SPEAKING) this.#heardAt.set(id, performance.now());
  }
}

/** @param {RTCRtpReceiver} receiver */
async function levelOf(receiver) {
  const level = receiver.getSynchronizationSources()[0]?.audioLevel;
  if (level !== undefined) return level;
  for (const stats of /** @type {any} */ (await receiver.getStats()).values()) {
    if (stats.type === "inbound-rtp") return stats.audioLevel ?? 0;
  }
  return 0;
}
