import { h } from "./dom.js";
import { REACTIONS } from "../sdk/gestures.js";
import { t } from "./words.js";

/** @typedef {import("../sdk/messages.js").Emoji} Emoji */

/** As they are called. @type {Record<Emoji, string>} */
export const REACTION_NAMES = {
  "👍": t("Thumbs up"),
  "👎": t("Thumbs down"),
  "👏": t("Applause"),
  "❤️": t("Heart"),
  "🎉": t("Celebration"),
  "😂": t("Laughter"),
  "😮": t("Surprise"),
  "😢": t("Sadness"),
  "🤔": t("Thinking"),
};

/** How long a reaction is seen over a tile. */
const SHOWN_MS = 4_000;
/** More than these at once would cover a face; the oldest goes. */
const SHOWN_MAX = 5;

/** Reactions to choose from. */
export class ReactionBar extends HTMLElement {
  #choose;

  /** @param {(emoji: Emoji) => void} choose */
  constructor(choose) {
    super();
    this.#choose = choose;
  }

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.id = "reaction-bar";
    this.popover = "auto";
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", t("Reactions"));
    const buttons = REACTIONS.map((emoji) =>
      h("button", { type: "button", className: "reaction", "aria-label": REACTION_NAMES[emoji], title: REACTION_NAMES[emoji], onclick: () => this.#choose(emoji) }, emoji),
    );
    buttons[0].autofocus = true;
    this.append(...buttons);
  }
}

/**
 * Shows a reaction over a tile, or over all of them with a name. What it says to those who see nothing is said elsewhere.
 *
 * @param {HTMLElement} tile
 * @param {Emoji} emoji
 * @param {string} [name]
 */
export function showReaction(tile, emoji, name = "") {
  let place = tile.querySelector(":scope > .tile-reactions");
  if (!place) {
    place = h("div", { className: "tile-reactions", "aria-hidden": "true" });
    tile.append(place);
  }
  const shown = h("span", {}, emoji, name && h("small", {}, name));
  shown.style.setProperty("--aside", `${Math.round(Math.random() * 60 - 30)}%`);
  place.append(shown);
  while (place.childElementCount > SHOWN_MAX) place.firstElementChild?.remove();
  setTimeout(() => shown.remove(), SHOWN_MS);
}

customElements.define("reaction-bar", ReactionBar);
