import { remembered } from "./preferences.js";
import { SoundLevel } from "./sound-level.js";

/** Between two looks. */
const LOOK_MS = 100;
/** Louder than this is a voice at the desk (root mean square); one from the next room is not. */
const VOICE = 0.04;
/** So much of the last moments has to be loud: a cough or a door is over sooner. */
const SPOKEN_MS = 600;
/** Those last moments. */
const WITHIN_MS = 1_500;
/** Who was told is left alone for this long. */
const QUIET_MS = 20_000;

/** Decides, look by look, whether somebody speaks. */
export class SpeechHeard {
  /** When it was loud, in milliseconds. @type {number[]} */
  #loud = [];
  #toldAt = -Infinity;

  /**
   * @param {number} level root mean square, 0 to 1
   * @param {number} now milliseconds, growing
   * @returns {boolean} whether this is the moment to say so
   */
  hears(level, now) {
    if (level > VOICE) this.#loud.push(now);
    this.#loud = this.#loud.filter((at) => now - at < WITHIN_MS);
    if (this.#loud.length * LOOK_MS < SPOKEN_MS || now - this.#toldAt < QUIET_MS) return false;
    this.#loud = [];
    this.#toldAt = now;
    return true;
  }

  /** Begins anew, but for how long who was told is left alone. */
  forget() {
    this.#loud = [];
  }
}

/**
 * Notices that somebody speaks whose microphone is off. What is sent is silent then, so it listens to a second track of
 * the same microphone, which no connection ever gets: all that is kept of it is one number for each look.
 */
export class MutedHint {
  #devices;
  #heard;
  #speech = new SpeechHeard();
  /** @type {SoundLevel | null} */
  #level = null;
  /** @type {{own: MediaStreamTrack, of: MediaStreamTrack} | null} */
  #listened = null;
  #timer;
  #off;

  /**
   * @param {import("./local-devices.js").LocalDevices} devices
   * @param {() => void} heard
   */
  constructor(devices, heard) {
    this.#devices = devices;
    this.#heard = heard;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#off = devices.on("change", () => this.#look());
  }

  stop() {
    clearInterval(this.#timer);
    this.#off();
    this.#release();
  }

  #look() {
    const track = this.#devices.tracks.microphone;
    const listens = track && track.readyState === "live" && !this.#devices.isOn("microphone") && remembered().mutedHint;
    if (!listens || (this.#listened && this.#listened.of !== track)) this.#release();
    if (!listens) return;
    if (!this.#listened) {
      const own = track.clone();
      own.enabled = true;
      this.#listened = { own, of: track };
      this.#level ??= new SoundLevel();
      this.#level.listen(own);
    }
    if (this.#speech.hears(this.#level?.read() ?? 0, performance.now())) this.#heard();
  }

  #release() {
    if (!this.#listened) return;
    this.#level?.close();
    this.#level = null;
    this.#listened.own.stop();
    this.#listened = null;
    this.#speech.forget();
  }
}
