// Administration over HTTP: every path, method and answer of `docs/openapi.json` against a running server, with a real
// participant in the room. What is not in the document, and what is in it and was not seen, is an error.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { SignJWT } from "jose";
import WebSocket from "ws";
import { until } from "./driver.mjs";
import { roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server is not administered";
const SECRET = "0123456789abcdef0123456789abcdef";
const ADMIN = "the-operators-secret";
const document = JSON.parse(readFileSync(new URL("../../docs/openapi.json", import.meta.url), "utf8"));

const ajv = new Ajv2020({ strict: false, allErrors: true });
ajv.addSchema({ $id: "openapi.json", ...document });
/** Of every operation, what was answered. @type {Set<string>} */
const seen = new Set();

let server;
before(async () => {
  if (!skip) server = await startServer(`--token-key main:HS256:${SECRET} --admin-secret ${ADMIN} --topology sfu`);
});
after(() => server?.close());

const tokenFor = (grants, claims = {}) =>
  new SignJWT({ video: grants, ...claims }).setProtectedHeader({ alg: "HS256", kid: "main" }).setIssuedAt().setExpirationTime("10m").sign(new TextEncoder().encode(SECRET));

/** Asks, and holds the answer against the document. */
async function ask(method, path, { token = ADMIN, values = {}, body, text, query = "" } = {}) {
  const operation = document.paths[path]?.[method];
  assert.ok(operation, `${method} ${path} is not in the document`);
  const place = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values[name]));
  const headers = { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...(body || text ? { "Content-Type": "application/json" } : {}) };
  const response = await fetch(`${server.url}${place}${query}`, { method: method.toUpperCase(), headers, body: text ?? (body && JSON.stringify(body)) });
  const said = await response.text();
  const what = `${method} ${path}: ${response.status} ${said.slice(0, 200)}`;
  const described = operation.responses[response.status];
  assert.ok(described, `${what} is not in the document`);
  seen.add(`${operation.operationId} ${response.status}`);
  if (body && response.status < 400) {
    const pointer = operation.requestBody.content["application/json"].schema.$ref;
    assert.ok(ajv.validate(`openapi.json${pointer}`, body), `${what}: ${ajv.errorsText()}`);
  }
  for (const name of Object.keys(described.headers ?? {})) assert.ok(response.headers.get(name), `${what}: no ${name}`);
  const schema = described.content?.["application/json"].schema;
  if (!schema) {
    assert.equal(said, "", what);
    return { status: response.status };
  }
  assert.match(response.headers.get("Content-Type"), /^application\/json/, what);
  const data = JSON.parse(said);
  const valid = schema.$ref ? ajv.validate(`openapi.json${schema.$ref}`, data) : ajv.validate(schema, data);
  assert.ok(valid, `${what}: ${ajv.errorsText()}`);
  return { status: response.status, data };
}

