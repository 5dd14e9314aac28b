/**
 * What this browser remembers between visits. All of it is optional: private windows may refuse storage.
 *
 * @typedef {object} Preferences
 * @property {string} name
 * @property {string} camera device id
 * @property {string} microphone device id
 * @property {string} speaker device id
 * @property {boolean} shortcuts whether single keys do something
 * @property {"auto" | "light" | "dark"} theme
 * @property {"auto" | import("./words.js").Language} language of the pages, from the next time they are loaded
 * @property {import("./arrange.js").Layout} layout of the call
 * @property {boolean} noiseSuppression of the microphone, as the next two
 * @property {boolean} echoCancellation
 * @property {boolean} autoGainControl
 * @property {boolean} blur whether the background of the camera is blurred, where that can be
 * @property {boolean} mutedHint whether it is said that who speaks is muted
 * @property {import("./screen-share.js").Favour} screenFavours what matters most of a shared screen
 * @property {boolean} pushToTalk whether Space, held, is for speaking while muted
 */

const KEY = "twocan";

/** @type {Preferences} */
const preferences = {
  name: "",
  camera: "",
  microphone: "",
  speaker: "",
  shortcuts: true,
  theme: "auto",
  language: "auto",
  layout: "auto",
  noiseSuppression: true,
  echoCancellation: true,
  autoGainControl: true,
  blur: false,
  mutedHint: true,
  screenFavours: "text",
  pushToTalk: true,
  ...stored(),
};

/** @returns {Readonly<Preferences>} */
export function remembered() {
  return preferences;
}

/** @param {Partial<Preferences>} change */
export function remember(change) {
  Object.assign(preferences, change);
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Not remembered; the visit itself is unharmed.
  }
  applyTheme();
}

export function applyTheme() {
  document.documentElement.dataset.theme = preferences.theme;
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
}
