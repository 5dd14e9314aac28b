// A room whose media the server forwards: pages of Chromium and Firefox, each with one connection.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, until } from "./driver.mjs";
import { PROBE_EACH, SMALL, assertQuiet, hears, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";

let server;
let chromium;
let firefox;
before(async () => {
  if (skip) return;
  server = await startServer("--topology sfu");
  chromium = await launch("chromium");
  firefox = await launch("firefox");
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  server?.close();
});

test("four in a forwarded room see and hear each other over one connection each", { skip, timeout: 240_000 }, async (t) => {
  const room = roomFor("forwarded");
  const size = { width: 640, height: 480 };
  const pages = [];
  t.after(() => Promise.all(pages.map((page) => page.close())));
  for (const [browser, name] of [[chromium, "Ada"], [chromium, "Grace"], [firefox, "Eve"], [firefox, "Joan"]]) {
    const page = await browser.newPage({ ...size, init: PROBE_EACH + SMALL });
    pages.push(page);
    await joinRoom(page, server.url, room, name);
  }
  for (const page of pages) await seesPicturesOf(page, 3);
  for (const page of pages) await hears(page, 3);
  for (const page of pages) {
    const connections = await page.evaluate(() => {
      const { peers } = document.querySelector("call-view").room;
      return new Set([...peers.values()].map(({ connection }) => connection)).size;
    });
    assert.equal(connections, 1);
  }
  if (process.env.SHOTS) await pages[0].screenshot(`${process.env.SHOTS}/forwarded.png`);

  await writeChat(pages[2], "To all of you");
  await readsChat(pages[0], "To all of you");
  await readsChat(pages[3], "To all of you");

  await pages[1].click(".round.leave");
  for (const page of [pages[0], pages[2], pages[3]]) {
    await page.until("one tile less", (wanted) => document.querySelectorAll(".tile.person").length === wanted, 2);
  }
  assertQuiet(...pages);
});

/** The heights in which a page sends its picture now. */
const sentHeights = (page) =>
  page.evaluate(async () => {
    const { link } = document.querySelector("call-view").room;
    const all = [...(await link.connection.getStats()).values()];
    const sent = all.filter(({ type, kind, framesPerSecond }) => type === "outbound-rtp" && kind === "video" && framesPerSecond > 0);
    return sent.map(({ frameHeight }) => frameHeight).sort((a, b) => a - b);
  });

test("a viewer gets of a simulcast what its tile has use for", { skip, timeout: 180_000 }, async (t) => {
  const room = roomFor("sizes");
  const ada = await chromium.newPage({ width: 1280, height: 800, init: PROBE_EACH });
  const grace = await chromium.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL });
  t.after(() => Promise.all([ada.close(), grace.close()]));
  await joinRoom(ada, server.url, room, "Ada");
  await joinRoom(grace, server.url, room, "Grace");
  await seesPicturesOf(grace, 1);
  const want = (height) =>
    grace.evaluate((height) => {
      const { room } = document.querySelector("call-view");
      room.want([...room.peers.values()].map((peer) => ({ peer, source: "camera", height })));
    }, height);
  const gets = (what, choose) =>
    until(
      what,
      async () => {
        const heights = await sentHeights(ada);
        const [height] = await grace.evaluate(() => globalThis.pictureSizes());
        return heights.length > 1 && height === choose(heights);
      },
      60_000,
    );
  const sends = (what, count) => until(what, async () => (await sentHeights(ada)).length === count, 60_000);
  await want(2000);
  await gets("the largest picture", (heights) => heights.at(-1));
  const smallest = (await sentHeights(ada))[0];
  await want(50);
  await until("the smallest picture", async () => (await grace.evaluate(() => globalThis.pictureSizes()))[0] === smallest, 60_000);
  await sends("no other is sent", 1);
  await want(2000);
  await gets("the largest picture again", (heights) => heights.at(-1));
  await want(0);
  await sends("none is sent where nobody looks", 0);
  await want(2000);
  await gets("the largest picture once more", (heights) => heights.at(-1));
  assertQuiet(ada, grace);
});

test("a page that is loaded anew is back in the call", { skip, timeout: 120_000 }, async (t) => {
  const room = roomFor("again");
  const ada = await firefox.newPage({ init: PROBE_EACH + SMALL });
  const grace = await chromium.newPage({ init: PROBE_EACH + SMALL });
  t.after(() => Promise.all([ada.close(), grace.close()]));
  await joinRoom(ada, server.url, room, "Ada");
  await joinRoom(grace, server.url, room, "Grace");
  await seesPicturesOf(ada, 1);
  await joinRoom(grace, server.url, room, "Grace again");
  await seesPicturesOf(ada, 1);
  await seesPicturesOf(grace, 1);
  await hears(ada, 1);
});

test("a link with a key encrypts through the server, which shows nothing else", { skip, timeout: 180_000 }, async (t) => {
  const room = roomFor("sealed");
  const key = await chromium.newPage();
  await key.goto(server.url);
  const fragment = await key.evaluate(async () => (await import("/sdk/index.js")).FrameEncryption.newFragment());
  await key.close();
  const pages = [];
  t.after(() => Promise.all(pages.map((page) => page.close())));
  for (const [browser, name] of [[chromium, "Ada"], [firefox, "Grace"]]) {
    const page = await browser.newPage({ width: 640, height: 480, init: PROBE_EACH + SMALL });
    pages.push(page);
    await joinRoom(page, server.url, `${room}${fragment.startsWith("#") ? "" : "#"}${fragment}`, name);
  }
  for (const page of pages) await seesPicturesOf(page, 1);
  for (const page of pages) assert.equal(await page.evaluate(() => document.querySelector("call-view").room.isEncrypted), true);
});
