import { Emitter } from "../sdk/emitter.js";
import { canBlur, notAsWanted, soundConstraints } from "./capture-options.js";
import { remember, remembered } from "./preferences.js";
import { deviceProblem } from "./problems.js";
import { stopped } from "./device-words.js";

/**
 * @typedef {"camera" | "microphone"} Kind
 * @typedef {import("./problems.js").Problem} Problem
 */

/** What is asked of a camera: enough for one large tile, little enough for a mesh. */
const PICTURE = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };

/**
 * Camera and microphone of this person, before and during the call.
 *
 * A camera that is switched off is released, so that its light goes out; a microphone that is muted stays open, so that
 * it is back at once.
 *
 * - `change`: something of a camera or microphone;
 * - `found`: one was plugged in;
 * - `lost`: what was sent stopped by itself; `next` is the name of what is sent in its place.
 *
 * @extends {Emitter<{change: Kind, found: {kind: Kind, device: MediaDeviceInfo}, lost: {kind: Kind, next: string | null}}>}
 */
export class LocalDevices extends Emitter {
  /** @type {Record<Kind, MediaStreamTrack | null>} */
  tracks = { camera: null, microphone: null };
  /** Whether the person wants it on. @type {Record<Kind, boolean>} */
  wanted = { camera: true, microphone: true };
  /** @type {Record<Kind, Problem | null>} */
  problems = { camera: null, microphone: null };
  /** The same problem for both is said once. @type {Problem | null} */
  commonProblem = null;
  /** What the last attempts ended with. @type {Partial<Record<Kind, Error>>} */
  #errors = {};
  /** @type {MediaDeviceInfo[]} */
  list = [];
  #onDeviceChange = () => this.#refresh();

  /** Asks for both at once, so that the person is asked once. */
  async start() {
    navigator.mediaDevices?.addEventListener("devicechange", this.#onDeviceChange);
    this.commonProblem = null;
    this.#errors = {};
    try {
      const stream = await ask({ audio: constraints("microphone"), video: constraints("camera") });
      for (const track of stream.getTracks()) this.#use(track.kind === "audio" ? "microphone" : "camera", track);
    } catch (error) {
      if (await shouldAskApart(error)) await Promise.all([this.#open("microphone"), this.#open("camera")]);
      else this.#refused(error);
    }
    const { camera, microphone } = this.#errors;
    if (camera && microphone && camera.name === microphone.name) this.commonProblem = deviceProblem(camera, "both");
    await this.#refresh();
  }

  /** @param {Kind} kind whether it sends now */
  isOn(kind) {
    return this.wanted[kind] && this.tracks[kind] !== null;
  }

  /**
   * Switches one on or off.
   *
   * @param {Kind} kind
   * @param {boolean} on
   */
  async set(kind, on) {
    this.wanted[kind] = on;
    const track = this.tracks[kind];
    if (kind === "microphone" && track) track.enabled = on;
    if (kind === "camera" && !on) this.#release("camera");
    if (on && !this.tracks[kind]) await this.#open(kind);
    else this.emit("change", kind);
  }

  /**
   * @param {Kind} kind
   * @param {string} deviceId
   */
  async choose(kind, deviceId) {
    remember({ [kind]: deviceId });
    this.#release(kind);
    if (this.wanted[kind]) await this.#open(kind);
  }

  /**
   * Makes the microphone sound as it is wanted, now. Browsers that cannot change a track make another one.
   *
   * @returns {Promise<import("./capture-options.js").SoundOption[]>} what is not as it is wanted all the same
   */
  async applySound() {
    const track = this.tracks.microphone;
    if (!track) return [];
    const left = () => notAsWanted(this.tracks.microphone?.getSettings() ?? {}, remembered());
    // They are wishes, not conditions: what a device cannot do leaves the rest as it is.
    await track.applyConstraints(constraints("microphone")).catch(() => {});
    if (left().length > 0 && this.tracks.microphone === track) {
      // Chromium gives a microphone that is open as it is open, and to nobody otherwise.
      this.#release("microphone");
      if (!this.wanted.microphone) this.emit("change", "microphone");
      await this.#open("microphone");
    }
    return left();
  }

  /** Blurs the background of the camera, or no more, where it can. */
  async applyBlur() {
    const track = this.tracks.camera;
    if (track && canBlur(track)) await track.applyConstraints(constraints("camera")).catch(() => {});
  }

  /** Asks again for what is missing. */
  async retry() {
    this.problems = { camera: null, microphone: null };
    this.#release("camera");
    this.#release("microphone");
    await this.start();
  }

  /** Releases everything. */
  stop() {
    navigator.mediaDevices?.removeEventListener("devicechange", this.#onDeviceChange);
    this.#release("camera");
    this.#release("microphone");
  }

  /** @param {Kind} kind */
  async #open(kind) {
    try {
      const stream = await ask({ [kind === "camera" ? "video" : "audio"]: constraints(kind) });
      this.#use(kind, stream.getTracks()[0]);
    } catch (error) {
      this.#errors[kind] = /** @type {Error} */ (error);
      this.problems[kind] = deviceProblem(error, kind);
      this.emit("change", kind);
    }
    await this.#refresh();
  }

  /**
   * @param {Kind} kind
   * @param {MediaStreamTrack} track
   */
  #use(kind, track) {
    this.#release(kind);
    this.tracks[kind] = track;
    this.problems[kind] = this.commonProblem = null;
    track.enabled = kind === "camera" || this.wanted[kind];
    if (kind === "camera") track.contentHint = "motion";
    if (kind === "camera" && !this.wanted.camera) this.#release("camera");
    if (kind === "camera") this.applyBlur();
    track.onended = () => {
      if (this.tracks[kind] !== track) return;
      this.tracks[kind] = null;
      const problem = stopped(kind);
      this.problems[kind] = problem;
      this.emit("change", kind);
      this.#replace(kind, problem);
    };
    this.emit("change", kind);
  }

  /** Another one in the place of what stopped. @param {Kind} kind @param {Problem} problem why it is wanted */
  async #replace(kind, problem) {
    if (this.wanted[kind]) await this.#open(kind);
    const next = this.tracks[kind]?.label ?? null;
    if (!next) this.problems[kind] = problem;
    this.emit("lost", { kind, next });
  }

  /** @param {unknown} error */
  #refused(error) {
    this.commonProblem = deviceProblem(error, "both");
    this.problems = { camera: deviceProblem(error, "camera"), microphone: deviceProblem(error, "microphone") };
    this.emit("change", "camera");
    this.emit("change", "microphone");
  }

