// Joining by one request (docs/join.md): a page without SDK and WebSocket, in a room with the meeting page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { SignJWT } from "jose";
import { launch } from "./driver.mjs";
import { PROBE_EACH, SMALL, hears, joinRoom, readsChat, roomFor, seesPicturesOf } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server does not take it";
const SDP = "application/sdp";
const SECRET = "0123456789abcdef0123456789abcdef";
/** The page of the document, as it stands there. */
const PAGE = /```html\n(.*?)```/s.exec(readFileSync(new URL("../../docs/join.md", import.meta.url), "utf8"))[1];

let server;
let mesh;
let closed;
let pages;
let origin;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  // Another origin than the server's.
  pages = createServer((_, response) => response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(PAGE));
  await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${pages.address().port}`;
  server = await startServer(`--topology auto --allowed-origin ${origin}`);
  mesh = await startServer("--topology mesh");
  closed = await startServer(`--topology sfu --token-key main:HS256:${SECRET} --stun-url stun:stun.example.org`);
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await Promise.all([chromium?.close(), firefox?.close()]);
  for (const one of [server, mesh, closed, pages]) one?.close();
});

/** Keeps what the page makes, to look at: it has no handle of its own. */
const WATCHED = `${SMALL}
  globalThis.frames = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...words) { super(...words); globalThis.connection = this; }
    createDataChannel(...words) {
      const channel = super.createDataChannel(...words);
      channel.addEventListener("message", ({ data }) => globalThis.frames.push(JSON.parse(data)));
      return (globalThis.channel = channel);
    }
  };
  const ask = globalThis.fetch;
  globalThis.fetch = async (...words) => {
    const answer = await ask(...words);
    if (answer.status === 201) {
      globalThis.session = new URL(answer.headers.get("Location"), answer.url).href;
      globalThis.setup = /^a=setup:.*$/m.exec(await answer.clone().text())[0].trim();
    }
    return answer;
  };
  globalThis.WebSocket = class { constructor() { throw new Error("a WebSocket"); } };
