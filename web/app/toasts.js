import { h } from "./dom.js";
import { announce } from "./announce.js";
import { t } from "./words.js";

/** Long enough to read a line, and to reach for it. */
const SHOWN_MS = 5_000;
/** More than these would cover the call; the oldest goes. */
const SHOWN_MAX = 3;

/** Short notes that go by themselves. Whatever they say can also be found elsewhere. */
export class Toasts extends HTMLElement {
  connectedCallback() {
    this.className = "toasts";
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", t("Notes"));
  }

  /**
   * @param {string} text
   * @param {{action?: () => void, urgent?: boolean, about?: string}} [options] `action` runs when it is clicked; a note
   *   takes the place of the one before about the same
   */
  say(text, { action, urgent = false, about = "" } = {}) {
    announce(text, { urgent });
    const toast = h(action ? "button" : "div", { className: `toast${urgent ? " urgent" : ""}` }, text);
    if (about) this.querySelector(`[data-about="${about}"]`)?.remove();
    toast.dataset.about = about;
    const remove = () => toast.remove();
    toast.addEventListener("click", () => {
      remove();
      action?.();
    });
    this.append(toast);
    while (this.children.length > SHOWN_MAX) this.firstElementChild?.remove();
    setTimeout(remove, SHOWN_MS);
  }

  /** Removes the notes that lead somewhere, once the person is there. */
  followed() {
    for (const toast of this.querySelectorAll("button.toast")) toast.remove();
  }
}

customElements.define("call-toasts", Toasts);
