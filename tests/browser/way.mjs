// The way between one page and a server that forwards media, or another page, so that it can be made narrow, lossy, long,
// or taken away. Signaling passes a proxy that names a socket of ours in place of the other side's, and every datagram
// passes that socket.
import { createSocket } from "node:dgram";
import { createServer, request } from "node:http";
import { networkInterfaces } from "node:os";
import { WebSocket, WebSocketServer } from "ws";

/**
 * What happens to datagrams in one direction.
 *
 * @typedef {object} Conditions
 * @property {number} [kbps] kilobits a second of payload that pass; default any
 * @property {number} [queueMs] what waits longer than this for its turn is dropped; default 200
 * @property {number} [loss] share that is lost by chance, 0 to 1; default 0
 * @property {number} [delayMs] how long the way is; default 0
 */

const CANDIDATE = /^(candidate:\S+ \d+ )(\S+)( \d+ )(\S+) (\d+)( .*)$/i;
const QUEUE_MS = 200;
/** Of this machine; Firefox reaches nothing on loopback from any other address. */
const ADDRESS = Object.values(networkInterfaces()).flat().find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1";

/** One direction. */
class Lane {
  /** @type {Conditions} */ conditions = {};
  /** Datagrams that passed, and that did not. */ counts = { passed: 0, dropped: 0 };
  #freeAt = 0;
  #timers = new Set();
  /** A generator that repeats: which are lost does not depend on the run. */
  #state;

  /** @param {number} seed */
  constructor(seed) {
    this.#state = seed;
  }

