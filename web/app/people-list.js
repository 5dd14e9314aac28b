import { h, setText } from "./dom.js";
import { hue, initials } from "./format.js";
import { icon } from "./icons.js";
import { KeyedList } from "./keyed.js";
import { barsOf, ratingOf, troubleOf } from "./quality-feed.js";
import { SignalBars } from "./signal-bars.js";
import { nameOf } from "./stage.js";
import { t, tn } from "./words.js";

/**
 * @typedef {import("../sdk/room.js").Room} Room
 * @typedef {import("../sdk/room.js").Participant} Participant
 * @typedef {{id: string, name: string, isSilent: boolean, place: number, quality: import("../sdk/qualities.js").Quality | null, mayLower: boolean, mayWrite: boolean}} Person
 */

/** Everyone in the room; raised hands first, in their order. */
export class PeopleList extends HTMLElement {
  #room;
  #page;
  #count = counted();
  #hands = counted();
  #badge = h("span", { className: "hands-up", hidden: true }, icon("hand"), ...this.#hands);
  /** Opens it, for the top bar. */
  button = h("button", { type: "button", className: "people-count", popovertarget: "people-list", title: t("People (P)") }, icon("people"), ...this.#count, this.#badge);
  #lowerAll = h("button", { type: "button", className: "button small", hidden: true, onclick: () => this.#moderate({ action: "lower-hands" }) }, t("Lower all hands"));
  #rows = h("div", { className: "people-rows", role: "list", tabIndex: -1 });
  /** @type {KeyedList<Person, PersonRow>} */
  #list = new KeyedList(
    this.#rows,
    (_, id) => new PersonRow({ lower: () => this.#moderate({ action: "lower-hand", peer_id: id }), write: () => this.#page.writeTo(id) }),
    (row, person) => row.show(person),
  );

  /**
   * @param {Room} room
   * @param {{isSilent: () => boolean, qualityOf: (id: string) => import("../sdk/qualities.js").Quality | null, writeTo: (id: string) => void}} page whether one's own microphone is off, whose connection is not good, and what writes to one alone
   */
  constructor(room, page) {
    super();
    this.#room = room;
    this.#page = page;
  }

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.id = "people-list";
    this.popover = "auto";
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", t("People"));
    this.append(h("div", { className: "people-head" }, h("h2", {}, t("People")), this.#lowerAll), this.#rows);
    // Whoever looks at it finds it as it is; who does not, need not pay for it.
    this.addEventListener("beforetoggle", (event) => /** @type {ToggleEvent} */ (event).newState === "open" && this.#show());
  }

  /** Shows the room as it is now. */
  refresh() {
    const { peers, gestures } = this.#room;
    const hands = gestures.queue.length;
    count(this.#count, peers.size + 1, tn(peers.size + 1, "participant", "participants"));
    count(this.#hands, hands, tn(hands, "hand raised", "hands raised"));
    this.#badge.hidden = hands === 0;
    if (this.isConnected && this.matches(":popover-open")) this.#show();
  }

  #show() {
    const { peers, order, gestures } = this.#room;
    const focused = this.contains(document.activeElement) ? document.activeElement : null;
    this.#lowerAll.hidden = !order.mayModerate || gestures.queue.length === 0;
    const own = { id: "self", name: t("You"), isSilent: this.#page.isSilent(), place: gestures.placeOf(), quality: this.#page.qualityOf("self"), mayLower: false, mayWrite: false };
    const others = [...peers.values()].map((peer) => ({
      id: peer.id,
      name: nameOf(peer),
      isSilent: isSilent(peer),
      place: gestures.placeOf(peer.id),
      quality: this.#page.qualityOf(peer.id),
      mayLower: order.mayModerate,
      mayWrite: peer.protocol !== "http",
    }));
    const all = [own, ...others];
    const raised = all.filter(({ place }) => place > 0).sort((a, b) => a.place - b.place);
    this.#list.show([...raised, ...all.filter(({ place }) => place === 0)].map((person) => [person.id, person]));
    if (focused) this.#keepFocus(/** @type {HTMLElement} */ (focused));
  }

  /** Rows move, and buttons are hidden: the focus stays as near as it can. @param {HTMLElement} focused before they did */
  #keepFocus(focused) {
    /** @type {HTMLElement | null | undefined} */
    const write = focused.closest("person-row")?.querySelector(".person-write");
    const nearest = [focused, write].find((element) => element?.isConnected && !element.hidden) ?? this.#rows;
    if (document.activeElement !== nearest) nearest.focus();
  }

  /** @param {import("../sdk/messages.js").Moderate} what */
  #moderate(what) {
    this.dispatchEvent(new CustomEvent("moderated", { detail: this.#room.moderate(what), bubbles: true }));
  }
}

/** One of them. */
class PersonRow extends HTMLElement {
  #avatar = h("span", { className: "avatar", "aria-hidden": "true" });
  #name = h("span", { className: "person-name" });
  #silent = h("span", { className: "person-silent", hidden: true }, icon("microphone-off"), h("span", { className: "unseen" }, t("microphone off")));
  #bars = new SignalBars();
  #hand = h("span", { className: "hands-up", hidden: true }, icon("hand"), h("span", { "aria-hidden": "true" }), h("span", { className: "unseen" }));
  #write;
  #lower;

  /** @param {{lower: () => void, write: () => void}} does */
  constructor({ lower, write }) {
    super();
    this.#write = h("button", { type: "button", className: "icon-button person-write", hidden: true, onclick: write }, icon("chat"));
    this.#lower = h("button", { type: "button", className: "button small", hidden: true, onclick: lower }, t("Lower"));
  }

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.setAttribute("role", "listitem");
    this.append(this.#avatar, this.#name, this.#bars, this.#silent, this.#hand, this.#lower, this.#write);
  }

  /** @param {Person} person */
  show({ name, isSilent: silent, place, quality, mayLower, mayWrite }) {
    setText(this.#avatar, initials(name));
    this.#avatar.dataset.hue = String(hue(name));
    setText(this.#name, name);
    this.#bars.show(barsOf(quality), [ratingOf(quality), troubleOf(quality)].filter(Boolean).join(": "));
    this.#silent.hidden = !silent;
    this.#hand.hidden = place === 0;
    setText(this.#hand.children[1], String(place));
    setText(this.#hand.children[2], t("hand raised, number {place}", { place }));
    this.#write.hidden = !mayWrite;
    this.#write.title = t("Write to {name} only", { name });
    this.#write.setAttribute("aria-label", t("Write to {name} only", { name }));
    this.#lower.hidden = !mayLower || place === 0;
    this.#lower.setAttribute("aria-label", t("Lower the hand of {name}", { name }));
  }
}

/** A number for those who see, and what it counts for those who do not. */
function counted() {
  return [h("span"), h("span", { className: "unseen" })];
}

/**
 * @param {HTMLElement[]} parts
 * @param {number} number
 * @param {string} what
 */
function count([shown, unseen], number, what) {
  setText(shown, String(number));
  setText(unseen, ` ${what} `);
}

/** @param {Participant} peer */
function isSilent(peer) {
  const microphone = peer.publications.find(({ source }) => source === "microphone");
  return microphone ? microphone.muted : !peer.media("microphone");
}

customElements.define("people-list", PeopleList);
customElements.define("person-row", PersonRow);
