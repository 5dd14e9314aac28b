import { localeNow, number, t } from "./words.js";

const UNITS = [t("B"), t("kB"), t("MB"), t("GB"), t("TB")];

/** @param {number} bytes */
export function formatBytes(bytes) {
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${number(value, unit === 0 || value >= 100 ? 0 : 1)} ${UNITS[unit]}`;
}

/** @param {number} bits per second */
export function formatRate(bits) {
  if (bits >= 1_000_000) return `${number(bits / 1_000_000, 1)} Mbit/s`;
  return `${Math.round(bits / 1000)} kbit/s`;
}

/**
 * The time of day, with the date where that is another than today's.
 *
 * @param {number} at milliseconds since 1970
 * @param {number} [now] the same
 */
export function formatTime(at, now = Date.now()) {
  const [then, today] = [new Date(at), new Date(now)];
  const time = /** @type {const} */ ({ hour: "2-digit", minute: "2-digit" });
  if (then.toDateString() === today.toDateString()) return then.toLocaleTimeString(localeNow(), time);
  return then.toLocaleString(localeNow(), { year: "numeric", month: "short", day: "numeric", ...time });
}

/** @param {number} seconds */
export function formatDuration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${number(seconds / 3600, 1)} h`;
}

/** What a person is told of a server that ends. @param {import("../sdk/notices.js").Ending} [ending] */
export function farewellOf({ within, forwarded } = { within: 0, forwarded: false }) {
  if (!forwarded) return t("The server is about to restart. The call goes on.");
  if (within <= 0) return t("The server restarts. The call is interrupted for a moment and comes back by itself.");
  return t("The server restarts within {time}. The call is interrupted then for a moment and comes back by itself.", { time: formatDuration(within / 1000) });
}

/** One or two letters that stand for a person. @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return letters.map((word) => [...word][0].toUpperCase()).join("") || "?";
}

/** A number 0 to 7 that stays the same for the same person. @param {string} key */
export function hue(key) {
  let sum = 0;
  for (const character of key) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return sum % 8;
}
