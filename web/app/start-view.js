import { FrameEncryption } from "../sdk/frame-encryption.js";
import { announce } from "./announce.js";
import { h } from "./dom.js";
import { icon, mark } from "./icons.js";
import { ROOM_NAME_MAX, randomRoomName, roomNameOf } from "./room-names.js";
import { t } from "./words.js";

/** The first page: a name for a room, and a link to send to the others. */
export class StartView extends HTMLElement {
  /** @type {HTMLInputElement} */ #name = h("input", {
    id: "room-name",
    name: "room",
    maxLength: ROOM_NAME_MAX,
    autocomplete: "off",
    spellcheck: false,
    autocapitalize: "none",
    required: true,
    "aria-describedby": "room-link",
    oninput: () => this.#show(),
  });
  #link = h("output", { id: "room-link", className: "link-text" });
  #copied = h("span", {}, t("Copy link"));
  #encrypts = h("input", { type: "checkbox", id: "encrypts", disabled: !FrameEncryption.isSupported, onchange: () => this.#show() });
  /** The secret of this room, should it have one. */
  #secret = FrameEncryption.isSupported ? FrameEncryption.newFragment() : "";

  connectedCallback() {
    this.#name.value = randomRoomName();
    const again = h(
      "button",
      { type: "button", className: "icon-button", title: t("Another name"), "aria-label": t("Another name"), onclick: () => this.#again() },
      icon("again"),
    );
    this.replaceChildren(
      h(
        "main",
        { className: "entrance start" },
        h(
          "header",
          { className: "start-words" },
          h("div", { className: "brand" }, mark(), h("span", {}, "Twocan")),
          h("h1", {}, t("Talk to each other. That’s all it takes.")),
          h("p", { className: "lead" }, t("Pick a room, send the link, and you are in a call: sound, picture, screen, chat and files.")),
          h(
            "ul",
            { className: "facts" },
            h("li", {}, icon("check"), t("No account, nothing to install")),
            h("li", {}, icon("check"), t("Encrypted on the way")),
            h("li", {}, icon("check"), t("Files of any size, straight to the other side")),
          ),
        ),
        h(
          "form",
          { className: "card", onsubmit: (/** @type {Event} */ event) => this.#go(event) },
          h("label", { for: "room-name" }, t("Room")),
          h("div", { className: "field" }, this.#name, again),
          this.#link,
          h(
            "label",
            { className: "choice", title: t("The link then carries a key that no server sees. All need it, and a browser of today.") },
            this.#encrypts,
            icon("lock"),
            t("Encrypt sound, picture, chat and files end to end"),
          ),
          h("button", { className: "button primary large" }, t("Open the room"), icon("send")),
          h("button", { type: "button", className: "button quiet", onclick: () => this.#copy() }, icon("link"), this.#copied),
        ),
      ),
    );
    this.#show();
    document.title = "Twocan";
  }

  #again() {
    this.#name.value = randomRoomName();
    this.#show();
    announce(t("Room {room}", { room: this.#name.value }));
  }

  #show() {
    const name = roomNameOf(this.#name.value);
    this.#link.textContent = name ? `${location.host}/${name}${this.#fragment}` : t("Letters and digits, please");
    this.#name.setCustomValidity(name ? "" : t("A room needs a name of letters or digits"));
    this.#copied.textContent = t("Copy link");
  }

  get #fragment() {
    return this.#encrypts.checked ? this.#secret : "";
  }

  async #copy() {
    const name = roomNameOf(this.#name.value);
    if (!name) return;
    try {
      await navigator.clipboard.writeText(new URL(`/${encodeURIComponent(name)}${this.#fragment}`, location.href).href);
      this.#copied.textContent = t("Link copied");
      announce(t("Link copied"));
    } catch {
      this.#copied.textContent = t("Mark the link above to copy it");
    }
  }

  /** @param {Event} event */
  #go(event) {
    event.preventDefault();
    const name = roomNameOf(this.#name.value);
    const detail = { name, fragment: this.#fragment };
    if (name) this.dispatchEvent(new CustomEvent("open-room", { detail, bubbles: true }));
  }
}

customElements.define("start-view", StartView);
