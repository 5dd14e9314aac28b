import { Emitter } from "../sdk/emitter.js";
import { screenProblem } from "./problems.js";

/**
 * @typedef {"camera" | "screen" | "none"} Picture
 * @typedef {"microphone" | "screen" | "none"} Sound
 */

/** Height, and the rate that the largest quality has at most. @type {Record<string, number>} */
const RATES = { 360: 700_000, 720: 2_500_000, 1080: 4_500_000 };

/**
 * The qualities in which a picture of this height is sent, the lowest first. Of a small one there are two: engines send
 * no more, and would leave out the largest of three.
 *
 * @param {number} height
 * @returns {RTCRtpEncodingParameters[]}
 */
export function broadcastQualities(height) {
  const most = RATES[height] ?? RATES[720];
  if (height < 540) {
    return [
      { rid: "h", scaleResolutionDownBy: 2, maxBitrate: Math.round(most / 4) },
      { rid: "f", scaleResolutionDownBy: 1, maxBitrate: most },
    ];
  }
  return [
    { rid: "q", scaleResolutionDownBy: 4, maxBitrate: Math.round(most / 14) },
    { rid: "h", scaleResolutionDownBy: 2, maxBitrate: Math.round(most / 4) },
    { rid: "f", scaleResolutionDownBy: 1, maxBitrate: most },
  ];
}

/**
 * What is broadcast: one picture and one sound.
 *
 * @extends {Emitter<{change: null}>}
 */
export class BroadcastSource extends Emitter {
  /** @type {Picture} */ picture = "camera";
  /** @type {Sound} */ sound = "microphone";
  height = 720;
  /** @type {import("./problems.js").Problem | null} */ screenProblem = null;
  #devices;
  /** @type {MediaStream | null} */
  #screen = null;

  /** @param {import("./local-devices.js").LocalDevices} devices */
  constructor(devices) {
    super();
    this.#devices = devices;
    devices.on("change", () => {
      this.#fit();
      this.emit("change", null);
    });
  }

  /** @returns {{video: MediaStreamTrack | null, audio: MediaStreamTrack | null}} */
  get tracks() {
    const { camera, microphone } = this.#devices.tracks;
    const screen = this.#screen;
    return {
      video: this.picture === "camera" ? camera : this.picture === "screen" ? (screen?.getVideoTracks()[0] ?? null) : null,
      audio: this.sound === "microphone" ? microphone : this.sound === "screen" ? (screen?.getAudioTracks()[0] ?? null) : null,
    };
  }

  /** Whether the shared screen has sound. */
  get screenHasSound() {
    return (this.#screen?.getAudioTracks().length ?? 0) > 0;
  }

  /** @param {Picture} picture */
  async showPicture(picture) {
    if (picture === "screen" && !(await this.#share())) {
      this.emit("change", null);
      return;
    }
    this.picture = picture;
    if (picture !== "screen") this.#unshare();
    await this.#devices.set("camera", picture === "camera");
    this.emit("change", null);
  }

  /** @param {Sound} sound */
  async playSound(sound) {
    this.sound = sound;
    await this.#devices.set("microphone", sound === "microphone");
    this.emit("change", null);
  }

  /** @param {number} height */
  setHeight(height) {
    this.height = height;
    this.#fit();
  }

  stop() {
    this.#unshare();
  }

  /** A camera gives the height that is wanted, or the nearest. */
  #fit() {
    const { camera } = this.#devices.tracks;
    const { height } = camera?.getConstraints() ?? {};
    if (!camera || (typeof height === "object" && height.ideal === this.height)) return;
    // One that cannot goes on as it is.
    camera.applyConstraints({ ...camera.getConstraints(), height: { ideal: this.height }, width: { ideal: Math.round((this.height * 16) / 9) } }).catch(() => {});
  }

  async #share() {
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30, max: 30 } }, audio: true });
      this.#unshare();
      this.#screen = stream;
      this.screenProblem = null;
      const [video] = stream.getVideoTracks();
      // A film in a window moves; text stays legible at these rates.
      video.contentHint = "motion";
      video.onended = () => this.showPicture("none"); // stopped in the browser's own bar
      return true;
    } catch (error) {
      this.screenProblem = screenProblem(error);
      return false;
    }
  }

  #unshare() {
    for (const track of this.#screen?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.#screen = null;
    if (this.sound === "screen") this.sound = "none";
  }
}
