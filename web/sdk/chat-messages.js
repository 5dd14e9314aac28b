import { randomId } from "./random-id.js";

/** Longest text of one message, in UTF-16 units; longer ones are not shown. */
export const TEXT_MAX = 8_000;

/**
 * @typedef {object} ChatMessage
 * @property {"chat"} type
 * @property {string} id made by the sender
 * @property {string} text
 * @property {number} at milliseconds since 1970, by the sender's clock
 */

/**
 * @param {string} text
 * @returns {ChatMessage}
 */
export function makeChat(text) {
  return { type: "chat", id: randomId(), text: text.slice(0, TEXT_MAX), at: Date.now() };
}

/**
 * Reads what came over a `chat` channel. A peer that only knows text (a native example, a terminal) is understood too.
 *
 * @param {string} data
 * @returns {ChatMessage | null}
 */
export function readChat(data) {
  if (data.length > 4 * TEXT_MAX) return null;
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    return data.trim() === "" ? null : makeChat(data);
  }
  if (typeof message !== "object" || message === null) return makeChat(data);
  const { type, text, id, at } = message;
  if (type !== "chat" || typeof text !== "string" || text.length > TEXT_MAX) return null;
  return {
    type,
    text,
    id: typeof id === "string" ? id : randomId(),
    at: typeof at === "number" && Number.isFinite(at) ? at : Date.now(),
  };
}
