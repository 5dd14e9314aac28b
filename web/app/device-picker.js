import { h } from "./dom.js";
import { icon } from "./icons.js";
import { remember, remembered } from "./preferences.js";
import { nameless, noneYet } from "./device-words.js";
import { t } from "./words.js";

/** @typedef {import("./local-devices.js").LocalDevices} LocalDevices */

/** @type {{kind: MediaDeviceKind, key: "camera" | "microphone" | "speaker", label: string, icon: string}[]} */
const ROWS = [
  { kind: "videoinput", key: "camera", label: t("Camera"), icon: "camera" },
  { kind: "audioinput", key: "microphone", label: t("Microphone"), icon: "microphone" },
  { kind: "audiooutput", key: "speaker", label: t("Speaker"), icon: "speaker" },
];

/** Whether this browser can send sound to a chosen speaker. */
export const canChooseSpeaker = "setSinkId" in HTMLMediaElement.prototype;

/** Three lists: camera, microphone, speaker. */
export class DevicePicker extends HTMLElement {
  /** @type {(() => void) | null} */
  #stop = null;
  /** @type {Map<string, HTMLSelectElement>} */
  #selects = new Map();

  /** @param {LocalDevices} devices */
  show(devices) {
    const rows = ROWS.map((row) => {
      const select = h("select", { id: `device-${row.key}`, onchange: () => this.#choose(devices, row.key, select.value) });
      this.#selects.set(row.key, select);
      return h(
        "div",
        { className: "device-row" },
        h("label", { for: select.id }, icon(row.icon), h("span", { className: "unseen" }, row.label)),
        select,
      );
    });
    this.replaceChildren(...rows);
    this.#stop?.();
    this.#stop = devices.on("change", () => this.#fill(devices));
    this.#fill(devices);
  }

  disconnectedCallback() {
    this.#stop?.();
  }

  /** @param {LocalDevices} devices */
  #fill(devices) {
    for (const { kind, key } of ROWS) {
      const select = /** @type {HTMLSelectElement} */ (this.#selects.get(key));
      const found = devices.list.filter((device) => device.kind === kind && device.deviceId !== "");
      const isSpeaker = key === "speaker";
      const hasDefault = found.some(({ deviceId }) => deviceId === "default");
      const options = found.map(({ deviceId, label: name }, index) => h("option", { value: deviceId }, name || nameless(key, index + 1)));
      if (isSpeaker && !hasDefault) options.unshift(h("option", { value: "" }, t("Speaker of the system")));
      if (options.length === 0) options.push(h("option", { value: "" }, noneYet(key)));
      const signature = options.map((option) => `${option.value}\n${option.text}`).join("\n\n");
      if (select.dataset.signature !== signature) {
        select.replaceChildren(...options);
        select.dataset.signature = signature;
      }
      select.disabled = isSpeaker ? !canChooseSpeaker || found.length === 0 : found.length === 0;
      const current = isSpeaker ? remembered().speaker : devices.tracks[key]?.getSettings().deviceId ?? remembered()[key];
      if ([...select.options].some(({ value }) => value === current)) select.value = current;
    }
  }

  /**
   * @param {LocalDevices} devices
   * @param {"camera" | "microphone" | "speaker"} key
   * @param {string} deviceId
   */
  #choose(devices, key, deviceId) {
    if (key !== "speaker") {
      devices.choose(key, deviceId);
      return;
    }
    remember({ speaker: deviceId });
    document.dispatchEvent(new CustomEvent("speaker-change"));
  }
}

customElements.define("device-picker", DevicePicker);
