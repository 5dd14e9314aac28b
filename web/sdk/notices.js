/**
 * What a server says of its end.
 *
 * @typedef {object} Ending
 * @property {number} within milliseconds until the connections with it are closed, at the latest
 * @property {boolean} forwarded whether media goes through it, and so ends with it
 */

/**
 * What a person should know.
 *
 * @typedef {object} Notice
 * @property {string} kind `announcement`, `kicked`, `muted`, `draining`, `error`
 * @property {string} text
 * @property {Ending} [ending] of a server that drains
 */

/**
 * The notice in what a server says.
 *
 * @param {string} event
 * @param {any} data
 * @returns {Notice}
 */
export function noticeOf(event, data) {
  switch (event) {
    case "announcement":
      return { kind: event, text: typeof data?.text === "string" ? data.text : JSON.stringify(data) };
    case "draining":
      return { kind: event, text: String(data?.reason ?? ""), ending: endingOf(data) };
    case "kicked":
      return { kind: event, text: String(data?.reason ?? "") };
    default:
      return { kind: event, text: String(data?.description ?? "") };
  }
}

/** @param {any} data of `draining` @returns {Ending} */
function endingOf(data) {
  const within = Number(data?.deadline_ms);
  return { within: within > 0 ? within : 0, forwarded: data?.forwarded === true };
}
