import { WhepPlayer } from "../sdk/whep-player.js";
import { announce } from "./announce.js";
import { h, setText } from "./dom.js";
import { formatRate } from "./format.js";
import { icon } from "./icons.js";
import { watchProblem } from "./problems.js";
import { listenToKeys } from "./shortcuts.js";
import { describeAudio, describeVideo } from "./statistics-feed.js";
import { t, tn } from "./words.js";

/** @typedef {HTMLVideoElement & {webkitEnterFullscreen?: () => void}} Video */

/** Plays a room, with what one needs around it. */
export class LivePlayer extends HTMLElement {
  /** Says whether something is broadcast; for the head of the page. */
  badge = h("span", { className: "live-badge", hidden: true }, t("Live"));
  #player;
  #name;
  /** @type {Video} */ #video;
  #title = h("strong");
  #advice = h("p");
  #tap = h("button", { type: "button", className: "button primary large", hidden: true, onclick: () => this.#tapped() });
  #status = h("div", { className: "player-status", role: "status" }, this.#title, this.#advice);
  #over = h("div", { className: "player-over" }, this.#status, this.#tap);
  #sound = button("speaker", () => this.#toggleSound());
  #run = button("stop", () => this.#toggleRun());
  #statisticsButton = button("statistics", () => this.#toggleStatistics());
  #pip = button("picture-in-picture", () => this.#togglePip());
  #full = button("full-screen", () => this.#toggleFull());
  #delay = h("span", { className: "player-delay", title: t("From the server to the eye: the way, and what waits here") });
  #viewers = h("span", { className: "player-viewers", hidden: true });
  #quality = h("select", { hidden: true, "aria-label": t("Quality"), title: t("Quality"), onchange: () => this.#chooseQuality() });
  #statistics = h("dl", { className: "player-statistics", hidden: true });
  #stop = new AbortController();
  /** Whether the person wants sound; the browser may hold it back until there is a click. */
  #wantsSound;
  /** Whether the browser refused to play, and what: `sound`, or everything. @type {"" | "sound" | "all"} */
  #heldBack = "";
  #wasLive = false;

  /** @param {{url: URL, token: string, name: string, muted: boolean}} options */
  constructor({ url, token, name, muted }) {
    super();
    this.#name = name;
    this.#wantsSound = !muted;
    this.#video = h("video", { autoplay: true, playsInline: true, muted, tabIndex: -1, "aria-label": t("What is broadcast in {room}", { room: name }) });
    this.#player = new WhepPlayer({ url, token });
  }

