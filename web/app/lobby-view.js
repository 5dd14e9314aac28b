import "./device-picker.js";
import "./level-meter.js";
import { announce } from "./announce.js";
import { around, h, setText } from "./dom.js";
import { hue, initials } from "./format.js";
import { icon, mark } from "./icons.js";
import { remember, remembered } from "./preferences.js";
import { turned, turning } from "./device-words.js";
import { t } from "./words.js";

/**
 * @typedef {import("./local-devices.js").LocalDevices} LocalDevices
 * @typedef {import("./local-devices.js").Kind} Kind
 * @typedef {import("./problems.js").Problem} Problem
 */

/** Longest name of a person. */
const NAME_MAX = 40;

/** Before the call: how do I look, am I heard, who am I. */
export class LobbyView extends HTMLElement {
  /** @type {LocalDevices} */ #devices;
  #room;
  #video = h("video", { autoplay: true, muted: true, playsInline: true, className: "mirrored", "aria-label": t("Your camera") });
  #avatar = h("div", { className: "avatar" });
  #hint = h("p", { className: "preview-hint" });
  #meter = /** @type {import("./level-meter.js").LevelMeter} */ (document.createElement("level-meter"));
  #picker = /** @type {import("./device-picker.js").DevicePicker} */ (document.createElement("device-picker"));
  #problem = h("div", { className: "problem", role: "alert", hidden: true });
  /** @type {HTMLInputElement} */ #name = h("input", {
    id: "your-name",
    maxLength: NAME_MAX,
    autocomplete: "name",
    value: remembered().name,
    placeholder: t("How the others see you"),
    oninput: () => this.#refresh(),
  });
  #toggles = {
    microphone: toggle("microphone", () => this.#toggle("microphone")),
    camera: toggle("camera", () => this.#toggle("camera")),
  };
  #join = h("button", { className: "button primary large", id: "join" }, t("Join"));
  /** @type {(() => void) | null} */
  #stop = null;
  /** @type {Problem | null} */
  #joinProblem = null;

  /**
   * @param {string} room
   * @param {LocalDevices} devices
   * @param {Problem | null} [problem] why an earlier attempt to join failed
   */
  constructor(room, devices, problem = null) {
    super();
    this.#room = room;
    this.#devices = devices;
    this.#joinProblem = problem;
  }

  connectedCallback() {
    this.replaceChildren(
      h(
        "main",
        { className: "entrance lobby" },
        h(
          "section",
          { className: "preview", "aria-label": t("Preview") },
          this.#video,
          this.#avatar,
          this.#hint,
          h("div", { className: "preview-controls" }, this.#toggles.microphone, this.#toggles.camera),
          this.#meter,
        ),
        h(
          "form",
          { className: "card", onsubmit: (/** @type {Event} */ event) => this.#go(event) },
          h("a", { className: "brand small", href: "/", title: t("To the start") }, mark(), h("span", {}, "Twocan")),
          h("h1", {}, ...around(t("Join {room}"), "{room}", this.#room)),
          this.#problem,
          h("label", { for: "your-name" }, t("Your name")),
          this.#name,
          this.#join,
          h("fieldset", { className: "devices" }, h("legend", {}, t("Devices")), this.#picker),
        ),
      ),
    );
    document.title = `${this.#room} · Twocan`;
    this.#picker.show(this.#devices);
    this.#stop = this.#devices.on("change", () => this.#refresh());
    this.#refresh();
    if (this.#joinProblem) this.#join.focus();
    else if (this.#name.value === "") this.#name.focus();
    else this.#join.focus();
  }

  disconnectedCallback() {
    this.#stop?.();
    this.#video.srcObject = null;
  }

  #refresh() {
    const devices = this.#devices;
    const { camera, microphone } = devices.tracks;
    const shown = /** @type {MediaStream | null} */ (this.#video.srcObject)?.getTracks()[0] ?? null;
    if (shown !== camera) this.#video.srcObject = camera ? new MediaStream([camera]) : null;
    this.#video.hidden = !camera;
    this.#avatar.hidden = Boolean(camera);
    this.#avatar.dataset.hue = String(hue(this.#name.value));
    setText(this.#avatar, initials(this.#name.value || t("You")));
    setText(this.#hint, camera ? "" : devices.wanted.camera ? (devices.problems.camera?.title ?? t("Starting the camera…")) : t("Your camera is off"));
    this.#meter.listen(microphone);
    this.#meter.hidden = !microphone;
    for (const kind of /** @type {Kind[]} */ (["camera", "microphone"])) showToggle(this.#toggles[kind], kind, devices.isOn(kind));
    this.#showProblem();
  }

  #showProblem() {
    const { camera, microphone } = this.#devices.problems;
    const problem = this.#joinProblem ?? this.#devices.commonProblem ?? microphone ?? camera;
    this.#problem.hidden = !problem;
    if (!problem || this.#problem.dataset.title === problem.title) {
      if (!problem) delete this.#problem.dataset.title;
      return;
    }
    this.#problem.dataset.title = problem.title;
    const isDevice = problem !== this.#joinProblem;
    this.#problem.replaceChildren(
      icon("warning"),
      h(
        "div",
        {},
        h("strong", {}, problem.title),
        h("p", {}, problem.advice),
        isDevice && h("button", { type: "button", className: "button small", onclick: () => this.#devices.retry() }, t("Try again")),
      ),
    );
  }

  /** @param {Kind} kind */
  async #toggle(kind) {
    const on = !this.#devices.isOn(kind);
    await this.#devices.set(kind, on);
    announce(turned(kind, this.#devices.isOn(kind)));
  }

  /** Somebody who is in the room has to let us in. */
  waits() {
    this.#join.textContent = t("Waiting to be let in…");
    announce(t("Somebody who is in the room has to let you in. Please wait."));
  }

  /** @param {Event} event */
  #go(event) {
    event.preventDefault();
    const name = this.#name.value.trim();
    remember({ name });
    this.#join.disabled = true;
    this.#join.textContent = t("Joining…");
    this.dispatchEvent(new CustomEvent("join-room", { detail: name, bubbles: true }));
  }
}

/**
 * @param {Kind} kind
 * @param {() => void} onclick
 */
function toggle(kind, onclick) {
  return h("button", { type: "button", className: "round", onclick, "data-kind": kind });
}

/**
 * @param {HTMLButtonElement} button
 * @param {Kind} kind
 * @param {boolean} on
 */
export function showToggle(button, kind, on) {
  const label = turning(kind, on);
  if (button.getAttribute("aria-label") === label) return;
  button.setAttribute("aria-label", label);
  button.classList.toggle("off", !on);
  button.replaceChildren(icon(on ? kind : `${kind}-off`));
}

customElements.define("lobby-view", LobbyView);
