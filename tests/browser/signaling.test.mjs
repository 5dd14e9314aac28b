// The client's signaling in Node against the server, over a proxy that can be cut. Every frame either way is held
// against its schema.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import WebSocket from "ws";
import { startProxy } from "./cut-proxy.mjs";
import { until } from "./driver.mjs";
import { roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const SCHEMAS = new URL("../../docs/signaling/", import.meta.url);

const ajv = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true });
for (const file of await readdir(SCHEMAS)) {
  if (file.endsWith(".json")) ajv.addSchema(JSON.parse(await readFile(new URL(file, SCHEMAS), "utf8")));
}

/** @param {string} name @param {unknown} value */
function assertSchema(name, value) {
  const validate = ajv.getSchema(`${name}.schema.json`);
  assert.ok(validate, `no schema ${name}`);
  assert.ok(validate(value), `${name}: ${JSON.stringify(value)}\n${ajv.errorsText(validate.errors)}`);
}

/** Frames that were held against a schema. */
let checked = 0;
/** @type {unknown[]} */
const broken = [];
function check(side, text) {
  if (text === "ping" || text === "pong") return;
  try {
    const frame = JSON.parse(text);
    assertSchema(side, frame);
    // Events that a client invents have no schema.
    if (ajv.getSchema(`${frame.event}.schema.json`) && frame.event !== "reply") assertSchema(frame.event, frame.data);
    checked += 1;
  } catch (error) {
    broken.push(error);
  }
}

// The browser's WebSocket, of which the client needs no more than `ws` has.
globalThis.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols);
    this.on("error", () => {}); // a browser only closes; `ws` would throw
    this.on("message", (bytes) => check("server-frame", bytes.toString()));
  }
  send(text) {
    check("client-frame", text);
    super.send(text);
  }
};
const { Signaling } = await import("../../web/sdk/signaling.js");
const { sessionUrl } = await import("../../web/sdk/session-url.js");

let server;
let proxy;
before(async () => {
  server = await startServer();
  proxy = await startProxy(server.url);
});
after(() => {
  proxy?.close();
  server?.close();
});

/** A client in a room, with everything that it heard. */
async function client(t, room, name, base = proxy.url) {
  const signaling = new Signaling(sessionUrl(`${base}/${room}`), { name, metadata: { test: true } });
  t.after(() => signaling.close());
  const heard = [];
  signaling.on("frame", (frame) => heard.push(frame));
  const states = [];
  for (const state of ["authenticated", "resumed", "lost", "closed"]) signaling.on(state, (detail) => states.push([state, detail]));
  const me = await signaling.open();
  const next = (event) =>
    until(`${name} hears ${event}`, () => {
      const index = heard.findIndex((frame) => frame.event === event);
      return index >= 0 && heard.splice(index, 1)[0];
    }, 5_000);
  return { signaling, me, heard, states, next };
}

test("who joins learns who is there and what they send, and they learn who came", async (t) => {
  const room = roomFor("join");
  const ada = await client(t, room, "Ada");
  assert.equal(ada.me.room, room);
  assert.equal(ada.me.topology, "mesh");
  assert.deepEqual(ada.me.peers, []);
  const track = { id: "t1", kind: "video", source: "camera", stream: "s1", muted: false };
  await ada.signaling.request("track", { action: "publish", track });

  const grace = await client(t, room, "Grace");
  assert.equal(grace.me.peers.length, 1);
  const { id, name, metadata, tracks, protocol } = grace.me.peers[0];
  assert.deepEqual({ id, name, metadata, tracks, protocol }, { id: ada.me.peer_id, name: "Ada", metadata: { test: true }, tracks: [track], protocol: "twocan.v1" });
  const joined = await ada.next("joined");
  assert.equal(joined.data.peer_id, grace.me.peer_id);
  assert.equal(joined.data.name, "Grace");

  await ada.signaling.request("track", { action: "mute", track: { ...track, muted: true } });
  const muted = await grace.next("track");
  assert.equal(muted.from, ada.me.peer_id);
  assert.equal(muted.data.action, "mute");
  await grace.signaling.request("metadata", { name: "Grace H." });
  assert.equal((await ada.next("metadata")).data.name, "Grace H.");

  grace.signaling.close();
  assert.deepEqual((await ada.next("left")).data, { peer_id: grace.me.peer_id, reason: "left" });
});

