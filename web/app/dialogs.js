import "./device-picker.js";
import { captureFields } from "./capture-options.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { remember, remembered } from "./preferences.js";

/** Single keys, as the help lists them. @type {[string, string][]} */
const SHORTCUTS = [
  ["M", "Microphone on or off"],
  ["Space", "Held: speak while muted"],
  ["V", "Camera on or off"],
  ["S", "Share the screen, or stop"],
  ["C", "Chat"],
  ["H", "Raise your hand, or lower it"],
  ["R", "React"],
  ["P", "People, and raised hands in order"],
  ["F", "Send a file"],
  ["G", "Another layout"],
  ["I", "Statistics on the tiles"],
  ["L", "Copy the link"],
  ["?", "This help"],
  ["Page up, Page down", "Other participants, where not all fit"],
  ["Esc", "Close what is open"],
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
    "Help",
    h("table", { className: "shortcuts" }, h("caption", {}, "Keyboard shortcuts"), h("tbody", {}, ...SHORTCUTS.map(([key, does]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, key)), h("td", {}, does))))),
    h("label", { className: "check", for: "shortcuts-on" }, single, "Use single keys as shortcuts"),
    h("h3", {}, "When someone cannot be seen or heard"),
    h(
      "ul",
      {},
      h("li", {}, "A crossed-out microphone beside a name means that it is off on their side."),
      h("li", {}, "“No connection” means that a firewall or VPN is in the way: another network often helps."),
      h("li", {}, "A lost connection to the server does not end the call; it is made again by itself."),
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
    ["auto", "As the system"],
    ["light", "Light"],
    ["dark", "Dark"],
  ]);
  return dialog(
    "Settings",
    h("label", { for: "settings-name" }, "Your name"),
    input,
    h("h3", {}, "Devices"),
    picker,
    ...captureFields(devices),
    h(
      "fieldset",
      { className: "choices" },
      h("legend", {}, "Appearance"),
      ...themes.map(([value, text]) => {
        const radio = h("input", { type: "radio", name: "theme", value, checked: remembered().theme === value, onchange: () => remember({ theme: value }) });
        return h("label", { className: "check" }, radio, text);
      }),
    ),
  );
}

/**
 * Shows a dialog; it removes itself when it is closed.
 *
 * @param {string} title
 * @param {...Node} content
 */
export function dialog(title, ...content) {
  const id = `dialog-${title.toLowerCase().replace(/\W+/g, "-")}`;
  const close = h("button", { type: "button", className: "icon-button", title: "Close", "aria-label": "Close", onclick: () => element.close() }, icon("close"));
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
