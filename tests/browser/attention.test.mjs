// What nobody looks at is not sent: pages of tiles, tabs in the background, a chat that covers everything.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { assertAccessible, assertFits } from "./looks.mjs";
import { assertQuiet, roomFor } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";
const NAMES = ["Ada", "Grace", "Alan", "Joan", "Edsger", "Barbara"];

let server;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  server = await startServer("--topology sfu");
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await Promise.all([chromium?.close(), firefox?.close()]);
  server?.close();
});

/** Several who send a picture, on one page without tiles, and look at nobody. The last of them is heard as well. */
async function crowd(t, room, names, browser = chromium) {
  const page = await browser.newPage({ width: 400, height: 300 });
  t.after(() => page.close());
  await page.goto(`${server.url}/publish/unused`);
  await page.evaluate(async ({ url, names }) => {
    const { Room } = await import("/sdk/index.js");
    globalThis.rooms = [];
    for (const [index, name] of names.entries()) {
      const room = new Room();
      rooms.push(room);
      const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
      const context = canvas.getContext("2d");
      let turn = 0;
      setInterval(() => {
        context.fillStyle = `hsl(${index * 60 + turn++ * 3} 70% 50%)`;
        context.fillRect(0, 0, 320, 180);
      }, 100);
      const looksAway = () => room.want([...room.peers.values()].map((peer) => ({ peer, source: "camera", height: 0 })));
      for (const event of ["peer-joined", "peer-change"]) room.on(event, looksAway);
      await room.publish("camera", canvas.captureStream(10).getVideoTracks()[0]);
      if (index === names.length - 1) await room.publish("microphone", (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0]);
      await room.join(url, { name });
    }
  }, { url: `${server.url}/${room}`, names });
  return page;
}

/** Who only looks, on the page, and can be told that the tab is in the background. */
const LOOKS = `
  navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotFoundError"));
  globalThis.inBackground = (is) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => is });
    document.dispatchEvent(new Event("visibilitychange"));
  };
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (text) {
    const frame = String(text).startsWith("{") ? JSON.parse(text) : {};
    if (frame.event === "subscribe") globalThis.asked = frame.data.tracks;
    return send.call(this, text);
  };
  /** Frames and packets of each, by name, and the packets of all sound. */
  globalThis.arrived = async () => {
    const all = { frames: {}, packets: {}, sound: 0 };
    const { peers, link } = document.querySelector("call-view").room;
    for (const peer of peers.values()) {
      const receiver = peer.media("camera")?.receiver;
      const stats = receiver ? [...(await receiver.getStats()).values()].find(({ type }) => type === "inbound-rtp") : null;
      all.frames[peer.name] = stats?.framesDecoded ?? 0;
      all.packets[peer.name] = stats?.packetsReceived ?? 0;
    }
    for (const stats of (await link.connection.getStats()).values()) if (stats.type === "inbound-rtp" && stats.kind === "audio") all.sound += stats.packetsReceived;
    return all;
  };
`;

async function looker(t, browser, room, size) {
  const page = await browser.newPage({ init: LOOKS, reducedMotion: true, ...size });
  t.after(() => page.close());
  await page.goto(`${server.url}/${room}`);
  await page.type("#your-name", "Eve");
  await page.click("#join");
  await page.visible("call-view .stage");
  return page;
}

/** The names on the tiles that are shown, but for one's own. */
const shown = (page) => page.evaluate(() => [...document.querySelectorAll(".tile.person")].filter((tile) => !tile.hidden).map((tile) => tile.querySelector(".tile-name").textContent));

/** Waits until pictures come from these and nothing from anybody else, for as long as half a second of sound takes. */
async function sees(page, names) {
  await page.evaluate(() => (globalThis.since = undefined));
  await page.until(`pictures of ${names.join(", ") || "nobody"} alone`, async (names) => {
    const now = await globalThis.arrived();
    const { since } = globalThis;
    const others = Object.keys(now.packets).filter((name) => !names.includes(name));
    if (!since || others.some((name) => now.packets[name] !== since.packets[name])) {
      globalThis.since = now;
      return false;
    }
    return now.sound >= since.sound + 25 && names.every((name) => now.frames[name] >= since.frames[name] + 2);
  }, names, 60_000);
}