test("a request that the server refuses is rejected, and an unknown peer is said", async (t) => {
  const ada = await client(t, roomFor("refused"), "Ada");
  await assert.rejects(ada.signaling.request("offer", { type: "offer", sdp: "" }), /Invalid message/);
  await assert.rejects(ada.signaling.request("offer", { type: "offer", sdp: "" }, ["00000000-0000-4000-8000-000000000000"]), /Unknown peer/);
});

test("after a cut, what both sides missed arrives once and in order", async (t) => {
  const room = roomFor("cut");
  const ada = await client(t, room, "Ada");
  const grace = await client(t, room, "Grace", server.url); // not cut
  for (let round = 0; round < 3; round += 1) {
    const say = (from, to, n) => from.signaling.send("note", n, [to.me.peer_id]);
    say(ada, grace, `${round}:0`);
    proxy.block(true);
    proxy.cut();
    for (let n = 1; n <= 20; n += 1) {
      say(ada, grace, `${round}:${n}`);
      say(grace, ada, `${round}:${n}`);
    }
    await until("lost", () => ada.states.filter(([state]) => state === "lost").length > round, 5_000);
    proxy.block(false);
    const notes = (who) => who.heard.filter(({ event }) => event === "note").map(({ data }) => data);
    await until("all notes", () => notes(grace).length >= 21 * (round + 1) && notes(ada).length >= 20 * (round + 1), 15_000);
    const expected = (first) => Array.from({ length: round + 1 }, (_, r) => Array.from({ length: 21 - first }, (_, n) => `${r}:${n + first}`)).flat();
    assert.deepEqual(notes(grace), expected(0));
    assert.deepEqual(notes(ada), expected(1));
  }
  assert.equal(ada.states.filter(([state]) => state === "authenticated").length, 1, "the same session all along");
  assert.ok(!grace.heard.some(({ event }) => event === "left"), "to the others nothing happened");
});

test("hands are numbered for all and kept for who comes later, reactions are not, and both are refused in words", async (t) => {
  if (server.isFixture) return t.skip("the fixture server knows neither");
  const room = roomFor("hands");
  const ada = await client(t, room, "Ada");
  const grace = await client(t, room, "Grace", server.url);
  await ada.signaling.request("hand", { raised: true });
  await grace.signaling.request("hand", { raised: true });
  for (const who of [ada, grace]) {
    assert.deepEqual((await who.next("hand")).data, { peer_id: ada.me.peer_id, raised: true, number: 1 });
    assert.deepEqual((await who.next("hand")).data, { peer_id: grace.me.peer_id, raised: true, number: 2 });
  }
  proxy.cut();
  await grace.signaling.request("hand", { raised: false });
  assert.deepEqual((await ada.next("hand")).data, { peer_id: grace.me.peer_id, raised: false });
  await ada.signaling.request("reaction", { emoji: "🎉" });
  const reaction = await grace.next("reaction");
  assert.deepEqual([reaction.from, reaction.data], [ada.me.peer_id, { emoji: "🎉" }]);
  const late = await client(t, room, "Late");
  assert.deepEqual(late.me.peers.map(({ id, hand }) => [id, hand]).sort(), [[ada.me.peer_id, 1], [grace.me.peer_id, undefined]].sort());
  await assert.rejects(ada.signaling.request("moderate", { action: "lower-hands" }), /Not permitted: moderate/);
  const burst = await Promise.allSettled(Array.from({ length: 10 }, () => grace.signaling.request("reaction", { emoji: "👍" })));
  const refused = burst.filter(({ status }) => status === "rejected").map(({ reason }) => reason.details);
  assert.ok(refused.length >= 1 && refused.length < 10, `${refused.length} of 10`);
  assert.deepEqual([...new Set(refused)], ["reactions_per_second"]);
});