`;

/** Opens the document's page in a room. */
async function opens(t, browser, room, name) {
  const page = await browser.newPage({ width: 400, height: 300, init: WATCHED });
  t.after(() => page.close());
  const to = `${server.url}/join/${room}?name=${encodeURIComponent(name)}`;
  await page.goto(`${origin}/?room=${encodeURIComponent(to)}`);
  await page.until("the channel open", () => globalThis.channel?.readyState === "open", undefined, 30_000);
  return page;
}

/** Waits until a bare page shows so many pictures, and hears so many sounds. */
const shows = (page, count) =>
  page.until(
    `${count} pictures and sounds`,
    (count) => {
      const playing = (kind) => [...document.querySelectorAll(kind)].filter((own) => own.currentTime > 0.5).length;
      return playing("video") === count && playing("audio") === count && [...document.querySelectorAll("video")].every((own) => own.videoWidth > 0);
    },
    count,
    60_000,
  );

for (const [name, other] of [["chromium", "firefox"], ["firefox", "chromium"]]) {
  test(`a bare page in ${name} joins, sees those who are there and who come, and leaves`, { skip, timeout: 240_000 }, async (t) => {
    const browsers = { chromium, firefox };
    const room = roomFor("join");
    const person = async (browser, name) => {
      const page = await browser.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL });
      t.after(() => page.close());
      await joinRoom(page, server.url, room, name);
      return page;
    };
    const ada = await person(chromium, "Ada");
    const bare = await opens(t, browsers[name], room, "Bär & Co");
    await Promise.all([shows(bare, 1), seesPicturesOf(ada, 1), hears(ada, 1)]);
    assert.deepEqual(await ada.evaluate(() => [...document.querySelector("call-view").room.peers.values()].map(({ name }) => name)), ["Bär & Co"]);
    const first = await bare.evaluate(() => globalThis.frames[0]);
    assert.equal(first.event, "authenticated");
    assert.deepEqual([first.seq, first.data.resume_token, first.data.limits.resume_grace_ms], [1, undefined, 0]);
    assert.deepEqual(first.data.peers.map(({ name }) => name), ["Ada"]);

    // Somebody comes later: the server offers more lines over the channel.
    const eve = await opens(t, browsers[other], room, "Eve");
    await Promise.all([shows(bare, 2), shows(eve, 2), seesPicturesOf(ada, 2)]);
    assert.ok(await bare.evaluate(() => globalThis.frames.some(({ event }) => event === "offer")), "the server's offer");
    assert.ok(await bare.evaluate(() => globalThis.frames.some(({ event, data }) => event === "joined" && data.name === "Eve")));

    // It adds a track: its own offer goes over the channel.
    await bare.evaluate(() => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
      const context = canvas.getContext("2d");
      globalThis.drawing = setInterval(() => context.fillRect(Math.random() * 64, 0, 9, 64), 100);
      const [track] = canvas.captureStream(10).getTracks();
      const stream = new MediaStream([track]);
      globalThis.connection.addTrack(track, stream);
      const told = { id: track.id, kind: "video", source: "screen", stream: stream.id, muted: false };
      globalThis.channel.send(JSON.stringify({ event: "track", data: { action: "publish", track: told } }));
    });
    await bare.until("the answer to its offer", () => globalThis.frames.some(({ event }) => event === "answer"));
    await eve.until("a screen as well", () => [...document.querySelectorAll("video")].filter((own) => own.currentTime > 0.5).length === 3, undefined, 60_000);

    // It speaks, and hears, as everybody does.
    await bare.evaluate(() => globalThis.channel.send(JSON.stringify({ event: "chat", to: "all", data: { type: "chat", text: "from a bare page" } })));
    await readsChat(ada, "from a bare page");

    await bare.evaluate(() => document.querySelector("button").click());
    await ada.until("it gone", () => document.querySelector("call-view").room.peers.size === 1);
    await bare.until("the channel closed", () => globalThis.channel.readyState === "closed");
    // A page that is closed is gone as well, without a word.
    await eve.evaluate(() => globalThis.connection.close());
    await ada.until("nobody else", () => document.querySelector("call-view").room.peers.size === 0);
  });
}

/** An offer that a browser would make. */
const offer = (page, channel = true) =>
  page.evaluate(async (channel) => {
    const connection = new RTCPeerConnection();
    connection.addTransceiver("audio");
    if (channel) connection.createDataChannel("signaling", { protocol: "twocan.v1" });
    return (await connection.createOffer()).sdp;
  }, channel);

test("what is refused, and how", { skip, timeout: 120_000 }, async (t) => {
  const page = await chromium.newPage();
  t.after(() => page.close());
  await page.goto(origin);
  const [sdp, without] = [await offer(page), await offer(page, false)];
  const room = roomFor("refused");
  const post = (body, { to = server, words = "", headers = {} } = {}) =>
    fetch(`${to.url}/join/${room}${words}`, { method: "POST", body, headers: { "Content-Type": SDP, ...headers } });

  const noChannel = await post(without);
  assert.equal(noChannel.status, 422);
  assert.match(await noChannel.text(), /m=application/);
  assert.equal((await post(sdp.replace(/m=application \d+/, "m=application 0"))).status, 422);
  const wrong = await post(sdp, { headers: { "Content-Type": "text/plain" } });
  assert.deepEqual([wrong.status, wrong.headers.get("Accept-Post")], [415, SDP]);
  assert.equal((await post("nonsense")).status, 400);
  assert.equal((await post(sdp, { words: "?metadata=%7B" })).status, 400);
  assert.equal((await post(`${sdp}${"a=x\r\n".repeat(60_000)}`)).status, 413);
  assert.equal((await post(sdp.replace(/^a=fingerprint:.*$/gm, "a=x"))).status, 422);
  assert.equal((await post(sdp, { headers: { Origin: "https://other.example" } })).status, 403);
  const refused = await post(sdp, { to: mesh });
  assert.equal(refused.status, 409);
  assert.match(await refused.text(), /from each to each/);
  for (const method of ["GET", "PUT", "DELETE", "PATCH"]) {
    const response = await fetch(`${server.url}/join/${room}`, { method });
    assert.equal(response.status, 405, method);
    assert.match(response.headers.get("Allow"), /POST/);
  }
  const preflight = await fetch(`${server.url}/join/${room}`, { method: "OPTIONS", headers: { Origin: origin, "Access-Control-Request-Method": "POST" } });
  assert.deepEqual([preflight.status, preflight.headers.get("Accept-Post"), preflight.headers.get("Access-Control-Allow-Origin")], [204, SDP, origin]);

  const token = (of) =>
    new SignJWT({ video: { room: of, roomJoin: true } }).setProtectedHeader({ alg: "HS256", kid: "main" }).setSubject("ada").setIssuedAt().setExpirationTime("10m").sign(new TextEncoder().encode(SECRET));
  const denied = await post(sdp, { to: closed });
  assert.deepEqual([denied.status, denied.headers.get("WWW-Authenticate")], [401, 'Bearer realm="twocan"']);
  assert.equal((await post(sdp, { to: closed, headers: { Authorization: "Bearer wrong" } })).status, 401);
  assert.equal((await post(sdp, { to: closed, words: `?access_token=${await token("another")}` })).status, 403);
  const joined = await post(sdp, { to: closed, words: `?access_token=${await token(room)}` });
  assert.equal(joined.status, 201);
  assert.equal(joined.headers.get("Content-Type"), SDP);
  assert.match(joined.headers.get("Link"), /<stun:stun\.example\.org>; rel="ice-server"/);
  assert.match(await joined.text(), /^m=application [1-9]/m);
  const session = new URL(joined.headers.get("Location"), closed.url).href;
  assert.match(session, new RegExp(`/join/${room}/[0-9a-f]{32}$`));
  const bearer = { Authorization: `Bearer ${await token(room)}` };
  // A session is of its own kind.
  assert.equal((await fetch(session.replace("/join/", "/whip/"), { method: "DELETE", headers: bearer })).status, 404);
  assert.equal((await fetch(session, { method: "DELETE" })).status, 401);
  assert.equal((await fetch(session, { method: "DELETE", headers: bearer })).status, 200);
  assert.equal((await fetch(session, { method: "DELETE", headers: bearer })).status, 404);
});

for (const name of ["chromium", "firefox"]) {
  test(`in ${name} a restart of ICE by PATCH keeps who joined where it is`, { skip, timeout: 120_000 }, async (t) => {
    const browsers = { chromium, firefox };
    const room = roomFor("restart");
    const bare = await opens(t, browsers[name], room, "Ada");
    const eve = await opens(t, chromium, room, "Eve");
    await Promise.all([shows(bare, 1), shows(eve, 1)]);
    const done = await bare.evaluate(async () => {
      const { connection, session, setup } = globalThis;
      const value = (sdp, name) => new RegExp(`^a=${name}:(.*)$`, "m").exec(sdp)[1].trim();
      const offer = await connection.createOffer({ iceRestart: true });
      await connection.setLocalDescription(offer);
      const fragment = `a=ice-ufrag:${value(offer.sdp, "ice-ufrag")}\r\na=ice-pwd:${value(offer.sdp, "ice-pwd")}\r\n`;
      const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" };
      const response = await fetch(session, { method: "PATCH", headers, body: fragment });
      const ours = await response.text();
      const before = connection.currentRemoteDescription;
      const sdp = before.sdp
        .replace(/^a=ice-ufrag:.*$/gm, `a=ice-ufrag:${value(ours, "ice-ufrag")}`)
        .replace(/^a=ice-pwd:.*$/gm, `a=ice-pwd:${value(ours, "ice-pwd")}`)
        .replace(/^a=setup:.*$/gm, setup);
      await connection.setRemoteDescription({ type: "answer", sdp });
      return { status: response.status, etag: response.headers.get("ETag"), before: before.type };
    });
    assert.equal(done.status, 200);
    assert.match(done.etag, /-1"$/);
    await bare.until("connected anew", () => globalThis.connection.iceConnectionState === "connected" || globalThis.connection.iceConnectionState === "completed");
    // The channel goes on, and what is negotiated over it.
    const dan = await opens(t, chromium, room, "Dan");
    await Promise.all([shows(bare, 2), shows(dan, 2)]);
    // Of candidates alone nothing is said; an entity tag of another time is none.
    const patch = (etag) => fetchAs(bare, { method: "PATCH", headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": etag }, body: "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" });
    assert.equal(await patch(done.etag), 204);
    assert.equal(await patch('"other"'), 412);
  });
}

/** The status of a request to the session of a page. */
const fetchAs = (page, words) => page.evaluate(async (words) => (await fetch(globalThis.session, words)).status, words);