  connectedCallback() {
    this.className = "player";
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", t("Player"));
    label(this.#statisticsButton, t("Statistics"), "I");
    label(this.#pip, t("Picture in picture"), "P");
    label(this.#full, t("Full screen"), "F");
    this.#statisticsButton.setAttribute("aria-expanded", "false");
    this.#pip.hidden = !document.pictureInPictureEnabled;
    this.#full.hidden = !document.fullscreenEnabled && !this.#video.webkitEnterFullscreen;
    this.replaceChildren(
      h("div", { className: "player-picture" }, this.#video, this.#over, this.#statistics),
      h("div", { className: "player-controls", role: "group", "aria-label": t("Playback") }, this.#run, this.#sound, this.#delay, this.#viewers, h("span", { className: "gap" }), this.#quality, this.#statisticsButton, this.#pip, this.#full),
    );
    const { signal } = this.#stop;
    this.#video.addEventListener("volumechange", () => this.#refresh(), { signal });
    this.#video.addEventListener("playing", () => this.#refresh(), { signal });
    document.addEventListener("fullscreenchange", () => label(this.#full, document.fullscreenElement ? t("Leave full screen") : t("Full screen"), "F"), { signal });
    listenToKeys({ m: () => this.#toggleSound(), i: () => this.#toggleStatistics(), p: () => this.#togglePip(), f: () => this.#toggleFull() }, signal);
    let wasOn = false;
    addEventListener("pagehide", () => {
      wasOn = this.#isOn;
      this.#player.stop();
    }, { signal });
    addEventListener("pageshow", ({ persisted }) => persisted && wasOn && this.#player.start(), { signal }); // back from the cache of pages
    this.#player.on("change", () => this.#changed());
    this.#player.on("audience", () => this.#showAudience());
    this.#player.on("stats", (stats) => this.#show(stats));
    this.#player.start();
    this.#refresh();
  }

  disconnectedCallback() {
    this.#stop.abort();
    this.#player.stop();
  }

  get #isOn() {
    return !["idle", "refused", "closed"].includes(this.#player.state);
  }

  #changed() {
    const { stream, isLive } = this.#player;
    if (this.#video.srcObject !== stream && (stream || !this.#isOn)) {
      this.#video.srcObject = stream; // while it is mended, the last picture stays
      if (stream) this.#play();
    }
    if (isLive !== this.#wasLive && isLive) announce(t("{room} is live", { room: this.#name }));
    this.#wasLive = isLive;
    this.#refresh();
  }

  async #play() {
    try {
      this.#video.muted = !this.#wantsSound;
      await this.#video.play();
      this.#heldBack = "";
    } catch (error) {
      if (/** @type {Error} */ (error).name !== "NotAllowedError") return; // the source changed meanwhile
      // Without sound most browsers let it play.
      this.#video.muted = true;
      this.#heldBack = this.#wantsSound ? "sound" : "all";
      await this.#video.play().catch(({ name }) => name === "NotAllowedError" && (this.#heldBack = "all"));
    }
    this.#refresh();
  }

  #tapped() {
    this.#play();
    this.#sound.focus();
  }

  #toggleSound() {
    this.#wantsSound = this.#video.muted;
    this.#heldBack = "";
    this.#play();
    announce(this.#wantsSound ? t("Sound on") : t("Sound off"));
  }

  #toggleRun() {
    if (this.#isOn) this.#player.stop();
    else this.#player.start();
    this.#changed();
  }

  #toggleStatistics() {
    this.#statistics.hidden = !this.#statistics.hidden;
    this.#statisticsButton.setAttribute("aria-expanded", String(!this.#statistics.hidden));
  }

  async #togglePip() {
    if (!document.pictureInPictureEnabled) return;
    // Without a picture there is nothing to be shown, which the page says already.
    await (document.pictureInPictureElement ? document.exitPictureInPicture() : this.#video.requestPictureInPicture()).catch(() => {});
  }

  async #toggleFull() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (document.fullscreenEnabled) await this.requestFullscreen().catch(() => {});
    else this.#video.webkitEnterFullscreen?.(); // phones that know no other
  }

  #chooseQuality() {
    const { value, selectedOptions } = this.#quality;
    this.#player.choose(value === "" ? {} : { rid: value });
    announce(t("Quality: {quality}", { quality: selectedOptions[0]?.textContent ?? "" }));
  }

  /** How many look on, and which qualities there are. */
  #showAudience() {
    const { viewers, layers, canChoose, choice } = this.#player;
    this.#viewers.hidden = viewers === null;
    setText(this.#viewers, viewers === null ? "" : tn(viewers, "{count} watching", "{count} watching"));
    const qualities = new Map(layers.flatMap(({ rid, height }) => (rid ? [[rid, height ? `${height}p` : rid]] : [])));
    const isOffered = canChoose && qualities.size > 1;
    // Who has opened the list keeps it.
    const names = ["", ...[...qualities.keys()].reverse()];
    const words = [t("Auto"), ...[...qualities.values()].reverse()];
    const { options } = this.#quality;
    if (isOffered && (options.length !== names.length || names.some((name, i) => options[i].value !== name || options[i].textContent !== words[i]))) {
      this.#quality.replaceChildren(...names.map((value, i) => h("option", { value }, words[i])));
      this.#quality.value = names.includes(choice.rid ?? "") ? (choice.rid ?? "") : "";
    }
    this.#quality.hidden = !isOffered;
  }

  /** Shows how it is now. */
  #refresh() {
    const { state, isLive, error } = this.#player;
    const { title, advice } = words(state, isLive, error);
    const tap = !isLive ? "" : this.#heldBack === "all" ? t("Tap to play") : this.#heldBack === "sound" ? t("Tap for sound") : "";
    setText(this.#title, title);
    setText(this.#advice, advice);
    this.#status.hidden = title === "";
    setText(this.#tap, tap);
    this.#tap.hidden = tap === "";
    this.#over.classList.toggle("dark", title !== "" || this.#heldBack === "all");
    this.#video.hidden = !this.#video.srcObject;
    this.badge.hidden = !isLive || state !== "connected";
    label(this.#run, this.#isOn ? t("Stop") : t("Play"));
    swap(this.#run, this.#isOn ? "stop" : "play");
    label(this.#sound, this.#video.muted ? t("Sound on ^button") : t("Sound off ^button"), "M");
    swap(this.#sound, this.#video.muted ? "speaker-off" : "speaker");
    if (!isLive) setText(this.#delay, "");
  }

  /** @param {import("../sdk/stats.js").CallStats} stats */
  #show({ transport, tracks }) {
    const incoming = tracks.filter(({ direction, packets }) => direction === "in" && packets > 0);
    const waits = incoming.flatMap(({ delayMs, bitrate }) => (delayMs === null || bitrate === 0 ? [] : [delayMs]));
    const way = (transport.rttMs ?? 0) / 2;
    const delay = waits.length > 0 && this.#player.isLive ? Math.round(way + Math.max(...waits)) : null;
    setText(this.#delay, delay === null ? "" : `${delay} ms`);
    if (this.#statistics.hidden) return;
    const video = incoming.find(({ kind }) => kind === "video");
    const sounds = incoming.filter(({ kind, bitrate }) => kind === "audio" && bitrate > 0);
    /** @type {[string, string][]} */
    const rows = [
      [t("Delay"), delay === null ? "–" : t("{delay} ms, {way} on the way", { delay, way: Math.round(way) })],
      [t("Rate"), formatRate(incoming.reduce((sum, { bitrate }) => sum + bitrate, 0))],
    ];
    if (video) rows.push([t("Video"), describeVideo(video)]);
    for (const sound of sounds) rows.push([t("Audio"), describeAudio(sound)]);
    rows.push([t("Round trip"), transport.rttMs === null ? "–" : `${Math.round(transport.rttMs)} ms`]);
    rows.push([t("Path"), [transport.local && `${transport.local} → ${transport.remote}, ${transport.protocol}`, transport.dtls].filter(Boolean).join(", ") || "–"]);
    this.#statistics.replaceChildren(...rows.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]));
  }
}

/**
 * @param {import("../sdk/http-session.js").HttpSessionState} state
 * @param {boolean} isLive
 * @param {import("../sdk/http-session.js").HttpSessionError | null} error
 */
function words(state, isLive, error) {
  const nothing = { title: t("Nothing is broadcast here yet"), advice: t("It begins by itself as soon as something is.") };
  switch (state) {
    case "idle":
    case "closed":
      return { title: t("Stopped"), advice: "" };
    case "connected":
      return isLive ? { title: "", advice: "" } : nothing;
    case "absent":
      return error?.status === 409 ? { ...nothing, advice: t("The server says: {words}. It is asked again from time to time.", { words: error.details || "conflict" }) } : nothing;
    case "refused":
      return watchProblem(error);
    case "interrupted":
      return { title: t("Connection interrupted"), advice: t("Reconnecting…") };
    default:
      return error ? { title: t("The server cannot be reached"), advice: t("It is tried again.") } : { title: t("Connecting…"), advice: "" };
  }
}

/** @param {string} name of the icon @param {() => void} onclick */
function button(name, onclick) {
  return h("button", { type: "button", className: "icon-button", onclick, "data-action": name, "data-icon": name }, icon(name));
}

/** @param {HTMLElement} element @param {string} name */
function swap(element, name) {
  if (element.dataset.icon === name) return;
  element.dataset.icon = name;
  element.replaceChildren(icon(name));
}

/** @param {HTMLElement} element @param {string} text @param {string} [key] */
function label(element, text, key) {
  if (element.getAttribute("aria-label") === text) return;
  element.setAttribute("aria-label", text);
  element.title = key ? `${text} (${key})` : text;
  if (key) element.setAttribute("aria-keyshortcuts", key.toLowerCase());
}

customElements.define("live-player", LivePlayer);
