// What is cut in a forwarded room and comes back: the WebSocket alone, and a page's whole network.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startProxy } from "./cut-proxy.mjs";
import { launch } from "./driver.mjs";
import { PROBE_EACH, SMALL, assertQuiet, decodedFrames, hears, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
import { startServer } from "./server.mjs";
import { startWay } from "./way.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";
/** What a person would call a gap in the sound, on two cores that carry four browsers. */
const GAP_MS = 1_000;

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

/** Keeps who came and went, and the longest time without sound from anybody. */
const WATCHED = `${PROBE_EACH}${SMALL}
globalThis.watch = () => {
  const { room } = document.querySelector("call-view");
  const state = (globalThis.watched = { joined: 0, left: 0, gap: 0, looks: 0, connection: room.link.connection });
  room.on("peer-joined", () => (state.joined += 1));
  room.on("peer-left", () => (state.left += 1));
  let before = null;
  let looked = performance.now();
  const look = async () => {
    const counts = await globalThis.audioPackets();
    const now = performance.now();
    // How late a page looks on a busy machine says nothing about the sound.
    const passed = Math.min(now - looked, 200);
    looked = now;
    before ??= counts.map((count) => ({ count, silent: 0 }));
    counts.forEach((count, index) => {
      const own = before[index];
      if (!own) return;
      own.silent = count > own.count ? 0 : own.silent + passed;
      own.count = count;
      state.gap = Math.max(state.gap, own.silent);
    });
    state.looks += 1;
    setTimeout(look, 100);
  };
  look();
};
/** Frames decoded of each, by name. */
globalThis.framesOf = async () => {
  const counts = await globalThis.decodedFrames();
  return Object.fromEntries([...document.querySelector("call-view").room.peers.values()].map(({ name }, index) => [name, counts[index]]));
};
/** The state of the watch, and who this page is. */
globalThis.stood = () => {
  const { room } = document.querySelector("call-view");
  const { joined, left, gap, looks, connection } = globalThis.watched;
  return { id: room.id, joined, left, gap, looks, isSame: room.link.connection === connection };
};`;

const stood = (page) => page.evaluate(() => globalThis.stood());

/** How many are on the server, and connections with its media. */
async function counted() {
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const sum = (name) => [...metrics.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, "gm"))].reduce((all, [, count]) => all + Number(count), 0);
  return [sum("twocan_participants"), sum("twocan_media_participants")];
}

/** Who comes into a room by way of `base`. */
async function person(t, browser, base, room, name) {
  const page = await browsers[browser].newPage({ width: 1100, height: 700, init: WATCHED });
  t.after(() => page.close());
  await joinRoom(page, base, room, name);
  return page;
}

