/**
 * What went wrong in words that help.
 *
 * @typedef {{title: string, advice: string}} Problem
 */

/** @typedef {"camera" | "microphone" | "both"} Device */

/** @type {Record<Device, string>} */
const NAMES = { camera: "camera", microphone: "microphone", both: "camera and microphone" };

/**
 * @param {unknown} error from `getUserMedia`
 * @param {Device} device
 * @returns {Problem}
 */
export function deviceProblem(error, device) {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  const message = error instanceof Error ? error.message : "";
  const what = NAMES[device];
  const What = what[0].toUpperCase() + what.slice(1);
  const are = device === "both" ? "are" : "is";
  const them = device === "both" ? "them" : "it";
  switch (name) {
    case "InsecureContext":
      return {
        title: "This page is not secure",
        advice: `Browsers give a ${NAMES.camera} and a ${NAMES.microphone} only to https:// pages and to localhost. Open the room by such an address.`,
      };
    case "NotAllowedError":
    case "SecurityError":
      if (/system/i.test(message)) {
        return {
          title: `${What} ${are} blocked by the system`,
          advice: `Allow this browser to use ${them} in the privacy settings of your system, then try again.`,
        };
      }
      return {
        title: `${What} ${are} blocked`,
        advice: `Click the icon beside the address at the top, allow ${them} for this page, then try again. You can also join without.`,
      };
    case "NotFoundError":
    case "DevicesNotFoundError":
      return {
        title: `No ${device === "both" ? "camera or microphone" : what} found`,
        advice: "Connect one and try again, or go on without.",
      };
    case "NotReadableError":
    case "AbortError":
    case "TrackStartError":
      return {
        title: `${What} ${are} busy`,
        advice: "Another program or tab may be using it. Close that one and try again.",
      };
    case "OverconstrainedError":
      return { title: `The chosen ${what} is gone`, advice: "Choose another one." };
    default:
      return { title: `${What} could not be started`, advice: message || "Try again, or choose another device." };
  }
}

/** @type {Record<import("../sdk/join-error.js").JoinReason, Problem>} */
const JOIN = {
  unreachable: {
    title: "The server cannot be reached",
    advice: "Check the connection of this device, then try again. A proxy that blocks WebSockets has the same effect.",
  },
  unauthorized: { title: "This room needs an invitation", advice: "Ask for a link with access, or for a new one if yours is old." },
  forbidden: { title: "You may not join this room", advice: "The server does not accept this link or this address." },
  not_found: { title: "There is no such room", advice: "Check the link for a typing mistake." },
  busy: { title: "Too many attempts", advice: "Wait a minute, then try again." },
  draining: { title: "The server is being restarted", advice: "Try again in a moment." },
  room_full: { title: "This room is full", advice: "Try again when someone has left." },
  locked: { title: "This room is locked", advice: "Ask somebody who is in it to unlock it." },
  denied: { title: "You were not let in", advice: "Whoever keeps this room has decided so." },
  closed: { title: "The room was closed", advice: "You can start a new one." },
  refused: { title: "The server refused", advice: "Try again, or ask whoever runs it." },
};

/**
 * @param {unknown} error from `Room.join`
 * @returns {Problem}
 */
export function joinProblem(error) {
  if (error instanceof RangeError) {
    return { title: "This link is damaged", advice: "The key of the room at its end is not whole. Ask for the link again, and copy all of it." };
  }
  if (error instanceof DOMException && error.name === "NotSupportedError") {
    return { title: "This room is encrypted end to end", advice: "This browser cannot do that, or the page is not secure. Use https:// and a browser of today." };
  }
  const reason = /** @type {{reason?: keyof typeof JOIN}} */ (error)?.reason;
  return (reason && JOIN[reason]) ?? JOIN.unreachable;
}

/**
 * @param {import("../sdk/http-session.js").HttpSessionError | null} error why a room is not played
 * @returns {Problem}
 */
export function watchProblem(error) {
  if (error?.status === 401) return { title: "This needs an invitation", advice: "Ask for a link with access, or for a new one if yours is old." };
  if (error?.status === 403) return { title: "You may not watch this room", advice: said(error) };
  return { title: "The server refused", advice: said(error) };
}

/**
 * @param {import("../sdk/http-session.js").HttpSessionError | null} error why nothing is broadcast
 * @returns {Problem}
 */
export function publishProblem(error) {
  if (error?.status === 401) return { title: "This needs an invitation", advice: "Paste a token that may publish in this room, or ask for a link with one." };
  if (error?.status === 403) return { title: "You may not broadcast in this room", advice: said(error) };
  if (error?.status === 409) return { title: "Nothing can be broadcast in this room", advice: said(error) };
  return { title: "The server refused", advice: said(error) };
}

/** @param {import("../sdk/http-session.js").HttpSessionError | null} error */
function said(error) {
  return error?.details ? `The server says: ${error.details}` : "Ask whoever runs it.";
}

/** @type {Problem} */
export const PEER_FAILED = {
  title: "No connection",
  advice: "A firewall or a VPN may be in the way. It is tried again; another network often helps.",
};

/**
 * @param {unknown} error from `getDisplayMedia`
 * @returns {Problem | null} `null` when the person simply changed their mind
 */
export function screenProblem(error) {
  const { name = "", message = "" } = /** @type {Error} */ (error) ?? {};
  if (name === "NotAllowedError" && !/system/i.test(message)) return null;
  if (name === "NotAllowedError") {
    return { title: "Sharing is blocked by the system", advice: "Allow this browser to record the screen in the privacy settings." };
  }
  return { title: "The screen could not be shared", advice: message || "Try another window or tab." };
}