  /** @param {number} size bytes @param {() => void} deliver */
  carry(size, deliver) {
    const { kbps = Infinity, queueMs = QUEUE_MS, loss = 0, delayMs = 0 } = this.conditions;
    const now = performance.now();
    const from = Math.max(now, this.#freeAt);
    if (this.#chance() < loss || from - now > queueMs) {
      this.counts.dropped += 1;
      return;
    }
    this.counts.passed += 1;
    this.#freeAt = from + (size * 8) / kbps;
    const wait = this.#freeAt + delayMs - now;
    if (wait < 1) return deliver();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      deliver();
    }, wait);
    this.#timers.add(timer);
  }

  close() {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** 0 to 1 (mulberry32). */
  #chance() {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

/** The datagrams of one page. */
class Datagrams {
  up = new Lane(1);
  down = new Lane(2);
  isGone = false;
  /** Where the other side's media is, once it has said so. @type {{address: string, port: number} | null} */
  #server = null;
  /** The username fragment under which it said so. */
  #fragment = "";
  #front = createSocket("udp4");
  /** One for each socket of the page, so that the server tells them apart. @type {Map<string, import("node:dgram").Socket>} */
  #backs = new Map();

  async open() {
    await new Promise((resolve) => this.#front.bind(0, ADDRESS, () => resolve(null)));
    this.#front.on("message", (bytes, { address, port }) => {
      if (!this.#server || this.isGone) return;
      const back = this.#back(address, port);
      const to = this.#server;
      this.up.carry(bytes.length, () => this.isGone || back.send(bytes, to.port, to.address, () => {}));
    });
    this.#front.on("error", () => {}); // a page that is closed has no socket any more
  }

  get port() {
    return this.#front.address().port;
  }

  /** @param {string} address @param {number} port of the other side; the first one under a username fragment counts @param {string} fragment */
  aim(address, port, fragment) {
    if (!this.#server || fragment !== this.#fragment) this.#server = { address, port };
    this.#fragment = fragment;
    return this.#server.address === address && this.#server.port === port;
  }

  /** @param {string} address @param {number} port of the page */
  #back(address, port) {
    const known = this.#backs.get(`${address} ${port}`);
    if (known) return known;
    const back = createSocket("udp4");
    back.on("message", (bytes) => {
      if (this.isGone) return;
      this.down.carry(bytes.length, () => this.isGone || this.#front.send(bytes, port, address, () => {}));
    });
    back.on("error", () => {});
    this.#backs.set(`${address} ${port}`, back);
    return back;
  }

  close() {
    this.isGone = true;
    for (const one of [this.up, this.down]) one.close();
    for (const socket of [this.#front, ...this.#backs.values()]) socket.close();
  }
}

/**
 * Frames from the other side, with our socket in place of its own, and none of its other addresses.
 *
 * @param {string} text @param {Datagrams} datagrams @param {(id: unknown) => boolean} isOther
 * @returns {string | null} `null`: not for the page
 */
function fromOther(text, datagrams, isOther) {
  const frame = text.startsWith("{") ? JSON.parse(text) : {};
  const said = frame.data?.candidate ?? frame.data?.sdp ?? "";
  const fragment = /(?:ufrag |a=ice-ufrag:)(\S+)/.exec(said)?.[1] ?? frame.data?.usernameFragment ?? "";
  const ours = (/** @type {string} */ line) => {
    const [, head, protocol, priority, address, port, rest] = CANDIDATE.exec(line) ?? [];
    const isTaken = protocol?.toLowerCase() === "udp" && !address.includes(":") && datagrams.aim(address, Number(port), fragment);
    return isTaken ? `${head}${protocol}${priority}${ADDRESS} ${datagrams.port}${rest}` : null;
  };
  if (frame.event === "candidate" && isOther(frame.from) && frame.data?.candidate) {
    const candidate = ours(frame.data.candidate);
    return candidate && JSON.stringify({ ...frame, data: { ...frame.data, candidate } });
  }
  if (!["offer", "answer"].includes(frame.event) || !isOther(frame.from)) return text;
  const lines = frame.data.sdp.split("\r\n").flatMap((line) => {
    if (!line.startsWith("a=candidate:")) return [line];
    const candidate = ours(line.slice(2));
    return candidate ? [`a=${candidate}`] : [];
  });
  return JSON.stringify({ ...frame, data: { ...frame.data, sdp: lines.join("\r\n") } });
}

/** Frames from the page, without its addresses: the other side is to find it by what comes from us. @param {string} text @param {(id: unknown) => boolean} isOther */
function fromPage(text, isOther) {
  const frame = text.startsWith("{") ? JSON.parse(text) : {};
  if (!Array.isArray(frame.to) || !frame.to.some(isOther)) return text;
  if (frame.event === "candidate") return JSON.stringify({ ...frame, data: { ...frame.data, candidate: "" } });
  if (!["offer", "answer"].includes(frame.event)) return text;
  return JSON.stringify({ ...frame, data: { ...frame.data, sdp: frame.data.sdp.replace(/^a=candidate:.*\r\n/gm, "") } });
}

/**
 * @param {string} target such as `http://127.0.0.1:8080`
 * @param {{isMesh?: boolean}} [options] `isMesh`: the other side is the one other participant, and not the server
 * @returns {Promise<{url: string, up: Lane, down: Lane, takeAway: (is: boolean) => void, close: () => void}>} `url`: what the page is to open;
 *   `up`, `down`: the media of the page and to the page; `takeAway`: neither signaling nor media passes
 */
export async function startWay(target, { isMesh = false } = {}) {
  const inside = new URL(target);
  const isOther = (/** @type {unknown} */ id) => (isMesh ? typeof id === "string" : id === "server");
  const datagrams = new Datagrams();
  await datagrams.open();
  const sockets = new Set();
  const { hostname: host, port } = inside;
  const server = createServer((incoming, outgoing) => {
    const inner = request({ host, port, method: incoming.method, path: incoming.url, headers: incoming.headers }, (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(outgoing);
    });
    inner.on("error", () => outgoing.destroy());
    incoming.pipe(inner);
  });
  server.on("connection", (socket) => {
    if (datagrams.isGone) return socket.destroy();
    sockets.add(socket);
    socket.on("error", () => {});
    return socket.on("close", () => sockets.delete(socket));
  });
  const outer = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] ?? false });
  server.on("upgrade", (incoming, socket, head) => {
    const { host: name, origin, "user-agent": agent, "sec-websocket-protocol": protocols = "" } = incoming.headers;
    const inner = new WebSocket(`ws://${inside.host}${incoming.url}`, protocols.split(",").map((one) => one.trim()), { headers: { host: name, origin, "user-agent": agent } });
    inner.on("error", () => socket.destroy());
    inner.on("unexpected-response", (_, { statusCode, statusMessage }) => socket.end(`HTTP/1.1 ${statusCode} ${statusMessage}\r\nconnection: close\r\n\r\n`));
    inner.on("open", () =>
      outer.handleUpgrade(incoming, socket, head, (page) => {
        const passes = (from, to, change) => from.on("message", (bytes, isBinary) => {
          const said = isBinary ? bytes : change(bytes.toString());
          if (said !== null && to.readyState === WebSocket.OPEN) to.send(said);
        });
        passes(inner, page, (text) => fromOther(text, datagrams, isOther));
        passes(page, inner, (text) => fromPage(text, isOther));
        page.on("error", () => {});
        inner.on("close", () => page.terminate());
        page.on("close", () => inner.terminate());
      }),
    );
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    up: datagrams.up,
    down: datagrams.down,
    takeAway(is) {
      datagrams.isGone = is;
      if (is) for (const socket of sockets) socket.resetAndDestroy();
    },
    close() {
      server.close();
      datagrams.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
