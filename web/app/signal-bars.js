import { h, setText } from "./dom.js";

/** One to three bars, with words for them. */
export class SignalBars extends HTMLElement {
  #words = h("span", { className: "unseen" });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(h("i"), h("i"), h("i"), this.#words);
  }

  /**
   * @param {number} bars 1 to 3
   * @param {string} words such as `Weak connection: loses 8 % of packets`
   */
  show(bars, words) {
    this.dataset.bars = String(bars);
    this.title = words;
    setText(this.#words, words);
  }
}

customElements.define("signal-bars", SignalBars);
