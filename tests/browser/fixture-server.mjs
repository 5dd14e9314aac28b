// A small server of the signaling protocol (docs/signaling/) with the page beside it, for work on the page without the
// Rust server, and as a second reading of the protocol in its tests. Rooms live in memory; there is no STUN.
//
//   node fixture-server.mjs [--port 8080] [--grace MS] [--chat-history N]
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { WebSocketServer } from "ws";

const WEB = fileURLToPath(new URL("../../web/", import.meta.url));
const SUBPROTOCOL = "twocan.v1";
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};
const POLICY =
  "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:; img-src 'self' data: blob:; " +
  "style-src 'self'; script-src 'self'; worker-src 'self'";
const LIMITS = { message_bytes: 64 * 1024, messages_per_second: 100, peers_per_room: 16, resume_grace_ms: 30_000 };
/** Frames kept for a session whose connection is lost; beyond this it cannot be resumed. */
const REPLAY_MAX = 1_000;
const ROOM_PATH = /^\/(?:webrtc\/|socket\/)?([^/]+)\/?$/;

/** @type {Map<string, Map<string, Session>>} */
const rooms = new Map();
/** What was said to all, by room. @type {Map<string, {from: string, name: string, at: number, data: unknown}[]>} */
const chats = new Map();
/** How many of these are kept for those who come later. */
let chatHistory = 0;
/** @type {Map<string, Session>} by resume token */
const sessions = new Map();

/** One participant, over one or more WebSockets. */
class Session {
  id = randomUUID();
  tracks = [];
  token = randomUUID();
  seq = 0;
  received = 0;
  replay = [];
  socket = null;
  timer = null;

  constructor(roomName, isBase, { name, metadata } = {}) {
    this.roomName = roomName;
    this.isBase = isBase;
    this.name = name ?? "";
    this.metadata = metadata ?? {};
  }

  get info() {
    const { id, name, metadata, tracks, isBase } = this;
    return { id, name, metadata, tracks, protocol: isBase ? "base" : SUBPROTOCOL };
  }

  send(event, data, { from = null, to = [this.id], id } = {}) {
    const frame = { data, event, from, to };
    if (!this.isBase) {
      frame.seq = ++this.seq;
      if (id !== undefined) frame.id = id;
      this.replay.push(frame);
      if (this.replay.length > REPLAY_MAX) this.replay.shift();
    }
    if (this.socket?.readyState === 1) this.socket.send(JSON.stringify(frame));
  }
}

function join_(socket, roomName, isBase, who) {
  const room = rooms.get(roomName) ?? new Map();
  const session = new Session(roomName, isBase, who);
  if (room.size >= LIMITS.peers_per_room) {
    const data = { description: "Could not join room", details: "room_is_full" };
    socket.send(JSON.stringify({ data, event: "error", from: null, to: [session.id] }));
    socket.close(1000);
    return null;
  }
  rooms.set(roomName, room);
  const peers = [...room.values()];
  const { id, name, metadata, tracks, protocol } = session.info;
  for (const peer of peers) {
    const data = peer.isBase ? { peer_id: id } : { peer_id: id, name, metadata, tracks, protocol };
    peer.send("joined", data, { from: id, to: "all" });
  }
  room.set(id, session);
  attach(session, socket);
  if (isBase) {
    session.send("authenticated", { peer_id: id });
    return session;
  }
  sessions.set(session.token, session);
  session.send("authenticated", {
    peer_id: id,
    room: roomName,
    topology: "mesh",
    peers: peers.map((peer) => peer.info),
    ice_servers: [],
    permissions: ["publish", "subscribe", "chat"],
    resume_token: session.token,
    limits: LIMITS,
    ...(chatHistory > 0 ? { chat_history: chatHistory } : {}),
  });
  const messages = chats.get(roomName) ?? [];
  if (messages.length > 0) session.send("chat-history", { messages });
  return session;
}

function attach(session, socket) {
  clearTimeout(session.timer);
  const old = session.socket;
  session.socket = socket;
  if (old && old !== socket) old.terminate();
}

function resume(socket, { token, seq }) {
  const session = sessions.get(token);
  const oldest = session?.replay[0]?.seq ?? (session?.seq ?? 0) + 1;
  if (!session || oldest > seq + 1) {
    const data = { description: "Could not resume", details: session ? "too_far_behind" : "unknown_token" };
    socket.send(JSON.stringify({ data, event: "error", from: null, to: null }));
    return null;
  }
  sessions.delete(token);
  session.token = randomUUID();
  sessions.set(session.token, session);
  attach(session, socket);
  const data = { peer_id: session.id, received: session.received, resume_token: session.token, ice_servers: [] };
  socket.send(JSON.stringify({ data, event: "resumed", from: null, to: [session.id] }));
  for (const frame of session.replay) if (frame.seq > seq) socket.send(JSON.stringify(frame));
  return session;
}

