import { announce } from "./announce.js";
import { ChatReceivers } from "./chat-receivers.js";
import { h, setText } from "./dom.js";
import { formatTime, hue } from "./format.js";
import { icon } from "./icons.js";
import { TEXT_MAX } from "../sdk/chat-messages.js";
import { TransferCard } from "./transfer-card.js";
import { t, tn } from "./words.js";

/** Entries kept; in a room that stays open for days the oldest go. */
const ENTRIES_MAX = 500;
/** Messages of one person within this time stand together. */
const TOGETHER_MS = 3 * 60_000;
/** An address in a text; a full stop or bracket at its end belongs to the sentence. */
const ADDRESS = /\bhttps?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}]/g;

/** Texts and files, in the order they came. */
export class ChatPanel extends HTMLElement {
  #list = h("div", { className: "chat-list", role: "log", "aria-label": t("Messages"), tabIndex: 0 });
  #empty = h("p", { className: "chat-empty" });
  #unread = h("p", { className: "chat-unread", hidden: true });
  #attach = h("button", { type: "button", className: "icon-button", title: t("Send a file"), "aria-label": t("Send a file"), onclick: () => this.actions.files() }, icon("attach"));
  /** @type {HTMLTextAreaElement} */ #text = h("textarea", {
    rows: 1,
    maxLength: TEXT_MAX,
    placeholder: t("Write to everyone"),
    "aria-label": t("Message"),
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
    this.setAttribute("aria-label", t("Chat"));
    this.#list.append(this.#empty);
    this.#receivers.addEventListener("chosen", () => this.#showReceiver());
    this.append(
      h("header", {}, h("h2", {}, t("Chat")), h("button", { className: "icon-button", title: t("Close"), "aria-label": t("Close the chat"), onclick: () => this.actions.close() }, icon("close"))),
      this.#list,
      this.#unread,
      this.#receivers,
      h(
        "form",
        { className: "composer", onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), this.#send()) },
        this.#attach,
        this.#text,
        h("button", { className: "icon-button send", title: t("Send"), "aria-label": t("Send") }, icon("send")),
      ),
    );
  }

  /** @param {{takesFiles: boolean, isDirect: boolean, isEncrypted: boolean, kept: number}} room whether files can be sent, how messages go, and how many of them the server keeps */
  explain({ takesFiles, isDirect, isEncrypted, kept }) {
    this.#attach.hidden = !takesFiles;
    if (isEncrypted) {
      const sealed = takesFiles
        ? t("Messages and files are encrypted end to end: only who has the whole link can read them.")
        : t("Messages are encrypted end to end: only who has the whole link can read them.");
      const stays = kept > 0 ? ` ${tn(kept, "As long as the room lasts the server keeps the last {count} message, encrypted, for those who come later.", "As long as the room lasts the server keeps the last {count} messages, encrypted, for those who come later.")}` : "";
      const seen = t("The server sees names, raised hands, reactions and who is here.");
      setText(this.#empty, `${sealed}${stays} ${seen} ${takesFiles ? t("Drop a file anywhere to send it.") : t("Files cannot be sent in this room.")}`);
      return;
    }
    const goes = isDirect ? t("Messages go straight to the others and are not stored.") : t("Messages go through the server and are not stored.");
    const way = kept > 0 ? tn(kept, "Messages to everyone go through the server, which keeps the last {count} for those who come later, as long as the room lasts.", "Messages to everyone go through the server, which keeps the last {count} for those who come later, as long as the room lasts.") : goes;
    const files = !takesFiles ? t("Files cannot be sent in this room.") : isDirect ? t("Drop a file anywhere to send it.") : t("Files go straight to the others: drop one anywhere to send it.");
    setText(this.#empty, `${way} ${files}`);
  }

  /** @param {number} count messages and files that could not be read @param {boolean} isEncrypted whether this side has a key */
  countUnreadable(count, isEncrypted) {
    const text = isEncrypted
      ? tn(count, "{count} message or file could not be read: it was not encrypted with the key of this room.", "{count} messages or files could not be read: they were not encrypted with the key of this room.")
      : tn(count, "{count} message or file could not be read: the link that was opened here has no key.", "{count} messages or files could not be read: the link that was opened here has no key.");
    setText(this.#unread, text);
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
    const text = to === undefined ? t("Write to everyone") : t("Write to {name} only", { name });
    if (this.#text.placeholder !== text) this.#text.placeholder = text;
  }

  focusText() {
    this.#text.focus();
  }

  /** @param {{text: string, at: number, who: string, own: boolean, only?: string}} message `only`: to whom alone it goes, in words */
  say({ text, at: said, who, own, only = "" }) {
    const { at, together } = this.#follows(JSON.stringify([own ? "" : who, only]), said);
    const head = h("div", { className: "message-head" }, h("strong", { "data-hue": own ? "own" : String(hue(who)) }, own ? t("You") : who), only && h("span", { className: "message-only" }, only), h("time", { dateTime: new Date(at).toISOString() }, formatTime(at)));
    this.#add(h("article", { className: `message${own ? " own" : ""}${only ? " direct" : ""}${together ? " together" : ""}` }, head, h("p", {}, ...withLinks(text))));
  }

  /** What was said before this participant came, under a line that says so. @param {{text: string, at: number, who: string}[]} messages */
  recall(messages) {
    this.#last = { who: "", at: 0 };
    this.#add(h("h3", { className: "chat-part" }, t("Before you joined")));
    for (const { text, at: said, who } of messages) {
      const { at, together } = this.#follows(JSON.stringify([who, ""]), said);
      const head = h("div", { className: "message-head" }, h("strong", { "data-hue": String(hue(who)) }, who), h("time", { dateTime: new Date(at).toISOString() }, formatTime(at)));
      this.#add(h("article", { className: `message earlier${together ? " together" : ""}` }, head, h("p", {}, ...withLinks(text))));
    }
    this.#last = { who: "", at: 0 };
    this.#add(h("h3", { className: "chat-part" }, t("Since you joined")));
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** When something was said, and whether it stands together with what is above it. @param {string} who @param {number} said */
  #follows(who, said) {
    // Another's clock: what is no time at all counts as said now.
    const at = Number.isNaN(new Date(said).getTime()) ? Date.now() : Number(said);
    const together = this.#last.who === who && Math.abs(at - this.#last.at) < TOGETHER_MS;
    this.#last = { who, at };
    return { at, together };
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
      announce(t("Not sent: {name} has left. Choose who gets it.", { name: this.#receivers.name }), { urgent: true });
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
