import { h, setText } from "./dom.js";
import { icon } from "./icons.js";
import { turning } from "./device-words.js";
import { t } from "./words.js";

/**
 * @typedef {object} Actions
 * @property {() => void} microphone
 * @property {() => void} camera
 * @property {() => void} screen
 * @property {() => void} chat
 * @property {() => void} files
 * @property {() => void} hand
 * @property {() => void} react
 * @property {() => void} people
 * @property {() => void} link
 * @property {() => void} layout
 * @property {() => void} statistics
 * @property {() => void} report
 * @property {() => void} settings
 * @property {() => void} help
 * @property {() => void} leave
 */

/** Whether this browser can share a screen; phones cannot. */
export const canShareScreen = Boolean(navigator.mediaDevices && "getDisplayMedia" in navigator.mediaDevices);

/** The bar at the bottom of the call. */
export class Controls extends HTMLElement {
  #actions;
  /** @type {Record<"microphone" | "camera" | "screen" | "chat" | "hand" | "react" | "files" | "more", HTMLButtonElement>} */
  #buttons;
  #badge = h("span", { className: "badge", hidden: true });
  #layout;
  #files;
  #hand;
  #react;
  #menu = h("div", { className: "menu", id: "more-menu", popover: "auto" });

  /** @param {Actions} actions */
  constructor(actions) {
    super();
    this.#actions = actions;
    this.#buttons = {
      microphone: round("microphone", actions.microphone),
      camera: round("camera", actions.camera),
      screen: round("screen", actions.screen),
      chat: round("chat", actions.chat),
      hand: round("hand", actions.hand),
      react: round("react"),
      files: round("attach", actions.files),
      more: round("more"),
    };
    this.#layout = item("layout", t("Layout"), "G", actions.layout);
    this.#hand = item("hand", t("Raise your hand"), "H", actions.hand);
    this.#react = item("react", t("React"), "R", actions.react);
    this.#files = item("attach", t("Send a file"), "F", actions.files);
  }

  connectedCallback() {
    const { microphone, camera, screen, chat, hand, react, files, more } = this.#buttons;
    this.className = "controls";
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", t("Call controls"));
    screen.hidden = !canShareScreen;
    for (const button of [hand, react, files]) button.classList.add("wide-only");
    label(react, t("React"), "R");
    react.setAttribute("popovertarget", "reaction-bar");
    label(files, t("Send a file"), "F");
    label(more, t("More"));
    more.setAttribute("popovertarget", "more-menu");
    chat.append(this.#badge);
    chat.setAttribute("aria-controls", "chat-panel");
    const leave = h("button", { className: "round leave", onclick: this.#actions.leave }, icon("leave"));
    label(leave, t("Leave the call"));
    this.#menu.append(
      ...[
        this.#hand,
        this.#react,
        item("people", t("People"), "P", this.#actions.people),
        item("link", t("Copy the link"), "L", this.#actions.link),
        this.#files,
        this.#layout,
        item("statistics", t("Statistics"), "I", this.#actions.statistics),
        item("report", t("Save a report"), "", this.#actions.report),
        item("settings", t("Settings"), "", this.#actions.settings),
        item("help", t("Help and shortcuts"), "?", this.#actions.help),
      ],
    );
    // What it opened may have closed it.
    this.#menu.addEventListener("click", () => this.#menu.matches(":popover-open") && this.#menu.hidePopover());
    this.replaceChildren(microphone, camera, screen, chat, hand, react, files, more, this.#menu, h("span", { className: "gap" }), leave);
  }

  /** @param {{microphone: boolean, camera: boolean, screen: boolean, chat: boolean, files: boolean, unread: number, layout: string, gestures: import("../sdk/gestures.js").Gestures}} state what is on */
  show({ microphone, camera, screen, chat, files, unread, layout, gestures }) {
    setText(/** @type {Element} */ (this.#layout.querySelector("span")), t("Layout: {layout}", { layout }));
    // It can still be pressed, and then says why.
    for (const button of [this.#buttons.files, this.#files]) button.setAttribute("aria-disabled", String(!files));
    label(this.#buttons.files, files ? t("Send a file") : t("Files cannot be sent in this room"), "F");
    setText(/** @type {Element} */ (this.#files.querySelector("span")), files ? t("Send a file") : t("No files in this room"));
    device(this.#buttons.microphone, "microphone", microphone, "M");
    device(this.#buttons.camera, "camera", camera, "V");
    label(this.#buttons.screen, screen ? t("Stop sharing") : t("Share your screen"), "S");
    this.#buttons.screen.classList.toggle("active", screen);
    for (const part of [this.#buttons.hand, this.#buttons.react, this.#hand, this.#react]) part.hidden = !gestures.isPossible;
    const hand = gestures.isRaised ? t("Lower your hand") : t("Raise your hand");
    label(this.#buttons.hand, hand, "H");
    setText(/** @type {Element} */ (this.#hand.querySelector("span")), hand);
    this.#buttons.hand.classList.toggle("raised", gestures.isRaised);
    label(this.#buttons.chat, unread > 0 ? t("Chat, {count} unread", { count: unread }) : t("Chat"), "C");
    this.#buttons.chat.setAttribute("aria-expanded", String(chat));
    this.#buttons.chat.classList.toggle("active", chat);
    this.#badge.hidden = unread === 0;
    this.#badge.textContent = unread > 9 ? "9+" : String(unread);
  }

  focusChat() {
    this.#buttons.chat.focus();
  }
}

/**
 * @param {string} name of the icon
 * @param {() => void} [onclick]
 */
function round(name, onclick) {
  return h("button", { type: "button", className: "round", onclick, "data-action": name }, icon(name));
}

/**
 * @param {HTMLElement} button
 * @param {string} text
 * @param {string} [key]
 */
function label(button, text, key) {
  if (button.getAttribute("aria-label") === text) return;
  button.setAttribute("aria-label", text);
  button.title = key ? `${text} (${key})` : text;
  if (key && /^\w$/.test(key)) button.setAttribute("aria-keyshortcuts", key.toLowerCase());
}

/**
 * @param {HTMLElement} button
 * @param {"microphone" | "camera"} kind
 * @param {boolean} on
 * @param {string} key
 */
function device(button, kind, on, key) {
  const text = turning(kind, on);
  if (button.getAttribute("aria-label") === text) return;
  label(button, text, key);
  button.classList.toggle("off", !on);
  button.replaceChildren(icon(on ? kind : `${kind}-off`));
}

/**
 * @param {string} name of the icon
 * @param {string} text
 * @param {string} key
 * @param {() => void} onclick
 */
function item(name, text, key, onclick) {
  return h("button", { type: "button", className: "menu-item", onclick, "data-action": name }, icon(name), h("span", {}, text), key && h("kbd", { "aria-hidden": "true" }, key));
}

customElements.define("call-controls", Controls);