/** A participant. */
async function enter(t, room, grants = {}, claims = {}) {
  const token = await tokenFor({ room, roomJoin: true, ...grants }, claims);
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/webrtc/${room}?access_token=${token}`, "twocan.v1");
  t.after(() => socket.terminate());
  const heard = [];
  socket.on("message", (bytes) => heard.push(JSON.parse(bytes.toString())));
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  const next = (event) => until(event, () => {
    const index = heard.findIndex((frame) => frame.event === event);
    return index >= 0 && heard.splice(index, 1)[0];
  }, 30_000).then(({ data }) => data);
  socket.send(JSON.stringify({ event: "join", data: { name: "Ada" } }));
  return { socket, next, say: (event, data) => socket.send(JSON.stringify({ event, data, id: 1 })) };
}

const ROOMS = "/api/v1/rooms";
const ROOM = `${ROOMS}/{room}`;
const ALL = `${ROOM}/participants`;
const ONE = `${ALL}/{participant}`;

test("the served description is the one in docs/", { skip }, async () => {
  const { data } = await ask("get", "/api/v1/openapi.json", { token: "" });
  assert.deepEqual(data, document);
});

test("nothing is done without a token, nor with one that lacks the grant", { skip }, async () => {
  const room = roomFor("closed");
  const joins = await tokenFor({ room, roomJoin: true });
  const other = await tokenFor({ room: `${room}-2`, roomAdmin: true, roomJoin: true });
  await ask("post", ROOMS, { body: { name: room } });
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const method of Object.keys(methods).filter((name) => name !== "parameters" && methods[name].operationId !== "describe")) {
      const values = { room, participant: "nobody" };
      for (const [token, status] of [["", 401], ["nonsense", 401], [SECRET, 401], [joins, 403], [other, 403]]) {
        const { status: answered } = await ask(method, path, { token, values });
        assert.equal(answered, status, `${method} ${path} with ${token}`);
      }
    }
  }
  assert.equal((await ask("get", ROOM, { values: { room } })).data.locked, false, "nothing has changed");
});

test("rooms are made, listed, changed and closed", { skip }, async (t) => {
  const room = roomFor("made");
  const body = { name: room, max_participants: 3, empty_timeout: 600, locked: true, lobby: false, chat_history: 5 };
  const { data } = await ask("post", ROOMS, { body, token: await tokenFor({ roomCreate: true }) });
  assert.deepEqual([data.name, data.max_participants, data.locked, data.participants, data.chat_history], [room, 3, true, 0, 5]);
  const { data: all } = await ask("get", ROOMS, { token: await tokenFor({ roomList: true }) });
  assert.ok(all.rooms.some(({ name }) => name === room));
  // Who may only make rooms opens none that is locked.
  assert.equal((await ask("post", ROOMS, { body: { name: room }, token: await tokenFor({ roomCreate: true }) })).status, 409);
  assert.equal((await ask("post", ROOMS, { body: { name: room }, token: await tokenFor({ roomCreate: true, room: `${room}-2`, roomAdmin: true }) })).status, 409);
  assert.equal((await ask("get", ROOM, { values: { room } })).data.locked, true);
  assert.equal((await ask("post", ROOMS, { body, token: await tokenFor({ roomCreate: true, room, roomAdmin: true }) })).status, 201);
  const ada = await enter(t, room);
  assert.equal((await ada.next("error")).details, "room_is_locked");
  const { data: changed } = await ask("patch", ROOM, { values: { room }, body: { locked: false }, token: await tokenFor({ room, roomAdmin: true }) });
  assert.equal(changed.locked, false);
  const grace = await enter(t, room);
  assert.equal((await grace.next("authenticated")).chat_history, 5);
  assert.equal((await ask("get", ROOM, { values: { room } })).data.participants, 1);
  assert.equal((await ask("delete", ROOM, { values: { room }, query: "?reason=Closing%20time" })).status, 204);
  assert.deepEqual(await grace.next("kicked"), { reason: "Closing time" });
  for (const method of ["get", "delete"]) assert.equal((await ask(method, ROOM, { values: { room } })).status, 404);
  assert.equal((await ask("patch", ROOM, { values: { room }, body: { locked: true } })).status, 404);
  assert.equal((await ask("get", ALL, { values: { room } })).status, 404);
  for (const text of ["", "[]", "{}", "{\"name\":1}", "{\"name\":\"\"}", `{"name":"${"x".repeat(129)}"}`, "{\"name\":\"a\",\"more\":1}"]) {
    assert.equal((await ask("post", ROOMS, { text: text || " " })).status, 422, text);
  }
});

test("participants are seen, muted, limited, told, and removed", { skip }, async (t) => {
  const room = roomFor("people");
  const ada = await enter(t, room, {}, { sub: "ada", name: "Ada Lovelace" });
  const { peer_id: participant } = await ada.next("authenticated");
  const values = { room, participant };
  ada.say("track", { action: "publish", track: { id: "a", kind: "audio", source: "microphone", stream: "s", muted: false } });
  await ada.next("reply");
  const { data } = await ask("get", ALL, { values });
  assert.deepEqual(data.participants.map(({ id, identity, name, state }) => [id, identity, name, state]), [[participant, "ada", "Ada Lovelace", "joined"]]);
  const { data: muted } = await ask("post", `${ONE}/mute`, { values, body: { muted: true, source: "microphone" } });
  assert.equal(muted.tracks[0].muted, true);
  assert.deepEqual(await ada.next("muted"), { track: "a" });
  assert.equal((await ask("post", `${ONE}/mute`, { values, body: { muted: true, track: "none" } })).status, 409);
  const { data: limited } = await ask("patch", ONE, { values, body: { publish_sources: ["camera"], data: false } });
  assert.deepEqual([limited.permissions.publish_sources, limited.permissions.data, limited.tracks], [["camera"], false, []]);
  assert.deepEqual((await ada.next("permissions")).permissions, ["publish:camera", "subscribe"]);
  assert.equal((await ask("get", ONE, { values })).data.permissions.subscribe, true);
  await ask("post", `${ROOM}/data`, { values, body: { data: { text: "Hello" } } });
  assert.deepEqual(await ada.next("announcement"), { text: "Hello" });
  assert.equal((await ask("post", `${ROOM}/data`, { values, body: { data: 1, to: ["nobody"] } })).status, 404);
  for (const [path, method] of [[`${ONE}/mute`, "post"], [ONE, "patch"], [`${ROOM}/data`, "post"], [ROOM, "patch"], ["/api/v1/revocations", "post"]]) {
    assert.equal((await ask(method, path, { values, text: "{\"fly\":true}" })).status, 422, path);
  }
  assert.equal((await ask("delete", ONE, { values, query: "?reason=noise" })).status, 204);
  assert.deepEqual(await ada.next("kicked"), { reason: "noise" });
  await until("closed", () => ada.socket.readyState === WebSocket.CLOSED, 30_000);
  const gone = { room: (await ask("post", ROOMS, { body: { name: room } })).data.name, participant };
  for (const [method, path, body] of [["get", ONE], ["delete", ONE], ["patch", ONE, { data: true }], ["post", `${ONE}/mute`, { muted: true }]]) {
    assert.equal((await ask(method, path, { values: gone, body })).status, 404, path);
  }
});

test("what the connections of a room carry is told", { skip }, async (t) => {
  const room = roomFor("carried");
  const MEDIA = `${ROOM}/media`;
  assert.equal((await ask("get", MEDIA, { values: { room } })).status, 404);
  const ada = await enter(t, room);
  const { peer_id: participant } = await ada.next("authenticated");
  const moderates = await tokenFor({ room, roomAdmin: true });
  // Her connection is there, and has carried nothing: she has offered none.
  const { data } = await until("her connection", async () => {
    const answer = await ask("get", MEDIA, { values: { room }, token: moderates });
    return answer.data.connections.length > 0 && answer;
  }, 30_000);
  const nothing = { bytes: 0, packets: 0, packets_lost: 0 };
  assert.deepEqual(data.connections, [{ participant, state: "new", round_trip_ms: null, received: nothing, sent: nothing }]);
});

test("who waits is let in or sent away", { skip }, async (t) => {
  const room = roomFor("lobby");
  await ask("post", ROOMS, { body: { name: room, lobby: true } });
  const waits = [await enter(t, room), await enter(t, room)];
  const ids = [];
  for (const one of waits) ids.push((await one.next("waiting")).peer_id);
  const { data } = await ask("get", ALL, { values: { room } });
  assert.deepEqual(data.participants.map(({ state }) => state), ["waiting", "waiting"]);
  assert.equal((await ask("post", `${ONE}/admit`, { values: { room, participant: ids[0] } })).status, 204);
  assert.equal((await ask("post", `${ONE}/deny`, { values: { room, participant: ids[1] } })).status, 204);
  assert.equal((await waits[0].next("authenticated")).peer_id, ids[0]);
  assert.equal((await waits[1].next("error")).details, "denied");
  for (const word of ["admit", "deny"]) {
    assert.equal((await ask("post", `${ONE}/${word}`, { values: { room, participant: ids[0] } })).status, 409);
    assert.equal((await ask("post", `${ONE}/${word}`, { values: { room: `${room}-2`, participant: ids[0] } })).status, 404);
  }
});

test("what is revoked ends, and opens nothing any more", { skip }, async (t) => {
  const room = roomFor("revoked");
  const refused = async (token) => (await fetch(`${server.url}/whep/${room}`, { method: "POST", headers: { Authorization: `Bearer ${token}` } })).status;
  const ada = await enter(t, room, {}, { jti: `j-${room}` });
  const bob = await enter(t, room, {}, { sub: `bob-${room}` });
  await ada.next("authenticated");
  await bob.next("authenticated");
  const { data } = await ask("post", "/api/v1/revocations", { body: { token_id: `j-${room}` } });
  assert.deepEqual(data, { removed: 1, lasts: 86_400 });
  assert.deepEqual(await ada.next("kicked"), { reason: "token_revoked" });
  assert.equal(await refused(await tokenFor({ room, roomJoin: true }, { jti: `j-${room}` })), 401);
  assert.equal(await refused(await tokenFor({ room, roomJoin: true }, { jti: `k-${room}` })), 415, "another one still counts");
  assert.deepEqual((await ask("post", "/api/v1/revocations", { body: { identity: `bob-${room}`, lasts: 60 } })).data, { removed: 1, lasts: 60 });
  assert.deepEqual(await bob.next("kicked"), { reason: "token_revoked" });
  const before = await new SignJWT({ video: { room, roomJoin: true } }).setProtectedHeader({ alg: "HS256", kid: "main" }).setSubject(`bob-${room}`).setIssuedAt(1_700_000_000).setExpirationTime("1h").sign(new TextEncoder().encode(SECRET));
  assert.equal(await refused(before), 401);
});

test("who asks too often waits, and nobody else", { skip }, async (t) => {
  const busy = await startServer("--requests-per-second 1 --trusted-proxy 127.0.0.1 --topology sfu --no-stun");
  t.after(() => busy.close());
  const from = (address, path, init = {}) => fetch(`${busy.url}${path}`, { ...init, headers: { "X-Forwarded-For": address } });
  let refused;
  for (let asked = 0; asked < 100 && refused?.status !== 429; asked++) refused = await from("192.0.2.1", "/api/v1/rooms");
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get("Retry-After")) >= 1);
  assert.ok(ajv.validate("openapi.json#/components/schemas/Error", await refused.json()));
  // One budget for all of it; a bucket of one a second is empty for most of one.
  const post = { method: "POST" };
  for (const [path, init] of [["/whip/den", post], ["/whep/den", post], ["/whip/den/0", { method: "DELETE" }], ["/webrtc/den", {}], ["/api/v1/turn", {}]]) {
    let answer;
    for (let asked = 0; asked < 5 && answer?.status !== 429; asked++) answer = await from("192.0.2.1", path, init);
    assert.equal(answer.status, 429, path);
    assert.ok(answer.headers.get("Retry-After"), path);
  }
  assert.equal((await from("192.0.2.1", "/healthz")).status, 200);
  assert.equal((await from("192.0.2.2", "/api/v1/rooms")).status, 401);
  assert.equal((await fetch(`${busy.url}/api/v1/rooms`)).status, 401, "this machine");
});

test("every answer of the description was seen, but those of a server that is full, busy or ends", { skip }, () => {
  const described = Object.values(document.paths).flatMap((methods) => Object.entries(methods).filter(([name]) => name !== "parameters").map(([, operation]) => operation));
  const all = described.flatMap(({ operationId, responses }) => Object.keys(responses).map((status) => `${operationId} ${status}`));
  assert.deepEqual(all.filter((one) => !seen.has(one) && !/ (429|503)$/.test(one)), []);
});
