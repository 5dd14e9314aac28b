import { announce } from "./announce.js";
import { ChatReceivers } from "./chat-receivers.js";
import { h, setText } from "./dom.js";
import { formatTime, hue } from "./format.js";
import { icon } from "./icons.js";
import { TEXT_MAX } from "../sdk/chat-messages.js";
import { TransferCard } from "./transfer-card.js";

/** Entries kept; in a room that stays open for days the oldest go. */
const ENTRIES_MAX = 500;
/** Messages of one person within this time stand together. */
const TOGETHER_MS = 3 * 60_000;
/** An address in a text; a full stop or bracket at its end belongs to the sentence. */
const ADDRESS = /\bhttps?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}]/g;

/** Texts and files, in the order they came. */
export class ChatPanel extends HTMLElement {
  #list = h("div", { className: "chat-list", role: "log", "aria-label": "Messages", tabIndex: 0 });
  #empty = h("p", { className: "chat-empty" });
  #unread = h("p", { className: "chat-unread", hidden: true });
  #attach = h("button", { type: "button", className: "icon-button", title: "Send a file", "aria-label": "Send a file", onclick: () => this.actions.files() }, icon("attach"));
  /** @type {HTMLTextAreaElement} */ #text = h("textarea", {
    rows: 1,
    maxLength: TEXT_MAX,
    placeholder: "Write to everyone",
    "aria-label": "Message",
    oninput: () => this.#grow(),
    onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
  });
  #receivers = new ChatReceivers();
  #last = { who: "", at: 0 };

  /** @param {{send: (text: string, to?: string) => void, files: () => void, close: () => void}} actions */
  constructor(actions) {
    super();
    this.id = "chat-panel";
    this.actions = actions;
  }

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.className = "panel";
    this.setAttribute("role", "complementary");
    this.setAttribute("aria-label", "Chat");
    this.#list.append(this.#empty);
    this.#receivers.addEventListener("chosen", () => this.#showReceiver());
    this.append(
      h("header", {}, h("h2", {}, "Chat"), h("button", { className: "icon-button", title: "Close", "aria-label": "Close the chat", onclick: () => this.actions.close() }, icon("close"))),
      this.#list,
      this.#unread,
      this.#receivers,
      h(
        "form",
        { className: "composer", onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), this.#send()) },
        this.#attach,
        this.#text,
        h("button", { className: "icon-button send", title: "Send", "aria-label": "Send" }, icon("send")),
      ),
    );
  }

  /** @param {{takesFiles: boolean, isDirect: boolean, isEncrypted: boolean}} room whether files can be sent, and how messages go */
  explain({ takesFiles, isDirect, isEncrypted }) {
    this.#attach.hidden = !takesFiles;
    if (isEncrypted) {
      const what = takesFiles ? "Messages and files are" : "Messages are";
      setText(this.#empty, `${what} encrypted end to end: only who has the whole link can read them. The server sees names, raised hands, reactions and who is here. ${takesFiles ? "Drop a file anywhere to send it." : "Files cannot be sent in this room."}`);
      return;
    }
    const way = isDirect ? "Messages go straight to the others and are not stored." : "Messages go through the server and are not stored.";
    const files = !takesFiles ? "Files cannot be sent in this room." : isDirect ? "Drop a file anywhere to send it." : "Files go straight to the others: drop one anywhere to send it.";
    setText(this.#empty, `${way} ${files}`);
  }

  /** @param {number} count messages and files that could not be read @param {boolean} isEncrypted whether this side has a key */
  countUnreadable(count, isEncrypted) {
    const [what, were] = count === 1 ? ["message or file", "it was"] : ["messages or files", "they were"];
    const why = isEncrypted ? `${were} not encrypted with the key of this room` : "the link that was opened here has no key";
    setText(this.#unread, `${count} ${what} could not be read: ${why}.`);
    this.#unread.hidden = false;
  }

  /** Whether it lies over everything, as on a phone. */
  get covers() {
    return !this.hidden && this.isConnected && getComputedStyle(this).position === "fixed";
  }

  /** Those who can get a message alone. @param {{id: string, name: string}[]} people */
  offer(people) {
    this.#receivers.offer(people);
    this.#showReceiver();
  }

  /** What is written from here on goes to one alone. @param {string} id */
  writeTo(id) {
    this.#receivers.choose(id);
  }

  #showReceiver() {
    const { to, name } = this.#receivers;
    this.classList.toggle("direct", to !== undefined);
    const text = to === undefined ? "Write to everyone" : `Write to ${name} only`;
    if (this.#text.placeholder !== text) this.#text.placeholder = text;
  }

  focusText() {
    this.#text.focus();
  }

  /** @param {{text: string, at: number, who: string, own: boolean, only?: string}} message `only`: who alone gets it */
  say({ text, at: said, who, own, only = "" }) {
    // Another's clock: what is no time at all counts as said now.
    const at = Number.isNaN(new Date(said).getTime()) ? Date.now() : Number(said);
    const key = JSON.stringify([own ? "" : who, only]);
    const together = this.#last.who === key && Math.abs(at - this.#last.at) < TOGETHER_MS;
    this.#last = { who: key, at };
    const head = h("div", { className: "message-head" }, h("strong", { "data-hue": own ? "own" : String(hue(who)) }, own ? "You" : who), only && h("span", { className: "message-only" }, `only to ${only}`), h("time", { dateTime: new Date(at).toISOString() }, formatTime(at)));
    this.#add(h("article", { className: `message${own ? " own" : ""}${only ? " direct" : ""}${together ? " together" : ""}` }, head, h("p", {}, ...withLinks(text))));
  }

  /**
   * @param {import("../sdk/file-transfer.js").FileTransfer} transfer
   * @param {string} who
   */
  addTransfer(transfer, who) {
    this.#last = { who: "", at: 0 };
    const card = new TransferCard(transfer, who);
    card.classList.toggle("own", transfer.direction === "send");
    this.#add(card);
  }

  /** @param {HTMLElement} entry */
  #add(entry) {
    this.#empty.remove();
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    const wasAtEnd = scrollHeight - scrollTop - clientHeight < 60;
    this.#list.append(entry);
    while (this.#list.childElementCount > ENTRIES_MAX) this.#list.firstElementChild?.remove();
    if (wasAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = this.#text.value.trim();
    if (!text) return;
    if (!this.#receivers.isThere) {
      announce(`Not sent: ${this.#receivers.name} has left. Choose who gets it.`, { urgent: true });
      this.#receivers.querySelector("select")?.focus();
      return;
    }
    this.actions.send(text, this.#receivers.to);
    this.#text.value = "";
    this.#grow();
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  #grow() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${Math.min(this.#text.scrollHeight, 140)}px`;
  }
}

/** @param {string} text @returns {Node[]} */
function withLinks(text) {
  /** @type {Node[]} */
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(ADDRESS)) {
    nodes.push(document.createTextNode(text.slice(at, match.index)));
    nodes.push(h("a", { href: match[0], target: "_blank", rel: "noopener noreferrer" }, match[0]));
    at = match.index + match[0].length;
  }
  nodes.push(document.createTextNode(text.slice(at)));
  return nodes;
}

customElements.define("chat-panel", ChatPanel);
