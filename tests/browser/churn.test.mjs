// Fifty joins and leaves of a room whose media the server forwards, while two are in a call: each ends in pictures, the call
// goes on, and nothing is left of them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, until } from "./driver.mjs";
import { PROBE_EACH, SMALL, assertQuiet, hears, joinRoom, roomFor, seesPicturesOf } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";
/** Joins of one page, one after another, and of several at once: fifty in all. */
const ALONE = 20;
const AT_ONCE = 10;
/** Longer than this no picture of the two who stay is late. */
const GAP_MS = 5_000;

let server;
const browsers = {};
before(async () => {
  if (skip) return;
  server = await startServer("--topology sfu");
  [browsers.chromium, browsers.firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  server?.close();
});

/** Looks from `watch` on how long the pictures of the other who stays are late at most, and how many were there in all. */
const WATCHED = `${PROBE_EACH}${SMALL}
globalThis.watch = (name) => {
  const state = (globalThis.watched = { gap: 0, pictures: 0 });
  let at = performance.now();
  const look = async () => {
    const view = document.querySelector("call-view");
    if (!view) return;
    const peer = [...view.room.peers.values()].find((one) => one.name === name);
    const stats = [...((await peer?.media("camera")?.receiver.getStats()) ?? new Map()).values()].find(({ type }) => type === "inbound-rtp");
    const now = performance.now();
    state.gap = Math.max(state.gap, now - at);
    if (stats?.framesDecoded > state.pictures) [state.pictures, at] = [stats.framesDecoded, now];
    setTimeout(look, 100);
  };
  look();
};`;

/** The server's own count of what is there. */
async function counted() {
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const sum = (name) => [...metrics.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, "gm"))].reduce((all, [, count]) => all + Number(count), 0);
  return { participants: sum("twocan_participants"), connections: sum("twocan_media_participants"), tracks: sum("twocan_media_tracks"), rooms: sum("twocan_media_rooms") };
}

/** Waits until the server counts so much. */
const counts = (wanted) => until(`the server counts ${JSON.stringify(wanted)}`, async () => JSON.stringify(await counted()) === JSON.stringify(wanted), 60_000, async () => JSON.stringify(await counted()));

async function person(t, browser, room, name) {
  const page = await browsers[browser].newPage({ width: 480, height: 360, init: WATCHED });
  t.after(() => page.close());
  await joinRoom(page, server.url, room, name);
  return page;
}

/** Connections of a page that are still in memory, once everything that can go is gone; Chromium alone tells. */
async function connectionsOf(page) {
  const session = await page.page.context().newCDPSession(page.page);
  await session.send("HeapProfiler.collectGarbage");
  const { result: prototype } = await session.send("Runtime.evaluate", { expression: "RTCPeerConnection.prototype" });
  const { objects } = await session.send("Runtime.queryObjects", { prototypeObjectId: prototype.objectId });
  const { result: length } = await session.send("Runtime.callFunctionOn", { objectId: objects.objectId, functionDeclaration: "function () { return this.length; }" });
  await session.detach();
  return length.value;
}

/** The same page leaves and is in the room again, by its buttons; how long it took to a picture of each of `others`. */
async function comesAgain(page, others) {
  await page.click(".round.leave");
  await page.click("left-view .button.primary");
  await page.until("devices in the lobby", () => document.querySelector(".preview video")?.hidden === false);
  await page.click("#join");
  return page.until(
    "a picture of each who stays",
    async (others) => {
      globalThis.began ??= performance.now();
      const { room } = document.querySelector("call-view") ?? {};
      if (room?.state !== "joined") return false;
      for (const name of others) {
        const peer = [...room.peers.values()].find((one) => one.name === name);
        const receiver = peer?.media("camera")?.receiver;
        const stats = receiver ? [...(await receiver.getStats()).values()].find(({ type }) => type === "inbound-rtp") : null;
        if (!(stats?.framesDecoded > 0)) return false;
      }
      const took = performance.now() - globalThis.began;
      delete globalThis.began;
      return Math.max(1, Math.round(took));
    },
    others,
  );
}