for (const name of ["chromium", "firefox"]) test(`${name}: a small stage has pages, and only those on the page are sent`, { skip, timeout: 240_000 }, async (t) => {
  const browser = { chromium, firefox }[name];
  const room = roomFor("pages");
  await crowd(t, room, NAMES);
  const eve = await looker(t, browser, room, { width: 360, height: 480 });
  const count = () => eve.evaluate(() => document.querySelector(".pager-count")?.textContent);
  await eve.until("six tiles", () => document.querySelectorAll(".tile.person").length === 6);
  assert.equal(await count(), "1 / 2");
  const first = await shown(eve);
  const second = NAMES.filter((one) => !first.includes(one));
  assert.deepEqual([first.length, second.length], [3, 3]);
  await sees(eve, first);
  await assertFits(eve, "first page");
  await assertAccessible(eve, "first page");
  if (process.env.SHOTS) await eve.screenshot(`${process.env.SHOTS}/pages-${name}.png`);

  await eve.click('[aria-label="Next page"]');
  assert.deepEqual([await count(), await shown(eve)], ["2 / 2", second]);
  const turned = Date.now();
  await sees(eve, second);
  t.diagnostic(`the other page after ${Date.now() - turned} ms at most`);
  await eve.page.keyboard.press("PageUp");
  assert.deepEqual([await count(), await shown(eve)], ["1 / 2", first]);
  await eve.page.keyboard.press("PageUp");
  assert.equal(await count(), "1 / 2");
  await sees(eve, first);

  // Who is heard from another page is named, and is a press away.
  const speaker = NAMES.at(-1);
  const elsewhere = second.includes(speaker) ? "1 / 2" : "2 / 2";
  if (elsewhere === "2 / 2") await eve.page.keyboard.press("PageDown");
  await eve.until("who speaks elsewhere", (words) => {
    const button = document.querySelector(".pager-elsewhere");
    if (button.hidden || button.textContent !== words) return false;
    button.focus();
    button.click();
    globalThis.found = { focus: document.activeElement.getAttribute("aria-label"), said: document.querySelector("[role=status][aria-live]").lastElementChild?.textContent };
    return true;
  }, `${speaker} is speaking`, 30_000);
  const there = elsewhere === "2 / 2" ? "Page 1 of 2" : "Page 2 of 2";
  assert.deepEqual(await eve.evaluate(() => globalThis.found), { focus: "Next page", said: there });
  assert.equal(await eve.evaluate(() => document.querySelector(".stage-pager .unseen").textContent), there);
  assert.ok((await shown(eve)).includes(speaker));

  // In the list of people these keys scroll.
  const before = await count();
  await eve.press("p");
  await eve.visible("#people-list");
  await eve.evaluate(() => document.querySelector(".people-rows").focus());
  for (const key of ["PageDown", "PageUp"]) {
    await eve.page.keyboard.press(key);
    assert.equal(await count(), before);
  }
  await eve.press("p");
  assertQuiet(eve);
});

test("a tab in the background asks for no picture and hears on, and back in front they come at once", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("background");
  await crowd(t, room, NAMES.slice(0, 2));
  const eve = await looker(t, chromium, room, { width: 900, height: 640 });
  await eve.until("two tiles", () => document.querySelectorAll(".tile.person").length === 2);
  assert.ok(await eve.evaluate(() => document.querySelector(".stage-pager").hidden));
  const names = NAMES.slice(0, 2);
  await sees(eve, names);
  await eve.evaluate(() => globalThis.inBackground(true));
  assert.deepEqual(await eve.evaluate(() => globalThis.asked.map(({ max_height }) => max_height)), [0, 0]);
  await sees(eve, []);
  // A picture in a window of its own is seen all the same.
  await eve.evaluate(async (name) => {
    const tile = [...document.querySelectorAll(".tile.person")].find((one) => one.querySelector(".tile-name").textContent === name);
    await tile.querySelector("video").requestPictureInPicture();
  }, names[0]);
  await sees(eve, [names[0]]);
  await eve.evaluate(() => document.exitPictureInPicture());
  await sees(eve, []);
  const returned = Date.now();
  await eve.evaluate(() => globalThis.inBackground(false));
  assert.ok((await eve.evaluate(() => globalThis.asked.map(({ max_height }) => max_height))).every((height) => height > 100));
  await sees(eve, names);
  t.diagnostic(`back after ${Date.now() - returned} ms at most`);
  assertQuiet(eve);
});

for (const name of ["chromium", "firefox"]) test(`a chat that covers the tiles of a phone stops what ${name} sends, and closed it brings it back`, { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("covered");
  const sender = await crowd(t, room, NAMES.slice(0, 1), { chromium, firefox }[name]);
  const eve = await looker(t, chromium, room, { width: 360, height: 640 });
  const rests = (is) => sender.until(is ? "nothing is sent" : "it is sent", (is) => rooms[0].link.sender("camera").getParameters().encodings.every(({ active }) => active !== is), is);
  await sees(eve, [NAMES[0]]);
  await rests(false);
  await eve.press("c");
  await sees(eve, []);
  await rests(true);
  await eve.page.keyboard.press("Escape");
  await sees(eve, [NAMES[0]]);
  await rests(false);
});
