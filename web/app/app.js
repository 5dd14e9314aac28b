import { sweepPrivateFiles } from "../sdk/file-sink.js";
import { Room } from "../sdk/room.js";
import { CallView } from "./call-view.js";
import { LeftView } from "./left-view.js";
import { LobbyView } from "./lobby-view.js";
import { LocalDevices } from "./local-devices.js";
import { joinProblem } from "./problems.js";
import { roomNameIn } from "./room-names.js";
import { StartView } from "./start-view.js";
import { t } from "./words.js";

/** One view after another: start, lobby, call, left. */
export class TwocanApp extends HTMLElement {
  /** @type {LocalDevices | null} */
  #devices = null;
  #roomName = "";
  #token = "";
  /** The key of an encrypted room, as it stands in the link. */
  #fragment = "";

  connectedCallback() {
    this.addEventListener("open-room", (event) => this.#open(/** @type {CustomEvent<{name: string, fragment: string}>} */ (event).detail));
    this.addEventListener("join-room", (event) => this.#join(/** @type {CustomEvent<string>} */ (event).detail));
    globalThis.addEventListener("popstate", () => this.#route());
    sweepPrivateFiles().catch(() => {}); // nothing to sweep where there is no such file system
    this.#route();
  }

  #route() {
    const name = roomNameIn(location);
    const parameters = new URLSearchParams(location.search);
    // A token in the address bar would be copied with the link.
    this.#token = parameters.get("access_token") ?? this.#token;
    this.#fragment = new URLSearchParams(location.hash.slice(1)).has("key") ? location.hash : "";
    if (name) history.replaceState(null, "", this.#addressOf(name));
    if (name) this.#lobby(name);
    else this.#show(new StartView());
  }

  /** @param {{name: string, fragment?: string}} room */
  #open({ name, fragment = this.#fragment }) {
    this.#fragment = fragment;
    if (roomNameIn(location) !== name) history.pushState(null, "", this.#addressOf(name));
    this.#lobby(name);
  }

  /**
   * @param {string} name
   * @param {import("./problems.js").Problem | null} [problem]
   */
  #lobby(name, problem = null) {
    this.#roomName = name;
    if (!this.#devices) {
      this.#devices = new LocalDevices();
      this.#devices.start();
    }
    this.#show(new LobbyView(name, this.#devices, problem));
  }

  /** @param {string} personName */
  async #join(personName) {
    const devices = /** @type {LocalDevices} */ (this.#devices);
    const room = new Room();
    const publish = (/** @type {import("./local-devices.js").Kind} */ source) => room.publish(source, devices.tracks[source], { muted: !devices.isOn(source) });
    for (const source of /** @type {const} */ (["microphone", "camera"])) await publish(source);
    // Who joins at once has devices that are still being opened; the call listens to them once it is there.
    const stop = devices.on("change", publish);
    const view = new CallView(room, devices);
    const lobby = this.firstElementChild;
    room.on("state", (state) => {
      if (state === "waiting" && lobby instanceof LobbyView) lobby.waits();
    });
    try {
      await room.join(new URL(this.#addressOf(this.#roomName), location.href), { name: personName, token: this.#token || undefined });
    } catch (error) {
      stop();
      this.#lobby(this.#roomName, joinProblem(error));
      return;
    }
    room.on("left", (error) => {
      if (this.firstElementChild !== view) return; // the person went elsewhere, which is what ended it
      devices.stop();
      this.#devices = null;
      const problem = error ? joinProblem(error) : null;
      this.#show(new LeftView(this.#roomName, problem?.title ?? view.farewell ?? t("You left {room}", { room: this.#roomName }), problem?.advice));
    });
    this.#show(view);
    stop();
  }

  /** @param {string} room */
  #addressOf(room) {
    return `/${encodeURIComponent(room)}${this.#fragment}`;
  }

  /** @param {HTMLElement} view */
  #show(view) {
    if (!(view instanceof LobbyView) && !(view instanceof CallView)) {
      this.#devices?.stop();
      this.#devices = null;
    }
    const old = this.firstElementChild;
    this.replaceChildren(view);
    if (old instanceof CallView) old.room.leave();
  }
}

customElements.define("twocan-app", TwocanApp);
