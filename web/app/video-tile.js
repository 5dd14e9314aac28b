import { h, setText } from "./dom.js";
import { hue, initials } from "./format.js";
import { icon } from "./icons.js";
import { barsOf, ratingOf, troubleOf } from "./quality-feed.js";
import { SignalBars } from "./signal-bars.js";
import { canChooseSpeaker } from "./device-picker.js";
import { remembered } from "./preferences.js";
import { t } from "./words.js";

/**
 * What a tile shows.
 *
 * @typedef {object} TileContent
 * @property {string} name
 * @property {string} label for screen readers, such as `Ada, microphone off`
 * @property {MediaStreamTrack | null} picture
 * @property {MediaStreamTrack[]} sound
 * @property {boolean} isSilent whether the microphone is off
 * @property {string} status over the picture, such as `Connecting…`; empty for none
 * @property {string} advice below the status
 * @property {boolean} canRetry
 * @property {number} [hand] which raised hand this one's is, from 1; 0 for none
 * @property {import("../sdk/qualities.js").Quality | null} [quality] of a connection that is not good
 * @property {boolean} [canPin] whether it may be shown large
 * @property {boolean} [isPinned]
 * @property {boolean} [canMute] for who may moderate, as the next
 * @property {boolean} [canRemove]
 */

/** One participant, or one shared screen. */
export class VideoTile extends HTMLElement {
  #video = h("video", { autoplay: true, muted: true, playsInline: true, tabIndex: -1 });
  #audio = h("audio", { autoplay: true });
  #avatar = h("div", { className: "avatar", "aria-hidden": "true" });
  #name = h("span", { className: "tile-name" });
  #silent = h("span", { className: "tile-silent", hidden: true }, icon("microphone-off"));
  #hand = h("span", { className: "tile-hand", hidden: true }, icon("hand"), h("span"));
  #bars = new SignalBars();
  #apart = h("button", { className: "tile-apart", hidden: true, onclick: () => this.#popOut() }, icon("picture-in-picture"));
  #pin = h("button", { className: "tile-pin", hidden: true, onclick: () => this.dispatchEvent(new CustomEvent("pin")) }, icon("pin"));
  #status = h("strong");
  #advice = h("p");
  #retry = h("button", { className: "button small", onclick: () => this.dispatchEvent(new CustomEvent("retry")) }, t("Try now"));
  #over = h("div", { className: "tile-status", hidden: true }, this.#status, this.#advice, this.#retry);
  #mute = h("button", { className: "button small", onclick: () => this.dispatchEvent(new CustomEvent("mute")) }, t("Mute"));
  #remove = h("button", { className: "button small", onclick: () => this.dispatchEvent(new CustomEvent("remove")) }, t("Remove"));
  #order = h("div", { className: "tile-order", hidden: true }, this.#mute, this.#remove);
  #statistics = h("dl", { className: "tile-statistics", hidden: true });
  #onSpeaker = () => this.#useSpeaker();

