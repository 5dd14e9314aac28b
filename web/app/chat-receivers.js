import { h, setText } from "./dom.js";
import { t } from "./words.js";

/** @typedef {{id: string, name: string}} Person */

/** Everyone. */
const ALL = "";

/** To whom the next message goes: everyone, or one. */
export class ChatReceivers extends HTMLElement {
  #select = h("select", { id: "chat-to", onchange: () => this.#choose(this.#select.value), onblur: () => this.#forget() });
  #to = ALL;
  /** Those who are there, who was chosen and has gone, and who can still be chosen from a list that may be open. @type {Map<string, {name: string, isHere: boolean}>} */
  #people = new Map();
  #shown = "";

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(h("label", { for: "chat-to" }, t("To")), this.#select);
    this.#show();
  }

  /** The id of who gets the next message; nothing for everyone. */
  get to() {
    return this.#to || undefined;
  }

  /** Whether a message can go now: who was chosen may have gone, and what was meant for one is not for all. */
  get isThere() {
    return this.#to === ALL || this.#people.get(this.#to)?.isHere === true;
  }

  /** How who was chosen is called. */
  get name() {
    return this.#people.get(this.#to)?.name ?? t("everyone");
  }

  /** @param {Person[]} people those who can get one */
  offer(people) {
    const before = this.#people;
    this.#people = new Map(named(people).map(({ id, name }) => [id, { name, isHere: true }]));
    for (const [id, gone] of before) {
      if (!this.#people.has(id) && (id === this.#to || this.#mayBeOpen)) this.#people.set(id, { ...gone, isHere: false });
    }
    if (this.#mayBeOpen) this.#mark();
    else this.#show();
  }

  /** @param {string} [id] of who gets what is written from here on; default everyone */
  choose(id = ALL) {
    if (id === ALL || this.#people.has(id)) this.#choose(id);
  }

  /** @param {string} id */
  #choose(id) {
    this.#to = id;
    this.#forget();
    this.dispatchEvent(new CustomEvent("chosen"));
  }

  /** Nothing tells whether the list is open; it is not while something else has the focus. */
  get #mayBeOpen() {
    return document.activeElement === this.#select;
  }

  /** Who has gone is not offered any more, unless already chosen. */
  #forget() {
    for (const [other, { isHere }] of this.#people) if (!isHere && other !== this.#to) this.#people.delete(other);
    this.#show();
  }

  /** Says of who was chosen that they have gone, or are back; all else waits until the list is certainly closed. */
  #mark() {
    const chosen = this.#people.get(this.#to);
    const option = [...this.#select.options].find(({ value }) => value === this.#to);
    if (!chosen || !option) return;
    setText(option, worded(chosen));
    this.#shown = "";
  }

  #show() {
    this.hidden = this.#people.size === 0;
    const options = [[ALL, t("Everyone")], ...[...this.#people].map(([id, person]) => [id, worded(person)])];
    const text = JSON.stringify(options);
    if (text !== this.#shown) this.#select.replaceChildren(...options.map(([value, name]) => h("option", { value }, name)));
    this.#shown = text;
    this.#select.value = this.#to;
  }
}

/** @param {{name: string, isHere: boolean}} person */
function worded({ name, isHere }) {
  return isHere ? t("{name} only", { name }) : t("{name} (left)", { name });
}

/** With a number where several are called alike. @param {Person[]} people @returns {Person[]} */
export function named(people) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  return people.map(({ id, name }) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return { id, name: count === 1 ? name : `${name} (${count})` };
  });
}

customElements.define("chat-receivers", ChatReceivers);
