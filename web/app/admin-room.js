import { AdminError, Rates } from "./admin-api.js";
import { askReason } from "./admin-dialogs.js";
import { announce } from "./announce.js";
import { h, setText } from "./dom.js";
import { formatRate, formatTime } from "./format.js";
import { icon } from "./icons.js";
import { KeyedList } from "./keyed.js";

/**
 * @typedef {import("./admin-api.js").AdminApi} AdminApi
 * @typedef {import("./admin-api.js").ParticipantInfo} ParticipantInfo
 * @typedef {import("./admin-api.js").ConnectionInfo} ConnectionInfo
 * @typedef {{person: ParticipantInfo | null, connection: ConnectionInfo | null}} Entry `person` is missing of one that is not listed
 */

/**
 * @typedef {object} RowParts
 * @property {HTMLElement} name
 * @property {HTMLElement} facts
 * @property {HTMLElement} figures
 * @property {HTMLButtonElement} mute
 * @property {HTMLButtonElement} remove
 * @property {HTMLButtonElement} admit
 * @property {HTMLButtonElement} deny
 * @property {HTMLElement} permissions
 * @property {Map<Permission, HTMLInputElement>} boxes
 */

/** @typedef {HTMLLIElement & {parts: RowParts}} Row */
/** @typedef {"publish" | "subscribe" | "data" | "moderate"} Permission */

/** @type {[Permission, string][]} */
const PERMISSIONS = [
  ["publish", "Send"],
  ["subscribe", "Get what others send"],
  ["data", "Write to others"],
  ["moderate", "Moderate"],
];

/** One room: who is in it, how their connections do, and what can be done. */
export class AdminRoom extends HTMLElement {
  /** @type {string} */ name;
  #api;
  #actions;
  #rates = new Rates();
  #head;
  #facts = h("p", { className: "soft" });
  #lock = h("button", { type: "button", className: "button small", onclick: () => this.#toggle("locked") });
  #lobby = h("button", { type: "button", className: "button small", onclick: () => this.#toggle("lobby") });
  #list = h("ul", { className: "people" });
  #none = h("p", { className: "soft", hidden: true }, "Nobody is in it.");
  #text = h("input", { id: "say", maxLength: 500, autocomplete: "off", required: true });
  /** @type {import("./admin-api.js").RoomInfo | null} */
  #info = null;
  /** @type {KeyedList<Entry, Row>} */
  #rows = new KeyedList(this.#list, (entry, id) => this.#row(id), (row, entry) => this.#show(row, entry));

  /**
   * @param {AdminApi} api
   * @param {string} name
   * @param {{done: (what: Promise<unknown>) => void, close: () => void, link: () => void, end: () => void}} actions
   */
  constructor(api, name, actions) {
    super();
    this.#api = api;
    this.name = name;
    this.#actions = actions;
    this.#head = h("h2", { id: "room", tabIndex: -1 }, name);
  }

