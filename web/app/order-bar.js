import { announce } from "./announce.js";
import { h, setText } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./words.js";

/** @typedef {import("../sdk/room.js").Room} Room */

/** For who may moderate: who waits to be let in; and, for the top bar, whether the room is locked. */
export class OrderBar extends HTMLElement {
  /** Locks and unlocks the room. */
  lock = h("button", { className: "button small quiet lock", hidden: true, onclick: () => this.#toggleLock() }, icon("lock"), h("span"));
  #room;
  #list = h("ul");
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();

  /** @param {Room} room */
  constructor(room) {
    super();
    this.#room = room;
  }

  connectedCallback() {
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", t("Waiting to be let in"));
    this.append(this.#list);
    this.refresh();
  }

  /** Shows the room as it is now. */
  refresh() {
    const { mayModerate, isLocked, waiting } = this.#room.order;
    this.lock.hidden = !mayModerate;
    this.lock.setAttribute("aria-pressed", String(isLocked));
    setText(/** @type {Element} */ (this.lock.lastElementChild), isLocked ? t("Unlock") : t("Lock"));
    this.lock.title = isLocked ? t("Let people join again") : t("Let nobody join any more");
    for (const { peer_id: id, name } of waiting) {
      if (this.#rows.has(id)) continue;
      const row = this.#row(id, name || t("Guest"));
      this.#rows.set(id, row);
      this.#list.append(row);
      announce(t("{name} wants to join", { name: name || t("Guest") }));
    }
    for (const [id, row] of this.#rows) {
      if (waiting.some(({ peer_id }) => peer_id === id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    this.hidden = !mayModerate || this.#rows.size === 0;
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  #row(id, name) {
    const button = (/** @type {"admit" | "deny"} */ action, /** @type {string} */ word, /** @type {string} */ label, className = "button small") =>
      h("button", { className, "aria-label": label, onclick: () => this.#moderate({ action, peer_id: id }) }, word);
    return h("li", {}, h("span", {}, t("{name} wants to join", { name })), button("admit", t("Admit"), t("Admit {name}", { name }), "button small primary"), button("deny", t("Deny"), t("Deny {name}", { name })));
  }

  #toggleLock() {
    this.#moderate({ action: this.#room.order.isLocked ? "unlock" : "lock" });
  }

  /** @param {import("../sdk/messages.js").Moderate} what */
  #moderate(what) {
    this.dispatchEvent(new CustomEvent("moderated", { detail: this.#room.moderate(what), bubbles: true }));
  }
}

customElements.define("order-bar", OrderBar);
