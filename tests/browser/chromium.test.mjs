// Two people in Chromium.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startProxy } from "./cut-proxy.mjs";
import { launch } from "./driver.mjs";
import { PROBE, assertQuiet, decodedFrames, hears, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
import { startServer } from "./server.mjs";

let server;
let browser;
before(async () => {
  server = await startServer();
  browser = await launch("chromium");
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** Two who see each other. */
async function pair(t, base = server.url) {
  const room = roomFor("pair");
  const ada = await browser.newPage({ init: PROBE });
  const grace = await browser.newPage({ init: PROBE });
  t.after(() => Promise.all([ada.close(), grace.close()]));
  await joinRoom(ada, base, room, "Ada");
  await joinRoom(grace, base, room, "Grace");
  await Promise.all([seesPicturesOf(ada, 1), seesPicturesOf(grace, 1)]);
  return { ada, grace, room };
}

test("two in Chromium see, hear and write to each other", async (t) => {
  const { ada, grace } = await pair(t);
  await hears(ada, 1);
  await hears(grace, 1);
  assert.equal(await ada.evaluate(() => document.querySelector(".tile.person .tile-name").textContent), "Grace");

  await writeChat(ada, "Hello Grace");
  await readsChat(grace, "Hello Grace");
  assert.equal(await grace.evaluate(() => document.querySelector(".badge").textContent), "1");
  await grace.visible("button.toast");
  await writeChat(grace, "Hello Ada");
  assert.equal(await grace.evaluate(() => document.querySelectorAll("button.toast").length), 0, "no note over the chat that it speaks of");
  await readsChat(ada, "Hello Ada");
  assert.equal(await grace.evaluate(() => document.querySelector(".badge").hidden), true);
  assertQuiet(ada, grace);
});

test("what one mutes is shown to the other, and comes back", async (t) => {
  const { ada, grace } = await pair(t);
  await ada.press("m");
  await grace.until("the mark of a muted microphone", () => !document.querySelector(".tile.person .tile-silent").hidden);
  await ada.press("v");
  await grace.until("initials instead of the picture", () => !document.querySelector(".tile.person .avatar").hidden);
  const light = await ada.evaluate(() => document.querySelector("call-view").room.local.get("camera").track);
  assert.equal(light, null, "the camera is released");

  const [before_] = await decodedFrames(grace);
  await ada.press("v");
  await ada.press("m");
  await grace.until("the picture", () => document.querySelector(".tile.person .avatar").hidden);
  await grace.until("no mark", () => document.querySelector(".tile.person .tile-silent").hidden);
  await seesPicturesOf(grace, 1, before_ + 5);
  assertQuiet(ada, grace);
});

test("a lost WebSocket does not end the call, and what was said meanwhile arrives", async (t) => {
  const proxy = await startProxy(server.url);
  t.after(() => proxy.close());
  const { ada, grace, room } = await pair(t, proxy.url);
  const idBefore = await ada.evaluate(() => document.querySelector("call-view").room.id);
  const [framesBefore] = await decodedFrames(ada);

  proxy.block(true);
  assert.ok(proxy.cut() >= 2, "both connections went through the proxy");
  for (const page of [ada, grace]) {
    await page.until("the line about the lost connection", () => /connection to the server is lost/.test(document.querySelector(".banner").innerText));
  }
  // Said while nobody is connected: over the data channel, and (muting) by signaling, which waits.
  await writeChat(ada, "Still here");
  await readsChat(grace, "Still here");
  await ada.page.keyboard.press("Escape");
  await ada.press("m");
  await seesPicturesOf(ada, 1, framesBefore + 10);

  proxy.block(false);
  for (const page of [ada, grace]) await page.until("no line any more", () => document.querySelector(".banner").hidden);
  await grace.until("the mark of the microphone muted meanwhile", () => !document.querySelector(".tile.person .tile-silent").hidden);
  assert.equal(await ada.evaluate(() => document.querySelector("call-view").room.id), idBefore, "the same participant");

  // The resumed session serves newcomers too.
  const third = await browser.newPage({ init: PROBE, width: 320, height: 480 });
  t.after(() => third.close());
  await joinRoom(third, server.url, room, "Third");
  await seesPicturesOf(third, 2);
  assertQuiet(ada, grace, third);
});

test("when one leaves, the others see it at once, and who left can come back", async (t) => {
  const { ada, grace, room } = await pair(t);
  await grace.click(".round.leave");
  await grace.visible("left-view .button.primary");
  await ada.until("alone again", () => !document.querySelector(".invitation").hidden && document.querySelectorAll(".tile.person").length === 0, null, 5_000);

  assert.match(await grace.evaluate(() => document.querySelector("left-view h1").textContent), new RegExp(room));
  await grace.click("left-view .button.primary");
  await grace.until("preview", () => !document.querySelector(".preview video")?.hidden);
  await grace.click("#join");
  await Promise.all([seesPicturesOf(ada, 1), seesPicturesOf(grace, 1)]);
  assertQuiet(ada, grace);
});

test("who closes the tab is gone at once", async (t) => {
  const { ada, grace } = await pair(t);
  await grace.goto("about:blank");
  await ada.until("alone again", () => document.querySelectorAll(".tile.person").length === 0, null, 5_000);
});

test("statistics on a tile name codec, size, path and DTLS version", async (t) => {
  const { ada } = await pair(t);
  await ada.press("i");
  const text = await ada.until("statistics", () => {
    const shown = document.querySelector(".tile.person .tile-statistics");
    return !shown.hidden && /\d+×\d+ · \d+ fps · \w+ · [1-9]/.test(shown.innerText) && shown.innerText;
  });
  assert.match(text, /opus/i);
  assert.match(text, /host → host, udp, DTLS 1\.[23]/);
  await ada.press("i");
  await ada.until("no statistics", () => document.querySelector(".tile.person .tile-statistics").hidden);
});

test("a file can be declined, cancelled, and is refused to nobody", async (t) => {
  const { ada, grace } = await pair(t);
  const offer = (name, size) =>
    ada.evaluate(
      ({ name: called, size: bytes }) => {
        globalThis.transfer = document.querySelector("call-view").room.sendFile(new File([new Uint8Array(bytes)], called))[0];
      },
      { name, size },
    );
  await offer("../../etc/passwd\u202e.txt", 3);
  await grace.press("c");
  await grace.until("the offer", () => [...document.querySelectorAll("transfer-card")].at(-1)?.querySelector(".transfer-name").textContent === "passwd.txt");
  await grace.evaluate(() => [...document.querySelectorAll("transfer-card button")].find((one) => one.textContent === "Decline").click());
  await ada.until("declined", () => globalThis.transfer.state === "declined");

  await offer("large.bin", 40_000_000);
  await grace.evaluate(() => delete globalThis.showSaveFilePicker);
  await grace.until("the second offer", () => document.querySelectorAll("transfer-card").length === 2);
  await grace.evaluate(() => [...document.querySelectorAll("transfer-card button")].find((one) => one.textContent === "Save").click());
  await ada.until("some of it arrived", () => globalThis.transfer.received > 0);
  await grace.evaluate(() => [...document.querySelectorAll("transfer-card button")].find((one) => one.textContent === "Cancel").click());
  await ada.until("cancelled", () => globalThis.transfer.state === "cancelled");
  assert.ok(await ada.evaluate(() => globalThis.transfer.received < globalThis.transfer.size));
  assertQuiet(ada, grace);
});
