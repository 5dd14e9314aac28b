// Chromium and Firefox in one room.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE, assertQuiet, downloaded, hears, joinRoom, readsChat, roomFor, scratch, seesPicturesOf, writeChat } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const FILE_BYTES = 50_000_000;
/** A slow disk and two browsers on two cores. */
const FILE_WITHIN_MS = 180_000;
const SHARED_TITLE = "Slides to share";

let server;
let downloads;
let chromium;
let firefox;
before(async () => {
  server = await startServer();
  downloads = mkdtempSync(join(tmpdir(), "twocan-downloads-"));
  // What the person in Chromium shares is another tab, chosen by its title.
  chromium = await launch("chromium", { shareTitle: SHARED_TITLE, downloads });
  firefox = await launch("firefox", { downloads });
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  server?.close();
  if (downloads) rmSync(downloads, { recursive: true, force: true });
});

// No file picker can be driven from here, so what browsers without one do is what is tested.
const INIT = `${PROBE}; delete globalThis.showSaveFilePicker;`;

async function pair(t) {
  const room = roomFor("mixed");
  const ada = await chromium.newPage({ init: INIT });
  const eve = await firefox.newPage({ init: INIT });
  t.after(() => Promise.all([ada.close(), eve.close()]));
  await joinRoom(ada, server.url, room, "Ada");
  await joinRoom(eve, server.url, room, "Eve");
  await Promise.all([seesPicturesOf(ada, 1), seesPicturesOf(eve, 1)]);
  return { ada, eve, room };
}

test("Chromium and Firefox see, hear and write to each other", async (t) => {
  const { ada, eve } = await pair(t);
  await hears(ada, 1);
  await hears(eve, 1);
  await writeChat(ada, "Hello from Chromium");
  await readsChat(eve, "Hello from Chromium");
  await writeChat(eve, "Hello from Firefox");
  await readsChat(ada, "Hello from Firefox");
  assertQuiet(ada, eve);
});

test("Firefox may be there first as well", async (t) => {
  const room = roomFor("first");
  const eve = await firefox.newPage({ init: INIT });
  const ada = await chromium.newPage({ init: INIT });
  t.after(() => Promise.all([ada.close(), eve.close()]));
  await joinRoom(eve, server.url, room, "Eve");
  await joinRoom(ada, server.url, room, "Ada");
  await Promise.all([seesPicturesOf(ada, 1), seesPicturesOf(eve, 1)]);
  assertQuiet(ada, eve);
});

for (const [from, to] of [["Ada", "Eve"], ["Eve", "Ada"]]) {
  test(`a file of 50 MB goes from ${from === "Ada" ? "Chromium to Firefox" : "Firefox to Chromium"} and arrives whole`, { timeout: 2 * FILE_WITHIN_MS }, async (t) => {
    const { ada, eve } = await pair(t);
    const [sender, receiver] = from === "Ada" ? [ada, eve] : [eve, ada];
    const name = `from-${from}-to-${to}.bin`;
    const { path, sha256 } = await scratch(t).file(name, FILE_BYTES);
    await sender.setFiles("#file-input", [path]);
    await receiver.until("the offer", () => Boolean(document.querySelector("transfer-card")));
    await receiver.click('[data-action="chat"]');
    assert.match(await receiver.evaluate(() => document.querySelector("transfer-card").innerText), /50\.0 MB/);

    const started = Date.now();
    await receiver.click("transfer-card .button.primary");
    await receiver.until("progress", () => Number(document.querySelector("transfer-card progress").value) > 0);
    await receiver.until("a link to what was received", () => Boolean(document.querySelector("transfer-card a[download]")), null, FILE_WITHIN_MS);
    t.diagnostic(`${(FILE_BYTES / 1000 / (Date.now() - started)).toFixed(1)} MB/s while both send pictures`);
    await sender.until("word that it arrived", () => document.querySelector("transfer-card").dataset.state === "done");

    assert.equal(await downloaded(join(downloads, name), FILE_BYTES), sha256);
    assertQuiet(ada, eve);
  });
}

test("a screen shared in Chromium is seen large in Firefox, and goes when it ends", async (t) => {
  const slides = await chromium.newPage();
  t.after(() => slides.close());
  await slides.goto(`${server.url}/favicon.svg`);
  await slides.goto(`${server.url}/`);
  await slides.evaluate((title) => {
    document.title = title;
    // A tab that does not change gives no frames.
    const box = document.body.appendChild(document.createElement("p"));
    setInterval(() => (box.textContent = String(performance.now())), 50);
  }, SHARED_TITLE);
  const { ada, eve } = await pair(t);

  await ada.click('[data-action="screen"]');
  await ada.until("word that the screen is shared", () => /You are sharing your screen. Sharp text comes first/.test(document.querySelector(".banner").innerText));
  const hint = () => document.querySelector("call-view").room.local.get("screen").track.contentHint;
  assert.equal(await ada.evaluate(hint), "detail");
  await ada.click(".banner .quiet");
  await ada.until("word that motion comes first", () => /Smooth motion comes first/.test(document.querySelector(".banner").innerText));
  assert.equal(await ada.evaluate(hint), "motion");
  await eve.until("the screen", () => document.querySelector(".tile.screen video")?.videoWidth > 0);
  const decoded = () =>
    eve.evaluate(async () => {
      const [peer] = document.querySelector("call-view").room.peers.values();
      const stats = await peer.media("screen").receiver.getStats();
      return [...stats.values()].find(({ type }) => type === "inbound-rtp")?.framesDecoded ?? 0;
    });
  await eve.until("frames of the screen", async () => {
    const [peer] = document.querySelector("call-view").room.peers.values();
    const stats = await peer.media("screen").receiver.getStats();
    return [...stats.values()].some(({ type, framesDecoded }) => type === "inbound-rtp" && framesDecoded >= 5);
  });
  assert.ok((await decoded()) >= 5);
  assert.equal(await eve.evaluate(() => document.querySelector(".tile.screen .tile-name").textContent), "Ada’s screen");
  const share = await eve.evaluate(() => {
    const area = (selector) => {
      const { width, height } = document.querySelector(selector).getBoundingClientRect();
      return width * height;
    };
    return area(".tile.screen") / area(".tile.person");
  });
  assert.ok(share > 4, `the screen is ${share.toFixed(1)} times as large as a person`);
  if (process.env.SHOTS) await eve.screenshot(join(process.env.SHOTS, "screen-firefox.png"));

  await ada.click(".banner .button");
  await eve.until("the screen gone", () => !document.querySelector(".tile.screen"));
  // A second share goes over the same line.
  await ada.press("s");
  await eve.until("the screen again", () => document.querySelector(".tile.screen video")?.videoWidth > 0);
  assertQuiet(ada, eve);
});
