import { fromBase64Url, toBase64Url } from "./base64url.js";
import { readChat } from "./chat-messages.js";
import { Emitter } from "./emitter.js";

/** @typedef {import("./chat-messages.js").ChatMessage} ChatMessage */
/**
 * `sealed` is a `ChatMessage` as JSON, sealed, in base64url; `direct`: for who receives it alone, which is bound to it.
 *
 * @typedef {{type: "chat", sealed: string, direct?: true}} SealedChat
 */

/** Longest sealed message that is opened, in characters. */
const SEALED_MAX = 64 * 1024;

/**
 * The texts of a room: sealed, where it has a seal, whichever way they go.
 *
 * @extends {Emitter<{chat: {from: string, message: ChatMessage}, unreadable: string}>}
 */
export class RoomChat extends Emitter {
  /** @type {import("./room-seal.js").RoomSeal | null} */ seal = null;
  #pass;
  /** @type {Promise<void>} */
  #sent = Promise.resolve();
  #sending = 0;
  /** @type {Promise<void>} */
  #heard = Promise.resolve();

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
    if (!this.seal) return this.#pass(message, to);
    const sealed = this.seal.seal("chat", new TextEncoder().encode(JSON.stringify(message)), to);
    this.#sending += 1;
    this.#sent = this.#sent
      .then(async () => this.#pass({ type: "chat", sealed: toBase64Url(await sealed), ...(to === undefined ? {} : { direct: true }) }, to))
      // One that does not go out holds up none of those after it.
      .catch((error) => console.warn("a text was not sent", error))
      .then(() => void (this.#sending -= 1));
  }

  /** Something came, over a channel or by way of the server. @param {string} from the id of who sent it @param {string} text */
  hear(from, text) {
    const sealed = readSealed(text);
    const message = sealed === null ? readChat(text) : null;
    if (sealed === null && message === null) return;
    if (!this.seal && message) return this.emit("chat", { from, message });
    const bytes = sealed === null ? null : fromBase64Url(sealed.text);
    if (!this.seal || !bytes) return this.emit("unreadable", from);
    const direct = sealed?.direct === true;
    const opened = this.seal.open("chat", from, bytes, direct);
    this.#heard = this.#heard.then(async () => {
      const plain = await opened;
      const message = plain && readChat(new TextDecoder().decode(plain));
      // Whom it is for is what opened it, and not what it says of itself.
      if (message && (message.direct === true) === direct) this.emit("chat", { from, message });
      else this.emit("unreadable", from);
    });
  }
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
