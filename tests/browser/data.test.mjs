// What participants say to each other over data channels: pages of Chromium and Firefox with the SDK alone.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SignJWT } from "jose";
import { launch, until } from "./driver.mjs";
import { assertQuiet, roomFor } from "./meeting.mjs";
import { BINARY, start } from "./native.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";
const SECRET = "0123456789abcdef0123456789abcdef";

let server;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  server = await startServer(`--token-key main:HS256:${SECRET} --open-rooms --peers-per-mesh 2 --mesh-after 1`);
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await Promise.all([chromium?.close(), firefox?.close()]);
  server?.close();
});

/** Somebody in a room, without camera and microphone. */
async function joins(t, browser, room, name, grants) {
  const page = await browser.newPage({ width: 400, height: 300 });
  t.after(() => page.close());
  await page.goto(`${server.url}/publish/unused`);
  const token = grants && (await new SignJWT({ video: { room, roomJoin: true, ...grants } })
    .setProtectedHeader({ alg: "HS256", kid: "main" }).setSubject(name).setIssuedAt().setExpirationTime("10m").sign(new TextEncoder().encode(SECRET)));
  await page.evaluate(async ({ url, name, token }) => {
    const { Room } = await import("/sdk/index.js");
    const room = (globalThis.room = new Room());
    globalThis.heard = [];
    room.on("data", ({ from, data, topic, lossy }) => heard.push({ from, data: typeof data === "string" ? data : [...data], topic, lossy }));
    room.on("data-gap", ({ missed }) => heard.push({ missed }));
    await room.join(url, { name, token });
  }, { url: `${server.url}/${room}`, name, token });
  return Object.assign(page, { id: await page.evaluate(() => globalThis.room.id) });
}

const says = (page, data, options = {}) =>
  page.evaluate(async ({ data, options }) => {
    try {
      await globalThis.room.send(Array.isArray(data) ? Uint8Array.from(data) : data, options);
    } catch (error) {
      return error.reason;
    }
  }, { data, options });

const hears = (page, count) =>
  page.until(`${count} messages`, (count) => globalThis.heard.length >= count && globalThis.heard, count, 20_000);

/** Waits for exactly these; those of different senders may come in any order. */
async function assertHears(page, wanted) {
  const sorted = (all) => all.map((one) => JSON.stringify(one)).sort();
  const heard = await hears(page, wanted.length);
  assert.deepEqual(sorted(heard), sorted(wanted));
}

const settles = (page, shape, others) =>
  page.until(
    `a ${shape} with ${others} others`,
    ({ shape, others }) => {
      const { room } = globalThis;
      const peers = [...room.peers.values()];
      const isUp = shape === "sfu" ? room.link?.state === "connected" : room.link === null && peers.every((peer) => peer.state === "connected");
      return room.topology === shape && peers.length === others && isUp && peers.every((peer) => peer.former === null);
    },
    { shape, others },
    60_000,
  );

test("in a forwarded room it goes to all or to one, and not from who may not", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("data");
  const ada = await joins(t, chromium, room, "Ada");
  const eve = await joins(t, firefox, room, "Eve");
  const mute = await joins(t, chromium, room, "Mute", { canPublishData: false });
  const pages = [ada, eve, mute];
  for (const page of pages) await settles(page, "sfu", 2);

  assert.equal(await says(ada, "to all", { topic: "board" }), undefined);
  assert.equal(await says(eve, [1, 2, 255], { to: [ada.id] }), undefined);
  assert.equal(await says(eve, "x".repeat(65_536)), undefined);
  const board = { from: ada.id, data: "to all", topic: "board", lossy: false };
  const large = { from: eve.id, data: "x".repeat(65_536), topic: "", lossy: false };
  assert.deepEqual(await hears(ada, 2), [{ from: eve.id, data: [1, 2, 255], topic: "", lossy: false }, large]);
  assert.deepEqual(await hears(eve, 1), [board]);
  await assertHears(mute, [board, large]);

  // Some of what may be lost may be lost.
  const lossy = (page, from) =>
    until("a lossy message", async () => {
      await says(from, "now", { lossy: true });
      const heard = await page.evaluate(() => globalThis.heard);
      return heard.some(({ data, lossy, from: id }) => data === "now" && lossy && id === from.id);
    });
  await lossy(eve, ada);
  await lossy(ada, eve);

  assert.equal(await says(ada, "x".repeat(65_537)), "too_large");
  assert.equal(await says(ada, "x".repeat(1_101), { lossy: true }), "too_large");
  assert.equal(await says(mute, "hello"), "not_permitted");
  // A page that does not keep to it is not heard either.
  await mute.evaluate(() => globalThis.room.order.permissions.push("data"));
  assert.equal(await says(mute, "hello"), undefined);
  await until("the server to refuse it", async () => {
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    return /twocan_media_dropped_total\{[^}]*forward\.data_not_permitted[^}]*\} [1-9]/.test(metrics) && /twocan_data_messages_sent_total\{[^}]*\} [1-9]/.test(metrics);
  });
  await says(ada, "the end");
  await until("the end", async () => (await eve.evaluate(() => globalThis.heard.at(-1)?.data)) === "the end");
  assert.ok((await eve.evaluate(() => globalThis.heard)).every(({ from }) => from !== mute.id));
  assertQuiet(...pages);
});

