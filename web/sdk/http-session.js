import { backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { fragmentOf, linkedExtensions, linkedServers, restarted, usernameFragment } from "./sdp-fragment.js";

/**
 * - `idle`: not begun;
 * - `connecting`: on its way for the first time, or anew;
 * - `connected`;
 * - `interrupted`: it was connected, and is being mended;
 * - `absent`: the server has nothing there yet (404, 409); it is asked again;
 * - `refused`: for good, until somebody calls `start` again; `error` says why;
 * - `closed`.
 *
 * @typedef {"idle" | "connecting" | "connected" | "interrupted" | "absent" | "refused" | "closed"} HttpSessionState
 */

/** A request may take this long. */
const ANSWER_WITHIN_MS = 15_000;
/** A connection that is not up after this long is made anew. */
const CONNECT_WITHIN_MS = 12_000;
/** `disconnected` often mends itself; after this long ICE is restarted. */
const UNSTABLE_MS = 2_500;
/** Restarts in a row that may lead to nothing; then the session is made anew. */
const RESTARTS_MAX = 2;
/** Candidates that come within this time go out together. */
const TRICKLE_MS = 50;

/** What a server answered that makes no session. */
export class HttpSessionError extends Error {
  /**
   * @param {number} status of HTTP; 0 where there was no answer
   * @param {string} [details] what the server said
   */
  constructor(status, details = "") {
    super(status ? `HTTP ${status}: ${details}` : details || "no answer");
    this.name = "HttpSessionError";
    this.status = status;
    this.details = details;
  }
}

/** These mean that asking again leads to nothing. */
const REFUSALS = [400, 401, 403, 405, 406, 413, 415, 422];

/**
 * One connection by WHIP (RFC 9725) or WHEP: made by one request, mended by ICE restarts, and made anew, with growing
 * pauses, where those do not help.
 *
 * @extends {Emitter<{state: HttpSessionState}>}
 */
export class HttpSession extends Emitter {
  /** @type {HttpSessionState} */ state = "idle";
  /** Why it is not connected, as far as the server has said. @type {HttpSessionError | null} */ error = null;
  /** Another one with each session. @type {RTCPeerConnection | null} */ connection = null;
  /** Where the protocol extensions of the session are, by their names. @type {Map<string, string>} */ extensions = new Map();
  #url;
  #token;
  #prepare;
  /** @type {RTCIceServer[]} */
  #iceServers;
  /** Where the session is, once there is one. @type {string | null} */
  #location = null;
  #etag = "";
  #trickles = true;
  /** @type {RTCIceCandidate[]} */
  #candidates = [];
  #hasAllCandidates = false;
  #attempts = 0;
  #restarts = 0;
  /** Whether a request is under way that decides what is next. */
  #isAsking = false;
  /** @type {number | undefined} */
  #timer;
  /** @type {number | undefined} */
  #trickleTimer;
  /** What the timer does, to do it at once when the network is back. @type {(() => void) | null} */
  #next = null;
  #onOnline = () => this.#hurry();

  /**
   * @param {object} options
   * @param {string | URL} options.url of the end point
   * @param {string} [options.token] goes into the header `Authorization`
   * @param {RTCIceServer[]} [options.iceServers] beside those that the server names
   * @param {(connection: RTCPeerConnection) => void} options.prepare adds the lines to a new connection
   */
  constructor({ url, token = "", iceServers = [], prepare }) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    this.#token = token;
    this.#iceServers = iceServers;
    this.#prepare = prepare;
  }

  /** Begins, or begins again. */
  start() {
    globalThis.removeEventListener?.("online", this.#onOnline);
    globalThis.addEventListener?.("online", this.#onOnline);
    this.#attempts = 0;
    this.error = null;
    this.#state("connecting");
    this.#connect();
  }

  /** Ends it, and tells the server; also while the page goes away. */
  close() {
    globalThis.removeEventListener?.("online", this.#onOnline);
    this.#drop();
    this.#state("closed");
  }

  /** Tells an extension something. @param {string} url @param {unknown} body */
  post(url, body) {
    return this.#ask(url, { method: "POST", headers: this.#headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) });
  }

  /** What it is now. @param {HttpSessionState} state @param {boolean} [isNews] though it was that before */
  #state(state, isNews = false) {
    if (this.state === state && !isNews) return;
    this.state = state;
    this.emit("state", state);
  }

  /** Lets go of the connection, and tells the server. */
  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#trickleTimer);
    this.#trickleTimer = undefined;
    this.#next = null;
    this.#isAsking = false;
    const { connection } = this;
    this.connection = null;
    if (connection) {
      connection.onicecandidate = connection.onconnectionstatechange = connection.oniceconnectionstatechange = null;
      connection.close();
    }
    const location = this.#location;
    this.#location = null;
    this.extensions = new Map();
    // What has ended by itself is not there any more, which is as well.
    if (location) fetch(location, { method: "DELETE", headers: this.#headers(), keepalive: true }).catch(() => {});
  }

  /** @param {Record<string, string>} [more] @returns {Record<string, string>} */
  #headers(more = {}) {
    return { ...more, ...(this.#token ? { Authorization: `Bearer ${this.#token}` } : {}) };
  }

  /**
   * @param {string | URL} url
   * @param {RequestInit} request
   */
  #ask(url, request) {
    return fetch(url, { ...request, cache: "no-store", signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  }

  /** A connection with what it is for; browsers may refuse one. */
  #make() {
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: this.#iceServers });
    this.connection = connection;
    connection.onicecandidate = ({ candidate }) => this.#gathered(connection, candidate);
    connection.onconnectionstatechange = connection.oniceconnectionstatechange = () => this.#watch(connection);
    this.#prepare(connection);
    return connection;
  }

  /** Makes a session. */
  async #connect() {
    this.#drop();
    this.#candidates = [];
    this.#hasAllCandidates = false;
    this.#restarts = 0;
    this.#trickles = true;
    /** @type {RTCPeerConnection | null} */
    let connection = null;
    try {
      connection = this.#make();
      await connection.setLocalDescription();
      const sdp = connection.localDescription?.sdp ?? "";
      const response = await this.#ask(this.#url, { method: "POST", headers: this.#headers({ "Content-Type": "application/sdp" }), body: sdp });
      const text = await response.text();
      if (response.status !== 201) throw Object.assign(new HttpSessionError(response.status, text.trim().slice(0, 300)), { retryAfter: Number(response.headers.get("Retry-After")) || 0 });
      const location = new URL(response.headers.get("Location") ?? "", response.url || this.#url).href;
      if (connection !== this.connection) {
        fetch(location, { method: "DELETE", headers: this.#headers(), keepalive: true }).catch(() => {});
        return;
      }
      this.#location = location;
      this.#etag = response.headers.get("ETag") ?? "";
      this.#candidates = this.#candidates.filter(({ candidate }) => !sdp.includes(candidate));
      this.#useServers(connection, response.headers.get("Link"));
      this.extensions = linkedExtensions(response.headers.get("Link"), location);
      await connection.setRemoteDescription({ type: "answer", sdp: text });
      this.error = null;
      this.#trickle();
      this.#later(CONNECT_WITHIN_MS, () => this.#anew());
    } catch (error) {
      if (connection !== null && connection !== this.connection) return;
      this.#failed(error);
    }
  }

  /** The servers that it names serve for restarts; gathering has begun without. @param {RTCPeerConnection} connection @param {string | null} link */
  #useServers(connection, link) {
    const servers = linkedServers(link);
    if (servers.length === 0) return;
    try {
      connection.setConfiguration({ ...connection.getConfiguration(), iceServers: [...this.#iceServers, ...servers] });
    } catch (error) {
      console.warn("servers for ICE not taken", error);
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    const known = error instanceof HttpSessionError ? error : new HttpSessionError(0, String(/** @type {Error} */ (error)?.message ?? error));
    const { status } = known;
    this.error = known;
    this.#drop();
    if (REFUSALS.includes(status)) return this.#state("refused");
    this.#state(status === 404 || status === 409 ? "absent" : this.state === "interrupted" ? "interrupted" : "connecting", true);
    this.#attempts += 1;
    const least = 1000 * (/** @type {{retryAfter?: number}} */ (known).retryAfter ?? 0);
    this.#later(Math.max(least, backoff(this.#attempts)), () => this.#connect());
  }

  /** Makes the session anew, after a pause that grows. */
  #anew() {
    this.#drop();
    this.#state(this.state === "connected" ? "interrupted" : this.state);
    this.#attempts += 1;
    this.#later(backoff(this.#attempts - 1), () => this.#connect());
  }

  /** @param {number} ms @param {() => void} what */
  #later(ms, what) {
    clearTimeout(this.#timer);
    this.#next = what;
    this.#timer = setTimeout(() => {
      this.#next = null;
      what();
    }, ms);
  }

  /** The network is back. */
  #hurry() {
    if (this.#next && this.state !== "connected" && !this.#isAsking) this.#later(0, this.#next);
  }

  /** @param {RTCPeerConnection} connection */
  #watch(connection) {
    if (connection !== this.connection || this.#isAsking) return;
    const { connectionState } = connection;
    if (connectionState === "connected") {
      clearTimeout(this.#timer);
      this.#next = null;
      this.#attempts = this.#restarts = 0;
      for (const { receiver } of connection.getTransceivers()) {
        // The server has said goodbye: no check will bring it back.
        if (receiver.transport) receiver.transport.onstatechange = () => receiver.transport?.state === "closed" && connection === this.connection && this.#anew();
      }
      this.#state("connected");
    } else if (connectionState === "closed") {
      this.#anew();
    } else if (connectionState === "failed") {
      this.#state("interrupted");
      this.#restart();
    } else if (connectionState === "disconnected" || connection.iceConnectionState === "disconnected") {
      this.#state("interrupted");
      this.#later(UNSTABLE_MS, () => this.#restart());
    }
  }

  /** Restarts ICE (RFC 9725 §4.3.2): the session goes on, and viewers of a publisher with it. */
  async #restart() {
    const { connection } = this;
    const location = this.#location;
    const before = connection?.currentRemoteDescription?.sdp;
    if (!connection || !location || !before || this.#restarts >= RESTARTS_MAX) return this.#anew();
    this.#isAsking = true;
    this.#restarts += 1;
    try {
      await connection.setLocalDescription(await connection.createOffer({ iceRestart: true }));
      const sdp = connection.localDescription?.sdp ?? "";
      const headers = this.#headers({ "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" });
      const response = await this.#ask(location, { method: "PATCH", headers, body: fragmentOf(sdp) });
      const text = await response.text();
      if (response.status !== 200) throw new HttpSessionError(response.status, text.trim().slice(0, 300));
      if (connection !== this.connection) return;
      this.#etag = response.headers.get("ETag") ?? this.#etag;
      await connection.setRemoteDescription({ type: "answer", sdp: restarted(before, text) });
      this.#isAsking = false;
      this.#trickle();
      this.#later(CONNECT_WITHIN_MS / 2, () => this.#restart());
      this.#watch(connection);
    } catch (error) {
      if (connection !== this.connection) return;
      if (error instanceof HttpSessionError) return this.#anew(); // the session is gone, or knows no restarts
      // The server was not reached: the offer is taken back, and the restart tried again.
      if (connection.signalingState === "have-local-offer") await connection.setLocalDescription({ type: "rollback" }).catch(() => {});
      if (connection !== this.connection) return;
      this.#restarts -= 1;
      this.#attempts += 1;
      this.#later(backoff(this.#attempts), () => this.#restart());
    } finally {
      if (connection === this.connection) this.#isAsking = false;
    }
  }

  /** @param {RTCPeerConnection} connection @param {RTCIceCandidate | null} candidate `null` after the last */
  #gathered(connection, candidate) {
    if (connection !== this.connection) return;
    if (candidate?.candidate) this.#candidates.push(candidate);
    else if (!candidate) this.#hasAllCandidates = true;
    this.#trickleTimer ??= setTimeout(() => {
      this.#trickleTimer = undefined;
      this.#trickle();
    }, TRICKLE_MS);
  }

  /** Tells the server what was gathered after the offer went out. */
  async #trickle() {
    const { connection } = this;
    const location = this.#location;
    if (!connection || !location || !this.#trickles || this.#isAsking) return;
    const sdp = connection.localDescription?.sdp ?? "";
    const own = usernameFragment(sdp);
    const candidates = this.#candidates.splice(0).filter(({ usernameFragment: of }) => !of || of === own);
    if (candidates.length === 0) return;
    const headers = this.#headers({ "Content-Type": "application/trickle-ice-sdpfrag", ...(this.#etag ? { "If-Match": this.#etag } : {}) });
    try {
      const response = await this.#ask(location, { method: "PATCH", headers, body: fragmentOf(sdp, candidates, this.#hasAllCandidates) });
      // A server may know no trickle (RFC 9725 §4.3.1); the checks tell it the addresses as well.
      if (!response.ok && response.status !== 412) this.#trickles = false;
    } catch {
      // As above.
    }
  }
}
