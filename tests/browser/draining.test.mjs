// A server that is told to end: calls through it go on for a while, and move to the server that comes after it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startProxy } from "./cut-proxy.mjs";
import { launch, until } from "./driver.mjs";
import { PROBE_EACH, SMALL, assertQuiet, decodedFrames, joinRoom, readsChat, roomFor, seesPicturesOf, writeChat } from "./meeting.mjs";
import { startServer } from "./server.mjs";

const skip = process.env.TWOCAN_SERVER ? false : "TWOCAN_SERVER is not set: the fixture server forwards nothing";

/** How many are on a server. */
async function participants(url) {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(/^twocan_participants (\d+)$/m.exec(metrics)?.[1]);
}

const status = async (url) => (await fetch(url)).status;

test("a server that ends lets calls go on, and they come back on the next one", { skip, timeout: 240_000 }, async (t) => {
  const first = await startServer("--topology sfu --media-drain 600");
  t.after(() => first.close());
  const second = await startServer("--topology sfu");
  t.after(() => second.close());
  const balancer = await startProxy(first.url);
  t.after(() => balancer.close());
  const browser = await launch("chromium");
  t.after(() => browser.close());
  const room = roomFor("draining");
  const pages = [];
  for (const name of ["Ada", "Grace"]) {
    const page = await browser.newPage({ width: 1000, height: 600, init: PROBE_EACH + SMALL });
    pages.push(page);
    await joinRoom(page, balancer.url, room, name);
  }
  for (const page of pages) await seesPicturesOf(page, 1);

  first.signal("SIGTERM");
  for (const page of pages) {
    await page.until("the notice of the end", () => document.body.textContent.includes("restarts within 10 min"));
  }
  if (process.env.SHOTS) await pages[0].screenshot(`${process.env.SHOTS}/draining.png`);
  assert.equal(await status(`${first.url}/readyz`), 503);
  // The call goes on, and so does what goes over the WebSocket.
  const [before] = await decodedFrames(pages[0]);
  await seesPicturesOf(pages[0], 1, before + 30);
  await writeChat(pages[0], "Still here");
  await readsChat(pages[1], "Still here");

  balancer.aim(second.url);
  first.signal("SIGTERM");
  await until("the first server is gone", () => status(`${first.url}/readyz`).then(() => false, () => true), 30_000);
  await until("both are on the second server", async () => (await participants(second.url)) === 2, 60_000);
  for (const page of pages) await seesPicturesOf(page, 1);
  await writeChat(pages[1], "Here again");
  await readsChat(pages[0], "Here again");
  assertQuiet(...pages);
});
