import { randomId } from "./random-id.js";

/** Longest text of one message, in UTF-16 units; longer ones are not shown. */
export const TEXT_MAX = 8_000;
/** What a `Date` can hold, either way (ECMA-262 §21.4.1.1). */
const TIME_MAX = 8.64e15;

/**
 * @typedef {object} ChatMessage
 * @property {"chat"} type
 * @property {string} id made by the sender
 * @property {string} text
 * @property {number} at milliseconds since 1970, by the sender's clock
 * @property {true} [direct] whether it went to one participant alone
 */

/**
 * @param {string} text
 * @param {boolean} [direct]
 * @returns {ChatMessage}
 */
export function makeChat(text, direct = false) {
  // Half a character, as a cut leaves one, would be no text to the others.
  const whole = text.slice(0, TEXT_MAX).replace(/\p{Surrogate}/gu, "\ufffd");
  return { type: "chat", id: randomId(), text: whole, at: Date.now(), ...(direct ? { direct } : {}) };
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
  const { type, text, id, at, direct } = message;
  if (type !== "chat" || typeof text !== "string" || text.length > TEXT_MAX) return null;
  return {
    type,
    text,
    id: typeof id === "string" ? id : randomId(),
    at: typeof at === "number" && Math.abs(at) <= TIME_MAX ? at : Date.now(),
    ...(direct === true ? { direct } : {}),
  };
}
