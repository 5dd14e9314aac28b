import { announce } from "./announce.js";
import { LAYOUTS } from "./arrange.js";
import { ChatPanel } from "./chat-panel.js";
import { Controls } from "./controls.js";
import { helpDialog, settingsDialog } from "./dialogs.js";
import { h, setText } from "./dom.js";
import { FileDrop } from "./file-drop.js";
import { farewellOf, formatBytes } from "./format.js";
import { GestureNotes } from "./gesture-notes.js";
import { icon, mark } from "./icons.js";
import { PeopleList } from "./people-list.js";
import { remember, remembered } from "./preferences.js";
import { barsOf, troubleOf } from "./quality-feed.js";
import { ReactionBar } from "./reaction-bar.js";
import { CallRecorder } from "./report.js";
import { ScreenShare } from "./screen-share.js";
import { listenToKeys } from "./shortcuts.js";
import { MutedHint } from "./muted-hint.js";
import { OrderBar } from "./order-bar.js";
import { listenToSpace } from "./push-to-talk.js";
import { Stage, nameOf } from "./stage.js";
import { Toasts } from "./toasts.js";
import { stopped, turned } from "./device-words.js";
import { t, tn } from "./words.js";

/**
 * @typedef {import("../sdk/room.js").Room} Room
 * @typedef {import("./local-devices.js").LocalDevices} LocalDevices
 * @typedef {import("./local-devices.js").Kind} Kind
 */

/** Why somebody was removed, in words. @type {Record<string, string>} */
const FAREWELLS = {
  token_expired: t("Your invitation has ended"),
  token_revoked: t("Your invitation was taken back"),
  room_closed: t("The room was closed"),
};

/** What is said once somebody turned it off. @type {Record<string, string>} */
const TURNED_OFF = {
  microphone: t("You were muted. Turn your microphone on again when you want to speak."),
  camera: t("Your camera was turned off"),
  screen: t("Your screen was turned off"),
  "screen-audio": t("The sound of your screen was turned off"),
};

/** The call. */
export class CallView extends HTMLElement {
  /** Said after the call when the server ended it. @type {string | null} */ farewell = null;
  #devices;
  #stage;
  #controls;
  #panel;
  #screen;
  #toasts = new Toasts();
  #people;
  #gestures;
  #reactions = new ReactionBar((emoji) => this.#gestures.react(emoji));
  #bannerText = h("span");
  #bannerAction = h("button", { className: "button small", hidden: true });
  #favours = h("button", { className: "button small quiet", hidden: true, onclick: () => this.#favourOther() });
  #banner = h("div", { className: "banner", role: "region", "aria-label": t("Notice"), hidden: true }, this.#bannerText, this.#bannerAction, this.#favours);
  #order;
  #picker = h("input", { type: "file", multiple: true, hidden: true, id: "file-input", "aria-label": t("Files to send") });
  #unread = 0;
  #soundHeldBack = false;
  /** Whether it was said that one's own connection is weak. */ #isWeak = false;
  #recorder;
  /** @type {MutedHint | null} */
  #hint = null;
  #stop = new AbortController();
  /** @type {(() => void)[]} */
  #offs = [];
  /** @type {FileDrop | null} */
  #drop = null;

