import { Emitter } from "./emitter.js";
import { HttpSession } from "./http-session.js";
import { StatsReader } from "./stats.js";
import { WhepEvents } from "./whep-events.js";

/** Between two readings. */
const READ_MS = 1_000;
/** Nothing is broadcast when nothing came for so long; sound alone comes several times a second, silence included. */
const SILENT_MS = 3_000;
/** Lines for sound: so many people who speak at once are heard. */
const SOUND_LINES = 4;

/**
 * Plays a room by WHEP (draft-ietf-wish-whep).
 *
 * - `change`: the state, the stream, or whether something is broadcast;
 * - `stats`: once a second, what arrives;
 * - `audience`: how many play it, or which qualities there are, where the server says so.
 *
 * @extends {Emitter<{change: null, stats: import("./stats.js").CallStats, audience: null}>}
 */
export class WhepPlayer extends Emitter {
  /** What arrives, once connected; another one with each session. @type {MediaStream | null} */ stream = null;
  /** Whether something is broadcast now. */ isLive = false;
  /** How many play it, this one included. @type {number | null} */ viewers = null;
  /** What the picture is broadcast in, the lowest first. @type {import("./whep-events.js").Layer[]} */ layers = [];
  /** What was chosen, kept over sessions made anew. @type {{rid?: string, maxHeight?: number}} */ choice = {};
  /** @type {WhepEvents | null} */ #events = null;
  #session;
  #stats = new StatsReader();
  /** Pictures and packets of sound, to see whether they go on. */
  #progress = 0;
  #progressAt = 0;
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {string | URL} options.url such as `https://host/whep/blue-otter`
   * @param {string} [options.token]
   */
  constructor({ url, token }) {
    super();
    this.#session = new HttpSession({ url, token, prepare: (connection) => this.#prepare(connection) });
    this.#session.on("state", (state) => {
      if (state === "connected") this.#connected();
      else if (!this.connection) this.#forget();
      if (state === "refused" || state === "closed" || state === "absent") this.isLive = false;
      this.emit("change", null);
    });
  }

  /** @returns {import("./http-session.js").HttpSessionState} */
  get state() {
    return this.#session.state;
  }

  /** Why it does not play. */
  get error() {
    return this.#session.error;
  }

  /** Another one after a session was made anew; `null` between. */
  get connection() {
    return this.#session.connection;
  }

  start() {
    this.#session.start();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#read(), READ_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#forget();
    this.#session.close();
    this.stream = null;
  }

  /**
   * Chooses the highest quality that is wanted, where the server lets one: by name or by height; `{}` is whichever fits.
   *
   * @param {{rid?: string, maxHeight?: number}} choice
   * @returns {Promise<boolean>} whether the server does so
   */
  async choose(choice) {
    this.choice = choice;
    return (await this.#events?.choose(choice)) ?? false;
  }

  /** Whether a quality can be chosen. */
  get canChoose() {
    return this.#events?.canChoose ?? false;
  }

  /** What belongs to one session. */
  #forget() {
    this.#events?.stop();
    this.#events = null;
    this.layers = [];
    this.viewers = null;
    this.emit("audience", null);
  }

  #listen() {
    this.#forget();
    const events = new WhepEvents(this.#session);
    this.#events = events;
    events.on("viewers", (viewers) => {
      this.viewers = viewers;
      this.emit("audience", null);
    });
    events.on("layers", (layers) => {
      this.layers = layers;
      this.emit("audience", null);
    });
    events.start();
    if (Object.keys(this.choice).length > 0) events.choose(this.choice);
  }

  /** @param {RTCPeerConnection} connection */
  #prepare(connection) {
    const kinds = ["video", ...Array.from({ length: SOUND_LINES }, () => "audio")];
    for (const kind of kinds) {
      const { receiver } = connection.addTransceiver(kind, { direction: "recvonly" });
      // As little as the network allows; both names of it (webrtc-extensions, and Chromium's older one).
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      else if ("playoutDelayHint" in receiver) /** @type {any} */ (receiver).playoutDelayHint = 0;
    }
  }

  #connected() {
    const tracks = this.connection?.getReceivers().map(({ track }) => track) ?? [];
    const known = this.stream?.getTracks() ?? [];
    if (tracks.length === known.length && tracks.every((track) => known.includes(track))) return; // ICE alone was restarted
    this.stream = new MediaStream(tracks);
    this.#listen();
    this.#progress = 0;
  }

  async #read() {
    const { connection } = this;
    if (!connection || this.state !== "connected") return;
    const stats = await this.#stats.read(connection);
    if (connection !== this.connection) return;
    const incoming = stats.tracks.filter(({ direction }) => direction === "in");
    // Of pictures the frames: packets may be padding, by which the server looks how much the way carries.
    const progress = incoming.reduce((sum, { kind, frames, packets }) => sum + (kind === "video" ? frames : packets), 0);
    const now = performance.now();
    if (progress > this.#progress) this.#progressAt = now;
    this.#progress = progress;
    const isLive = progress > 0 && now - this.#progressAt < SILENT_MS;
    if (isLive !== this.isLive) {
      this.isLive = isLive;
      this.emit("change", null);
    }
    this.emit("stats", stats);
  }
}
