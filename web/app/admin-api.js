/**
 * @typedef {object} RoomInfo
 * @property {string} name
 * @property {"mesh" | "sfu"} topology
 * @property {number} participants
 * @property {number} waiting
 * @property {number} viewers
 * @property {number} tracks
 * @property {boolean} locked
 * @property {boolean} lobby
 * @property {number} max_participants
 * @property {number} created_at
 */

/**
 * @typedef {object} ParticipantInfo
 * @property {string} id
 * @property {string | null} identity
 * @property {string} name
 * @property {"joined" | "waiting"} state
 * @property {"base" | "twocan.v1" | "http"} protocol
 * @property {{publish: boolean, subscribe: boolean, data: boolean, moderate: boolean, hidden: boolean}} permissions
 * @property {import("../sdk/messages.js").Publication[]} tracks
 * @property {number} joined_at
 */

/** @typedef {{bytes: number, packets: number, packets_lost: number}} Carried */
/** @typedef {{participant: string, state: string, round_trip_ms: number | null, received: Carried, sent: Carried}} ConnectionInfo */

/** What the server did not do, in its own words. */
export class AdminError extends Error {
  /** @param {number} status of HTTP; 0 where there was no answer @param {string} message */
  constructor(status, message) {
    super(message);
    this.name = "AdminError";
    this.status = status;
  }
}

/** An answer may take this long. */
const ANSWER_WITHIN_MS = 10_000;

/** The administration of `docs/openapi.json`, as far as the page has use for it, and the metrics. */
export class AdminApi {
  #token;

  /** @param {string} token */
  constructor(token) {
    this.#token = token;
  }

  /** @returns {Promise<RoomInfo[]>} */
  async rooms() {
    return (await this.#ask("GET", "/api/v1/rooms")).rooms;
  }

  /** @param {string} room @returns {Promise<RoomInfo>} */
  room(room) {
    return this.#ask("GET", roomPath(room));
  }

  /** @param {{name: string, max_participants?: number, empty_timeout?: number, locked?: boolean, lobby?: boolean}} wanted */
  create(wanted) {
    return this.#ask("POST", "/api/v1/rooms", wanted);
  }

  /** @param {string} room @param {{locked?: boolean, lobby?: boolean}} change */
  change(room, change) {
    return this.#ask("PATCH", roomPath(room), change);
  }

  /** @param {string} room @param {string} reason */
  close(room, reason) {
    return this.#ask("DELETE", `${roomPath(room)}${because(reason)}`);
  }

  /** @param {string} room @returns {Promise<ParticipantInfo[]>} */
  async participants(room) {
    return (await this.#ask("GET", `${roomPath(room)}/participants`)).participants;
  }

  /** @param {string} room @returns {Promise<ConnectionInfo[]>} */
  async connections(room) {
    return (await this.#ask("GET", `${roomPath(room)}/media`)).connections;
  }

  /** @param {string} room @param {string} text */
  announce(room, text) {
    return this.#ask("POST", `${roomPath(room)}/data`, { data: { text } });
  }

  /** @param {string} room @param {string} id @param {string} reason */
  remove(room, id, reason) {
    return this.#ask("DELETE", `${participantPath(room, id)}${because(reason)}`);
  }

  /** @param {string} room @param {string} id @param {{muted: boolean, track?: string}} what */
  mute(room, id, what) {
    return this.#ask("POST", `${participantPath(room, id)}/mute`, what);
  }

  /** @param {string} room @param {string} id @param {Partial<ParticipantInfo["permissions"]>} change */
  permit(room, id, change) {
    return this.#ask("PATCH", participantPath(room, id), change);
  }

  /** @param {string} room @param {string} id @param {"admit" | "deny"} what */
  decide(room, id, what) {
    return this.#ask("POST", `${participantPath(room, id)}/${what}`);
  }

  /**
   * The metrics by name, those that differ in labels alone summed up; and the CPU time of each media thread, in microseconds.
   *
   * @returns {Promise<{sums: Map<string, number>, threads: Map<string, number>}>}
   */
  async metrics() {
    const text = await (await this.#fetch("GET", "/metrics")).text();
    return { sums: readMetrics(text), threads: readByLabel(text, "twocan_media_cpu_microseconds_total", "shard") };
  }

  /** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
  async #ask(method, path, body) {
    const response = await this.#fetch(method, path, body);
    const text = await response.text();
    return text ? JSON.parse(text) : null;
  }

  /** @param {string} method @param {string} path @param {unknown} [body] */
  async #fetch(method, path, body) {
    /** @type {Record<string, string>} */
    const headers = { Authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { method, headers, cache: "no-store", credentials: "omit", body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    } catch {
      throw new AdminError(0, "The server cannot be reached");
    }
    if (response.ok) return response;
    const said = await response.text();
    throw new AdminError(response.status, readError(said) || `HTTP ${response.status}`);
  }
}

/** @param {string} text */
function readError(text) {
  try {
    return String(JSON.parse(text).error ?? "");
  } catch {
    return text.trim().slice(0, 200);
  }
}

/** @param {string} room */
function roomPath(room) {
  return `/api/v1/rooms/${encodeURIComponent(room)}`;
}

/** @param {string} room @param {string} id */
function participantPath(room, id) {
  return `${roomPath(room)}/participants/${encodeURIComponent(id)}`;
}

/** @param {string} reason */
function because(reason) {
  return reason ? `?reason=${encodeURIComponent(reason)}` : "";
}

/**
 * Prometheus's text (its exposition format), by name.
 *
 * @param {string} text
 * @returns {Map<string, number>}
 */
export function readMetrics(text) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const line of text.split("\n")) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{.*\})?\s+(\S+)/.exec(line);
    const value = Number(found?.[2]);
    if (found && Number.isFinite(value)) sums.set(found[1], (sums.get(found[1]) ?? 0) + value);
  }
  return sums;
}

/**
 * One metric of Prometheus's text, by a label.
 *
 * @param {string} text
 * @param {string} name
 * @param {string} label
 * @returns {Map<string, number>}
 */
export function readByLabel(text, name, label) {
  /** @type {Map<string, number>} */
  const values = new Map();
  for (const line of text.split("\n")) {
    if (!line.startsWith(`${name}{`)) continue;
    const found = new RegExp(`[{,]${label}="([^"]*)"[^}]*\\}\\s+(\\S+)`).exec(line);
    const value = Number(found?.[2]);
    if (found && Number.isFinite(value)) values.set(found[1], value);
  }
  return values;
}

/** How fast counters grow, from one reading to the next. */
export class Rates {
  /** @type {Map<string, {at: number, value: number, rate: number | null}>} */
  #before = new Map();

  /**
   * @param {string} key
   * @param {number | undefined} value of a counter
   * @param {number} at milliseconds
   * @returns {number | null} per second; `null` before the second reading
   */
  of(key, value, at) {
    if (value === undefined) return null;
    const before = this.#before.get(key);
    const rate = before && at > before.at && value >= before.value ? ((value - before.value) * 1000) / (at - before.at) : null;
    this.#before.set(key, { at, value, rate });
    return rate;
  }

  /** Forgets what nobody asks for any more. @param {number} before milliseconds */
  forget(before) {
    for (const [key, { at }] of this.#before) if (at < before) this.#before.delete(key);
  }
}
