import { fromBase64Url, toBase64Url } from "./base64url.js";
import { readChat } from "./chat-messages.js";
import { Emitter } from "./emitter.js";

/** @typedef {import("./chat-messages.js").ChatMessage} ChatMessage */
/**
 * `sealed` is a `ChatMessage` as JSON, sealed, in base64url; `direct`: for who receives it alone, which is bound to it.
 *
 * @typedef {{type: "chat", sealed: string, direct?: true}} SealedChat
 */

/** @typedef {ChatMessage & {from: string, name: string}} SaidBefore `at` is the time by the server's clock; who said it may have gone */

/** Messages of before that are read of one event: servers keep as many at most. */
const BEFORE_MAX = 1_000;
/** Ids of messages that are remembered, so that none is told twice. */
const KNOWN_MAX = 2_000;

/** Longest sealed message that is opened, in characters. */
const SEALED_MAX = 64 * 1024;

/**
 * The texts of a room: sealed, where it has a seal, whichever way they go.
 *
 * @extends {Emitter<{chat: {from: string, message: ChatMessage}, before: SaidBefore[], unreadable: string}>}
 */
export class RoomChat extends Emitter {
  /** @type {import("./room-seal.js").RoomSeal | null} */ seal = null;
  #pass;
  /** @type {Promise<void>} */
  #sent = Promise.resolve();
  #sending = 0;
  /** @type {Promise<void>} */
  #heard = Promise.resolve();
  /** What was said and heard, the newest last: its id, and who said it. @type {Map<string, string>} */
  #known = new Map();

  /** @param {(message: ChatMessage | SealedChat, to?: string) => void} pass sends it the way that there is, to all or to the one of that id */
  constructor(pass) {
    super();
    this.#pass = pass;
  }

  /** What is being sealed; `null` where nothing is. @type {Promise<void> | null} */
  get sending() {
    return this.#sending > 0 ? this.#sent : null;
  }

  /** @param {ChatMessage} message @param {string} [to] the id of one; default all */
  send(message, to) {
    this.#know(message.id, "");
    if (!this.seal) return this.#pass(message, to);
    const sealed = this.seal.seal("chat", new TextEncoder().encode(JSON.stringify(message)), to);
    this.#sending += 1;
    this.#sent = this.#sent
      .then(async () => this.#pass({ type: "chat", sealed: toBase64Url(await sealed), ...(to === undefined ? {} : { direct: true }) }, to))
      // One that does not go out holds up none of those after it.
      .catch((error) => console.warn("a text was not sent", error))
      .then(() => void (this.#sending -= 1));
  }

  /** The server passes on what somebody says, or tells what was said before. @param {import("./messages.js").ServerFrame} frame */
  told({ event, from, data }) {
    if (from) {
      if (event === "chat") this.hear(from, wire(data));
      // The history is the server's to tell, and not another participant's.
    } else if (event === "chat-history") this.#recall(Array.isArray(data?.messages) ? data.messages.slice(-BEFORE_MAX) : []);
  }

  /**
   * What was said before this participant came, in its order. Nothing of it is told that was heard already, by who joined
   * anew.
   *
   * @param {import("./messages.js").KeptChat[]} kept
   */
  #recall(kept) {
    const seal = this.seal?.anew() ?? null;
    const opened = kept.filter((one) => typeof one === "object" && one !== null).map((one) =>
      // One that cannot be read keeps back none of the others.
      this.#reopen(seal, one).catch(() => null),
    );
    this.#heard = this.#heard.then(async () => {
      const read = (await Promise.all(opened)).filter((one) => one !== null);
      const news = read.filter(({ id }) => !this.#known.has(id));
      for (const { id, from } of news) this.#know(id, from);
      if (news.length > 0) this.emit("before", news);
    });
  }

  /**
   * @param {import("./room-seal.js").RoomSeal | null} seal
   * @param {import("./messages.js").KeptChat} kept
   * @returns {Promise<SaidBefore | null>}
   */
  async #reopen(seal, { from, name, at, data }) {
    const text = wire(data);
    const sealed = readSealed(text);
    const bytes = sealed && fromBase64Url(sealed.text);
    const plain = !seal ? (sealed ? null : text) : bytes && new TextDecoder().decode((await seal.open("chat", String(from), bytes)) ?? new Uint8Array());
    const message = plain ? readChat(plain) : null;
    if (message && !message.direct) return { ...message, from: String(from), name: String(name ?? ""), at: Number(at) };
    this.emit("unreadable", String(from));
    return null;
  }

  /** @param {string} id @param {string} from */
  #know(id, from) {
    this.#known.set(id, from);
    if (this.#known.size > KNOWN_MAX) this.#known.delete(/** @type {string} */ (this.#known.keys().next().value));
  }

  /** @param {string} from @param {ChatMessage} message */
  #tell(from, message) {
    // To who speaks the base protocol it goes both ways, and it may hear both.
    if (this.#known.get(message.id) === from) return;
    this.#know(message.id, from);
    this.emit("chat", { from, message });
  }

  /** Something came, over a channel or by way of the server. @param {string} from the id of who sent it @param {string} text */
  hear(from, text) {
    const sealed = readSealed(text);
    const message = sealed === null ? readChat(text) : null;
    if (sealed === null && message === null) return;
    if (!this.seal && message) return this.#tell(from, message);
    const bytes = sealed === null ? null : fromBase64Url(sealed.text);
    if (!this.seal || !bytes) return this.emit("unreadable", from);
    const direct = sealed?.direct === true;
    const opened = this.seal.open("chat", from, bytes, direct);
    this.#heard = this.#heard.then(async () => {
      const plain = await opened;
      const message = plain && readChat(new TextDecoder().decode(plain));
      // Whom it is for is what opened it, and not what it says of itself.
      if (message && (message.direct === true) === direct) this.#tell(from, message);
      else this.emit("unreadable", from);
    });
  }
}

/** As over a channel. @param {Record<string, unknown>} data */
function wire(data) {
  return JSON.stringify({ type: "chat", ...data });
}

/** @param {string} text @returns {{text: string, direct: boolean} | null} `null` for what is not sealed */
function readSealed(text) {
  if (text.length > SEALED_MAX) return null;
  try {
    const message = JSON.parse(text);
    return message?.type === "chat" && typeof message.sealed === "string" ? { text: message.sealed, direct: message.direct === true } : null;
  } catch {
    return null;
  }
}
