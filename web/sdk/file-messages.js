/**
 * What is said on a `file` channel. Every transfer has a channel of its own: text messages are JSON, binary messages are
 * the file's bytes in order. `docs/client.md` describes the exchange.
 *
 * @module
 */

/** Label of the data channels that carry files. */
export const FILE_LABEL = "file";

/** Bytes in one binary message at most; some stacks take no more than 64 KiB. */
export const CHUNK_BYTES = 64 * 1024;

/**
 * Bytes that may be on their way without the receiver having stored them. A data channel has no back-pressure on the
 * receiving side, so without this a slow disk would fill its memory. Large enough for 1 Gbit/s at 60 ms.
 */
export const WINDOW_BYTES = 8 * 1024 * 1024;

/** The receiver reports what it has stored after so many bytes. */
export const REPORT_BYTES = 512 * 1024;

/** Who is cut off from the other side waits for it so long; then the transfer has failed. */
export const RESUME_WITHIN_MS = 120_000;

/** Longest file name that is taken over. */
const NAME_MAX = 200;
/** Longest id of a transfer. */
const ID_MAX = 100;
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * @typedef {{type: "offer", id: string, name: string, size: number, mime: string, modified: number, resumes: boolean}} FileOffer
 * @typedef {{type: "resumes"}} FileResumes
 * @typedef {{type: "ask", id: string}} FileAsk
 * @typedef {{type: "accept", received?: number, sha256?: string}} FileAccept
 * @typedef {{type: "decline"}} FileDecline
 * @typedef {{type: "progress", received: number}} FileProgress
 * @typedef {{type: "end", sha256: string}} FileEnd
 * @typedef {{type: "done"}} FileDone
 * @typedef {{type: "cancel", reason: string, id?: string}} FileCancel
 * @typedef {FileOffer | FileResumes | FileAsk | FileAccept | FileDecline | FileProgress | FileEnd | FileDone | FileCancel} FileMessage
 */

/** @typedef {"offered" | "active" | "interrupted" | "checking" | "done" | "declined" | "cancelled" | "failed"} TransferState */

/**
 * @param {unknown} text
 * @returns {FileMessage | null} `null` for what is not a message of this protocol
 */
export function readFileMessage(text) {
  let message;
  try {
    message = JSON.parse(String(text));
  } catch {
    return null;
  }
  if (typeof message !== "object" || message === null) return null;
  switch (message.type) {
    case "offer": {
      const { id, name, size, mime, modified, resumes } = message;
      if (!isId(id) || typeof name !== "string" || !isCount(size)) return null;
      const kind = typeof mime === "string" ? mime : "";
      return { type: "offer", id, name: safeName(name), size, mime: kind, modified: Number.isSafeInteger(modified) ? modified : 0, resumes: resumes === true };
    }
    case "ask":
      return isId(message.id) ? { type: "ask", id: message.id } : null;
    case "accept": {
      const { received, sha256 } = message;
      if (received === undefined) return { type: "accept" };
      return isCount(received) && (received === 0 || SHA256.test(sha256)) ? { type: "accept", received, sha256 } : null;
    }
    case "progress":
      return isCount(message.received) ? message : null;
    case "end":
      return SHA256.test(message.sha256) ? message : null;
    case "cancel":
      return { type: "cancel", reason: String(message.reason ?? "").slice(0, NAME_MAX), ...(isId(message.id) ? { id: message.id } : {}) };
    case "resumes":
    case "decline":
    case "done":
      return message;
    default:
      return null;
  }
}

/** @param {unknown} id @returns {id is string} */
function isId(id) {
  return typeof id === "string" && id !== "" && id.length <= ID_MAX;
}

/** @param {unknown} count of bytes */
function isCount(count) {
  return Number.isSafeInteger(count) && /** @type {number} */ (count) >= 0;
}

/**
 * A name from another person, made fit for a file system: no folders, no control characters, no text that changes its
 * direction, no leading dot.
 *
 * @param {string} name
 */
export function safeName(name) {
  const last = name.split(/[/\\]/).pop() ?? "";
  const clean = last
    .replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069<>:"|?*]/g, "")
    .replace(/^[.\s]+/, "")
    .trim();
  if (clean.length <= NAME_MAX) return clean || "file";
  const dot = clean.lastIndexOf(".");
  const ending = dot > 0 && clean.length - dot <= 12 ? clean.slice(dot) : "";
  return clean.slice(0, NAME_MAX - ending.length) + ending;
}
