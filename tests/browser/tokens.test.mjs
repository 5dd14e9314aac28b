// Join tokens made by another implementation (npm `jose`), shown at the WebSocket, WHIP and WHEP.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { SignJWT, decodeProtectedHeader, exportSPKI, generateKeyPair, jwtVerify } from "jose";
import WebSocket from "ws";
import { until } from "./driver.mjs";
import { roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server takes no tokens";
const SECRET = "0123456789abcdef0123456789abcdef";
const HMAC = new TextEncoder().encode(SECRET);

const folder = mkdtempSync(join(tmpdir(), "twocan-tokens-"));
/** @type {Record<string, any>} by algorithm: the id, and what signs */
const keys = { HS256: { id: "main", signs: HMAC } };
let server;
before(async () => {
  if (skip) return;
  const words = [`--token-key main:HS256:${SECRET}`, "--token-leeway 0", "--topology sfu", "--turn-url turn:turn.example.org", "--turn-secret north"];
  for (const [algorithm, id] of [["ES256", "ec"], ["EdDSA", "ed"]]) {
    const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true });
    const file = join(folder, `${id}.pem`);
    writeFileSync(file, await exportSPKI(publicKey));
    words.push(`--token-key ${id}:${algorithm}:${file}`);
    keys[algorithm] = { id, signs: privateKey, file };
  }
  server = await startServer(words.join(" "));
});
after(() => {
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** @param {string} room @param {{algorithm?: string, grants?: object, ends?: string | number, claims?: object, header?: object, key?: any}} [wanted] */
function tokenFor(room, { algorithm = "HS256", grants = {}, ends = "10m", claims = {}, header = {}, key } = {}) {
  const { id, signs } = keys[algorithm];
  return new SignJWT({ video: { room, roomJoin: true, ...grants }, ...claims })
    .setProtectedHeader({ alg: algorithm, kid: id, ...header })
    .setSubject("ada").setIssuedAt().setExpirationTime(ends).sign(key ?? signs);
}

/** A WebSocket and what it heard, or the answer that refused it. */
function open(t, room, { token = "", headers = {} } = {}) {
  const url = `${server.url.replace("http", "ws")}/webrtc/${room}${token && `?access_token=${token}`}`;
  const socket = new WebSocket(url, "twocan.v1", { headers });
  t.after(() => socket.terminate());
  return new Promise((resolve, reject) => {
    const heard = [];
    socket.on("message", (bytes) => heard.push(JSON.parse(bytes.toString())));
    const next = (event) => until(event, () => {
      const index = heard.findIndex((frame) => frame.event === event);
      return index >= 0 && heard.splice(index, 1)[0];
    }, 30_000);
    const say = (event, data, id) => socket.send(JSON.stringify({ event, data, id }));
    socket.on("open", () => resolve({ say, next, heard, socket }));
    socket.on("unexpected-response", (_, response) => resolve({ status: response.statusCode, challenge: response.headers["www-authenticate"] }));
    socket.on("error", reject);
  });
}

test("tokens of each algorithm join their room, shown in each way", { skip }, async (t) => {
  for (const algorithm of ["HS256", "ES256", "EdDSA"]) {
    const room = roomFor(`join-${algorithm}`);
    const token = await tokenFor(room, { algorithm, claims: { name: "Ada", metadata: "{}" }, grants: { canPublishSources: ["microphone"] } });
    const cookie = `credentials=${encodeURIComponent(JSON.stringify({ username: "x", password: token }))}`;
    for (const shown of [{ token }, { headers: { Authorization: `Bearer ${token}` } }, { headers: { Authorization: `bearer ${token}` } }, { headers: { Cookie: cookie } }]) {
      const ada = await open(t, room, shown);
      assert.equal(ada.status, undefined, `${algorithm}: ${ada.challenge}`);
      ada.say("join", { name: "Mallory" });
      const { data } = await ada.next("authenticated");
      assert.deepEqual(data.permissions, ["publish:microphone", "subscribe", "data", "chat"]);
      assert.ok(data.token_expires_in_ms > 0 && data.token_expires_in_ms <= 600_000);
    }
  }
});

test("what is no token for the room is refused as RFC 6750 has it", { skip }, async (t) => {
  const room = roomFor("refused");
  const good = await tokenFor(room);
  const [head, body, signature] = good.split(".");
  const bare = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const refused = /^Bearer realm="twocan", error="invalid_token", error_description="[^"\\]+"$/;
  const publicKey = keys.ES256.file;
  const { readFileSync } = await import("node:fs");
  const cases = {
    nothing: ["", 401, /^Bearer realm="twocan"$/],
    "no token": ["secret", 401, refused],
    expired: [await tokenFor(room, { ends: 1_700_000_000 }), 401, refused],
    "of another key": [await tokenFor(room, { key: new TextEncoder().encode("x".repeat(32)) }), 401, refused],
    "of no key of ours": [await tokenFor(room, { header: { kid: "other" } }), 401, refused],
    "without a signature": [`${bare({ alg: "none", kid: "main" })}.${body}.`, 401, refused],
    "with a signature of none": [`${bare({ alg: "none", kid: "main" })}.${body}.${signature}`, 401, refused],
    "with other claims": [`${head}.${bare({ exp: 4_000_000_000, video: { room, roomJoin: true } })}.${signature}`, 401, refused],
    "signed with a public key": [await tokenFor(room, { header: { kid: "ec" }, key: readFileSync(publicKey) }), 401, refused],
    "for another room": [await tokenFor(`${room}-2`), 403, /error="insufficient_scope"/],
    "not to join": [await tokenFor(room, { grants: { roomJoin: false } }), 403, /error="insufficient_scope"/],
  };
  for (const [name, [token, status, challenge]] of Object.entries(cases)) {
    const answer = await open(t, room, { token });
    assert.equal(answer.status, status, name);
    assert.match(answer.challenge, challenge, name);
    for (const path of ["whip", "whep"]) {
      const headers = { "Content-Type": "application/sdp", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
      const response = await fetch(`${server.url}/${path}/${room}`, { method: "POST", body: "v=0\r\n", headers });
      assert.equal(response.status, status, `${path}: ${name}`);
      assert.match(response.headers.get("WWW-Authenticate"), challenge);
    }
  }
});

const OFFER = (direction) => ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0 1",
  `a=fingerprint:sha-256 ${Array(32).fill("AB").join(":")}`, "a=setup:actpass", "a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=mid:0", `a=${direction}`, "a=rtcp-mux", "a=rtpmap:111 opus/48000/2",
  "m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=mid:1", `a=${direction}`, "a=rtcp-mux", "a=rtpmap:96 VP8/90000", ""].join("\r\n");

test("WHIP and WHEP need the permission to publish and to subscribe", { skip }, async () => {
  const room = roomFor("http");
  const ask = async (path, grants) => {
    const headers = { "Content-Type": "application/sdp", Authorization: `Bearer ${await tokenFor(room, { grants })}` };
    const body = OFFER(path === "whip" ? "sendonly" : "recvonly");
    const response = await fetch(`${server.url}/${path}/${room}`, { method: "POST", body, headers });
    await response.text();
    return [response, headers];
  };
  for (const [path, grants, status] of [
    ["whip", { canPublish: false }, 403],
    ["whip", { canPublishSources: ["microphone"] }, 403],
    ["whip", { hidden: true }, 403],
    ["whep", { canSubscribe: false }, 403],
    ["whip", { canSubscribe: false }, 201],
    ["whep", { canPublish: false }, 201],
  ]) {
    const [response, headers] = await ask(path, grants);
    assert.equal(response.status, status, `${path} ${JSON.stringify(grants)}`);
    if (status !== 201) continue;
    const session = new URL(response.headers.get("Location"), server.url);
    assert.equal((await fetch(session, { method: "DELETE" })).status, 401);
    const other = await tokenFor(`${room}-2`);
    assert.equal((await fetch(session, { method: "DELETE", headers: { Authorization: `Bearer ${other}` } })).status, 403);
    assert.equal((await fetch(session, { method: "DELETE", headers })).status, 200);
  }
});

test("who shows another token in time stays, who does not is removed", { skip }, async (t) => {
  const room = roomFor("expiry");
  const ends = Math.floor(Date.now() / 1000) + 8;
  const [ada, bob] = [await open(t, room, { token: await tokenFor(room, { ends }) }), await open(t, room, { token: await tokenFor(room, { ends }) })];
  for (const one of [ada, bob]) one.say("join", {});
  await ada.next("authenticated");
  await bob.next("authenticated");
  for (const wrong of ["nonsense", await tokenFor(`${room}-2`), await new SignJWT({ video: { room, roomJoin: true } }).setProtectedHeader({ alg: "HS256", kid: "main" }).setSubject("eve").setExpirationTime("1h").sign(HMAC)]) {
    ada.say("token", { token: wrong }, 1);
    assert.equal((await ada.next("error")).data.description, "Token not taken");
  }
  ada.say("token", { token: await tokenFor(room, { grants: { canPublish: false } }) }, 2);
  assert.deepEqual((await ada.next("permissions")).data.permissions, ["subscribe", "data", "chat"]);
  assert.ok((await ada.next("reply")).data.token_expires_in_ms > 60_000);
  assert.deepEqual((await bob.next("kicked")).data, { reason: "token_expired" });
  await until("closed", () => bob.socket.readyState === WebSocket.CLOSED, 30_000);
  await ada.next("left");
  ada.say("track", { action: "publish", track: { id: "t", kind: "video", source: "camera", stream: "s", muted: false } }, 3);
  assert.equal((await ada.next("error")).data.details, "publish:camera");
});

test("WHIP and WHEP go on under another token, and end with theirs", { skip, timeout: 120_000 }, async () => {
  const room = roomFor("renewed");
  const ends = Math.floor(Date.now() / 1000) + 8;
  const bearer = (token) => ({ Authorization: `Bearer ${token}` });
  const first = await tokenFor(room, { ends });
  const sessions = {};
  for (const [name, path] of [["renewed", "whip"], ["looks on", "whep"], ["ends", "whip"]]) {
    const headers = { "Content-Type": "application/sdp", ...bearer(first) };
    const response = await fetch(`${server.url}/${path}/${room}`, { method: "POST", body: OFFER(path === "whip" ? "sendonly" : "recvonly"), headers });
    assert.equal(response.status, 201, name);
    for (const [, until] of response.headers.get("Link").matchAll(/username="(\d+):/g)) assert.ok(Number(until) <= ends, "relays end with the token");
    sessions[name] = new URL(response.headers.get("Location"), server.url);
  }
  const patch = (name, token) => fetch(sessions[name], { method: "PATCH", headers: bearer(token) }).then(({ status }) => status);
  const eve = await new SignJWT({ video: { room, roomJoin: true } }).setProtectedHeader({ alg: "HS256", kid: "main" }).setSubject("eve").setExpirationTime("1h").sign(HMAC);
  assert.equal(await patch("renewed", eve), 403);
  const second = await tokenFor(room);
  for (const name of ["renewed", "looks on"]) assert.equal(await patch(name, second), 204, name);
  // What asks whether it is still there is no token of its own, and renews nothing.
  const isThere = async (name) => (await fetch(sessions[name], { method: "PATCH", headers: bearer(eve) })).status !== 404;
  await until("ended", async () => !(await isThere("ends")), 60_000);
  for (const name of ["renewed", "looks on"]) assert.ok(await isThere(name), name);
});

test("what `twocan token create` makes, others verify, and the server takes", { skip: skip || (process.env.TWOCAN_BIN ? false : "TWOCAN_BIN is not set") }, async (t) => {
  const room = roomFor("created");
  const words = ["token", "create", "--key", `main:HS256:${SECRET}`, "--room", room, "--identity", "grace", "--name", "Grace", "--ttl", "60", "--admin", "--publish-source", "camera"];
  const token = execFileSync(process.env.TWOCAN_BIN, words, { encoding: "utf8" }).trim();
  assert.deepEqual(decodeProtectedHeader(token), { typ: "JWT", alg: "HS256", kid: "main" });
  const { payload } = await jwtVerify(token, HMAC, { algorithms: ["HS256"], issuer: "main", subject: "grace" });
  assert.deepEqual(payload.video, { room, roomJoin: true, roomAdmin: true, canPublishSources: ["camera"] });
  assert.equal(payload.exp - payload.iat, 60);
  const grace = await open(t, room, { token });
  grace.say("join", {});
  assert.deepEqual((await grace.next("authenticated")).data.permissions, ["publish:camera", "subscribe", "data", "chat", "moderate"]);
});
