import { h } from "./dom.js";

/** A text stays this long, so that the same words said again are heard again. */
const CLEAR_MS = 3_000;

const polite = h("div", { className: "unseen", role: "status", "aria-live": "polite" });
const assertive = h("div", { className: "unseen", role: "alert", "aria-live": "assertive" });
/** @type {Map<HTMLElement, number>} */
const timers = new Map();

/** Puts the live regions into the page; they must be there before they speak. */
export function installAnnouncer() {
  document.body.append(polite, assertive);
}

/**
 * Tells those who listen to the page what others see.
 *
 * @param {string} text
 * @param {{urgent?: boolean}} [options]
 */
export function announce(text, { urgent = false } = {}) {
  const region = urgent ? assertive : polite;
  region.append(h("p", {}, text));
  clearTimeout(timers.get(region));
  timers.set(
    region,
    setTimeout(() => region.replaceChildren(), CLEAR_MS),
  );
}