test("a lost WebSocket leaves media as it is, and the session goes on where it was", { skip, timeout: 180_000 }, async (t) => {
  const proxy = await startProxy(server.url);
  t.after(() => proxy.close());
  const room = roomFor("socket");
  const before = await counted();
  const ada = await person(t, "chromium", proxy.url, room, "Ada");
  const eve = await person(t, "firefox", proxy.url, room, "Eve");
  const grace = await person(t, "chromium", server.url, room, "Grace");
  const pages = [ada, eve, grace];
  for (const page of pages) await Promise.all([seesPicturesOf(page, 2), hears(page, 2)]);
  for (const page of pages) await page.evaluate(() => globalThis.watch());
  const ids = await Promise.all(pages.map(async (page) => (await stood(page)).id));

  proxy.block(true);
  assert.ok(proxy.cut() >= 2);
  for (const page of [ada, eve]) await page.until("words about the lost connection", () => /connection to the server is lost/.test(document.querySelector(".banner").innerText));
  // Pictures and sound go on, both ways.
  for (const page of pages) {
    const frames = await decodedFrames(page);
    await seesPicturesOf(page, 2, Math.max(...frames) + 20);
  }
  // What is done meanwhile waits, on both sides of the cut.
  await ada.press("h");
  await writeChat(grace, "While you were away");
  assert.deepEqual(await counted(), [before[0] + 3, before[1] + 3]);

  proxy.block(false);
  for (const page of [ada, eve]) await page.until("no words any more", () => document.querySelector(".banner").hidden);
  for (const page of [ada, eve]) await readsChat(page, "While you were away");
  for (const page of [eve, grace]) {
    await page.until("Ada's hand", () => [...document.querySelectorAll('.tile[aria-label*="hand raised"] .tile-name')].some(({ textContent }) => textContent === "Ada"));
  }
  await writeChat(eve, "Here again");
  await readsChat(ada, "Here again");
  for (const [index, page] of pages.entries()) {
    const { id, joined, left, gap, looks, isSame } = await stood(page);
    t.diagnostic(`${["Ada", "Eve", "Grace"][index]}: ${looks} looks, the longest time without sound ${gap.toFixed(0)} ms`);
    assert.deepEqual([id, joined, left, isSame], [ids[index], 0, 0, true]);
    assert.ok(looks > 20, `${looks} looks`);
    assert.ok(gap < GAP_MS, `${gap} ms without sound`);
  }
  // The session serves newcomers as well.
  const late = await person(t, "chromium", server.url, room, "Joan");
  await seesPicturesOf(late, 3);
  for (const page of pages) await seesPicturesOf(page, 3);
  assert.deepEqual(await counted(), [before[0] + 4, before[1] + 4]);
  assertQuiet(...pages, late);
});

for (const browser of ["chromium", "firefox"]) {
  test(`${browser} loses its whole network for a while, and is in the same call again`, { skip, timeout: 180_000 }, async (t) => {
    const way = await startWay(server.url);
    t.after(() => way.close());
    const room = roomFor("network");
    const ada = await person(t, browser, way.url, room, "Ada");
    const grace = await person(t, "chromium", server.url, room, "Grace");
    const eve = await person(t, "firefox", server.url, room, "Eve");
    const others = [grace, eve];
    for (const page of [ada, ...others]) await Promise.all([seesPicturesOf(page, 2), hears(page, 2)]);
    for (const page of [ada, ...others]) await page.evaluate(() => globalThis.watch());
    const { id } = await stood(ada);

    way.takeAway(true);
    await ada.until("it is said on the pictures", () => {
      const tiles = [...document.querySelectorAll(".tile.person .tile-status")];
      return tiles.length === 2 && tiles.every((status) => !status.hidden && /interrupted/.test(status.textContent));
    }, undefined, 45_000);
    if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/resume-${browser}.png`);
    // The others see each other all the while, and wait for who is gone.
    for (const page of others) {
      const frames = await page.evaluate(() => globalThis.framesOf());
      await page.until("pictures of the other who is there", async ({ frames, name }) => (await globalThis.framesOf())[name] > frames[name] + 10, { frames, name: page === grace ? "Eve" : "Grace" });
      assert.equal(await page.evaluate(() => document.querySelectorAll(".tile.person").length), 2);
    }
    await writeChat(grace, "Where are you?");
    const frames = await decodedFrames(ada);
    const at = Date.now();
    way.takeAway(false);
    await seesPicturesOf(ada, 2, Math.max(...frames) + 10);
    t.diagnostic(`pictures ${Date.now() - at} ms after the network was back`);
    for (const page of others) {
      const known = await page.evaluate(() => globalThis.framesOf());
      await page.until("Ada's pictures", async (least) => (await globalThis.framesOf()).Ada > least, known.Ada + 10, 60_000);
    }
    await readsChat(ada, "Where are you?");
    await writeChat(ada, "Back again");
    for (const page of others) await readsChat(page, "Back again");
    for (const page of [ada, ...others]) {
      const { joined, left } = await stood(page);
      assert.deepEqual([joined, left], [0, 0], "nobody joined or left");
    }
    assert.equal((await stood(ada)).id, id);
    // Firefox writes on the console that ICE failed, which is so.
    for (const page of [ada, ...others]) assert.deepEqual(page.errors.filter(({ text }) => !/WebRTC: ICE failed/.test(text)), []);
  });
}
