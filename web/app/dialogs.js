import "./device-picker.js";
import { captureFields } from "./capture-options.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { remember, remembered } from "./preferences.js";
import { LANGUAGES, t } from "./words.js";

/** Single keys, as the help lists them. @type {[string, string][]} */
const SHORTCUTS = [
  ["M", t("Microphone on or off")],
  [t("Space"), t("Held: speak while muted")],
  ["V", t("Camera on or off")],
  ["S", t("Share the screen, or stop")],
  ["C", t("Chat")],
  ["H", t("Raise your hand, or lower it")],
  ["R", t("React")],
  ["P", t("People, and raised hands in order")],
  ["F", t("Send a file")],
  ["G", t("Another layout")],
  ["I", t("Statistics on the tiles")],
  ["L", t("Copy the link")],
  ["?", t("This help")],
  [t("Page up, Page down"), t("Other participants, where not all fit")],
  ["Esc", t("Close what is open")],
];

/** Keys, and what to do when something does not work. */
export function helpDialog() {
  const single = h("input", {
    type: "checkbox",
    id: "shortcuts-on",
    checked: remembered().shortcuts,
    onchange: () => remember({ shortcuts: single.checked }),
  });
  return dialog(
    t("Help"),
    h("table", { className: "shortcuts" }, h("caption", {}, t("Keyboard shortcuts")), h("tbody", {}, ...SHORTCUTS.map(([key, does]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, key)), h("td", {}, does))))),
    h("label", { className: "check", for: "shortcuts-on" }, single, t("Use single keys as shortcuts")),
    h("h3", {}, t("When someone cannot be seen or heard")),
    h(
      "ul",
      {},
      h("li", {}, t("A crossed-out microphone beside a name means that it is off on their side.")),
      h("li", {}, t("“No connection” means that a firewall or VPN is in the way: another network often helps.")),
      h("li", {}, t("A lost connection to the server does not end the call; it is made again by itself.")),
    ),
  );
}

/**
 * @param {import("./local-devices.js").LocalDevices} devices
 * @param {{name: string, rename: (name: string) => void}} person
 */
export function settingsDialog(devices, { name, rename }) {
  const picker = /** @type {import("./device-picker.js").DevicePicker} */ (document.createElement("device-picker"));
  picker.show(devices);
  const input = h("input", { id: "settings-name", value: name, maxLength: 40, autocomplete: "name", onchange: () => rename(input.value.trim()) });
  const themes = /** @type {const} */ ([
    ["auto", t("As the system")],
    ["light", t("Light")],
    ["dark", t("Dark")],
  ]);
  return dialog(
    t("Settings"),
    h("label", { for: "settings-name" }, t("Your name")),
    input,
    h("h3", {}, t("Devices")),
    picker,
    ...captureFields(devices),
    h(
      "fieldset",
      { className: "choices" },
      h("legend", {}, t("Appearance")),
      ...themes.map(([value, text]) => {
        const radio = h("input", { type: "radio", name: "theme", value, checked: remembered().theme === value, onchange: () => remember({ theme: value }) });
        return h("label", { className: "check" }, radio, text);
      }),
    ),
    h("label", { for: "settings-language" }, t("Language")),
    languages(),
    h("p", { className: "soft" }, t("The page speaks it the next time that it is loaded.")),
  );
}

/** Each by its own name, for who came here by the wrong one. */
function languages() {
  const options = [h("option", { value: "auto" }, t("As the browser")), ...Object.entries(LANGUAGES).map(([value, name]) => h("option", { value, lang: value }, name))];
  const select = h("select", { id: "settings-language", onchange: () => remember({ language: /** @type {import("./preferences.js").Preferences["language"]} */ (select.value) }) }, ...options);
  select.value = remembered().language;
  return select;
}

/**
 * Shows a dialog; it removes itself when it is closed.
 *
 * @param {string} title
 * @param {...Node} content
 */
export function dialog(title, ...content) {
  const id = `dialog-${title.toLowerCase().replace(/\W+/g, "-")}`;
  const close = h("button", { type: "button", className: "icon-button", title: t("Close"), "aria-label": t("Close"), onclick: () => element.close() }, icon("close"));
  const element = h(
    "dialog",
    { className: "dialog", "aria-labelledby": id, onclose: () => element.remove() },
    h("header", {}, h("h2", { id }, title), close),
    h("div", { className: "dialog-body" }, ...content),
  );
  // A click beside it closes it.
  element.addEventListener("click", (event) => event.target === element && element.close());
  document.body.append(element);
  element.showModal();
  return element;
}
