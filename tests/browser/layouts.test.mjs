// The call as a person arranges it: layouts, pins, devices that come and go, and what a room does not offer.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SignJWT } from "jose";
import { launch } from "./driver.mjs";
import { assertAccessible, assertFits } from "./looks.mjs";
import { PROBE, SMALL, assertQuiet, joinRoom, roomFor } from "./meeting.mjs";
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

/** Nobody sends anything: where tiles are does not depend on it. */
const SILENT = `navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotFoundError"));`;

/** Joins without devices. */
async function enters(page, room, name) {
  await page.goto(`${server.url}/${room}`);
  await page.type("#your-name", name);
  await page.click("#join");
  await page.visible("call-view .stage");
}

/** The name on the tile that is larger than any other by far, or `null`. */
const large = () => {
  const areas = [...document.querySelectorAll(".tile")].map((tile) => [tile.querySelector(".tile-name").textContent, parseFloat(tile.style.width) * parseFloat(tile.style.height)]).sort((a, b) => b[1] - a[1]);
  return areas[0][1] > 2 * areas[1][1] ? areas[0][0] : null;
};

test("layouts are remembered, and whoever is pinned is large in any of them", { timeout: 180_000 }, async (t) => {
  const room = roomFor("layouts");
  const [ada, grace, alan] = await Promise.all(["Ada", "Grace", "Alan"].map(() => browser.newPage({ init: SILENT, width: 1000, height: 700, reducedMotion: true })));
  t.after(() => Promise.all([ada, grace, alan].map((page) => page.close())));
  await enters(ada, room, "Ada");
  await enters(grace, room, "Grace");
  await enters(alan, room, "Alan");
  await ada.until("three tiles", () => document.querySelectorAll(".tile").length === 3);
  assert.equal(await ada.evaluate(large), null);
  const layout = () => document.querySelector("#more-menu").textContent.match(/Layout: (Automatic|Grid|Speaker|Sidebar)/)[1];
  const seen = [];
  for (let i = 0; i < 4; i += 1) {
    await ada.press("g");
    seen.push(await ada.evaluate(layout));
    const one = await ada.evaluate(large);
    assert.equal(one !== null, ["Speaker", "Sidebar"].includes(seen.at(-1)), seen.at(-1));
    assert.notEqual(one, "You");
    await assertAccessible(ada, seen.at(-1));
    if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/layout-${seen.at(-1)}.png`);
  }
  assert.deepEqual(seen, ["Grid", "Speaker", "Sidebar", "Automatic"]);
  // By the keyboard as well: the button is there for who comes by Tab.
  await ada.page.focus('[aria-label="Pin Alan"]');
  await ada.press("Enter");
  await ada.until("Alan large", large);
  assert.equal(await ada.evaluate(large), "Alan");
  await assertAccessible(ada, "pinned");
  if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/layout-pinned.png`);
  await alan.close();
  await ada.until("two tiles", () => document.querySelectorAll(".tile").length === 2, undefined, 90_000);
  await ada.press("g");
  await ada.press("g");
  assert.equal(await ada.evaluate(layout), "Speaker");
  await enters(ada, room, "Ada");
  assert.equal(await ada.evaluate(layout), "Speaker", "remembered");
  assertQuiet(ada);
});

test("tiles of a phone can be pinned, and everything fits", { timeout: 180_000 }, async (t) => {
  const room = roomFor("phone");
  const ada = await browser.newPage({ init: SILENT, width: 360, height: 640, phone: true, reducedMotion: true });
  const others = await Promise.all([browser.newPage({ init: SILENT }), browser.newPage({ init: SILENT })]);
  t.after(() => Promise.all([ada, ...others].map((page) => page.close())));
  await enters(ada, room, "Ada");
  await enters(others[0], room, "Grace");
  await enters(others[1], room, "Alan");
  await ada.click('[aria-label="Pin Grace"]');
  assert.equal(await ada.evaluate(large), "Grace");
  await assertFits(ada, "pinned");
  await assertAccessible(ada, "pinned");
  if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/layout-phone.png`);
  await ada.click('[aria-label="Unpin Grace"]');
  assert.equal(await ada.evaluate(large), null);
});

test("a microphone that is unplugged gives way to another, and a new one is offered", { timeout: 120_000 }, async (t) => {
  const kept = `
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      const stream = await ask(wanted);
      globalThis.microphone = stream.getAudioTracks()[0] ?? globalThis.microphone;
      return stream;
    };`;
  const page = await browser.newPage({ init: PROBE + kept });
  t.after(() => page.close());
  await joinRoom(page, server.url, roomFor("devices"), "Ada");
  const note = (words) => page.until(words, (wanted) => document.querySelector(".toasts").innerText.includes(wanted), words);
  // What a browser does when the plug is pulled: the track ends by itself.
  const before = await page.evaluate(() => {
    globalThis.microphone.stop();
    globalThis.microphone.dispatchEvent(new Event("ended"));
    return globalThis.microphone.id;
  });
  await note("is used now");
  assert.notEqual(await page.evaluate(() => globalThis.microphone.id), before);
  assert.equal(await page.evaluate(() => document.querySelector('[data-action="microphone"]').getAttribute("aria-label")), "Turn off microphone");
  await page.evaluate(async () => {
    const real = navigator.mediaDevices.enumerateDevices.bind(navigator.mediaDevices);
    const headset = { kind: "audioinput", deviceId: "headset", groupId: "", label: "Headset" };
    navigator.mediaDevices.enumerateDevices = async () => [...(await real()), headset];
    navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
  });
  await note("New microphone: Headset");
});

test("who may not send data is told so of files", { timeout: 120_000, skip: process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server knows no tokens" }, async (t) => {
  const key = "files-are-off-0123456789abcdef-0123456789";
  const closed = await startServer(`--topology sfu --token-key main:HS256:${key}`);
  t.after(() => closed.close());
  const room = roomFor("files");
  const video = { room, roomJoin: true, canPublishData: false };
  const token = await new SignJWT({ video }).setProtectedHeader({ alg: "HS256", kid: "main" }).setIssuedAt().setExpirationTime("10m").sign(new TextEncoder().encode(key));
  const page = await browser.newPage({ init: PROBE + SMALL });
  t.after(() => page.close());
  await joinRoom(page, closed.url, `${room}?access_token=${token}`, "Ada");
  await page.until("it is said", () => document.querySelector('[data-action="attach"]').getAttribute("aria-disabled") === "true");
  assert.equal(await page.evaluate(() => document.querySelector('[data-action="attach"]').getAttribute("aria-label")), "Files cannot be sent in this room");
  await page.press("c");
  await page.until("in the chat too", () => /Files cannot be sent/.test(document.querySelector(".chat-empty").innerText));
  assert.equal(await page.evaluate(() => document.querySelector("#chat-panel [aria-label='Send a file']").hidden), true);
  await assertAccessible(page, "without files");
});
