// What happens in the rooms, told by HTTP: signed, in order, and again where it was not taken. The commands `twocan room`
// and `twocan participant` cause it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { jwtVerify } from "jose";
import WebSocket from "ws";
import { until } from "./driver.mjs";
import { roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server tells nobody";
const run = promisify(execFile);
const KEY = "hooks-0123456789abcdef0123456789abcdef";
const ADMIN = "the-operators-secret";

let server;
let receiver;
/** @type {{headers: Record<string, string>, body: string}[]} */
const taken = [];
let refusals = 2;
before(async () => {
  if (skip) return;
  receiver = createServer((request, response) => {
    let body = "";
    request.on("data", (bytes) => (body += bytes));
    request.on("end", () => {
      response.statusCode = refusals > 0 ? 500 : 200;
      if (refusals > 0) refusals -= 1;
      else taken.push({ headers: request.headers, body });
      response.end();
    });
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  server = await startServer(`--admin-secret ${ADMIN} --webhook-url http://127.0.0.1:${receiver.address().port}/hook --webhook-key hooks:HS256:${KEY}`);
});
after(() => {
  server?.close();
  receiver?.closeAllConnections();
  receiver?.close();
});

async function enter(t, room) {
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/webrtc/${room}`, "twocan.v1");
  t.after(() => socket.terminate());
  const heard = [];
  socket.on("message", (bytes) => heard.push(JSON.parse(bytes.toString())));
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  const say = (event, data) => socket.send(JSON.stringify({ event, data }));
  say("join", { name: "Ada" });
  const next = (event) => until(event, () => heard.find((frame) => frame.event === event)?.data, 30_000);
  return { say, next };
}

test("what happens is told in order, signed, and again where it was refused", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("hooks");
  const ada = await enter(t, room);
  const { peer_id: id } = await ada.next("authenticated");
  const track = { id: "t", kind: "video", source: "camera", stream: "s", muted: false };
  ada.say("track", { action: "publish", track });
  ada.say("track", { action: "mute", track: { ...track, muted: true } });
  ada.say("track", { action: "unpublish", track });
  ada.say("leave", null);
  await until("all of it", () => taken.some(({ body }) => body.includes("room_finished")), 60_000);
  const told = taken.map(({ body }) => JSON.parse(body));
  assert.deepEqual(told.map(({ event }) => event), ["room_started", "participant_joined", "track_published", "track_unpublished", "participant_left", "room_finished"]);
  assert.ok(told.every((one) => one.room.name === room && one.createdAt > 1_700_000_000));
  assert.equal(new Set(told.map(({ id: own }) => own)).size, told.length);
  assert.deepEqual([told[1].participant.id, told[1].participant.name], [id, "Ada"]);
  assert.deepEqual([told[2].participantId, told[2].track.source], [id, "camera"]);
  assert.equal(told[4].reason, "left");
  for (const { headers, body } of taken) {
    const { payload } = await jwtVerify(headers.authorization, new TextEncoder().encode(KEY), { algorithms: ["HS256"], issuer: "hooks" });
    assert.equal(payload.sha256, createHash("sha256").update(body).digest("base64"));
    assert.equal(headers["content-type"], "application/webhook+json");
  }
});

const bin = process.env.TWOCAN_BIN;
test("rooms and participants are administered on the command line", { skip: skip || (bin ? false : "TWOCAN_BIN is not set"), timeout: 120_000 }, async (t) => {
  const room = roomFor("command line");
  const twocan = async (command, ...words) => {
    const { stdout } = await run(bin, [command, "--server", server.url, "--token", ADMIN, ...words]);
    return stdout && JSON.parse(stdout);
  };
  const made = await twocan("room", "create", room, "--max-participants", "5", "--lobby");
  assert.deepEqual([made.name, made.max_participants, made.lobby], [room, 5, true]);
  const ada = await enter(t, encodeURIComponent(room));
  const { peer_id: id } = await ada.next("waiting");
  await twocan("participant", "--room", room, "admit", id);
  await ada.next("authenticated");
  const { participants } = await twocan("participant", "--room", room, "list");
  assert.deepEqual(participants.map((one) => [one.id, one.state]), [[id, "joined"]]);
  const limited = await twocan("participant", "--room", room, "permit", id, JSON.stringify({ publish: false }));
  assert.equal(limited.permissions.publish, false);
  await twocan("room", "announce", room, "Hello");
  assert.deepEqual(await ada.next("announcement"), { text: "Hello" });
  assert.equal((await twocan("room", "lock", room)).locked, true);
  assert.ok((await twocan("room", "list")).rooms.some(({ name }) => name === room));
  await twocan("participant", "--room", room, "remove", id, "--reason", "enough & done");
  assert.deepEqual(await ada.next("kicked"), { reason: "enough & done" });
  await twocan("room", "close", room);
  const refused = await run(bin, ["room", "--server", server.url, "--token", ADMIN, "close", room]).catch((error) => error);
  assert.match(refused.stderr, /404: there is no such room/);
  const denied = await run(bin, ["room", "--server", server.url, "--token", "wrong", "list"]).catch((error) => error);
  assert.match(denied.stderr, /401/);
});
