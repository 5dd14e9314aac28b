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

/** Longest file name that is taken over. */
const NAME_MAX = 200;

/**
 * @typedef {{type: "offer", id: string, name: string, size: number, mime: string}} FileOffer
 * @typedef {{type: "accept"}} FileAccept
 * @typedef {{type: "decline"}} FileDecline
 * @typedef {{type: "progress", received: number}} FileProgress
 * @typedef {{type: "end", sha256: string}} FileEnd
 * @typedef {{type: "done"}} FileDone
 * @typedef {{type: "cancel", reason: string}} FileCancel
 * @typedef {FileOffer | FileAccept | FileDecline | FileProgress | FileEnd | FileDone | FileCancel} FileMessage
 */

/** @typedef {"offered" | "active" | "checking" | "done" | "declined" | "cancelled" | "failed"} TransferState */

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
      const { id, name, size, mime } = message;
      if (typeof id !== "string" || typeof name !== "string" || !Number.isSafeInteger(size) || size < 0) return null;
      return { type: "offer", id, name: safeName(name), size, mime: typeof mime === "string" ? mime : "" };
    }
    case "progress":
      return Number.isSafeInteger(message.received) && message.received >= 0 ? message : null;
    case "end":
      return /^[0-9a-f]{64}$/.test(message.sha256) ? message : null;
    case "cancel":
      return { type: "cancel", reason: String(message.reason ?? "").slice(0, NAME_MAX) };
    case "accept":
    case "decline":
    case "done":
      return message;
    default:
      return null;
  }
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
