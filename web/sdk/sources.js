/** @typedef {import("./messages.js").Source} Source */

/** Lines that every connection has from the start, so that switching a camera on needs no negotiation. @param {Source} source */
export function isBase(source) {
  return source === "microphone" || source === "camera";
}

/** @param {Source} source */
export function kindOf(source) {
  return source === "microphone" || source === "screen-audio" ? "audio" : "video";
}