test("a room that moves to the server and back loses nothing, and keeps the order", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("data-moves");
  const ada = await joins(t, chromium, room, "Ada");
  const eve = await joins(t, firefox, room, "Eve");
  const pages = [ada, eve];
  for (const page of pages) await settles(page, "mesh", 1);
  for (const page of pages) {
    await page.evaluate(() => {
      globalThis.said = 0;
      globalThis.failed = [];
      globalThis.timer = setInterval(() => room.send(`${said++}`).catch((error) => failed.push(String(error))), 10);
    });
  }
  await hears(ada, 20);
  await hears(eve, 20);
  const grace = await joins(t, chromium, room, "Grace");
  for (const page of [...pages, grace]) await settles(page, "sfu", 2);
  await hears(grace, 20);
  await grace.evaluate(() => globalThis.room.leave());
  for (const page of pages) await settles(page, "mesh", 1);
  const later = await ada.evaluate(() => globalThis.heard.length);
  await hears(ada, later + 20);
  for (const [page, other] of [[ada, eve], [eve, ada]]) {
    const { said, failed } = await page.evaluate(() => (clearInterval(globalThis.timer), { said: globalThis.said, failed: globalThis.failed }));
    assert.deepEqual(failed, []);
    const heard = await hears(other, said);
    assert.deepEqual(heard.map(({ data }) => data), Array.from({ length: said }, (_, number) => `${number}`));
    t.diagnostic(`${said} messages`);
  }
  const numbers = (await grace.evaluate(() => globalThis.heard)).filter(({ from }) => from === ada.id).map(({ data }) => Number(data));
  assert.ok(numbers.length > 0 && numbers.every((number, index) => number === numbers[0] + index), `Grace heard ${numbers}`);
  assertQuiet(...pages);
});

test("a native participant hears and says as much, in a mesh and through the server", { skip: skip || (BINARY ? false : "TWOCAN_BIN is not set"), timeout: 120_000 }, async (t) => {
  const room = roomFor("data-native");
  const ada = await joins(t, chromium, room, "Ada");
  start(t, BINARY, ["join", `${server.url}/${room}`, "--echo"]);
  await settles(ada, "mesh", 1);
  const echo = await ada.evaluate(() => [...globalThis.room.peers.keys()][0]);
  const back = { from: echo, topic: "board", lossy: false };
  await says(ada, "directly", { topic: "board" });
  assert.deepEqual(await hears(ada, 1), [{ ...back, data: "directly" }]);

  const eve = await joins(t, firefox, room, "Eve");
  for (const page of [ada, eve]) await settles(page, "sfu", 2);
  await says(ada, "by the server", { topic: "board" });
  await says(eve, [0, 255], { topic: "board", to: [echo] });
  assert.deepEqual((await hears(ada, 2))[1], { ...back, data: "by the server" });
  await assertHears(eve, [{ from: ada.id, data: "by the server", topic: "board", lossy: false }, { from: echo, data: [0, 255], topic: "board", lossy: false }]);
  await until("a lossy message back", async () => {
    await says(ada, "now", { lossy: true, to: [echo] });
    return ada.evaluate((echo) => globalThis.heard.some(({ from, data, lossy }) => from === echo && data === "now" && lossy), echo);
  });
  assertQuiet(ada, eve);
});