  /**
   * @param {Room} room joined, or about to be
   * @param {LocalDevices} devices
   */
  constructor(room, devices) {
    super();
    this.room = room;
    this.#devices = devices;
    this.#screen = new ScreenShare(room, () => this.#refresh());
    this.#order = new OrderBar(room);
    this.#stage = new Stage(room, devices, this.#invitation());
    this.#people = new PeopleList(room, { isSilent: () => !devices.isOn("microphone"), qualityOf: (id) => this.#stage.qualityOf(id), writeTo: (id) => this.#writeTo(id) });
    this.#gestures = new GestureNotes(room, { stage: this.#stage, toasts: this.#toasts, openPeople: () => this.#people.togglePopover(true) });
    this.#panel = new ChatPanel({
      send: (text, to) => room.sendChat(text, { to }),
      files: () => this.#picker.click(),
      close: () => this.#togglePanel(false),
    });
    this.#panel.hidden = true;
    this.#recorder = new CallRecorder(room);
    this.#stage.addEventListener("read", (event) => this.#recorder.read(/** @type {CustomEvent<import("./quality-feed.js").Reading>} */ (event).detail));
    this.#stage.addEventListener("rated", () => this.#rated());
    this.#stage.isCovered = () => this.#panel.covers;
    this.#controls = new Controls({
      microphone: () => this.#toggle("microphone"),
      camera: () => this.#toggle("camera"),
      screen: () => this.#toggleScreen(),
      chat: () => this.#togglePanel(this.#panel.hidden === true),
      files: () => this.#picker.click(),
      hand: () => this.#gestures.toggleHand(),
      react: () => this.#reactions.togglePopover(true),
      people: () => this.#people.togglePopover(true),
      link: () => this.#copyLink(),
      layout: () => this.#nextLayout(),
      statistics: () => this.#toggleStatistics(),
      report: () => this.#recorder.save(),
      settings: () => this.#settings(),
      help: () => helpDialog(),
      leave: () => room.leave(),
    });
    this.#picker.onchange = () => {
      this.#sendFiles([...(this.#picker.files ?? [])]);
      this.#picker.value = "";
    };
  }

  connectedCallback() {
    this.append(
      h(
        "header",
        { className: "topbar" },
        mark(),
        h("h1", {}, this.room.name),
        h("button", { className: "button small quiet copy", "aria-label": t("Copy link"), onclick: () => this.#copyLink() }, icon("link"), h("span", {}, t("Copy link"))),
        h("span", { className: "gap" }),
        ...(this.room.isEncrypted ? [h("span", { className: "encrypted", title: t("Sound, picture, chat and files are encrypted end to end. The server sees names, raised hands, reactions and who is here.") }, icon("lock"), h("span", {}, t("End to end")))] : []),
        this.#order.lock,
        this.#people.button,
      ),
      this.#banner,
      this.#order,
      h("main", { className: "call" }, this.#stage, this.#panel),
      this.#controls,
      this.#people,
      this.#reactions,
      this.#toasts,
      this.#picker,
    );
    document.title = `${this.room.name} · Twocan`;
    this.#drop = new FileDrop(this, (files) => this.#sendFiles(files));
    this.#listen();
    this.#refresh();
    announce(t("You are in {room}. {people}.", { room: this.room.name, people: this.#countPeople() }));
  }

  disconnectedCallback() {
    this.#stop.abort();
    this.#offs.forEach((off) => off());
    this.#drop?.close();
    this.#screen.stop();
    this.#recorder.stop();
    this.#hint?.stop();
  }

  #listen() {
    const { room } = this;
    this.#offs = [
      room.on("peer-joined", (peer) => {
        this.#toasts.say(t("{name} joined", { name: nameOf(peer) }));
        this.#refresh();
      }),
      room.on("peer-left", (peer) => {
        if (room.state !== "left") this.#toasts.say(t("{name} left", { name: nameOf(peer) }));
        this.#refresh();
      }),
      room.on("peer-change", () => this.#refresh()),
      room.on("state", () => this.#refresh()),
      room.on("order", () => this.#refresh()),
      room.on("chat", (message) => this.#said(message)),
      room.on("chat-history", ({ messages }) => this.#panel.recall(messages.map(({ text, at, name }) => ({ text, at, who: name || t("Guest") })))),
      room.on("file", (file) => {
        const who = this.#nameOfId(file.peerId);
        this.#panel.addTransfer(file, who);
        this.#news(t("{who} offers {file} ({size})", { who, file: file.name, size: formatBytes(file.size) }));
      }),
      room.on("unreadable", ({ count }) => this.#unreadable(count)),
      room.on("notice", (notice) => this.#notice(notice)),
      ...this.#gestures.listen(() => this.#refresh()),
      this.#devices.on("change", (kind) => this.#devicesChanged(kind)),
      this.#devices.on("found", (found) => this.#deviceFound(found)),
      this.#devices.on("lost", (lost) => this.#deviceLost(lost)),
    ];
    const { signal } = this.#stop;
    this.addEventListener("moderated", (event) => this.#moderated(/** @type {CustomEvent<Promise<void>>} */ (event).detail), { signal });
    this.addEventListener("held-back", () => this.#heldBack(), { capture: true, signal });
    this.#hint = new MutedHint(this.#devices, () => this.#spokeMuted());
    const isMuted = () => !this.#devices.isOn("microphone");
    listenToSpace({ isMuted, speak: (on) => this.#speak(on) }, signal);
    listenToKeys(
      {
        m: () => this.#toggle("microphone"),
        v: () => this.#toggle("camera"),
        s: () => this.#toggleScreen(),
        c: () => this.#togglePanel(this.#panel.hidden === true),
        h: () => this.#gestures.toggleHand(),
        r: () => this.#reactions.togglePopover(),
        p: () => this.#people.togglePopover(),
        f: () => this.#picker.click(),
        g: () => this.#nextLayout(),
        i: () => this.#toggleStatistics(),
        l: () => this.#copyLink(),
        "?": () => helpDialog(),
        escape: () => this.#togglePanel(false),
      },
      signal,
    );
  }

  #refresh() {
    this.#stage.refresh();
    this.#order.refresh();
    this.#people.refresh();
    this.#panel.offer([...this.room.peers.values()].filter(({ protocol }) => protocol !== "http").map((peer) => ({ id: peer.id, name: nameOf(peer) })));
    this.#controls.show({
      microphone: this.#devices.isOn("microphone"),
      camera: this.#devices.isOn("camera"),
      screen: this.#screen.isOn,
      chat: !this.#panel.hidden,
      files: this.room.canSendFiles,
      unread: this.#unread,
      layout: this.#layoutName,
      gestures: this.room.gestures,
    });
    this.#panel.explain({ takesFiles: this.room.canSendFiles, isDirect: this.room.link === null, isEncrypted: this.room.isEncrypted, kept: this.room.order.chatHistory });
    this.#showBanner();
  }

  /** One line about what matters most now. */
  #showBanner() {
    const text =
      this.room.state === "reconnecting"
        ? this.room.link
          ? t("The connection to the server is lost, and is made again…")
          : t("The connection to the server is lost. The call goes on while it is made again…")
        : this.#soundHeldBack
          ? t("The browser holds the sound back.")
          : this.#screen.isOn
            ? this.#screen.favours === "text"
              ? t("You are sharing your screen. Sharp text comes first.")
              : t("You are sharing your screen. Smooth motion comes first.")
            : "";
    const action = this.room.state === "reconnecting" ? "" : this.#soundHeldBack ? t("Hear the others") : this.#screen.isOn ? t("Stop sharing") : "";
    const changed = this.#bannerText.textContent !== text;
    this.#banner.hidden = text === "";
    this.#banner.classList.toggle("warn", this.room.state === "reconnecting");
    setText(this.#bannerText, text);
    setText(this.#bannerAction, action);
    this.#bannerAction.hidden = action === "";
    this.#favours.hidden = action !== t("Stop sharing");
    setText(this.#favours, this.#screen.favours === "text" ? t("Favour motion") : t("Favour text"));
    this.#bannerAction.onclick = () => (this.#soundHeldBack ? this.#playSound() : this.#screen.stop());
    if (changed && text) announce(text, { urgent: this.room.state === "reconnecting" });
  }

  /** @param {Kind} kind */
  async #toggle(kind) {
    if (!this.#devices.isOn(kind) && !this.room.order.mayPublish(kind)) {
      this.#toasts.say(mayNotSend(kind), { urgent: true });
      return;
    }
    await this.#devices.set(kind, !this.#devices.isOn(kind));
    const on = this.#devices.isOn(kind);
    const problem = this.#devices.problems[kind];
    if (problem && !on && this.#devices.wanted[kind]) this.#toasts.say(`${problem.title}. ${problem.advice}`, { urgent: true });
    else announce(turned(kind, on));
  }

  /** As long as Space is held. @param {boolean} on */
  #speak(on) {
    if (on && !this.room.order.mayPublish("microphone")) this.#toasts.say(mayNotSend("microphone"), { urgent: true, about: "muted" });
    else this.#devices.set("microphone", on);
  }

  /** Somebody speaks here whom nobody hears. */
  #spokeMuted() {
    if (!this.room.order.mayPublish("microphone")) return;
    const text = remembered().pushToTalk ? t("You are muted. Press here to be heard, or hold Space.") : t("You are muted. Press here to be heard.");
    this.#toasts.say(text, { about: "muted", action: () => !this.#devices.isOn("microphone") && this.#toggle("microphone") });
  }

  /** @param {Kind} kind */
  #devicesChanged(kind) {
    this.room.publish(kind, this.#devices.tracks[kind], { muted: !this.#devices.isOn(kind) });
    this.#refresh();
  }

  /** A camera or microphone was plugged in. @param {{kind: Kind, device: MediaDeviceInfo}} found */
  #deviceFound({ kind, device }) {
    const action = () => {
      this.#devices.choose(kind, device.deviceId);
      announce(t("{device} is used", { device: device.label }));
    };
    const values = { device: device.label };
    this.#toasts.say(kind === "camera" ? t("New camera: {device}. Press to use it.", values) : t("New microphone: {device}. Press to use it.", values), { action });
  }

  /** What sends was unplugged, or taken by another program. @param {{kind: Kind, next: string | null}} lost */
  #deviceLost({ kind, next }) {
    const { title, advice } = stopped(kind);
    this.#toasts.say(`${title}. ${next ? t("{device} is used now.", { device: next }) : advice}`, { urgent: true });
  }

  async #toggleScreen() {
    if (this.#screen.isOn) {
      await this.#screen.stop();
      announce(t("You stopped sharing"));
      return;
    }
    const problem = await this.#screen.start();
    if (problem) this.#toasts.say(`${problem.title}. ${problem.advice}`, { urgent: true });
  }

  #favourOther() {
    this.#screen.favours = this.#screen.favours === "text" ? "motion" : "text";
  }

  get #layoutName() {
    return LAYOUTS.find(([layout]) => layout === this.#stage.layout)?.[1] ?? "";
  }

  #nextLayout() {
    const at = LAYOUTS.findIndex(([layout]) => layout === this.#stage.layout);
    this.#stage.layout = LAYOUTS[(at + 1) % LAYOUTS.length][0];
    this.#toasts.say(t("Layout: {layout}", { layout: this.#layoutName }), { about: "layout" });
    this.#refresh();
  }

  #toggleStatistics() {
    this.#stage.showsStatistics = !this.#stage.showsStatistics;
    announce(this.#stage.showsStatistics ? t("Statistics shown") : t("Statistics hidden"));
  }

  /** @param {boolean} open */
  #togglePanel(open) {
    if (this.#panel.hidden === !open) return;
    this.#panel.hidden = !open;
    if (open) {
      this.#unread = 0;
      this.#toasts.followed(); // they would cover what they speak of
    }
    this.#refresh();
    if (open) this.#panel.focusText();
    else this.#controls.focusChat();
  }

  /** @param {string} id of who alone gets what is written from here on */
  #writeTo(id) {
    this.#people.hidePopover();
    this.#panel.writeTo(id);
    this.#togglePanel(true);
    this.#panel.focusText();
  }

  #settings() {
    settingsDialog(this.#devices, {
      name: remembered().name,
      rename: (name) => {
        remember({ name });
        this.room.describe({ name }).catch(() => this.#toasts.say(t("The server did not take the new name")));
      },
    });
  }

  /** @param {import("../sdk/chat-messages.js").ChatMessage & {peer: import("../sdk/room.js").Participant | null, own: boolean}} message */
  #said({ text, at, peer, own, direct }) {
    const who = peer ? nameOf(peer) : t("Guest");
    const only = !direct ? "" : own ? t("only to {name}", { name: who }) : t("only to you");
    this.#panel.say({ text, at, who, own, only });
    if (!own) this.#news(`${who}${only && ` ${only}`}: ${text}`);
  }

  /** Something new in the panel. @param {string} text */
  #news(text) {
    if (!this.#panel.hidden) return; // the log speaks for itself
    this.#unread += 1;
    const short = text.length > 120 ? `${text.slice(0, 119)}…` : text;
    this.#toasts.say(short, { action: () => this.#togglePanel(true) });
    this.#refresh();
  }

  /** The panel counts them; a note says it once. @param {number} count */
  #unreadable(count) {
    this.#panel.countUnreadable(count, this.room.isEncrypted);
    if (count === 1) this.#toasts.say(t("Something that was sent here could not be read"), { action: () => this.#togglePanel(true) });
  }

  /** @param {File[]} files */
  #sendFiles(files) {
    if (files.length === 0) return;
    if (this.room.peers.size === 0) {
      this.#toasts.say(t("Nobody else is here yet, so there is nobody to send it to"));
      return;
    }
    if (!this.room.canSendFiles) {
      this.#toasts.say(t("You may not send files in this room"));
      return;
    }
    for (const file of files) {
      for (const sender of this.room.sendFile(file)) this.#panel.addTransfer(sender, this.#nameOfId(sender.peerId));
    }
    this.#togglePanel(true);
  }

  /**
   * @param {import("../sdk/notices.js").Notice} notice
   */
  #notice({ kind, text, ending }) {
    if (kind === "kicked") this.farewell = FAREWELLS[text] ?? t("You were removed from the room");
    if (kind === "announcement") this.#toasts.say(text);
    if (kind === "muted") this.#muted(text);
    if (kind === "draining") this.#toasts.say(farewellOf(ending));
    if (kind === "error") console.warn("the server says:", text);
  }

  /** @param {string} source */
  async #muted(source) {
    if (source === "screen" || source === "screen-audio") await this.#screen.stop();
    else if (source === "microphone" || source === "camera") await this.#devices.set(source, false);
    this.#toasts.say(TURNED_OFF[source] ?? TURNED_OFF["screen-audio"], { urgent: true });
  }

  /** @param {Promise<void>} done */
  async #moderated(done) {
    await done.catch((error) => this.#toasts.say(t("That did not work: {why}", { why: error.details ?? error.message }), { urgent: true }));
  }

  /** What others may not see on their tiles: that it is this side's network. */
  #rated() {
    const quality = this.#stage.qualityOf("self");
    const isWeak = barsOf(quality) === 1;
    if (isWeak && !this.#isWeak) this.#toasts.say(t("Your connection is weak: it {trouble}.", { trouble: troubleOf(quality) }), { about: "quality" });
    this.#isWeak = isWeak;
    this.#people.refresh();
  }

  #heldBack() {
    if (this.#soundHeldBack) return;
    this.#soundHeldBack = true;
    this.#refresh();
  }

  async #playSound() {
    await this.#stage.play().catch(() => {}); // the banner stays when it still may not
    this.#soundHeldBack = false;
    this.#refresh();
  }

  async #copyLink() {
    try {
      await navigator.clipboard.writeText(this.#link);
      this.#toasts.say(t("Link copied. Send it to those who shall join."));
    } catch {
      this.#toasts.say(t("Send this link: {link}", { link: this.#link }));
    }
  }

  get #link() {
    return new URL(`/${encodeURIComponent(this.room.name)}${this.room.isEncrypted ? location.hash : ""}`, location.href).href;
  }

  #invitation() {
    return h(
      "div",
      { className: "invitation" },
      h("strong", {}, t("You are the first one here")),
      h("p", {}, t("Send the link to those who shall join.")),
      h("button", { className: "button primary", onclick: () => this.#copyLink() }, icon("link"), t("Copy link")),
    );
  }

  #countPeople() {
    return tn(this.room.peers.size + 1, "{count} participant", "{count} participants");
  }

  /** @param {string} id */
  #nameOfId(id) {
    const peer = this.room.peers.get(id);
    return peer ? nameOf(peer) : t("Guest");
  }
}

/** @param {Kind} kind */
function mayNotSend(kind) {
  return kind === "camera" ? t("You may not send your camera in this room") : t("You may not send your microphone in this room");
}

customElements.define("call-view", CallView);
