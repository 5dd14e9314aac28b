import { screenProblem } from "./problems.js";

/** What is asked of a shared screen: sharp text matters more than motion. */
const SCREEN = { video: { frameRate: { ideal: 15, max: 30 } }, audio: true };

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

  get isOn() {
    return this.#stream !== null;
  }

  /** @returns {Promise<import("./problems.js").Problem | null>} */
  async start() {
    /** @type {MediaStream} */
    let stream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia(SCREEN);
    } catch (error) {
      return screenProblem(error);
    }
    this.#stream = stream;
    const [video] = stream.getVideoTracks();
    const [audio] = stream.getAudioTracks();
    video.contentHint = "detail";
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
