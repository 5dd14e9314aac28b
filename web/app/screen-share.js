import { remember, remembered } from "./preferences.js";
import { screenProblem } from "./problems.js";

/** What matters most of a shared screen where not both can be had. @typedef {"text" | "motion"} Favour */

/** Pictures a second: text is to be sharp, films are to flow. @type {Record<Favour, MediaTrackConstraints>} */
const RATES = { text: { frameRate: { ideal: 15, max: 30 } }, motion: { frameRate: { ideal: 30, max: 60 } } };

/** The screen that this person shares, if any. */
export class ScreenShare {
  #room;
  /** @type {MediaStream | null} */
  #stream = null;

  /**
   * @param {import("../sdk/room.js").Room} room
   * @param {() => void} changed
   */
  constructor(room, changed) {
    this.#room = room;
    this.changed = changed;
  }

  /** What matters most; kept for the next time. @returns {Favour} */
  get favours() {
    return remembered().screenFavours;
  }

  set favours(favour) {
    remember({ screenFavours: favour });
    const [video] = this.#stream?.getVideoTracks() ?? [];
    if (!video) return;
    favourOn(video, favour);
    // A browser that cannot change it goes on as it is.
    video.applyConstraints(RATES[favour]).catch(() => {});
    this.changed();
  }

  get isOn() {
    return this.#stream !== null;
  }

  /** @returns {Promise<import("./problems.js").Problem | null>} */
  async start() {
    /** @type {MediaStream} */
    let stream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({ video: RATES[this.favours], audio: true });
    } catch (error) {
      return screenProblem(error);
    }
    this.#stream = stream;
    const [video] = stream.getVideoTracks();
    const [audio] = stream.getAudioTracks();
    favourOn(video, this.favours);
    // The browser has a button of its own to stop.
    video.onended = () => this.stop();
    await this.#room.publish("screen", video);
    if (audio) await this.#room.publish("screen-audio", audio);
    this.changed();
    return null;
  }

  async stop() {
    const stream = this.#stream;
    if (!stream) return;
    this.#stream = null;
    for (const track of stream.getTracks()) {
      track.onended = null;
      track.stop();
    }
    await Promise.all([this.#room.unpublish("screen"), this.#room.unpublish("screen-audio")]);
    this.changed();
  }
}

/**
 * The browser's encoder keeps the size of the one, and the rate of the other, where the way is narrow (W3C mst-content-hint).
 *
 * @param {MediaStreamTrack} video
 * @param {Favour} favour
 */
function favourOn(video, favour) {
  video.contentHint = favour === "text" ? "detail" : "motion";
}
