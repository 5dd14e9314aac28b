import { h } from "./dom.js";
import { SoundLevel, loudness } from "./sound-level.js";
import { t } from "./words.js";

const BARS = 12;
/** Between two looks: often enough to follow speech. */
const LOOK_MS = 60;

/** Shows that the microphone hears something. */
export class LevelMeter extends HTMLElement {
  /** @type {SoundLevel | null} */
  #level = null;
  /** @type {number | undefined} */
  #timer;
  #shown = 0;
  #heard = false;
  #bars = Array.from({ length: BARS }, () => h("i"));

  connectedCallback() {
    this.setAttribute("role", "meter");
    this.setAttribute("aria-label", t("Microphone level"));
    this.setAttribute("aria-valuemin", "0");
    this.setAttribute("aria-valuemax", "100");
    this.setAttribute("aria-valuenow", "0");
    this.replaceChildren(...this.#bars);
    this.#level = new SoundLevel();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
    this.#level?.close();
    this.#level = null;
  }

  /** @param {MediaStreamTrack | null} track */
  listen(track) {
    this.#level?.listen(track);
  }

  /** Whether anything was heard since the meter is there. */
  get heard() {
    return this.#heard;
  }

  #look() {
    const now = loudness(this.#level?.read() ?? 0);
    this.#shown = Math.max(now, this.#shown * 0.82);
    this.#heard ||= now > 0.1;
    this.#bars.forEach((bar, index) => bar.classList.toggle("on", this.#shown * BARS > index + 0.5));
    this.setAttribute("aria-valuenow", String(Math.round(this.#shown * 100)));
  }
}

customElements.define("level-meter", LevelMeter);
