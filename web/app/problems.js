/**
 * What went wrong in words that help.
 *
 * @typedef {{title: string, advice: string}} Problem
 */
import { t } from "./words.js";

/** @typedef {"camera" | "microphone" | "both"} Device */

/**
 * @param {unknown} error from `getUserMedia`
 * @param {Device} device
 * @returns {Problem}
 */
export function deviceProblem(error, device) {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  const message = error instanceof Error ? error.message : "";
  switch (name) {
    case "InsecureContext":
      return {
        title: t("This page is not secure"),
        advice: t("Browsers give a camera and a microphone only to https:// pages and to localhost. Open the room by such an address."),
      };
    case "NotAllowedError":
    case "SecurityError":
      return /system/i.test(message) ? blockedBySystem(device) : blocked(device);
    case "NotFoundError":
    case "DevicesNotFoundError":
      return {
        title: { camera: t("No camera found"), microphone: t("No microphone found"), both: t("No camera or microphone found") }[device],
        advice: t("Connect one and try again, or go on without."),
      };
    case "NotReadableError":
    case "AbortError":
    case "TrackStartError":
      return {
        title: { camera: t("Camera is busy"), microphone: t("Microphone is busy"), both: t("Camera and microphone are busy") }[device],
        advice: t("Another program or tab may be using it. Close that one and try again."),
      };
    case "OverconstrainedError":
      return {
        title: { camera: t("The chosen camera is gone"), microphone: t("The chosen microphone is gone"), both: t("The chosen camera and microphone are gone") }[device],
        advice: t("Choose another one."),
      };
    default:
      return {
        title: { camera: t("Camera could not be started"), microphone: t("Microphone could not be started"), both: t("Camera and microphone could not be started") }[device],
        advice: message || t("Try again, or choose another device."),
      };
  }
}

/** @param {Device} device @returns {Problem} */
function blockedBySystem(device) {
  return {
    title: { camera: t("Camera is blocked by the system"), microphone: t("Microphone is blocked by the system"), both: t("Camera and microphone are blocked by the system") }[device],
    advice:
      device === "both"
        ? t("Allow this browser to use them in the privacy settings of your system, then try again.")
        : t("Allow this browser to use it in the privacy settings of your system, then try again."),
  };
}

/** @param {Device} device @returns {Problem} */
function blocked(device) {
  return {
    title: { camera: t("Camera is blocked"), microphone: t("Microphone is blocked"), both: t("Camera and microphone are blocked") }[device],
    advice:
      device === "both"
        ? t("Click the icon beside the address at the top, allow them for this page, then try again. You can also join without.")
        : t("Click the icon beside the address at the top, allow it for this page, then try again. You can also join without."),
  };
}

/** @type {Record<import("../sdk/join-error.js").JoinReason, Problem>} */
const JOIN = {
  unreachable: {
    title: t("The server cannot be reached"),
    advice: t("Check the connection of this device, then try again. A proxy that blocks WebSockets has the same effect."),
  },
  unauthorized: { title: t("This room needs an invitation"), advice: t("Ask for a link with access, or for a new one if yours is old.") },
  forbidden: { title: t("You may not join this room"), advice: t("The server does not accept this link or this address.") },
  not_found: { title: t("There is no such room"), advice: t("Check the link for a typing mistake.") },
  busy: { title: t("Too many attempts"), advice: t("Wait a minute, then try again.") },
  draining: { title: t("The server is being restarted"), advice: t("Try again in a moment.") },
  room_full: { title: t("This room is full"), advice: t("Try again when someone has left.") },
  locked: { title: t("This room is locked"), advice: t("Ask somebody who is in it to unlock it.") },
  denied: { title: t("You were not let in"), advice: t("Whoever keeps this room has decided so.") },
  closed: { title: t("The room was closed"), advice: t("You can start a new one.") },
  refused: { title: t("The server refused"), advice: t("Try again, or ask whoever runs it.") },
};

/**
 * @param {unknown} error from `Room.join`
 * @returns {Problem}
 */
export function joinProblem(error) {
  if (error instanceof RangeError) {
    return { title: t("This link is damaged"), advice: t("The key of the room at its end is not whole. Ask for the link again, and copy all of it.") };
  }
  if (error instanceof DOMException && error.name === "NotSupportedError") {
    return { title: t("This room is encrypted end to end"), advice: t("This browser cannot do that, or the page is not secure. Use https:// and a browser of today.") };
  }
  const reason = /** @type {{reason?: keyof typeof JOIN}} */ (error)?.reason;
  return (reason && JOIN[reason]) ?? JOIN.unreachable;
}

/**
 * @param {import("../sdk/http-session.js").HttpSessionError | null} error why a room is not played
 * @returns {Problem}
 */
export function watchProblem(error) {
  if (error?.status === 401) return { title: t("This needs an invitation"), advice: t("Ask for a link with access, or for a new one if yours is old.") };
  if (error?.status === 403) return { title: t("You may not watch this room"), advice: said(error) };
  return { title: t("The server refused"), advice: said(error) };
}

/**
 * @param {import("../sdk/http-session.js").HttpSessionError | null} error why nothing is broadcast
 * @returns {Problem}
 */
export function publishProblem(error) {
  if (error?.status === 401) return { title: t("This needs an invitation"), advice: t("Paste a token that may publish in this room, or ask for a link with one.") };
  if (error?.status === 403) return { title: t("You may not broadcast in this room"), advice: said(error) };
  if (error?.status === 409) return { title: t("Nothing can be broadcast in this room"), advice: said(error) };
  return { title: t("The server refused"), advice: said(error) };
}

/** @param {import("../sdk/http-session.js").HttpSessionError | null} error */
function said(error) {
  return error?.details ? t("The server says: {words}", { words: error.details }) : t("Ask whoever runs it.");
}

/** @type {Problem} */
export const PEER_FAILED = {
  title: t("No connection"),
  advice: t("A firewall or a VPN may be in the way. It is tried again; another network often helps."),
};

/**
 * @param {unknown} error from `getDisplayMedia`
 * @returns {Problem | null} `null` when the person simply changed their mind
 */
export function screenProblem(error) {
  const { name = "", message = "" } = /** @type {Error} */ (error) ?? {};
  if (name === "NotAllowedError" && !/system/i.test(message)) return null;
  if (name === "NotAllowedError") {
    return { title: t("Sharing is blocked by the system"), advice: t("Allow this browser to record the screen in the privacy settings.") };
  }
  return { title: t("The screen could not be shared"), advice: message || t("Try another window or tab.") };
}
