import { Peer } from "./peer.js";

/** @typedef {import("./chat-messages.js").ChatMessage | import("./room-chat.js").SealedChat} Passed */

/**
 * Passes a message on the ways that there are: by the signaling where a server forwards media, or keeps what is said to
 * all; else over the data channels.
 *
 * @param {Passed} message
 * @param {string | undefined} to the id of one; all where there is none
 * @param {object} room
 * @param {Iterable<import("./links.js").Participant>} room.peers
 * @param {boolean} room.isForwarded
 * @param {boolean} room.isKept
 * @param {(message: Passed, to: string[] | "all") => void} room.say by the signaling
 */
export function passChat(message, to, { peers, isForwarded, isKept, say }) {
  const isBySignaling = isForwarded || (to === undefined && isKept);
  if (isBySignaling) say(message, to === undefined ? "all" : [to]);
  for (const peer of peers) {
    if (!(peer instanceof Peer) || (to !== undefined && peer.id !== to)) continue;
    // Who speaks the base protocol may know the channel alone. What is sealed it cannot read either way.
    if (!isBySignaling || (peer.protocol === "base" && !("sealed" in message))) peer.chat.send(JSON.stringify(message));
  }
}
