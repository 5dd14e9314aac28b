/**
 * @typedef {"unreachable" | "unauthorized" | "forbidden" | "not_found" | "busy" | "draining"
 *   | "room_full" | "locked" | "denied" | "closed" | "refused"} JoinReason
 */

/** Why a room could not be joined. `reason` is for programs, `message` for logs. */
export class JoinError extends Error {
  /**
   * @param {JoinReason} reason
   * @param {string} [details]
   */
  constructor(reason, details) {
    super(details ? `${reason}: ${details}` : reason);
    this.name = "JoinError";
    this.reason = reason;
    this.details = details;
  }
}

// 400 is missing on purpose: it is also what a healthy server says to a GET that asks for no upgrade.
/** @type {Record<number, JoinReason>} */
const REASON_OF_STATUS = {
  401: "unauthorized",
  403: "forbidden",
  404: "not_found",
  429: "busy",
  503: "draining",
};

/** @type {Record<string, JoinReason>} */
const REASON_OF_DETAILS = { room_is_full: "room_full", lobby_is_full: "room_full", room_is_locked: "locked", denied: "denied", draining: "draining" };

/** @param {unknown} details of the error `Could not join room` @returns {JoinReason} */
export function whyNotJoined(details) {
  return REASON_OF_DETAILS[String(details)] ?? "refused";
}

/**
 * A browser does not tell a page why a WebSocket was refused, so ask the same address over HTTP.
 *
 * @param {URL} webSocketUrl
 * @returns {Promise<JoinError>}
 */
export async function whyRefused(webSocketUrl) {
  const url = new URL(webSocketUrl);
  url.protocol = url.protocol === "wss:" ? "https:" : "http:";
  try {
    const response = await fetch(url, { method: "GET", cache: "no-store", credentials: "same-origin" });
    await response.body?.cancel();
    const reason = REASON_OF_STATUS[response.status];
    return reason ? new JoinError(reason, `HTTP ${response.status}`) : new JoinError("unreachable", "no WebSocket");
  } catch {
    return new JoinError("unreachable");
  }
}
