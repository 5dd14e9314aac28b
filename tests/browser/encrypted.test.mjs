// A room whose link carries a key: sound and pictures are encrypted end to end, by browsers and the native side alike.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { launch } from "./driver.mjs";
import { PROBE, SMALL, assertQuiet, decodedFrames, hears, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
import { BINARY, start, withoutBinary } from "./native.mjs";
import { startServer } from "./server.mjs";

let server;
const browsers = {};
before(async () => {
  server = await startServer();
  browsers.chromium = await launch("chromium");
  browsers.firefox = await launch("firefox");
});
after(async () => {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  server?.close();
});

const newKey = () => `#key=${randomBytes(32).toString("base64url")}`;

/** @returns {Promise<import("./driver.mjs").Page>} */
async function person(t, browser, name, room) {
  const page = await browsers[browser].newPage({ init: PROBE + SMALL, width: 800, height: 600 });
  t.after(() => page.close());
  await joinRoom(page, server.url, room, name);
  return page;
}

for (const order of [["chromium", "firefox"], ["firefox", "chromium"], ["chromium", "chromium"], ["firefox", "firefox"]]) test(`${order.join(" and ")} see and hear each other in an encrypted room, and say so`, async (t) => {
  const room = roomFor("encrypted") + newKey();
  const ada = await person(t, order[0], "Ada", room);
  const eve = await person(t, order[1], "Eve", room);
  await Promise.all([seesPicturesOf(ada, 1), seesPicturesOf(eve, 1), hears(ada, 1), hears(eve, 1)]);
  for (const page of [ada, eve]) {
    assert.equal(await page.evaluate(() => document.querySelector(".encrypted").textContent), "End to end");
    assert.match(await page.evaluate(() => location.hash), /^#key=/, "the link in the address bar is the whole link");
    await page.until("sound that is decoded", async () => (await inbound("audio", "totalAudioEnergy"))[0] > 0);
  }
  if (process.env.SHOTS) await ada.screenshot(`${process.env.SHOTS}/encrypted.png`);
  await writeChat(ada, "Only for us");
  await readsChat(eve, "Only for us");
  assertQuiet(ada, eve);
});

/** The page knows no pictures but those of one codec. */
const only = (codec) => `{
  const real = RTCRtpReceiver.getCapabilities.bind(RTCRtpReceiver);
  RTCRtpReceiver.getCapabilities = (kind) => kind !== "video" ? real(kind) : { ...real(kind), codecs: real(kind).codecs.filter(({ mimeType }) => /\\/(${codec}|rtx)$/i.test(mimeType)) };
}`;

/** Of what arrives, the pictures that are decoded. */
const arriving = (page) => page.evaluate(async () => {
  const names = [];
  for (const peer of document.querySelector("call-view").room.peers.values()) {
    const all = [...(await peer.connection.getStats()).values()];
    for (const stat of all) if (stat.type === "inbound-rtp" && stat.kind === "video") names.push(all.find(({ id }) => id === stat.codecId)?.mimeType);
  }
  return names;
});

for (const codec of ["VP9", "AV1"]) test(`${codec} is encrypted between browsers, and with the native side`, async (t) => {
  const pages = async (room, ...names) => {
    const opened = [];
    for (const browser of names) {
      const page = await browsers[browser].newPage({ init: PROBE + SMALL + only(codec), width: 800, height: 600 });
      t.after(() => page.close());
      await joinRoom(page, server.url, room, browser);
      opened.push(page);
    }
    return opened;
  };
  for (const names of [["chromium", "chromium"], ["chromium", "firefox"], ["firefox", "chromium"]]) {
    const both = await pages(roomFor("encrypted") + newKey(), ...names);
    await Promise.all(both.map((page) => seesPicturesOf(page, 1)));
    for (const page of both) assert.deepEqual(await arriving(page), [`video/${codec}`]);
    assertQuiet(...both);
    for (const page of both) await page.close();
  }
  if (withoutBinary) return;
  const room = roomFor("encrypted") + newKey();
  const [page] = await pages(room, "chromium");
  start(t, BINARY, ["join", `${server.url}/${room}`, "--echo"]);
  await seesPicturesOf(page, 1);
  assert.deepEqual(await arriving(page), [`video/${codec}`]);
});

test("the native echo takes part with the key, and what it sends back is encrypted anew", { skip: withoutBinary }, async (t) => {
  for (const [browser, first] of [["chromium", "page"], ["firefox", "page"], ["chromium", "native"], ["firefox", "native"]]) {
    const room = roomFor("encrypted") + newKey();
    const echo = () => start(t, BINARY, ["join", `${server.url}/${room}`, "--echo"]);
    if (first === "native") await echo().says(/joined/);
    const page = await person(t, browser, "Ada", room);
    if (first === "page") echo();
    await Promise.all([seesPicturesOf(page, 1), hears(page, 1)]);
    assertQuiet(page);
  }
});

test("who has another key sees nothing, and is not seen", async (t) => {
  const name = roomFor("encrypted");
  const ada = await person(t, "chromium", "Ada", name + newKey());
  const mallory = await person(t, "chromium", "Mallory", name + newKey());
  for (const page of [ada, mallory]) {
    await page.until("packets", async () => (await inbound("video", "packetsReceived"))[0] > 100, null, 60_000);
    assert.deepEqual(await decodedFrames(page), [0]);
  }
});

test("who sends back without the key sends what only its sender can read", { skip: withoutBinary }, async (t) => {
  const name = roomFor("encrypted");
  start(t, BINARY, ["join", `${server.url}/${name}`, "--echo"]);
  const ada = await person(t, "chromium", "Ada", name + newKey());
  await seesPicturesOf(ada, 1); // her own
});

test("a link whose key is damaged is explained", async (t) => {
  const page = await browsers.chromium.newPage({ init: PROBE, width: 800, height: 600 });
  t.after(() => page.close());
  await page.goto(`${server.url}/${roomFor("encrypted")}#key=short`);
  await page.type("#your-name", "Ada");
  await page.click("#join");
  await page.until("words about the link", () => /damaged/.test(document.querySelector(".problem")?.innerText ?? ""));
});

test("the first page makes an encrypted room", async (t) => {
  const page = await browsers.chromium.newPage({ init: PROBE, width: 1000, height: 700 });
  t.after(() => page.close());
  await page.goto(server.url);
  await page.visible("#encrypts");
  assert.doesNotMatch(await page.evaluate(() => document.querySelector("#room-link").textContent), /key=/);
  await page.click("#encrypts");
  const link = await page.evaluate(() => document.querySelector("#room-link").textContent);
  assert.match(link, /#key=[\w-]{43}$/);
  if (process.env.SHOTS) await page.screenshot(`${process.env.SHOTS}/encrypted-start.png`);
  await page.click(".start .button.primary");
  await page.visible("#join");
  assert.ok((await page.evaluate(() => location.href)).endsWith(link.replace(/^[^/]*/, "")));
});
