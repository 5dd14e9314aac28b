import { h } from "./dom.js";
import { icon, mark } from "./icons.js";
import { t } from "./words.js";

/** After the call. */
export class LeftView extends HTMLElement {
  #room;
  #title;
  #advice;

  /**
   * @param {string} room
   * @param {string} title
   * @param {string} [advice]
   */
  constructor(room, title, advice = "") {
    super();
    this.#room = room;
    this.#title = title;
    this.#advice = advice;
  }

  connectedCallback() {
    const again = h(
      "button",
      { className: "button primary large", onclick: () => this.dispatchEvent(new CustomEvent("open-room", { detail: { name: this.#room }, bubbles: true })) },
      icon("again"),
      t("Rejoin {room}", { room: this.#room }),
    );
    this.replaceChildren(
      h(
        "main",
        { className: "entrance left" },
        h(
          "div",
          { className: "card" },
          mark(),
          h("h1", { tabIndex: -1 }, this.#title),
          this.#advice && h("p", { className: "lead" }, this.#advice),
          again,
          h("a", { className: "button quiet", href: "/" }, t("Start another room")),
        ),
      ),
    );
    document.title = t("Left · Twocan");
    again.focus();
  }
}

customElements.define("left-view", LeftView);