test("what was said to all is told once to who comes later, where the server keeps it", async (t) => {
  const keeps = await startServer("--chat-history 2");
  t.after(() => keeps.close());
  const room = roomFor("history");
  const ada = await client(t, room, "Ada", keeps.url);
  assert.equal(ada.me.chat_history, 2);
  const say = (text, to = "all") => ada.signaling.send("chat", { text, id: text, at: 1 }, to);
  for (const text of ["one", "two", "three"]) say(text);
  // To herself, so that the server has heard all of it.
  say("only me", [ada.me.peer_id]);
  await ada.next("chat");
  const eve = await client(t, room, "Eve", keeps.url);
  const { messages } = (await eve.next("chat-history")).data;
  assert.deepEqual(messages.map(({ from, name, data }) => [from, name, data]), ["two", "three"].map((text) => [ada.me.peer_id, "Ada", { text, id: text, at: 1 }]));
  assert.ok(messages.every(({ at }) => Math.abs(at - Date.now()) < 60_000));
  assert.ok(!eve.heard.some(({ event }) => event === "chat-history"));
  // Where nothing is kept there is no word of it.
  assert.equal((await client(t, room, "Bob")).me.chat_history, undefined);
});

test("a session that the server does not know any more becomes a new one on the same connection", async (t) => {
  const room = roomFor("forgotten");
  const watcher = await client(t, room, "Watcher", server.url);
  const ada = await client(t, room, "Ada");
  // Another connection takes the session over and leaves, so that its token is void.
  const thief = new globalThis.WebSocket(sessionUrl(`${server.url}/${room}`), "twocan.v1");
  await new Promise((resolve) => (thief.onopen = resolve));
  proxy.block(true);
  thief.send(JSON.stringify({ event: "resume", data: { token: ada.me.resume_token, seq: 1 } }));
  thief.send(JSON.stringify({ event: "leave", data: null, seq: 1 }));
  await watcher.next("left");
  proxy.cut();
  proxy.block(false);
  await until("joined anew", () => ada.states.some(([state, detail]) => state === "authenticated" && detail.again), 15_000);
  const again = ada.states.findLast(([state]) => state === "authenticated")[1].data;
  assert.notEqual(again.peer_id, ada.me.peer_id);
  assert.deepEqual(again.peers.map(({ name }) => name), ["Watcher"]);
  thief.terminate();
});

test("a WebSocket that nobody answers is reported, with the reason where there is one", async () => {
  const nobody = new Signaling(sessionUrl("http://127.0.0.1:9/room"), {});
  await assert.rejects(nobody.open(), { name: "JoinError", reason: "unreachable" });
});

test("every schema is sound, and every frame of these tests fits its schema", () => {
  for (const id of Object.keys(ajv.schemas)) if (id.endsWith(".schema.json")) ajv.getSchema(id);
  assert.deepEqual(broken, []);
  assert.ok(checked > 200, `${checked} frames`);
  for (const [name, wrong] of [
    ["server-frame", { event: "x", data: null, from: null }],
    ["server-frame", { event: "x", data: null, from: null, to: null, extra: 1 }],
    ["authenticated", { peer_id: "x" }],
    ["track", { action: "sing", track: {} }],
    ["offer", { type: "answer", sdp: "" }],
    ["resume", { token: "x", seq: -1 }],
  ]) {
    assert.equal(ajv.getSchema(`${name}.schema.json`)(wrong), false, `${name} takes ${JSON.stringify(wrong)}`);
  }
});