/** @param {any} session @param {"left" | "connection_lost"} reason */
function leave(session, reason) {
  clearTimeout(session.timer);
  sessions.delete(session.token);
  const room = rooms.get(session.roomName);
  if (!room?.delete(session.id)) return;
  for (const peer of room.values()) peer.send("left", { peer_id: session.id, ...(peer.isBase ? {} : { reason }) }, { to: "all" });
  if (room.size > 0) return;
  rooms.delete(session.roomName);
  chats.delete(session.roomName);
}

function relay(session, { event, data = null, to, id }) {
  const invalid = { description: "Invalid message" };
  const isList = Array.isArray(to) && to.every((one) => typeof one === "string");
  if (to !== "all" && !isList) return session.send("error", invalid, { id });
  const room = rooms.get(session.roomName);
  if (isList && !to.every((one) => room.has(one))) {
    if (!session.isBase) session.send("error", { description: "Unknown peer", details: to }, { id });
    return;
  }
  const targets = to === "all" ? [...room.values()].filter((peer) => peer !== session) : to.map((one) => room.get(one));
  for (const target of targets) target.send(event, data, { from: session.id, to });
  if (event !== "chat" || to !== "all" || chatHistory === 0) return;
  const { id: from, name } = session;
  chats.set(session.roomName, [...(chats.get(session.roomName) ?? []), { from, name, at: Date.now(), data }].slice(-chatHistory));
}

/** What the server itself does with an event of `twocan.v1`; the rest is relayed. */
function handle(session, frame) {
  const { event, data, id } = frame;
  const others = () => [...rooms.get(session.roomName).values()].filter((peer) => peer !== session && !peer.isBase);
  const tell = (/** @type {any} */ told) => others().forEach((peer) => peer.send(event, told, { from: session.id, to: "all" }));
  switch (event) {
    case "leave":
      leave(session, "left");
      session.socket.close(1000);
      return;
    case "track": {
      const rest = session.tracks.filter((track) => track.id !== data.track.id);
      session.tracks = data.action === "unpublish" ? rest : [...rest, data.track];
      tell(data);
      break;
    }
    case "metadata":
      if (data.name !== undefined) session.name = data.name;
      if (data.metadata !== undefined) session.metadata = data.metadata;
      tell({ peer_id: session.id, ...data });
      break;
    default:
      relay(session, frame);
      return;
  }
  if (id !== undefined) session.send("reply", null, { id });
}

function connection(socket, roomName) {
  const isBase = socket.protocol !== SUBPROTOCOL;
  /** @type {Session | null} */
  let session = isBase ? join_(socket, roomName, true) : null;
  socket.on("message", (bytes, isBinary) => {
    if (isBinary) return;
    const text = bytes.toString();
    if (text === "ping") return socket.send("pong");
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      const data = { description: "Invalid JSON", details: text };
      return socket.send(JSON.stringify({ data, event: "error", from: null, to: null }));
    }
    if (typeof frame?.event !== "string") return session?.send("error", { description: "Invalid message" });
    if (!session) {
      if (frame.event === "resume") session = resume(socket, frame.data);
      else if (frame.event === "join") session = join_(socket, roomName, false, frame.data);
      return undefined;
    }
    if (typeof frame.seq === "number") {
      if (frame.seq <= session.received) return undefined;
      session.received = frame.seq;
    }
    return session.isBase ? relay(session, frame) : handle(session, frame);
  });
  socket.on("close", () => {
    const gone = session;
    if (!gone || gone.socket !== socket) return;
    if (gone.isBase) leave(gone, "connection_lost");
    else gone.timer = setTimeout(() => leave(gone, "connection_lost"), LIMITS.resume_grace_ms);
  });
}

async function page(request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  const path = normalize(decodeURIComponent(pathname));
  const file = extname(path) ? path : "/index.html";
  try {
    const body = await readFile(join(WEB, file));
    response.writeHead(200, {
      "content-type": TYPES[extname(file)] ?? "application/octet-stream",
      "content-security-policy": POLICY,
      "cache-control": "no-cache",
    });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
}

const { values } = parseArgs({ options: { port: { type: "string", default: "0" }, grace: { type: "string" }, "chat-history": { type: "string" } } });
chatHistory = Number(values["chat-history"] ?? 0);
if (values.grace) LIMITS.resume_grace_ms = Number(values.grace);
const http = createServer(page);
const sockets = new WebSocketServer({
  noServer: true,
  maxPayload: LIMITS.message_bytes,
  handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
});
http.on("upgrade", (request, socket, head) => {
  const { pathname } = new URL(request.url, "http://localhost");
  const room = ROOM_PATH.exec(pathname)?.[1];
  if (!room) return socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
  return sockets.handleUpgrade(request, socket, head, (ws) => connection(ws, decodeURIComponent(room)));
});
http.listen(Number(values.port), "127.0.0.1", () => {
  const { port } = http.address();
  console.log(JSON.stringify({ message: "listening", http: `http://127.0.0.1:${port}` }));
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
