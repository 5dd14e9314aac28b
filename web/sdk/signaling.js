import { backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { JoinError, whyNotJoined, whyRefused } from "./join-error.js";
import { SUBPROTOCOL } from "./messages.js";

/**
 * @typedef {import("./messages.js").ServerFrame} ServerFrame
 * @typedef {import("./messages.js").ClientFrame} ClientFrame
 * @typedef {import("./messages.js").Authenticated} Authenticated
 * @typedef {import("./messages.js").Resumed} Resumed
 */

/** A text `ping` goes out this often; half-open connections are found within this time and the next. */
const PING_EVERY_MS = 15_000;
/** No `pong` for this long means that the connection is gone, whatever the browser thinks. */
const PONG_WITHIN_MS = 10_000;
/** An attempt to connect that takes longer is given up, so that the next one can start. */
const CONNECT_WITHIN_MS = 10_000;
/** A request without an answer fails after this time, counted while connected or not. */
const REPLY_WITHIN_MS = 30_000;
/**
 * Frames kept for sending again after a resume. When a frame that the server never got has fallen out, the session
 * cannot be resumed and the room is joined anew.
 */
const SENT_MAX = 256;

/** An `error` frame that answers a request. */
export class RequestError extends Error {
  /**
   * @param {string} description
   * @param {unknown} [details]
   */
  constructor(description, details) {
    super(typeof details === "string" ? `${description}: ${details}` : description);
    this.name = "RequestError";
    this.description = description;
    this.details = details;
  }
}

/**
 * The session with the server: one after another as many WebSockets as it takes.
 *
 * - `frame`: a frame that is for the application, in order, each once;
 * - `authenticated`: the room was joined, for the first time or (`again`) anew because the old session was gone;
 * - `resumed`: the same session goes on;
 * - `waiting`: somebody who moderates has to let us in;
 * - `lost`: the connection broke and is being made again;
 * - `closed`: the session is over and stays so.
 *
 * @extends {Emitter<{frame: ServerFrame, authenticated: {data: Authenticated, again: boolean}, resumed: Resumed, waiting: null,
 *   lost: {attempt: number}, closed: JoinError | null}>}
 */
export class Signaling extends Emitter {
  /** @type {WebSocket | null} */
  #socket = null;
  #url;
  #identity;
  #resumeToken = "";
  #lastSeq = 0;
  #sentSeq = 0;
  /** @type {ClientFrame[]} */
  #sent = [];
  /** Whether frames go out as they are made; before that they wait in `#sent` or `#early`. */
  #live = false;
  #over = false;
  #everJoined = false;
  #requestId = 0;
  /** @type {Map<string | number, {resolve: (data: any) => void, reject: (error: Error) => void, timer: number}>} */
  #requests = new Map();
  #attempt = 0;
  /** @type {number | undefined} */
  #retryTimer;
  /** @type {number | undefined} */
  #pingTimer;
  /** @type {number | undefined} */
  #pongTimer;
  /** @type {number | undefined} */
  #connectTimer;
  #onOnline = () => this.#retryNow();

  /**
   * @param {URL} url of the room's WebSocket
   * @param {{name?: string, metadata?: Record<string, unknown>}} identity given when joining
   */
  constructor(url, identity) {
    super();
    this.#url = url;
    this.#identity = identity;
  }

  /** What is said when joining (again). */
  get identity() {
    return this.#identity;
  }

  set identity(identity) {
    this.#identity = identity;
  }

  /** Shows another token from now on, where the connection is made anew. @param {string} token */
  useToken(token) {
    this.#url.searchParams.set("access_token", token);
  }

  /** Whether the server speaks the base protocol only. */
  get isBase() {
    return this.#socket !== null && this.#socket.readyState === WebSocket.OPEN && this.#socket.protocol !== SUBPROTOCOL;
  }

  /**
   * Makes the first connection. Fails when it is refused; later losses are mended without telling the caller.
   *
   * @returns {Promise<Authenticated>}
   */
  open() {
    globalThis.addEventListener?.("online", this.#onOnline);
    return new Promise((resolve, reject) => {
      const stop = [
        this.on("authenticated", ({ data }) => (settle(), resolve(data))),
        this.on("closed", (error) => (settle(), reject(error ?? new JoinError("closed")))),
      ];
      const settle = () => stop.forEach((off) => off());
      this.#connect();
    });
  }

  /**
   * Sends an event. While the connection is lost it waits and goes out after the resume.
   *
   * @param {string} event
   * @param {any} data
   * @param {"all" | string[]} [to]
   */
  send(event, data, to) {
    this.#push({ event, data, ...(to === undefined ? {} : { to }) });
  }

  /**
   * Sends an event and waits for what the server replies.
   *
   * @param {string} event
   * @param {any} data
   * @param {"all" | string[]} [to]
   * @returns {Promise<any>} rejects with `RequestError`
   */
  request(event, data, to) {
    // A base server knows no requests: it relays the event and never answers.
    if (this.isBase) {
      this.send(event, data, to ?? "all");
      return Promise.resolve(null);
    }
    const id = ++this.#requestId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#requests.delete(id);
        reject(new RequestError("No reply", event));
      }, REPLY_WITHIN_MS);
      this.#requests.set(id, { resolve, reject, timer });
      this.#push({ event, data, id, ...(to === undefined ? {} : { to }) });
    });
  }

  /** Leaves for good: the server is told, so nobody waits for a resume. */
  close() {
    if (this.#over) return;
    if (this.#live && !this.isBase) this.send("leave", null);
    this.#end(null);
  }

  #connect() {
    if (this.#over) return;
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    let opened = false;
    this.#connectTimer = setTimeout(() => this.#lost(socket), CONNECT_WITHIN_MS);
    socket.onopen = () => {
      opened = true;
      this.#ping(socket);
      if (this.isBase) return; // it says `authenticated` by itself
      if (this.#resumeToken) {
        socket.send(JSON.stringify({ event: "resume", data: { token: this.#resumeToken, seq: this.#lastSeq } }));
      } else {
        this.#joinAnew();
      }
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket && typeof data === "string") this.#read(data, socket);
    };
    socket.onclose = async () => {
      if (socket !== this.#socket || this.#over) return;
      if (!opened && !this.#everJoined) {
        const error = await whyRefused(this.#url);
        if (socket === this.#socket) this.#end(error);
        return;
      }
      this.#lost(socket);
    };
  }

  #joinAnew() {
    this.#resumeToken = "";
    this.#lastSeq = 0;
    this.#sentSeq = 0;
    this.#sent = [];
    for (const id of [...this.#requests.keys()]) this.#settle(id, new RequestError("Session lost"));
    this.#socket?.send(JSON.stringify({ event: "join", data: this.#identity }));
  }

  /**
   * @param {string} text
   * @param {WebSocket} socket
   */
  #read(text, socket) {
    if (text === "pong") {
      clearTimeout(this.#pongTimer);
      return;
    }
    /** @type {ServerFrame} */
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // a server that sends no JSON is not worth ending a call for
    }
    if (typeof frame !== "object" || frame === null || typeof frame.event !== "string") return;
    if (typeof frame.seq === "number") {
      if (frame.seq <= this.#lastSeq) return; // replayed, but it had arrived
      this.#lastSeq = frame.seq;
    }
    switch (frame.event) {
      case "authenticated":
        this.#joined(frame.data);
        return;
      case "resumed":
        this.#resumed(frame.data);
        return;
      case "waiting":
        clearTimeout(this.#connectTimer); // a person decides
        this.emit("waiting", null);
        return;
      case "reply":
        if (frame.id !== undefined) this.#settle(frame.id, frame.data);
        return;
      case "error":
        this.#error(frame, socket);
        return;
      default:
        this.emit("frame", frame);
    }
  }

  /** @param {Authenticated} data */
  #joined(data) {
    const again = this.#everJoined;
    this.#everJoined = true;
    this.#connected();
    this.#resumeToken = data.resume_token ?? "";
    this.emit("authenticated", { data, again });
  }

  /** @param {Resumed} data */
  #resumed(data) {
    this.#connected();
    this.#resumeToken = data.resume_token ?? this.#resumeToken;
    const oldest = this.#sent[0]?.seq ?? this.#sentSeq + 1;
    if (oldest > data.received + 1 && this.#socket) {
      // What the server misses is no longer here. A new session is honest, a silent gap is not.
      this.#socket.send(JSON.stringify({ event: "leave", data: null, seq: data.received + 1 }));
      this.#resumeToken = "";
      this.#lost(this.#socket);
      return;
    }
    for (const frame of this.#sent) {
      if (/** @type {number} */ (frame.seq) > data.received) this.#socket?.send(JSON.stringify(frame));
    }
    this.emit("resumed", data);
  }

  #connected() {
    clearTimeout(this.#connectTimer);
    this.#attempt = 0;
    this.#live = true;
  }

  /**
   * @param {ServerFrame} frame
   * @param {WebSocket} socket
   */
  #error(frame, socket) {
    const { description = "", details } = frame.data ?? {};
    if (frame.id !== undefined && this.#requests.has(frame.id)) {
      this.#settle(frame.id, new RequestError(description, details));
    } else if (description === "Could not resume") {
      if (socket === this.#socket) this.#joinAnew();
    } else if (description === "Could not join room" && details === "draining" && this.#everJoined) {
      this.#lost(socket); // whoever comes after this server takes us
    } else if (description === "Could not join room") {
      this.#end(new JoinError(whyNotJoined(details), String(details ?? "")));
    } else if (description === "Room closed") {
      this.#end(new JoinError("closed", String(details ?? "")));
    } else {
      this.emit("frame", frame);
    }
  }

  /** @param {ClientFrame} frame */
  #push(frame) {
    if (this.#over) return;
    if (this.isBase) {
      this.#socket?.send(JSON.stringify(frame));
      return;
    }
    frame.seq = ++this.#sentSeq;
    this.#sent.push(frame);
    if (this.#sent.length > SENT_MAX) this.#sent.shift();
    if (this.#live) this.#socket?.send(JSON.stringify(frame));
  }

  /** @param {WebSocket} socket */
  #ping(socket) {
    clearInterval(this.#pingTimer);
    this.#pingTimer = setInterval(() => {
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send("ping");
      clearTimeout(this.#pongTimer);
      this.#pongTimer = setTimeout(() => this.#lost(socket), PONG_WITHIN_MS);
    }, PING_EVERY_MS);
  }

  /** @param {WebSocket} socket */
  #lost(socket) {
    if (this.#over || socket !== this.#socket) return;
    this.#drop();
    if (!this.#everJoined) {
      this.#end(new JoinError("unreachable"));
      return;
    }
    this.#live = false;
    this.emit("lost", { attempt: this.#attempt });
    this.#retryTimer = setTimeout(() => this.#connect(), backoff(this.#attempt++));
  }

  #retryNow() {
    if (this.#over || this.#live || this.#socket) return;
    clearTimeout(this.#retryTimer);
    this.#connect();
  }

  #drop() {
    clearInterval(this.#pingTimer);
    clearTimeout(this.#pongTimer);
    clearTimeout(this.#connectTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  /** @param {JoinError | null} error */
  #end(error) {
    if (this.#over) return;
    this.#over = true;
    this.#live = false;
    clearTimeout(this.#retryTimer);
    globalThis.removeEventListener?.("online", this.#onOnline);
    this.#drop();
    for (const id of [...this.#requests.keys()]) this.#settle(id, new RequestError("Session over"));
    this.emit("closed", error);
  }

  /**
   * @param {string | number} id
   * @param {any} outcome an `Error` rejects
   */
  #settle(id, outcome) {
    const request = this.#requests.get(id);
    if (!request) return;
    this.#requests.delete(id);
    clearTimeout(request.timer);
    if (outcome instanceof Error) request.reject(outcome);
    else request.resolve(outcome);
  }
}
