import { h } from "./dom.js";
import { remember, remembered } from "./preferences.js";
import { t } from "./words.js";

/** What the browser does to the sound of a microphone, as a person names it. */
export const SOUND_OPTIONS = /** @type {const} */ ([
  ["noiseSuppression", t("Suppress noise")],
  ["echoCancellation", t("Cancel echo")],
  ["autoGainControl", t("Keep the loudness even")],
]);

/** @typedef {(typeof SOUND_OPTIONS)[number][0]} SoundOption */
/** @typedef {{noiseSuppression: boolean, echoCancellation: boolean, autoGainControl: boolean, blur: boolean}} CaptureWishes */

/**
 * What is asked of a microphone.
 *
 * @param {CaptureWishes} wishes
 * @returns {Record<SoundOption, boolean>}
 */
export function soundConstraints({ noiseSuppression, echoCancellation, autoGainControl }) {
  return { noiseSuppression, echoCancellation, autoGainControl };
}

/**
 * What of the sound is not as it is wanted; what a browser says nothing about is taken to be.
 *
 * @param {Partial<Record<SoundOption, unknown>>} settings of the track
 * @param {CaptureWishes} wishes
 * @returns {SoundOption[]}
 */
export function notAsWanted(settings, wishes) {
  return SOUND_OPTIONS.map(([option]) => option).filter((option) => settings[option] !== undefined && Boolean(settings[option]) !== wishes[option]);
}

/**
 * Whether the background of a camera's picture can be blurred, and sharp: by the system, where the browser lets pages ask
 * for it (Media Capture Extensions §8).
 *
 * @param {MediaStreamTrack | null} track
 */
export function canBlur(track) {
  const { backgroundBlur } = /** @type {{backgroundBlur?: boolean[]}} */ (track?.getCapabilities?.() ?? {});
  return Array.isArray(backgroundBlur) && backgroundBlur.includes(true) && backgroundBlur.includes(false);
}

/**
 * The fields of the settings: each does what it says at once.
 *
 * @param {import("./local-devices.js").LocalDevices} devices
 */
export function captureFields(devices) {
  const supported = /** @type {Record<string, boolean>} */ (/** @type {unknown} */ (navigator.mediaDevices?.getSupportedConstraints?.() ?? {}));
  const note = h("p", { className: "soft", role: "status" });
  const check = (/** @type {string} */ id, /** @type {string} */ text, /** @type {boolean} */ checked, /** @type {(on: boolean) => void} */ changed) => {
    const input = h("input", { type: "checkbox", id, checked, onchange: () => changed(input.checked) });
    return h("label", { className: "check", for: id }, input, text);
  };
  const sound = SOUND_OPTIONS.filter(([option]) => supported[option]).map(([option, text]) =>
    check(`sound-${option}`, text, remembered()[option], async (on) => {
      remember({ [option]: on });
      const refused = await devices.applySound();
      note.textContent = refused.includes(option) ? (on ? t("This microphone does not offer that.") : t("This microphone does not go without that.")) : "";
    }),
  );
  const speech = [
    check("muted-hint", t("Tell me when I speak while muted"), remembered().mutedHint, (on) => remember({ mutedHint: on })),
    check("push-to-talk", t("Hold Space to speak while muted"), remembered().pushToTalk, (on) => remember({ pushToTalk: on })),
  ];
  const fields = [h("fieldset", { className: "choices" }, h("legend", {}, t("Sound")), ...sound, ...speech, note)];
  if (canBlur(devices.tracks.camera)) {
    const blur = check("background-blur", t("Blur the background"), remembered().blur, (on) => {
      remember({ blur: on });
      devices.applyBlur();
    });
    fields.push(h("fieldset", { className: "choices" }, h("legend", {}, t("Picture")), blur));
  }
  return fields;
}
