// Files whose connection is cut in the middle: they go on from where they stopped.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE, SMALL, assertQuiet, downloaded, joinRoom, roomFor, scratch, seesPicturesOf } from "./meeting.mjs";
import { startServer } from "./server.mjs";
import { startWay } from "./way.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server knows no short grace";
const FILE_BYTES = 12_000_000;
/** Slow enough to be cut in the middle. */
const KBPS = 12_000;
/** Two restarts of ICE that lead to nothing, and another connection. */
const CUT_WITHIN_MS = 90_000;

let server;
before(async () => {
  if (!skip) server = await startServer("--topology mesh --resume-grace 2");
});
after(() => server?.close());

/** Keeps how each file did: its states, and how much was stored when. */
const WATCHED = `${PROBE}${SMALL}
delete globalThis.showSaveFilePicker;
globalThis.seen = [];
globalThis.watchFiles = () => {
  const { room } = document.querySelector("call-view");
  const watch = (file) => {
    globalThis.file = file;
    file.on("change", () => seen.push({ state: file.state, received: file.received }));
  };
  room.on("file", watch);
  const send = room.sendFile.bind(room);
  room.sendFile = (...given) => {
    const all = send(...given);
    all.forEach(watch);
    return all;
  };
};`;

const isInterrupted = (page) => page.until("word that it is interrupted", () => document.querySelector("transfer-card")?.dataset.state === "interrupted" && document.querySelector("transfer-card").innerText, null, CUT_WITHIN_MS);
const isDone = (page) => page.until("word that it arrived", () => document.querySelector("transfer-card").dataset.state === "done", null, 120_000);

/** Ada and Eve, who has a third of a file of Ada's; the way to Eve can be cut. */
async function inTheMiddle(t, { fragment = "" } = {}) {
  const downloads = scratch(t).folder;
  const way = await startWay(server.url, { isMesh: true });
  const browser = await launch("chromium", { downloads });
  const pages = [];
  t.after(() => browser.close().finally(() => way.close()));
  const room = roomFor("cut") + fragment;
  for (const [name, url] of [["Ada", server.url], ["Eve", way.url]]) {
    const page = await browser.newPage({ width: 800, height: 640, init: WATCHED });
    pages.push(page);
    await joinRoom(page, url, room, name);
    await page.evaluate(() => globalThis.watchFiles());
  }
  const [ada, eve] = pages;
  for (const page of pages) await seesPicturesOf(page, 1);
  way.down.conditions = { kbps: KBPS };
  const { path, sha256 } = await scratch(t).file("film.bin", FILE_BYTES);
  await ada.setFiles("#file-input", [path]);
  await eve.until("the offer", () => Boolean(document.querySelector("transfer-card")));
  await eve.click('[data-action="chat"]');
  await eve.click("transfer-card .button.primary");
  await eve.until("a third of it", (third) => globalThis.file?.received > third, FILE_BYTES / 3, 60_000);
  return { ada, eve, way, whole: async () => assert.equal(await downloaded(join(downloads, "film.bin"), FILE_BYTES), sha256) };
}

/** Nothing that was stored was sent again. */
async function assertGoesOn(t, page) {
  const seen = await page.evaluate(() => globalThis.seen);
  const last = seen.findLastIndex(({ state }) => state === "interrupted");
  const stored = seen[last].received;
  t.diagnostic(`cut at ${stored} of ${FILE_BYTES} bytes`);
  assert.ok(stored > FILE_BYTES / 3 && stored < FILE_BYTES, `cut at ${stored}`);
  assert.ok(seen.slice(last).every(({ received }) => received >= stored));
}

for (const [name, fragment] of [["", ""], [", and is sealed,", `#key=${randomBytes(32).toString("base64url")}`]]) {
  test(`a file${name} whose connection is lost goes on over the next one`, { skip, timeout: 300_000 }, async (t) => {
    const { ada, eve, way, whole } = await inTheMiddle(t, { fragment });
    way.up.conditions = way.down.conditions = { loss: 1 };
    const cut = Date.now();
    for (const page of [ada, eve]) assert.match(await isInterrupted(page), /Interrupted at [\d.]+ MB of 12\.0 MB\. It goes on by itself when (Ada|Eve) can be reached again\./);
    t.diagnostic(`another connection after ${Date.now() - cut} ms`);
    if (process.env.SHOTS) await eve.screenshot(`${process.env.SHOTS}/file-interrupted.png`);
    way.up.conditions = way.down.conditions = {};
    for (const page of [ada, eve]) await isDone(page);
    await whole();
    await assertGoesOn(t, eve);
    // What browsers say of channels that end under them is none of the page's errors.
    assertQuiet(ada, eve);
  });
}

test("a file goes on when its receiver has to join anew", { skip, timeout: 180_000 }, async (t) => {
  const { ada, eve, way, whole } = await inTheMiddle(t);
  const before = await eve.evaluate(() => document.querySelector("call-view").room.id);
  way.takeAway(true);
  await isInterrupted(ada);
  way.takeAway(false);
  way.down.conditions = {};
  for (const page of [ada, eve]) await isDone(page);
  assert.notEqual(await eve.evaluate(() => document.querySelector("call-view").room.id), before);
  await whole();
  await assertGoesOn(t, eve);
  assertQuiet(ada);
});

test("a file whose receiver leaves in the middle has failed, and says so", { skip, timeout: 120_000 }, async (t) => {
  const { ada, eve } = await inTheMiddle(t);
  await eve.evaluate(() => document.querySelector("call-view").room.leave());
  const words = await ada.until("word that it failed", () => document.querySelector("transfer-card").dataset.state === "failed" && document.querySelector("transfer-card").innerText);
  assert.match(words, /Failed: the other side has left/);
  assertQuiet(ada);
});
