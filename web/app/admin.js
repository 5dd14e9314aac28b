import { backoff } from "../sdk/backoff.js";
import { AdminApi, AdminError, Rates } from "./admin-api.js";
import { CreateRoom, LinkDialog, askReason } from "./admin-dialogs.js";
import { AdminRoom } from "./admin-room.js";
import { announce, installAnnouncer } from "./announce.js";
import { h, setText } from "./dom.js";
import { formatBytes, formatRate } from "./format.js";
import { icon, mark } from "./icons.js";
import { KeyedList } from "./keyed.js";
import { applyTheme } from "./preferences.js";

/** @typedef {import("./admin-api.js").RoomInfo} RoomInfo */
/** @typedef {HTMLLIElement & {parts: {open: HTMLButtonElement, name: HTMLElement, facts: HTMLElement}}} RoomRow */

/** Between two readings. */
const READ_MS = 2_000;
/** Where the token is kept: until the tab is closed. */
const KEPT = "twocan-admin";

/** `/admin`: rooms, people and numbers of a server, for whoever runs it. */
class AdminPage extends HTMLElement {
  /** @type {AdminApi | null} */
  #api = null;
  #rates = new Rates();
  /** @type {number | undefined} */
  #timer;
  #failures = 0;
  /** Another one with each token: what was asked with the one before does not count. */
  #round = 0;
  /** @type {AdminRoom | null} */
  #room = null;
  /** Whether the token may list rooms; one for a single room may not. */
  #mayList = true;
  #token = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: false, required: true });
  #signIn = h(
    "form",
    { className: "card sign-in", onsubmit: (/** @type {Event} */ event) => this.#enter(event) },
    h("h2", {}, "Sign in"),
    h("p", { className: "soft" }, "With the server’s --admin-secret, or a token with roomList, roomCreate or roomAdmin. It is kept until this tab is closed."),
    h("label", { for: "token" }, "Token"),
    this.#token,
    h("button", { className: "button primary" }, "Sign in"),
  );
  #error = h("div", { className: "problem", role: "alert", hidden: true });
  #out = h("button", { type: "button", className: "button small quiet", hidden: true, onclick: () => this.#leave() }, "Sign out");
  #figures = new Map(
    /** @type {[string, string][]} */ ([
      ["rooms", "Rooms"],
      ["participants", "Participants"],
      ["cpu", "CPU"],
      ["threads", "CPU of media threads"],
      ["memory", "Memory"],
      ["received", "Media in"],
      ["sent", "Media out"],
      ["lost", "Not sent, of those"],
      ["relayed", "Relayed by TURN"],
    ]).map(([key, name]) => [key, { name, value: h("dd", {}, "–") }]),
  );
  #note = h("p", { className: "soft", hidden: true });
  #server = h(
    "section",
    { "aria-labelledby": "server" },
    h("h2", { id: "server" }, "Server"),
    h("dl", { className: "figures" }, ...[...this.#figures.values()].map(({ name, value }) => h("div", {}, h("dt", {}, name), value))),
    this.#note,
  );
  #list = h("ul", { className: "rooms" });
  #none = h("p", { className: "soft" }, "Nobody is here at the moment.");
  #one = h("input", { id: "one-room", autocomplete: "off", spellcheck: false, required: true });
  #oneForm = h("form", { hidden: true, onsubmit: (/** @type {Event} */ event) => this.#openOne(event) }, h("p", { className: "soft" }, "This token may not list rooms. Name the one that it is for."), h("label", { for: "one-room" }, "Room"), h("div", { className: "field" }, this.#one, h("button", { className: "button" }, "Open")));
  #rooms = h(
    "section",
    { "aria-labelledby": "rooms" },
    h("div", { className: "head" }, h("h2", { id: "rooms" }, "Rooms"), h("button", { type: "button", className: "button small", onclick: () => this.#create() }, "New room")),
    this.#oneForm,
    this.#none,
    this.#list,
  );
  #detail = h("div", { className: "detail" });
  #inside = h("div", { className: "inside", hidden: true }, this.#server, h("div", { className: "columns" }, this.#rooms, this.#detail));
  /** @type {KeyedList<RoomInfo, RoomRow>} */
  #rows = new KeyedList(this.#list, (room) => this.#row(room), showRow);

  connectedCallback() {
    this.replaceChildren(
      h("header", { className: "admin-top" }, h("a", { className: "brand small", href: "/", title: "To the start" }, mark(), h("span", {}, "Twocan")), h("h1", {}, "Administration"), h("span", { className: "gap" }), this.#out),
      h("main", {}, this.#error, this.#signIn, this.#inside),
    );
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#api && this.#read());
    const fragment = new URLSearchParams(location.hash.slice(1)).get("token");
    // A token in the address bar would be copied with it.
    if (fragment) history.replaceState(null, "", location.pathname);
    const token = fragment ?? kept();
    if (token) this.#use(token);
    else this.#token.focus();
  }

  /** @param {Event} event */
  #enter(event) {
    event.preventDefault();
    this.#use(this.#token.value.trim());
  }

  /** @param {string} token */
  #use(token) {
    this.#api = new AdminApi(token);
    this.#mayList = true;
    this.#round += 1;
    keep(token);
    this.#read();
  }

  #leave() {
    keep("");
    this.#api = null;
    this.#round += 1;
    clearTimeout(this.#timer);
    this.#close();
    this.#rows.show([]);
    this.#token.value = "";
    this.#signIn.hidden = false;
    this.#inside.hidden = this.#out.hidden = true;
    this.#show(null);
    this.#token.focus();
  }

  /** Reads everything, and again after a while. */
  async #read() {
    clearTimeout(this.#timer);
    const api = this.#api;
    const round = this.#round;
    if (!api) return;
    try {
      const rooms = await this.#listed(api);
      const metrics = await api.metrics().catch((error) => {
        if (error.status === 403) return null;
        throw error;
      });
      if (round !== this.#round) return;
      this.#failures = 0;
      this.#entered();
      this.#showRooms(rooms);
      this.#showServer(metrics, rooms);
      await this.#room?.read();
      if (round !== this.#round) return;
      this.#show(null);
    } catch (error) {
      if (round !== this.#round) return;
      this.#failures += 1;
      const denied = /** @type {AdminError} */ (error).status === 401;
      if (denied) this.#leave();
      this.#show(error);
      if (denied) return;
    }
    const wait = this.#failures > 0 ? Math.max(READ_MS, backoff(this.#failures + 2)) : READ_MS;
    // Nobody looks: it goes on when somebody does.
    if (document.visibilityState === "visible") this.#timer = setTimeout(() => this.#read(), wait);
  }

  /** @param {AdminApi} api */
  async #listed(api) {
    if (!this.#mayList) return null;
    try {
      return await api.rooms();
    } catch (error) {
      if (/** @type {AdminError} */ (error).status !== 403) throw error;
      this.#mayList = false;
      return null;
    }
  }

  #entered() {
    if (!this.#inside.hidden) return;
    this.#signIn.hidden = true;
    this.#inside.hidden = this.#out.hidden = false;
    this.#token.value = "";
    announce("Signed in");
  }

  /** @param {RoomInfo[] | null} rooms `null` where they may not be listed */
  #showRooms(rooms) {
    this.#oneForm.hidden = rooms !== null;
    this.#none.hidden = rooms === null || rooms.length > 0;
    this.#rows.show((rooms ?? []).sort((a, b) => b.participants + b.viewers - a.participants - a.viewers || a.name.localeCompare(b.name)).map((room) => [room.name, room]));
    this.#mark();
  }

  /** @param {{sums: Map<string, number>, threads: Map<string, number>} | null} read @param {RoomInfo[] | null} rooms */
  #showServer(read, rooms) {
    const metrics = read?.sums ?? null;
    const now = performance.now();
    const put = (/** @type {string} */ key, /** @type {string | null} */ text) => setText(/** @type {{value: HTMLElement}} */ (this.#figures.get(key)).value, text ?? "–");
    const rate = (/** @type {string} */ name) => this.#rates.of(name, metrics?.get(name), now);
    const perSecond = (/** @type {number | null} */ value) => (value === null ? null : `${Math.round(value)} packets/s`);
    const people = rooms?.reduce((sum, room) => sum + room.participants, 0);
    put("rooms", metrics?.has("twocan_rooms") ? String(metrics.get("twocan_rooms")) : rooms ? String(rooms.length) : null);
    put("participants", metrics?.has("twocan_participants") ? String(metrics.get("twocan_participants")) : people === undefined ? null : String(people));
    const cpu = rate("process_cpu_seconds_total");
    put("cpu", cpu === null ? null : `${Math.round(cpu * 100)} % of a core`);
    const threads = [...(read?.threads ?? [])].sort(([one], [other]) => Number(one) - Number(other)).map(([shard, time]) => this.#rates.of(`thread ${shard}`, time, now));
    put("threads", threads.length === 0 || threads.includes(null) ? null : threads.map((own) => `${Math.round((own ?? 0) / 1e4)} %`).join(" · "));
    const memory = metrics?.get("process_resident_memory_bytes");
    put("memory", memory === undefined ? null : formatBytes(memory));
    const sent = rate("twocan_media_datagrams_sent_total");
    put("received", perSecond(rate("twocan_media_datagrams_received_total")));
    put("sent", perSecond(sent));
    const lost = rate("twocan_media_datagrams_not_sent_total");
    put("lost", lost === null || !sent ? null : `${((lost / sent) * 100).toFixed(1)} %`);
    const relayed = rate("twocan_turn_bytes_total");
    put("relayed", relayed === null ? null : formatRate(relayed * 8));
    this.#note.hidden = metrics !== null;
    setText(this.#note, metrics ? "" : "The numbers of the server itself are for who shows its secret, or asks on its own machine.");
  }

  /** @param {RoomInfo} room @returns {RoomRow} */
  #row({ name }) {
    const parts = {
      name: h("strong", {}, name),
      facts: h("span", { className: "soft" }),
      open: h("button", { type: "button", className: "room", onclick: () => this.#open(name) }),
    };
    parts.open.append(parts.name, parts.facts);
    return Object.assign(h("li", {}, parts.open), { parts });
  }

  /** @param {Event} event */
  #openOne(event) {
    event.preventDefault();
    this.#open(this.#one.value.trim());
  }

  /** @param {string} name */
  #open(name) {
    const api = /** @type {AdminApi} */ (this.#api);
    this.#room = new AdminRoom(api, name, {
      done: (what) => this.#done(what),
      close: () => this.#close(),
      link: () => new LinkDialog(name),
      end: () => this.#end(name),
    });
    this.#detail.replaceChildren(this.#room);
    this.#mark();
    this.#read();
    this.#room.focusHead();
  }

  #close() {
    const name = this.#room?.name;
    this.#room = null;
    this.#detail.replaceChildren();
    this.#mark();
    // Back to where one came from, for who has no mouse.
    const row = [...this.#list.children].find((one) => /** @type {RoomRow} */ (one).parts.name.textContent === name);
    if (row) /** @type {RoomRow} */ (row).parts.open.focus();
  }

  #mark() {
    for (const row of this.#list.children) {
      const { open, name } = /** @type {RoomRow} */ (row).parts;
      open.setAttribute("aria-pressed", String(name.textContent === this.#room?.name));
    }
  }

  #create() {
    const api = /** @type {AdminApi} */ (this.#api);
    new CreateRoom(async (wanted) => {
      await api.create(wanted);
      announce(`Room ${wanted.name} is there`);
      this.#open(wanted.name);
    });
  }

  /** @param {string} name */
  async #end(name) {
    const reason = await askReason(`End ${name}`, "All who are in it are sent away, and the room is over.", "End the room");
    if (reason === null) return;
    this.#done(
      /** @type {AdminApi} */ (this.#api).close(name, reason).then(() => {
        this.#close();
        announce(`${name} is over`);
      }),
    );
  }

  /** Shows what came of something, and reads again. @param {Promise<unknown>} what */
  async #done(what) {
    try {
      await what;
      this.#show(null);
      await this.#read();
    } catch (error) {
      this.#show(error);
    }
  }

  /** @param {unknown} error */
  #show(error) {
    const words = error ? problem(error, this.#failures > 0) : "";
    this.#error.hidden = words === "";
    if (this.#error.textContent !== words) this.#error.replaceChildren(...(words ? [icon("warning"), h("p", {}, words)] : []));
  }
}

/** @param {RoomRow} row @param {RoomInfo} room */
function showRow({ parts }, { participants, viewers, waiting, topology, locked, lobby, max_participants: most }) {
  const facts = [
    `${participants} of ${most}`,
    viewers > 0 && `${viewers} watching`,
    waiting > 0 && `${waiting} waiting`,
    topology === "sfu" ? "through the server" : "mesh",
    locked && "locked",
    lobby && "lobby",
  ];
  setText(parts.facts, facts.filter(Boolean).join(" · "));
}

/** @param {unknown} error @param {boolean} isRepeated whether it is asked again by itself */
function problem(error, isRepeated) {
  const { status, message } = /** @type {AdminError} */ (error);
  if (status === 401) return `The server does not take this token: ${message}.`;
  if (status === 403) return `This token is not enough: ${message}.`;
  if (status === 404) return `It is not there any more: ${message}.`;
  if (status === 0) return isRepeated ? `${message}. It is asked again.` : `${message}.`;
  return error instanceof AdminError ? `The server says: ${message}.` : `Something went wrong here: ${message}`;
}

function kept() {
  try {
    return sessionStorage.getItem(KEPT) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} token */
function keep(token) {
  try {
    if (token) sessionStorage.setItem(KEPT, token);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // It is asked for again after a reload.
  }
}

applyTheme();
installAnnouncer();
customElements.define("admin-page", AdminPage);
