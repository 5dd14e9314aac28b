import { announce } from "./announce.js";
import { dialog } from "./dialogs.js";
import { h, setText } from "./dom.js";
import { joinToken, roomLink } from "./join-token.js";

/** @typedef {import("./join-token.js").Purpose} Purpose */

/**
 * Asks whether, and why.
 *
 * @param {string} title
 * @param {string} words
 * @param {string} action
 * @returns {Promise<string | null>} the reason, maybe empty; `null` when it is not to be done
 */
export function askReason(title, words, action) {
  return new Promise((resolve) => {
    const reason = h("input", { id: "reason", maxLength: 200, autocomplete: "off" });
    const form = h(
      "form",
      {
        className: "dialog-form",
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          resolve(reason.value.trim());
          element.close();
        },
      },
      h("p", { className: "soft" }, words),
      h("label", { for: "reason" }, "What they are told (or nothing)"),
      reason,
      h("button", { className: "button primary stop" }, action),
    );
    const element = dialog(title, form);
    element.addEventListener("close", () => resolve(null));
  });
}

/** Makes a room. */
export class CreateRoom {
  #error = h("p", { className: "form-error", role: "alert" });

  /** @param {(wanted: {name: string, max_participants?: number, empty_timeout?: number, locked?: boolean, lobby?: boolean}) => Promise<void>} make */
  constructor(make) {
    const name = h("input", { id: "new-name", required: true, maxLength: 128, autocomplete: "off", spellcheck: false });
    const most = h("input", { id: "new-most", type: "number", min: "1", inputMode: "numeric" });
    const keeps = h("input", { id: "new-keeps", type: "number", min: "0", value: "60", inputMode: "numeric" });
    const locked = h("input", { type: "checkbox", id: "new-locked" });
    const lobby = h("input", { type: "checkbox", id: "new-lobby" });
    const button = h("button", { className: "button primary" }, "Make it");
    const submit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      button.disabled = true;
      const wanted = {
        name: name.value.trim(),
        ...(most.value ? { max_participants: Number(most.value) } : {}),
        ...(keeps.value ? { empty_timeout: Number(keeps.value) * 60 } : {}),
        locked: locked.checked,
        ...(lobby.checked ? { lobby: true } : {}),
      };
      try {
        await make(wanted);
        element.close();
      } catch (error) {
        setText(this.#error, `That did not work: ${/** @type {Error} */ (error).message}`);
        button.disabled = false;
      }
    };
    const element = dialog(
      "New room",
      h(
        "form",
        { className: "dialog-form", onsubmit: submit },
        h("label", { for: "new-name" }, "Name"),
        name,
        h("label", { for: "new-most" }, "Participants at most (as the server has it)"),
        most,
        h("label", { for: "new-keeps" }, "Minutes that it stays while nobody is in it"),
        keeps,
        h("label", { className: "check", for: "new-locked" }, locked, "Locked: nobody can join yet"),
        h("label", { className: "check", for: "new-lobby" }, lobby, "Lobby: who comes waits to be let in"),
        this.#error,
        button,
      ),
    );
  }
}

/** @type {[Purpose, string][]} */
const PURPOSES = [
  ["join", "Take part"],
  ["moderate", "Take part and moderate"],
  ["watch", "Watch"],
  ["publish", "Broadcast"],
];
/** @type {[number, string][]} */
const LASTS = [
  [3_600, "an hour"],
  [8 * 3_600, "8 hours"],
  [86_400, "a day"],
  [7 * 86_400, "a week"],
];

/** Makes links to a room. */
export class LinkDialog {
  #room;
  #purpose = select("link-purpose", PURPOSES, () => this.#show());
  #lasts = select("link-lasts", LASTS, () => this.#show());
  #name = h("input", { id: "link-name", maxLength: 40, autocomplete: "off", oninput: () => this.#show() });
  #key = h("input", { id: "link-key", type: "password", autocomplete: "off", spellcheck: false, placeholder: "main:HS256:…", oninput: () => this.#show() });
  #link = h("output", { className: "link-text", id: "link-made", for: "link-purpose link-lasts link-name link-key" });
  #error = h("p", { className: "form-error", role: "alert" });
  #copy = h("button", { type: "button", className: "button primary", onclick: () => this.#toClipboard() }, "Copy the link");

  /** @param {string} room */
  constructor(room) {
    this.#room = room;
    dialog(
      `Link to ${room}`,
      h(
        "div",
        { className: "dialog-form" },
        h("label", { for: "link-purpose" }, "For"),
        this.#purpose,
        h("p", { className: "soft" }, "Where rooms are open, the link alone suffices. Else it needs a token, which is signed here, by a key of the server that does not leave this page."),
        h("label", { for: "link-key" }, "Key (ID:HS256:SECRET), or nothing"),
        this.#key,
        h("label", { for: "link-name" }, "Name of who gets it, or nothing"),
        this.#name,
        h("label", { for: "link-lasts" }, "It is valid for"),
        this.#lasts,
        this.#error,
        this.#link,
        this.#copy,
      ),
    );
    this.#show();
  }

  async #show() {
    const purpose = /** @type {Purpose} */ (this.#purpose.value);
    const key = this.#key.value.trim();
    this.#name.disabled = this.#lasts.disabled = key === "";
    try {
      const token = key ? await joinToken({ room: this.#room, purpose, name: this.#name.value.trim(), seconds: Number(this.#lasts.value), key }) : "";
      setText(this.#error, "");
      setText(this.#link, roomLink(this.#room, purpose, token, location.href));
    } catch (error) {
      setText(this.#error, error instanceof RangeError ? error.message : "The browser signs on https:// pages and on localhost alone.");
      setText(this.#link, "");
    }
    this.#copy.disabled = this.#link.textContent === "";
  }

  async #toClipboard() {
    try {
      await navigator.clipboard.writeText(this.#link.textContent ?? "");
      setText(this.#copy, "Copied");
      announce("Link copied");
      setTimeout(() => setText(this.#copy, "Copy the link"), 2_000);
    } catch {
      setText(this.#error, "The browser does not let this page copy: mark the link.");
    }
  }
}

/**
 * @param {string} id
 * @param {[string | number, string][]} options
 * @param {() => void} onchange
 */
function select(id, options, onchange) {
  return h("select", { id, onchange }, ...options.map(([value, text]) => h("option", { value: String(value) }, text)));
}