  /** @param {"person" | "self" | "screen"} role */
  constructor(role) {
    super();
    this.className = `tile ${role}`;
    this.setAttribute("role", "group");
    if (role === "self") this.#video.classList.add("mirrored");
    this.append(
      this.#video,
      this.#audio,
      this.#avatar,
      this.#over,
      h("div", { className: "tile-label", "aria-hidden": "true" }, this.#hand, this.#silent, this.#bars, this.#name),
      this.#statistics,
      h("div", { className: "tile-tools" }, this.#order, this.#apart, this.#pin),
    );
    this.addEventListener("dblclick", ({ target }) => !this.#pin.hidden && !(target instanceof Element && target.closest("button")) && this.#pin.click());
    this.#video.onresize = () => this.dispatchEvent(new CustomEvent("shape"));
  }

  connectedCallback() {
    document.addEventListener("speaker-change", this.#onSpeaker);
    this.#useSpeaker();
  }

  disconnectedCallback() {
    document.removeEventListener("speaker-change", this.#onSpeaker);
    this.#video.srcObject = null;
    this.#audio.srcObject = null;
  }

  /** @param {TileContent} content */
  show({ name, label, picture, sound, isSilent, status, advice, canRetry, hand = 0, quality = null, canPin = false, isPinned = false, canMute = false, canRemove = false }) {
    this.setAttribute("aria-label", label);
    setText(this.#name, name);
    setText(this.#avatar, initials(name));
    this.#avatar.dataset.hue = String(hue(name));
    this.#silent.hidden = !isSilent;
    this.#bars.hidden = !quality;
    if (quality) this.#bars.show(barsOf(quality), `${ratingOf(quality)}: ${troubleOf(quality)}`);
    this.#hand.hidden = hand === 0;
    setText(/** @type {Element} */ (this.#hand.lastElementChild), String(hand));
    this.#pin.hidden = !canPin;
    this.#apart.hidden = !picture || !document.pictureInPictureEnabled;
    saying(this.#apart, t("Show {name} in a window of its own", { name }));
    this.#pin.setAttribute("aria-pressed", String(isPinned));
    const pin = isPinned ? t("Unpin {name}", { name }) : t("Pin {name}", { name });
    saying(this.#pin, pin);
    use(this.#video, picture ? [picture] : []);
    use(this.#audio, sound);
    this.#video.hidden = !picture;
    // Words take the place of the initials; over a picture they darken it.
    this.#avatar.hidden = Boolean(picture) || status !== "";
    this.#over.hidden = status === "";
    this.#over.classList.toggle("over-picture", Boolean(picture));
    setText(this.#status, status);
    setText(this.#advice, advice);
    this.#retry.hidden = !canRetry;
    this.#order.hidden = !canMute && !canRemove;
    this.#mute.hidden = !canMute;
    this.#remove.hidden = !canRemove;
    this.#mute.setAttribute("aria-label", t("Mute {name}", { name }));
    this.#remove.setAttribute("aria-label", t("Remove {name}", { name }));
  }

  /** @param {import("./arrange.js").Place} place */
  put({ x, y, width, height, floating }) {
    this.style.transform = `translate(${x}px, ${y}px)`;
    this.style.width = `${width}px`;
    this.style.height = `${height}px`;
    this.style.setProperty("--side", `${Math.min(width, height)}px`);
    // Only a tile that is somewhere moves; a new one appears in its place.
    if (!this.classList.contains("placed")) requestAnimationFrame(() => this.classList.add("placed"));
    this.classList.toggle("floating", floating);
    this.classList.toggle("tiny", Math.min(width, height) < 130);
  }

  /** In a small window over all others, or back from there. */
  async #popOut() {
    try {
      if (document.pictureInPictureElement === this.#video) await document.exitPictureInPicture();
      else await this.#video.requestPictureInPicture();
    } catch {
      // The browser does not let it now; the picture stays where it is.
    }
  }

  set speaking(/** @type {boolean} */ on) {
    this.classList.toggle("speaking", on);
  }

  /** @param {[string, string][] | null} rows `null` hides them */
  showStatistics(rows) {
    this.#statistics.hidden = !rows;
    if (rows) this.#statistics.replaceChildren(...rows.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]));
  }

  /** Starts sound that the browser held back until there was a click. */
  async play() {
    await Promise.all([this.#video, this.#audio].filter(({ srcObject }) => srcObject).map((element) => element.play()));
  }

  #useSpeaker() {
    const { speaker } = remembered();
    if (!canChooseSpeaker || /** @type {any} */ (this.#audio).sinkId === speaker) return;
    // A speaker that is gone: the system's own goes on playing.
    /** @type {any} */ (this.#audio).setSinkId(speaker).catch(() => {});
  }
}

/** What a button of an icon does. @param {HTMLElement} button @param {string} does */
function saying(button, does) {
  if (button.getAttribute("aria-label") === does) return;
  button.setAttribute("aria-label", does);
  button.title = does;
}

/**
 * @param {HTMLMediaElement} element
 * @param {MediaStreamTrack[]} tracks
 */
function use(element, tracks) {
  const stream = /** @type {MediaStream | null} */ (element.srcObject);
  const now = stream?.getTracks() ?? [];
  if (now.length === tracks.length && tracks.every((track) => now.includes(track))) return;
  element.srcObject = tracks.length > 0 ? new MediaStream(tracks) : null;
  if (tracks.length > 0) element.play().catch((error) => heldBack(element, error));
}

/**
 * @param {HTMLMediaElement} element
 * @param {Error} error from `play`; other names than this one mean that the source changed meanwhile
 */
function heldBack(element, error) {
  if (error.name === "NotAllowedError") element.dispatchEvent(new CustomEvent("held-back", { bubbles: true }));
}

customElements.define("video-tile", VideoTile);
