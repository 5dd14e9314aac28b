import { Emitter } from "./emitter.js";
import { HttpSession } from "./http-session.js";

/** @typedef {"audio" | "video"} Kind */

/**
 * Broadcasts to a room by WHIP (RFC 9725).
 *
 * - `change`: its state.
 *
 * @extends {Emitter<{change: null}>}
 */
export class WhipPublisher extends Emitter {
  #session;
  /** @type {Record<Kind, MediaStreamTrack | null>} */
  #tracks = { audio: null, video: null };
  #stream = new MediaStream();
  #encodings;

  /**
   * @param {object} options
   * @param {string | URL} options.url such as `https://host/whip/blue-otter`
   * @param {string} [options.token]
   * @param {() => RTCRtpEncodingParameters[]} options.encodings the qualities in which a picture is sent, the lowest
   *   first; asked for with each session
   */
  constructor({ url, token, encodings }) {
    super();
    this.#encodings = encodings;
    this.#session = new HttpSession({ url, token, prepare: (connection) => this.#prepare(connection) });
    this.#session.on("state", () => this.emit("change", null));
  }

  /** @returns {import("./http-session.js").HttpSessionState} */
  get state() {
    return this.#session.state;
  }

  /** Why it does not broadcast. */
  get error() {
    return this.#session.error;
  }

  /** Another one after a session was made anew; `null` between. */
  get connection() {
    return this.#session.connection;
  }

  /** Whether it is begun and has not ended. */
  get isOn() {
    return !["idle", "refused", "closed"].includes(this.state);
  }

  /**
   * Sends this from now on. Another track of the same kind takes the place of the one before; a kind that comes or goes
   * needs a new session, which is made by itself.
   *
   * @param {Kind} kind
   * @param {MediaStreamTrack | null} track
   */
  async send(kind, track) {
    const before = this.#tracks[kind];
    if (before === track) return;
    this.#tracks[kind] = track;
    if (!this.isOn) return;
    const sender = this.connection?.getTransceivers().find((one) => one.receiver.track.kind === kind)?.sender;
    if (sender && before && track) await sender.replaceTrack(track);
    else this.#session.start();
  }

  /** Begins. There must be something to send. */
  start() {
    this.#session.start();
  }

  stop() {
    this.#session.close();
  }

  /** @param {RTCPeerConnection} connection */
  #prepare(connection) {
    for (const kind of /** @type {const} */ (["audio", "video"])) {
      const track = this.#tracks[kind];
      if (!track) continue;
      connection.addTransceiver(track, {
        direction: "sendonly",
        streams: [this.#stream],
        ...(kind === "video" ? { sendEncodings: this.#encodings() } : {}),
      });
    }
  }
}
