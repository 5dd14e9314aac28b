// A room that grows and shrinks: media goes from each to each, then through the server, then from each to each again.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE_EACH, SMALL, assertQuiet, downloaded, hears, joinRoom, readsChat, roomFor, scratch, seesPicturesOf, writeChat } from "./meeting.mjs";
import { BINARY, start } from "./native.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";
const FILE_BYTES = 5_000_000;

let server;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  server = await startServer("--peers-per-mesh 2 --mesh-after 2");
  chromium = await launch("chromium");
  firefox = await launch("firefox");
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  server?.close();
});

/** Looks from here on whether what each tile plays goes on, however it comes. */
const watch = (page) =>
  page.evaluate(() => {
    const { room } = document.querySelector("call-view");
    const state = (globalThis.heard = { silent: 0, looks: 0, gap: 0 });
    const known = [...room.peers.keys()];
    setInterval(() => {
      for (const id of known) {
        const peer = room.peers.get(id);
        const media = peer?.media("microphone");
        if (!peer) continue;
        state.looks += 1;
        if (!media || media.track.muted || media.track.readyState !== "live") state.silent += 1;
        const [source] = media?.receiver.getSynchronizationSources() ?? [];
        if (source) state.gap = Math.max(state.gap, performance.timeOrigin + performance.now() - (source.timestamp < 1e12 ? source.timestamp + performance.timeOrigin : source.timestamp));
      }
    }, 20);
  });

/** Waits until the room has a shape and nothing is left of the one before. */
const settles = (page, shape) =>
  page.until(
    `a room that is a ${shape}`,
    (shape) => {
      const { room } = document.querySelector("call-view");
      const peers = [...room.peers.values()];
      const isUp = shape === "sfu" ? room.link?.state === "connected" : room.link === null && peers.every((peer) => peer.connection.connectionState === "connected");
      return room.topology === shape && isUp && peers.every((peer) => peer.former === null);
    },
    shape,
    60_000,
  );

/** Whether somebody was silent at any look. */
async function assertHeardThroughout(t, page, name) {
  const { silent, looks, gap } = await page.evaluate(() => globalThis.heard);
  t.diagnostic(`${name}: ${looks} looks, the longest time without sound ${gap.toFixed(0)} ms`);
  assert.ok(looks > 100, `${name} looked ${looks} times`);
  assert.equal(silent, 0, `${name}: a tile had no sound at ${silent} of ${looks} looks`);
}

test("a room moves to the server when a third comes, and back, and everybody is heard all the while", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("shapes");
  const size = { width: 640, height: 480 };
  const pages = [];
  t.after(() => Promise.all(pages.map((page) => page.close())));
  const joins = async (browser, name) => {
    const page = await browser.newPage({ ...size, init: PROBE_EACH + SMALL });
    pages.push(page);
    await joinRoom(page, server.url, room, name);
    return page;
  };
  const ada = await joins(chromium, "Ada");
  const eve = await joins(firefox, "Eve");
  for (const page of [ada, eve]) {
    await settles(page, "mesh");
    await hears(page, 1);
    await watch(page);
  }

  const grace = await joins(chromium, "Grace");
  for (const page of pages) await settles(page, "sfu");
  for (const page of pages) await seesPicturesOf(page, 2);
  for (const page of pages) await hears(page, 2);
  assert.equal(await ada.evaluate(() => document.querySelectorAll(".tile.person").length), 2);
  await writeChat(eve, "By way of the server");
  await readsChat(ada, "By way of the server");
  await readsChat(grace, "By way of the server");
  if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/shapes-sfu.png`);

  await grace.click(".round.leave");
  for (const page of [ada, eve]) await settles(page, "mesh");
  for (const page of [ada, eve]) await seesPicturesOf(page, 1);
  for (const page of [ada, eve]) await hears(page, 1);
  await writeChat(ada, "Straight again");
  await readsChat(eve, "Straight again");
  await assertHeardThroughout(t, ada, "Ada");
  await assertHeardThroughout(t, eve, "Eve");
  assertQuiet(...pages);
});

test("a file that is on its way when the room moves arrives whole, and so does one that is sent after", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("files");
  const folder = scratch(t);
  const downloads = scratch(t).folder;
  const browser = await launch("chromium", { downloads });
  t.after(() => browser.close());
  const pages = [];
  const joins = async (name) => {
    const page = await browser.newPage({ width: 800, height: 600, init: `${PROBE_EACH}${SMALL}; delete globalThis.showSaveFilePicker;` });
    pages.push(page);
    await joinRoom(page, server.url, room, name);
    return page;
  };
  const ada = await joins("Ada");
  const ben = await joins("Ben");
  await settles(ada, "mesh");
  const before = await folder.file("before.bin", FILE_BYTES);
  await ada.setFiles("#file-input", [before.path]);
  await ben.until("the offer", () => Boolean(document.querySelector("transfer-card")));
  // Accepted once the room has moved: until then nothing of it has gone.
  await joins("Cem");
  for (const page of pages) await settles(page, "sfu");
  await ben.click('[data-action="chat"]');
  await ben.click("transfer-card .button.primary");
  await ben.until("the file", () => Boolean(document.querySelector("transfer-card a[download]")), null, 60_000);
  assert.equal(await downloaded(join(downloads, "before.bin"), FILE_BYTES), before.sha256);

  const later = await folder.file("later.bin", FILE_BYTES);
  const cem = pages[2];
  await cem.setFiles("#file-input", [later.path]);
  await ada.until("an offer of Cem's", () => [...document.querySelectorAll("transfer-card")].some((card) => /later\.bin/.test(card.innerText)));
  await ada.evaluate(() => [...document.querySelectorAll("transfer-card")].find((card) => /later\.bin/.test(card.innerText)).querySelector(".button.primary").click());
  assert.equal(await downloaded(join(downloads, "later.bin"), FILE_BYTES), later.sha256);
  assertQuiet(...pages);
});

test("a native participant moves along, both ways", { skip, timeout: 240_000 }, async (t) => {
  const url = `${server.url}/${roomFor("native")}`;
  const pages = [];
  t.after(() => Promise.all(pages.map((page) => page.close())));
  const joins = async (name) => {
    const page = await chromium.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL });
    pages.push(page);
    await joinRoom(page, server.url, url.slice(server.url.length + 1), name);
    return page;
  };
  const ada = await joins("Ada");
  start(t, BINARY, ["join", url, "--echo"]);
  await seesPicturesOf(ada, 1);
  await settles(ada, "mesh");
  const grace = await joins("Grace");
  const began = Date.now();
  for (const page of pages) await settles(page, "sfu");
  t.diagnostic(`settled after ${Date.now() - began} ms; 20 s where somebody never says so`);
  for (const page of pages) await seesPicturesOf(page, 2);
  await grace.click(".round.leave");
  await settles(ada, "mesh");
  await seesPicturesOf(ada, 1);
  await hears(ada, 1);
  assertQuiet(...pages);
});