  /** @param {Kind} kind */
  #release(kind) {
    const track = this.tracks[kind];
    this.tracks[kind] = null;
    if (!track) return;
    track.onended = null;
    track.stop();
  }

  async #refresh() {
    const before = this.list;
    this.list = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
    this.emit("change", "camera");
    // Without labels nobody has allowed anything yet; the first list is no news, and `default` is another name.
    if (!before.some(({ label }) => label)) return;
    for (const device of this.list) {
      const kind = device.kind === "videoinput" ? "camera" : device.kind === "audioinput" ? "microphone" : null;
      const isKnown = before.some(({ deviceId, kind: of }) => deviceId === device.deviceId && of === device.kind);
      if (kind && !isKnown && device.label && !["default", "communications"].includes(device.deviceId)) this.emit("found", { kind, device });
    }
  }
}

/** @param {MediaStreamConstraints} wanted */
async function ask(wanted) {
  if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", "InsecureContext");
  return navigator.mediaDevices.getUserMedia(wanted);
}

/**
 * A remembered device is asked for softly: when it is gone, another one is better than none.
 *
 * @param {Kind} kind
 */
function constraints(kind) {
  const deviceId = remembered()[kind];
  const wished = kind === "camera" ? { ...PICTURE, backgroundBlur: remembered().blur } : soundConstraints(remembered());
  return { ...wished, ...(deviceId ? { deviceId: { ideal: deviceId } } : {}) };
}

/**
 * Whether one of the two may still be had. After a plain refusal the person is not asked a second time.
 *
 * @param {unknown} error
 */
async function shouldAskApart(error) {
  const name = /** @type {Error} */ (error)?.name;
  if (name === "InsecureContext") return false;
  if (name !== "NotAllowedError") return true;
  try {
    const states = await Promise.all(
      ["camera", "microphone"].map((permission) => navigator.permissions.query({ name: /** @type {PermissionName} */ (permission) })),
    );
    return states.filter(({ state }) => state === "denied").length === 1;
  } catch {
    return false;
  }
}
