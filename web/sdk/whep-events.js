import { backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";

/** What its server names these extensions of WHEP (draft, "WebRTC-HTTP Egress Protocol Core Extensions"). */
const EVENTS = "urn:ietf:params:whep:ext:core:server-sent-events";
const LAYER = "urn:ietf:params:whep:ext:core:layer";

/** Those that it wants to hear of. */
const WANTED = ["layers", "viewercount"];

/**
 * A layer of the picture that is broadcast.
 *
 * @typedef {object} Layer
 * @property {string} [rid] the quality that it is of, where there are several
 * @property {number} [temporalLayerId]
 * @property {number} [bitrate] bit/s; none while it rests
 * @property {number} [width] pixels
 * @property {number} [height] pixels
 */

/**
 * What a server tells those who play, and lets them choose, of one session; nothing where it has not these extensions.
 *
 * @extends {Emitter<{layers: Layer[], viewers: number}>}
 */
export class WhepEvents extends Emitter {
  #session;
  /** @type {EventSource | null} */ #source = null;
  /** @type {number | undefined} */ #timer;
  #attempts = 0;
  #isStopped = false;

  /** @param {import("./http-session.js").HttpSession} session that is connected */
  constructor(session) {
    super();
    this.#session = session;
  }

  /** Whether a layer can be chosen. */
  get canChoose() {
    return this.#session.extensions.has(LAYER);
  }

  async start() {
    const url = this.#session.extensions.get(EVENTS);
    if (!url) return;
    try {
      const response = await this.#session.post(url, WANTED);
      const location = response.headers.get("Location");
      if (this.#isStopped || this.#session.extensions.get(EVENTS) !== url) return; // the session is another one by now
      if (response.ok && location) return this.#listen(new URL(location, url).href);
      if (response.status < 500 && response.status !== 429) return;
    } catch {
      // The server was not reached.
    }
    this.#again();
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  /**
   * Says which layer is wanted at most; with nothing, whichever fits.
   *
   * @param {{rid?: string, maxHeight?: number}} wanted
   * @returns {Promise<boolean>} whether the server does so
   */
  async choose(wanted) {
    const url = this.#session.extensions.get(LAYER);
    if (!url) return false;
    return (await this.#session.post(url, wanted).catch(() => null))?.ok ?? false;
  }

  /** @param {string} url */
  #listen(url) {
    const source = new EventSource(url);
    this.#source = source;
    source.onopen = () => (this.#attempts = 0);
    /** @param {string} name @param {(data: any) => void} take */
    const on = (name, take) =>
      source.addEventListener(name, ({ data }) => {
        try {
          take(JSON.parse(data));
        } catch {
          console.warn(`${name} not understood`, data);
        }
      });
    on("viewercount", ({ viewercount }) => Number.isInteger(viewercount) && this.emit("viewers", viewercount));
    on("layers", (lines) => this.emit("layers", Object.values(lines).flat()));
    // It tries again by itself, but not after an answer that is no stream.
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED || source !== this.#source) return;
      this.#source = null;
      this.#again();
    };
  }

  #again() {
    if (this.#isStopped) return;
    this.#attempts += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.start(), backoff(this.#attempts));
  }
}