const middle = (times) => times.toSorted((a, b) => a - b)[times.length >> 1];

test("fifty join and leave while two talk, each sees both, and nothing is left", { skip, timeout: 300_000 }, async (t) => {
  const room = roomFor("churn");
  const before = await counted();
  const ada = await person(t, "chromium", room, "Ada");
  const eve = await person(t, "firefox", room, "Eve");
  await Promise.all([seesPicturesOf(ada, 1), seesPicturesOf(eve, 1), hears(ada, 1), hears(eve, 1)]);
  const two = await counted();
  assert.deepEqual([two.participants - before.participants, two.connections - before.connections, two.tracks - before.tracks, two.rooms - before.rooms], [2, 2, 4, 1]);
  await ada.evaluate(() => globalThis.watch("Eve"));
  await eve.evaluate(() => globalThis.watch("Ada"));
  const others = ["Ada", "Eve"];

  const grace = await person(t, "chromium", room, "Grace");
  await seesPicturesOf(grace, 2);
  const alone = [];
  for (let turn = 1; turn < ALONE; turn += 1) alone.push(await comesAgain(grace, others));
  await counts({ ...two, participants: two.participants + 1, connections: two.connections + 1, tracks: two.tracks + 2 });

  // Three at once, in their own time, with a browser of each kind.
  const more = await Promise.all([person(t, "chromium", room, "Alan"), person(t, "firefox", room, "Joan")]);
  const crowd = [grace, ...more];
  const together = await Promise.all(
    crowd.map(async (page) => {
      const times = [];
      for (let turn = page === grace ? 0 : 1; turn < AT_ONCE; turn += 1) times.push(await comesAgain(page, others));
      return times;
    }),
  );
  assert.equal(ALONE + 3 * AT_ONCE, 50);
  await counts({ ...two, participants: two.participants + 3, connections: two.connections + 3, tracks: two.tracks + 6 });
  t.diagnostic(`to pictures of both: ${middle(alone)} ms one after another, ${middle(together.flat())} ms three at once (medians)`);
  for (const page of [ada, eve]) await page.until("five in all", () => document.querySelectorAll(".tile.person").length === 4);

  for (const page of crowd) await page.click(".round.leave");
  await counts(two);
  for (const page of [ada, eve]) await page.until("two in all", () => document.querySelectorAll(".tile.person").length === 1);
  for (const [page, name] of [[ada, "Eve"], [eve, "Ada"]]) {
    const { gap, pictures } = await page.evaluate(() => globalThis.watched);
    t.diagnostic(`pictures of ${name}: ${pictures}, the longest time without one ${gap.toFixed(0)} ms`);
    assert.ok(gap < GAP_MS, `${gap} ms without a picture of ${name}`);
    await seesPicturesOf(page, 1, pictures + 10);
    await hears(page, 1);
  }
  // Of those who left twenty times nothing is kept in the page; of who stays, the one connection.
  for (const page of [grace, more[0]]) await until("no connection kept", async () => (await connectionsOf(page)) === 0, 30_000, async () => String(await connectionsOf(page)));
  assert.equal(await connectionsOf(ada), 1);
  const lines = () => document.querySelector("call-view").room.link.connection.getTransceivers().length;
  const kept = await Promise.all([ada, eve].map((page) => page.evaluate(lines)));
  t.diagnostic(`lines of the two who stay: ${kept.join(" and ")}`);
  // As many as were needed at once, for each of four others sound and a picture, and their own: not as many as came.
  for (const count of kept) assert.ok(count <= 2 + 2 * 4 + 8, `${count} lines`);

  await ada.click(".round.leave");
  await eve.click(".round.leave");
  await counts(before);
  assertQuiet(ada, eve, ...crowd);
});