  connectedCallback() {
    const { close, link, end } = this.#actions;
    this.setAttribute("role", "region");
    this.setAttribute("aria-labelledby", "room");
    this.replaceChildren(
      h("div", { className: "head" }, this.#head, h("button", { type: "button", className: "icon-button", title: "Close", "aria-label": `Close ${this.name}`, onclick: close }, icon("close"))),
      this.#facts,
      h("div", { className: "actions" }, h("button", { type: "button", className: "button small", onclick: link }, icon("link"), "Link"), this.#lock, this.#lobby, h("button", { type: "button", className: "button small danger", onclick: end }, "End the room")),
      this.#none,
      this.#list,
      h("form", { className: "say", onsubmit: (/** @type {Event} */ event) => this.#say(event) }, h("label", { for: "say" }, "Say something to all"), h("div", { className: "field" }, this.#text, h("button", { className: "button" }, "Say it"))),
    );
  }

  focusHead() {
    this.#head.focus();
  }

  /** Reads the room anew. */
  async read() {
    try {
      const [info, people, connections] = await Promise.all([this.#api.room(this.name), this.#api.participants(this.name), this.#api.connections(this.name)]);
      this.#info = info;
      this.#showRoom(info);
      /** @type {Map<string, Entry>} */
      const entries = new Map(people.map((person) => [person.id, { person, connection: null }]));
      for (const connection of connections) entries.set(connection.participant, { person: entries.get(connection.participant)?.person ?? null, connection });
      this.#none.hidden = entries.size > 0;
      this.#rows.show(entries);
    } catch (error) {
      if (!(error instanceof AdminError) || error.status !== 404) throw error;
      setText(this.#facts, "This room is over.");
      this.#rows.show([]);
      this.#none.hidden = true;
    }
  }

  /** @param {import("./admin-api.js").RoomInfo} info */
  #showRoom({ topology, participants, max_participants: most, viewers, waiting, tracks, locked, lobby, created_at: created }) {
    const facts = [
      `${participants} of ${most} participants`,
      viewers > 0 && `${viewers} watching`,
      waiting > 0 && `${waiting} waiting`,
      tracks === 1 ? "1 track" : `${tracks} tracks`,
      topology === "sfu" ? "media through the server" : "media goes directly, unseen by the server",
      `since ${formatTime(created)}`,
    ];
    setText(this.#facts, facts.filter(Boolean).join(" · "));
    setText(this.#lock, locked ? "Unlock" : "Lock");
    setText(this.#lobby, lobby ? "Lobby off" : "Lobby on");
  }

  /** @param {"locked" | "lobby"} what */
  #toggle(what) {
    if (this.#info) this.#actions.done(this.#api.change(this.name, { [what]: !this.#info[what] }));
  }

  /** @param {Event} event */
  #say(event) {
    event.preventDefault();
    const said = this.#api.announce(this.name, this.#text.value.trim()).then(() => {
      this.#text.value = "";
      announce("Said");
    });
    this.#actions.done(said);
  }

  /** @param {string} id @returns {Row} */
  #row(id) {
    const { done } = this.#actions;
    const api = this.#api;
    const button = (/** @type {string} */ text, /** @type {() => void} */ onclick, more = "") => h("button", { type: "button", className: `button small ${more}`, onclick }, text);
    /** @type {Map<Permission, HTMLInputElement>} */
    const boxes = new Map();
    for (const [permission] of PERMISSIONS) {
      const box = h("input", { type: "checkbox", id: `${permission}-${id}`, onchange: () => done(api.permit(this.name, id, { [permission]: box.checked })) });
      boxes.set(permission, box);
    }
    /** @type {RowParts} */
    const parts = {
      name: h("h3", {}),
      facts: h("p", { className: "soft" }),
      figures: h("dl", { className: "person-figures" }),
      mute: button("Mute", () => done(api.mute(this.name, id, { muted: true }))),
      remove: button("Remove", () => this.#remove(id), "danger"),
      admit: button("Admit", () => done(api.decide(this.name, id, "admit")), "primary"),
      deny: button("Deny", () => done(api.decide(this.name, id, "deny"))),
      permissions: h("details", { className: "permissions" }, h("summary", {}, "What it may do"), ...PERMISSIONS.map(([permission, text]) => h("label", { className: "check", for: `${permission}-${id}` }, boxes.get(permission), text))),
      boxes,
    };
    const row = h("li", {}, parts.name, parts.facts, parts.figures, h("div", { className: "actions" }, parts.admit, parts.deny, parts.mute, parts.remove), parts.permissions);
    return Object.assign(row, { parts });
  }

  /** @param {string} id */
  async #remove(id) {
    const reason = await askReason("Remove", "It is sent away, and may come back while its token is valid.", "Remove");
    if (reason !== null) this.#actions.done(this.#api.remove(this.name, id, reason));
  }

  /** @param {Row} row @param {Entry} entry */
  #show({ parts }, { person, connection }) {
    const isViewer = !person || (person.protocol === "http" && person.permissions.hidden);
    const name = person?.name || person?.identity || (isViewer ? "Viewer" : "Guest");
    setText(parts.name, name);
    const waits = person?.state === "waiting";
    const sounds = person?.tracks.filter(({ muted }) => !muted) ?? [];
    setText(parts.facts, (person && !isViewer ? factsOf(person) : ["by WHEP, seen by nobody"]).filter(Boolean).join(" · "));
    parts.admit.hidden = parts.deny.hidden = !waits;
    parts.mute.hidden = !person || waits || sounds.length === 0;
    parts.remove.hidden = !person || waits;
    parts.permissions.hidden = !person || isViewer || waits;
    for (const [button, word] of /** @type {[HTMLElement, string][]} */ ([[parts.mute, "Mute"], [parts.remove, "Remove"], [parts.admit, "Admit"], [parts.deny, "Deny"]])) button.setAttribute("aria-label", `${word} ${name}`);
    for (const [permission, box] of parts.boxes) if (person && document.activeElement !== box) box.checked = person.permissions[permission];
    const rows = connection ? this.#figures(connection) : [];
    parts.figures.hidden = rows.length === 0;
    parts.figures.replaceChildren(...rows.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
  }

  /** @param {ConnectionInfo} connection @returns {[string, string][]} */
  #figures({ participant, state, round_trip_ms: roundTrip, received, sent }) {
    const now = performance.now();
    const of = (/** @type {string} */ key, /** @type {number} */ value) => this.#rates.of(`${participant} ${key}`, value, now);
    const way = (/** @type {string} */ name, /** @type {import("./admin-api.js").Carried} */ { bytes, packets, packets_lost: lost }) => {
      const [rate, came, missing] = [of(`${name} bytes`, bytes), of(`${name} packets`, packets), of(`${name} lost`, lost)];
      if (rate === null) return "…";
      // What is missing of what came is beside it; what went and is missing is a part of it.
      const all = name === "in" ? (came ?? 0) + (missing ?? 0) : (came ?? 0);
      const share = missing === null || all === 0 ? 0 : Math.min(1, missing / all);
      return `${formatRate(rate * 8)}, ${(share * 100).toFixed(1)} % lost`;
    };
    return [
      ["Sends us", way("in", received)],
      ["Gets", way("out", sent)],
      ["Round trip", roundTrip === null ? "–" : `${Math.round(roundTrip)} ms`],
      ["Connection", state],
    ];
  }
}

/** @param {ParticipantInfo} person */
function factsOf({ identity, name, state, protocol, tracks, permissions, joined_at: joined }) {
  if (state === "waiting") return ["waits to be let in"];
  return [
    identity && identity !== name && identity,
    tracks.length > 0 ? tracks.map(({ source, muted }) => `${source}${muted ? " (muted)" : ""}`).join(", ") : "sends nothing",
    permissions.moderate && "moderates",
    permissions.hidden && "hidden",
    protocol === "http" && "by WHIP",
    `since ${formatTime(joined)}`,
  ];
}

customElements.define("admin-room", AdminRoom);
