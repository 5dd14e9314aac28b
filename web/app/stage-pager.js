import { announce } from "./announce.js";
import { h, setText } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./words.js";

/** Turns the pages of a stage that does not hold everybody, and says who speaks on another. */
export class StagePager extends HTMLElement {
  #page = 0;
  #pages = 1;
  #turn;
  #back = h("button", { className: "icon-button", title: t("Page before"), "aria-label": t("Page before"), onclick: () => this.#by(-1) }, icon("back"));
  #next = h("button", { className: "icon-button", title: t("Next page"), "aria-label": t("Next page"), onclick: () => this.#by(1) }, icon("next"));
  #count = h("span", { className: "pager-count", "aria-hidden": "true" });
  #spoken = h("span", { className: "unseen" });
  #elsewhere = h("button", { className: "button small pager-elsewhere", hidden: true });
  /** @type {AbortController | null} */
  #stop = null;

  /** @param {{turn: (page: number) => void, find: () => void}} actions `find`: to who speaks elsewhere */
  constructor({ turn, find }) {
    super();
    this.#turn = turn;
    this.#elsewhere.onclick = () => {
      const before = this.#page;
      find();
      if (this.#page !== before) announce(this.#where);
    };
  }

  connectedCallback() {
    this.className = "stage-pager";
    this.setAttribute("role", "group");
    this.setAttribute("aria-label", t("Pages of participants"));
    if (this.childElementCount === 0) this.append(this.#back, this.#count, this.#spoken, this.#next, this.#elsewhere);
    this.#stop = new AbortController();
    document.addEventListener("keydown", (event) => this.#key(event), { signal: this.#stop.signal });
  }

  disconnectedCallback() {
    this.#stop?.abort();
  }

  /** @param {{page: number, pages: number, speaking: string}} what `page` from 0; `speaking`: a name, empty for nobody */
  show({ page, pages, speaking }) {
    [this.#page, this.#pages] = [page, pages];
    this.hidden = pages < 2;
    setText(this.#count, `${page + 1} / ${pages}`);
    setText(this.#spoken, this.#where);
    // Disabled, a button would lose the focus to the page.
    this.#back.setAttribute("aria-disabled", String(page === 0));
    this.#next.setAttribute("aria-disabled", String(page === pages - 1));
    // Hidden, it would lose the focus to the page, with each pause of who speaks.
    if (speaking === "" && document.activeElement === this.#elsewhere) this.#next.focus();
    this.#elsewhere.hidden = speaking === "";
    if (speaking) setText(this.#elsewhere, t("{name} is speaking", { name: speaking }));
  }

  get #where() {
    return t("Page {page} of {pages}", { page: this.#page + 1, pages: this.#pages });
  }

  /** @param {number} pages */
  #by(pages) {
    const page = this.#page + pages;
    if (this.hidden || page < 0 || page >= this.#pages) return;
    this.#turn(page);
    announce(this.#where);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const pages = { PageUp: -1, PageDown: 1 }[event.key];
    const target = event.composedPath()[0];
    // There these keys scroll.
    const scrolls = target instanceof Element && target.closest("input, textarea, select, .panel, [popover], [role=menu]");
    if (!pages || this.hidden || scrolls || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    this.#by(pages);
  }
}

customElements.define("stage-pager", StagePager);
